"""Work beside the window: what does not come back is left behind, and nobody waits for it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.frameworks import model_lock
from napari_neuroscope.engine.frameworks.model_lock import ModelLock
from napari_neuroscope.widgets.parts.jobs import work_thread
from napari_neuroscope.widgets.parts.jobs.jobs import Jobs
from napari_neuroscope.widgets.parts.jobs.work_thread import WorkThread
from places import FIXTURES

NAME = "neuroscope of a test"


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == NAME]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_thread, "PATIENCE_S", 0.1)
    monkeypatch.setattr(model_lock, "_LAST_WAIT_S", 0.1)


def test_a_job_that_does_not_come_back_is_left_behind(qtbot) -> None:
    thread, release, said = WorkThread(NAME), threading.Event(), []
    one, other = Jobs(thread), Jobs(thread)
    lock = ModelLock(lambda: ["the model"])

    def stuck(_: object) -> str:
        with lock:
            release.wait()
        return "late"

    one.submit("stuck", stuck, said.append, said.append)
    qtbot.waitUntil(lambda: thread._running is not None)
    other.submit("next", lambda _: "next", said.append, said.append)
    one.cancel()
    # The other was there before the cancel, and goes on by itself.
    qtbot.waitUntil(lambda: said == ["next"])
    assert len(threads()) == 2

    def same(_: object) -> None:
        with lock:
            pass

    one.submit("the same model", same, said.append, said.append)
    qtbot.waitUntil(lambda: len(said) == 2)
    assert "still at work" in str(said.pop())
    release.set()
    qtbot.waitUntil(lambda: len(threads()) == 1)
    one.submit("again", same, said.append, said.append)
    qtbot.waitUntil(lambda: said == ["next", None])
    for jobs in (one, other):
        jobs.close()
    assert not threads()
    assert not model_lock.abandoned_threads()


def test_a_dock_closes_though_its_job_does_not_come_back(qtbot) -> None:
    thread, release, said = WorkThread(NAME), threading.Event(), []
    one, other = Jobs(thread), Jobs(thread)
    one.submit("stuck", lambda _: release.wait(), said.append, said.append)
    qtbot.waitUntil(lambda: thread._running is not None)
    other.submit("next", lambda _: "next", said.append, said.append)
    one.close(wait=0.05)
    qtbot.waitUntil(lambda: said == ["next"])
    other.close()
    release.set()
    qtbot.waitUntil(lambda: not threads())
    assert said == ["next"]


def test_what_can_not_be_shown_is_a_failure_not_a_traceback(qtbot) -> None:
    jobs, said = Jobs(WorkThread(NAME)), []

    def refuse(_: object) -> None:
        raise NeuroscopeError("It has other axes now.")

    jobs.submit("done", lambda _: 1, refuse, said.append)
    qtbot.waitUntil(lambda: len(said) == 1)
    jobs.submit("partly", lambda report: report.offer(1) or report.offer(2), refuse, said.append,
                refuse)  # fmt: skip
    qtbot.waitUntil(lambda: len(said) == 2)
    assert {str(error) for error in said} == {"It has other axes now."}
    assert not jobs.busy
    jobs.close()


def test_a_thread_is_not_the_last_to_hold_what_is_of_qt(qtbot) -> None:
    thread, release, inside = WorkThread(NAME), threading.Event(), threading.Event()
    jobs, deleted_in = Jobs(thread), []
    jobs.destroyed.connect(lambda: deleted_in.append(threading.get_ident()))

    def work(report: object) -> object:
        inside.set()
        release.wait()
        return report

    jobs.submit("long", work, print, print)
    inside.wait()
    jobs.close(wait=0)
    del jobs
    assert deleted_in == [threading.get_ident()]
    release.set()
    qtbot.waitUntil(lambda: not threads())


def test_a_window_with_a_stuck_network_goes_on_and_ends(tmp_path: Path) -> None:
    script = FIXTURES / "stuck_window.py"
    own = {"XDG_CONFIG_HOME": str(tmp_path), "NAPARI_CONFIG": str(tmp_path / "settings.yaml")}
    ended = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, **own},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "closed" in ended.stdout
    assert "Traceback" not in ended.stderr
