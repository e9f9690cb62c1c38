"""The bar that is seen while jobs run, and the button that stops them."""

from __future__ import annotations

import threading

import pytest
from qtpy.QtWidgets import QPushButton

from napari_neuroscope.widgets.parts.jobs.jobs import Jobs
from napari_neuroscope.widgets.parts.progress import JobProgress


@pytest.fixture
def jobs():
    made = Jobs()
    yield made
    made.close()


def test_it_is_seen_while_a_job_runs_and_stops_it(jobs: Jobs, qtbot) -> None:
    stop, go = QPushButton("Cancel"), threading.Event()
    progress = JobProgress(lambda: jobs.busy, stop, lambda done, total, what: f"{what}: {done}")
    qtbot.addWidget(progress)
    qtbot.addWidget(stop)
    stop.clicked.connect(jobs.cancel)
    progress.follow(jobs)
    assert progress.isHidden()
    assert not stop.isEnabled()

    def work(report):
        report(3, 7, "counting\x07")
        while not go.wait(0.01):
            report(3, 7, "counting\x07")

    jobs.submit("Beginning", work, lambda _: None, lambda _: None)
    assert not progress.isHidden()
    assert progress.format() == "Beginning: 0"
    assert progress.maximum() > progress.minimum(), "Qt animates a bar without a range"
    assert stop.isEnabled()
    qtbot.waitUntil(lambda: progress.value() == 3, timeout=10_000)
    assert progress.maximum() == 7
    assert progress.format() == "counting\\x07: 3", "words of a file are made plain"
    stop.click()
    assert progress.isHidden()
    assert not stop.isEnabled()
    go.set()


def test_it_stays_while_other_jobs_run(jobs: Jobs, qtbot) -> None:
    stop, others = QPushButton(), [True]
    progress = JobProgress(lambda: jobs.busy or others[0], stop)
    qtbot.addWidget(progress)
    qtbot.addWidget(stop)
    progress.follow(jobs)
    progress.begin("Looking")
    jobs.cancel()
    assert not progress.isHidden()
    others[0] = False
    jobs.cancel()
    assert progress.isHidden()


def test_it_counts_the_seconds_of_what_has_no_total(qtbot) -> None:
    stop = QPushButton()
    progress = JobProgress(lambda: True, stop)
    qtbot.addWidget(progress)
    qtbot.addWidget(stop)
    progress.begin("Looking")
    assert progress.text() == "Looking"
    qtbot.waitUntil(lambda: progress.text() == "Looking · 2 s", timeout=10_000)


def test_many_steps_are_drawn_a_few_times(qtbot) -> None:
    stop, drawn = QPushButton(), []
    progress = JobProgress(lambda: True, stop)
    qtbot.addWidget(progress)
    qtbot.addWidget(stop)
    progress.valueChanged.connect(drawn.append)
    for step in range(1000):
        progress.advance(step, 1000, "counting")
    qtbot.waitUntil(lambda: progress.value() == 999, timeout=10_000)
    assert len(drawn) < 20, drawn
