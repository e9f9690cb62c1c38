"""What became of the images of a batch, line by line, whatever cuts it off."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from napari_neuroscope.engine.batch.journal import (
    FOLDER,
    JOURNAL,
    ImageRecord,
    Journal,
    records_in,
)
from napari_neuroscope.engine.batch.output_error import OutputError


def record_of(path: str, stamp: str = "1") -> ImageRecord:
    return ImageRecord(path, stamp, path, {f"maps/{path}.tif": 3}, [{"right": 1, "score": 0.5}])


def test_the_newest_line_of_an_image_counts(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    for record in (record_of("a"), record_of("b"), record_of("a", "2")):
        journal.add(record)
    journal.close()
    again = Journal(tmp_path / "journal")
    assert list(again) == ["a", "b"]
    assert again["a"] == record_of("a", "2")
    assert again.names == {"a": "a", "b": "b"}
    again.close()


def test_a_line_that_was_cut_off_is_none_and_the_next_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / FOLDER / JOURNAL
    path.parent.mkdir()
    path.write_bytes(record_of("a").as_line() + record_of("b").as_line()[:-9])
    assert records_in(tmp_path) == [record_of("a")]
    journal = Journal(path)
    assert "b" not in journal
    journal.add(record_of("c"))
    journal.close()
    assert records_in(tmp_path) == [record_of("a"), record_of("c")]


def test_where_no_batch_is_there_are_none(tmp_path: Path) -> None:
    assert records_in(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of files there")
def test_a_full_disk_leaves_it_whole(tmp_path: Path) -> None:
    import resource

    path = tmp_path / "journal"
    journal = Journal(path)
    journal.add(record_of("a"))
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A part of a line is written, and no more.
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
    try:
        with pytest.raises(OutputError, match="can't be written"):
            journal.add(record_of("b"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert "b" not in journal
    journal.add(record_of("b"))
    assert "b" in journal
    journal.close()
