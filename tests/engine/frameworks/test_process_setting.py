"""What is set for the whole process is put back by the last thread that needs it."""

from __future__ import annotations

import threading
import warnings

import pytest

from napari_neuroscope.engine.frameworks.process_setting import ProcessSetting
from napari_neuroscope.engine.frameworks.quiet import quiet


def test_the_last_thread_puts_back_what_the_first_met() -> None:
    setting = ["theirs"]

    def change() -> str:
        before, setting[0] = setting[0], "ours"
        return before

    def put_back(before: str) -> None:
        setting[0] = before

    held = ProcessSetting(change, put_back)
    first_is_in, second_is_in = threading.Event(), threading.Event()
    met: list[str] = []

    def first() -> None:
        with held():
            first_is_in.set()
            second_is_in.wait(10)
        met.append(setting[0])

    thread = threading.Thread(target=first)
    thread.start()
    assert first_is_in.wait(10)
    with held():
        second_is_in.set()
        thread.join(10)
        assert setting == ["ours"]
    assert met == ["ours"]
    assert setting == ["theirs"]


def test_it_is_put_back_where_work_fails() -> None:
    setting: list[str] = []
    held = ProcessSetting(lambda: setting.append("ours"), lambda _: setting.clear())
    with pytest.raises(ZeroDivisionError), held():
        _ = 1 / len(setting[1:])
    assert not setting


def test_warnings_are_ignored_and_then_told_as_before() -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with quiet(), quiet():
            warnings.warn("unseen", stacklevel=1)
        warnings.warn("seen", stacklevel=1)
    assert [str(warning.message) for warning in told] == ["seen"]
