"""Paths that are no files: pipes, devices, folders, names that can't be."""

from __future__ import annotations

import os
from pathlib import Path

from hostile.watch import Opener, case
from napari_neuroscope.engine.networks.load import load


@case(seconds=5)
def pipe_as_network(folder: Path) -> Opener:
    os.mkfifo(folder / "m.pt")
    return lambda: load(folder / "m.pt")


@case(seconds=5)
def device_as_network(folder: Path) -> Opener:
    (folder / "m.pt").symlink_to("/dev/zero")
    return lambda: load(folder / "m.pt")


@case(seconds=5)
def empty_network(folder: Path) -> Opener:
    (folder / "m.pt").touch()
    return lambda: load(folder / "m.pt")


@case(seconds=5)
def folder_named_as_network(folder: Path) -> Opener:
    (folder / "m.pt").mkdir()
    return lambda: load(folder / "m.pt")


@case(seconds=5)
def name_that_is_too_long(folder: Path) -> Opener:
    return lambda: load(folder / ("a" * 300 + ".pt"))


@case(seconds=5)
def name_with_nul(folder: Path) -> Opener:
    return lambda: load(f"{folder}/a\0b.pt")


@case(seconds=5)
def name_with_markup(folder: Path) -> Opener:
    path = folder / "<b>Verified by napari<b><!--\x1b[31m\u202e.pt"
    path.write_bytes(b"nothing")
    return lambda: load(path)
