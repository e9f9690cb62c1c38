"""Files that are read whole: regular ones, and no more of them than is sensible."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.files.reading.bounded_file import (
    open_regular,
    read_bytes,
    read_text,
)


def test_no_more_than_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert read_bytes(path, 3) == b"abc"
    with pytest.raises(ns.NeuroscopeError, match="more than 2 bytes"):
        read_bytes(path, 2)


def test_texts_are_utf_8_with_a_mark_or_without(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf" + "µ".encode())
    assert read_text(path, 10) == "µ"
    path.write_bytes(b"\x89PNG\xff")
    with pytest.raises(ns.NeuroscopeError, match="is a PNG image, no text"):
        read_text(path, 10)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_pipes_and_folders_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ns.NeuroscopeError, match="is a pipe"):
        open_regular(tmp_path / "pipe")
    with pytest.raises(ns.NeuroscopeError, match="is a folder"):
        open_regular(tmp_path)
    with pytest.raises(ns.NeuroscopeError, match="There is no file"):
        open_regular(tmp_path / "nowhere")
