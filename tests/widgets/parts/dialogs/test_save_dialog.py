"""Asking where something is saved: saved there, not at all, or the reason told."""

from __future__ import annotations

from pathlib import Path

import pytest
from qtpy.QtWidgets import QFileDialog

import napari_neuroscope as ns
from napari_neuroscope.widgets.parts.dialogs.save_dialog import ask_and_save


@pytest.mark.parametrize("answer", ["out.csv", ""])
def test_a_file_is_written_where_the_user_says(
    answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / answer) if answer else ""
    asked: list[tuple[object, ...]] = []

    def ask(*arguments: object) -> tuple[str, str]:
        asked.append(arguments[1:])
        return path, ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", ask)
    saved: list[Path] = []
    ask_and_save(None, "Save it", "name.csv", "*.csv", saved.append)
    assert asked == [("Save it", "name.csv", "*.csv")]
    assert saved == ([Path(path)] if answer else [])


def test_why_it_can_not_be_written_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: ("x.doc", ""))

    def refuse(path: Path) -> None:
        raise ns.NeuroscopeError(f"{path} is of no kind.")

    told: list[str] = []
    ask_and_save(None, "", "", "", refuse, lambda error: told.append(str(error)))
    assert told == ["x.doc is of no kind."]
