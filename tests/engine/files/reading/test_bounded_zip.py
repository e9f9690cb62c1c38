"""Zip archives are looked at before anything of them is unpacked."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.reading.bounded_zip import open_zip, read_entry


def archive_of(path: Path, *names: str, content: str = "abc") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return path


def test_entries_are_read_up_to_a_limit(tmp_path: Path) -> None:
    with open_zip(archive_of(tmp_path / "a.zip", "one")) as archive:
        assert read_entry(archive, "one", 3, "a.zip") == b"abc"
        with pytest.raises(ns.NeuroscopeError, match="more than such a file needs"):
            read_entry(archive, "one", 2, "a.zip")
        with pytest.raises(ns.NeuroscopeError, match="lacks the file “two”"):
            read_entry(archive, "two", 3, "a.zip")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    path = archive_of(tmp_path / "a.zip", "one", "one")
    with pytest.raises(ns.NeuroscopeError, match="two files named “one”"), open_zip(path):
        pass


def test_what_unpacks_to_far_more_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive_of(tmp_path / "a.zip", "one", content="a" * 100_000)
    with open_zip(path):
        pass
    monkeypatch.setattr(limits, "ALWAYS_UNPACKED", 1000)
    with pytest.raises(ns.NeuroscopeError), open_zip(path):
        pass


def test_a_broken_archive_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 and no more")
    with (
        pytest.raises(ns.NeuroscopeError, match="broken zip archive"),
        open_zip(tmp_path / "a.zip"),
    ):
        pass
