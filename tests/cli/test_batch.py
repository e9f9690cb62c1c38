"""``napari-neuroscope batch``, as a user calls it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from batches import images_in, recipe_in
from napari_neuroscope.cli.main import main
from places import FIXTURES


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    images_in(tmp_path / "images", 4)
    return recipe_in(tmp_path / "recipe")


def run(recipe: Path, out: Path, *more: object) -> int:
    images = recipe.parent.parent / "images"
    words = ["batch", recipe, images, "-o", out, "--trust", "--device", "cpu", *more]
    return main([str(word) for word in words])


def test_a_batch_says_what_it_did(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    assert run(recipe, out, "--outputs", ".tif", ".png") == 0
    printed = capsys.readouterr().out
    assert "4 of 4 images done" in printed
    assert f"report: {out / 'report.html'}" in printed
    assert {path.suffix for path in (out / "maps").iterdir()} == {".tif", ".png"}
    assert run(recipe, out) == 0
    assert "4 of 4 images done, 4 of them before" in capsys.readouterr().out
    assert run(recipe, out, "--force") == 0
    assert "before" not in capsys.readouterr().out


def test_an_image_that_has_a_problem_is_told(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "images" / "broken.png").write_bytes(b"nothing")
    assert run(recipe, tmp_path / "out") == 3
    printed = capsys.readouterr()
    assert "4 of 5 images done, 1 with a problem" in printed.out
    assert "broken.png: The image" in printed.err
    assert "can't be read" in printed.err


def test_what_cannot_begin_is_one_sentence(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["batch", str(recipe), str(tmp_path / "none"), "-o", str(tmp_path / "out")]) == 1
    assert "There is no image" in capsys.readouterr().err
    assert run(recipe, tmp_path / "out", "--workers", "0") == 1
    assert "at least one worker" in capsys.readouterr().err
    images = str(tmp_path / "images")
    assert main(["batch", str(recipe), images, "-o", str(tmp_path / "out")]) == 1
    assert "would run code of its own" in capsys.readouterr().err


def test_events_as_lines(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(recipe, tmp_path / "out", "--progress", "json") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["kind"] for event in events] == ["started", *["image"] * 4, "finished"]
    assert events[-1]["done"] == 4
    assert Path(events[1]["outputs"][0]).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="a process is interrupted by a signal")
def test_an_interrupted_batch_says_how_to_go_on(recipe: Path, tmp_path: Path) -> None:
    images_in(tmp_path / "images", 150)
    out = tmp_path / "out put"
    command = [sys.executable, "-m", "napari_neuroscope.cli", "batch", recipe,
               tmp_path / "images", "-o", out, "--trust", "--progress", "json"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(FIXTURES)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while '"kind": "image"' not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"Stopped; what is done lies in '{out}'. The same command goes on." in said
    assert "Traceback" not in said
    assert 1 <= len(list((out / "maps").glob("*.tif"))) < 150
