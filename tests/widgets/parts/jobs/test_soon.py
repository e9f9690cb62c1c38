"""A call that is asked for is made at once where nothing is computed, else as soon as it can be."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from napari_neuroscope.widgets.parts.jobs.jobs import Jobs
from napari_neuroscope.widgets.parts.jobs.soon import Soon

LONG_MS = 60_000


class Counter:
    def __init__(self) -> None:
        self.calls = 0

    def call(self) -> None:
        self.calls += 1


@pytest.fixture
def jobs(qtbot) -> Iterator[Jobs]:
    made = Jobs()
    yield made
    made.close()


def wait_in(jobs: Jobs, go_on: threading.Event) -> None:
    """Have a job that lasts until it may go on."""
    jobs.submit("waits", lambda progress: go_on.wait(30), lambda _: None, lambda error: None)


def test_what_is_asked_at_once_is_called_once_at_the_next_turn(jobs: Jobs, qtbot) -> None:
    counter = Counter()
    soon = Soon(counter.call, jobs, LONG_MS)
    for _ in range(3):
        soon()
    assert counter.calls == 0, "not before the caller is done"
    qtbot.waitUntil(lambda: counter.calls > 0)
    qtbot.wait(20)
    assert counter.calls == 1


def test_while_a_job_runs_it_waits_for_it(jobs: Jobs, qtbot) -> None:
    counter, go_on = Counter(), threading.Event()
    soon = Soon(counter.call, jobs, LONG_MS)
    wait_in(jobs, go_on)
    soon()
    soon()
    qtbot.wait(50)
    assert counter.calls == 0
    go_on.set()
    qtbot.waitUntil(lambda: counter.calls > 0)
    assert counter.calls == 1


def test_its_patience_ends(jobs: Jobs, qtbot) -> None:
    counter, go_on = Counter(), threading.Event()
    soon = Soon(counter.call, jobs, 10)
    wait_in(jobs, go_on)
    soon()
    qtbot.waitUntil(lambda: counter.calls == 1)
    assert jobs.busy
    go_on.set()


def test_it_can_be_cancelled(jobs: Jobs, qtbot) -> None:
    counter = Counter()
    soon = Soon(counter.call, jobs, LONG_MS)
    soon()
    soon.cancel()
    qtbot.wait(20)
    assert counter.calls == 0


def test_it_does_not_hold_whose_method_it_calls(jobs: Jobs, qtbot) -> None:
    soon = Soon(Counter().call, jobs, LONG_MS)
    soon()
    qtbot.wait(20)
