"""Files that belong to another lie in its folder, and nothing leads out of it."""

from __future__ import annotations

from pathlib import Path

import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.files.reading.inside_folder import is_plain_name, refuse_outside


def test_links_may_lead_within_but_not_out(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "a.tif").touch()
    (tmp_path / "b.tif").touch()
    (folder / "within.tif").symlink_to(folder / "inner" / "a.tif")
    (folder / "out.tif").symlink_to(tmp_path / "b.tif")
    refuse_outside(folder / "inner" / "a.tif", folder)
    refuse_outside(folder / "within.tif", folder)
    refuse_outside(folder / "is not there", folder)
    for path in (folder / "out.tif", folder / ".." / "b.tif"):
        with pytest.raises(ns.NeuroscopeError, match="lies in another folder"):
            refuse_outside(path, folder)


def test_plain_names_have_no_folders_on_any_system() -> None:
    assert is_plain_name("a b.tif")
    for name in ("", ".", "..", "a/b", "a\\b", "C:a", "a\0", "a" * 256, 3):
        assert not is_plain_name(name)
