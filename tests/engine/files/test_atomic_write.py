"""Files and folders are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.files.atomic_write import write_whole, write_whole_folder


def test_a_file_is_replaced_when_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write(part: Path) -> None:
        assert part.suffix == ".txt"
        part.write_text("new")
        assert path.read_text() == "old"

    write_whole(path, write)
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(part: Path) -> None:
        part.write_text("half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_whole(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    write_whole_folder(path, lambda part: (part / "first").write_text("1"))
    write_whole_folder(path, lambda part: (part / "second").write_text("2"))
    assert [inner.name for inner in path.iterdir()] == ["second"]

    def fail(part: Path) -> None:
        (part / "third").write_text("3")
        raise OSError(28, "no space left")

    with pytest.raises(ns.NeuroscopeError, match="no space left; choose another folder"):
        write_whole_folder(path, fail)
    assert [inner.name for inner in path.iterdir()] == ["second"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_private_files_are_read_by_nobody_else(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", lambda part: part.write_text("secret"), private=True)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ns.NeuroscopeError, match="can't be written"):
        write_whole(tmp_path / "nowhere" / "a", lambda part: part.write_text("a"))
