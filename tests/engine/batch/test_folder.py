"""Batches that are killed, and disks that are full or can't be written: nothing is lost or half."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyarrow import parquet

import napari_neuroscope as ns
from batches import images_in, recipe_in, written
from napari_neuroscope.engine.batch.folder import BatchFolder
from napari_neuroscope.engine.batch.output_error import OutputError
from places import FIXTURES


def run(recipe: Path, images: Path, out: Path) -> ns.BatchResult:
    return ns.run_batch(recipe, images, out, device="cpu", trust=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes can't be forked here")
def test_a_batch_that_is_killed_again_and_again_is_complete_in_the_end(tmp_path: Path) -> None:
    recipe, images = recipe_in(tmp_path / "recipe"), tmp_path / "images"
    images_in(images, 10)
    environment = {**os.environ, "PYTHONPATH": str(FIXTURES)}
    answer = subprocess.run(
        [sys.executable, FIXTURES / "batch_killed.py", recipe, images, tmp_path / "out", "1"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    *killed, finished = answer.stdout.splitlines()
    assert finished == "finished"
    assert len(killed) >= 8
    assert {"in a map", "in the journal"} <= set(killed)
    # The first of them did it without.
    assert written(tmp_path / "out") == written(tmp_path / "out before")
    hidden = {path.name for path in (tmp_path / "out").rglob(".*")}
    assert hidden == {".batch"}
    assert not (tmp_path / "out" / ".batch" / "running").exists()


# --- names and folders ----------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="names are text elsewhere")
def test_names_that_are_no_text(tmp_path: Path) -> None:
    """They are escaped in tables, and found again."""
    recipe, images = recipe_in(tmp_path / "recipe"), tmp_path / "images"
    plain, other = images_in(images, 2)
    ill = Path(os.fsdecode(os.fsencode(images) + b"/ill\xff.png"))
    plain.rename(ill)
    for kept in (0, 2):
        result = run(recipe, images, tmp_path / "out")
        assert (result.kept, result.done) == (kept, 2 - kept)
    with result.summary.open(encoding="utf-8", newline="") as file:
        rows = [row["file"] for row in csv.DictReader(file)]
    escaped = f"{images}/ill\\udcff.png"
    assert rows == [str(other), escaped]
    table = parquet.read_table(result.summary.with_suffix(".parquet"))
    assert table.column("file").to_pylist() == rows
    assert "ill\\udcff.png" in result.report.read_text("utf-8")


def test_a_folder_that_vanishes(tmp_path: Path) -> None:
    recipe, images = recipe_in(tmp_path / "recipe"), tmp_path / "images"
    images_in(images, 3)
    out = tmp_path / "out"

    def remove(event: ns.BatchEvent) -> None:
        if event.kind == "image":
            shutil.rmtree(out)

    with pytest.raises(OutputError, match="out is not there any more; put it back"):
        ns.run_batch(recipe, images, out, device="cpu", trust=True, progress=remove)
    assert not out.exists()
    assert run(recipe, images, out).done == 3


# --- disks ----------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A small disk, which is made anew with other options each time it is called."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = []

    def mount(options: str) -> Path:
        again = ["-o", f"remount,{options}"] if mounted else ["-o", options]
        command = ["mount", "-t", "tmpfs", *again, "tmpfs", str(place)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no disk can be mounted here: {error}")
        mounted.append(options)
        return place

    yield mount
    if mounted:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(disk: Callable[[str], Path], tmp_path: Path) -> None:
    recipe, images = recipe_in(tmp_path / "recipe"), tmp_path / "images"
    images_in(images, 16)
    out = disk("size=96k") / "out"
    with pytest.raises(OutputError, match="No space left on device"):
        run(recipe, images, out)
    done = [path.name for path in (out / "maps").iterdir()]
    assert 0 < len(done) < 16
    assert all(name.startswith("cell") for name in done)
    disk("size=4m")
    result = run(recipe, images, out)
    assert result.kept > 0
    assert result.left == 0
    run(recipe, images, tmp_path / "whole")
    assert written(out) == written(tmp_path / "whole")


def test_a_disk_that_cannot_be_written(disk: Callable[[str], Path], tmp_path: Path) -> None:
    recipe, images = recipe_in(tmp_path / "recipe"), tmp_path / "images"
    images_in(images, 2)
    out = disk("size=4m") / "out"
    run(recipe, images, out)
    before = written(out)
    disk("ro,size=4m")
    images_in(images, 1, first=5)
    with pytest.raises(OutputError, match=r"can't be written: Read-only file system"):
        run(recipe, images, out)
    with pytest.raises(OutputError, match=r"can't be written: Read-only file system"):
        run(recipe, images, out.parent / "other")
    assert written(out) == before


def test_a_folder_is_let_go_when_it_can_not_be_opened(tmp_path: Path) -> None:
    BatchFolder(tmp_path, "one", tmp_path).close()
    (tmp_path / ".batch" / "batch.json").write_text("nonsense")
    for _ in range(2):
        with pytest.raises(ns.NeuroscopeError, match="is damaged"):
            BatchFolder(tmp_path, "one", tmp_path)
