"""Image files are found in folders and by patterns, and sorted as people do."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import napari_neuroscope as ns
from napari_neuroscope.engine.images.pairing.find_pairs import pairs_of
from napari_neuroscope.engine.images.pairing.image_search import natural_key
from pair_files import partners, put, reasons


def test_what_is_no_image_is_skipped_and_the_rest_is_there(tmp_path: Path) -> None:
    folder = put(tmp_path, "a.png", ".hidden.png")
    (folder / "notes.docx").write_text("words")
    (folder / "empty.png").touch()
    (folder / "deeper").mkdir()
    pairs = pairs_of(folder)
    assert list(partners(pairs)) == ["a.png"]
    assert {one.name for one in pairs.skipped} == {"notes.docx", "empty.png"}
    assert "“notes.docx” is no image" in reasons(pairs)
    assert "“empty.png” is empty" in reasons(pairs)


def test_patterns_files_and_folders_together(tmp_path: Path) -> None:
    put(tmp_path, "x/a.png", "x/b.tif", "y/a.png", "y/c.png")
    pairs = pairs_of([tmp_path / "x", tmp_path / "y" / "a.png", str(tmp_path / "y" / "*.png")])
    assert [pair.name for pair in pairs] == ["x/a.png", "b.tif", "y/a.png", "c.png"]


@pytest.mark.parametrize("where", ["nowhere", "nowhere/*.png", "."])
def test_no_image_at_all(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ns.NeuroscopeError, match="There is no image"):
        pairs_of(where)


@given(st.lists(st.text(alphabet="aA01_-", min_size=1, max_size=5), unique_by=str.casefold))
def test_names_are_sorted_as_people_do(names: list[str]) -> None:
    # No two names are the same to it.
    assert len({str(natural_key(name)) for name in names}) == len(names)
    assert sorted(["b2", "b10", "b1", "a"], key=natural_key) == ["a", "b1", "b2", "b10"]
