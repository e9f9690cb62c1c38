"""The command line, as a user calls it."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_neuroscope.cli.main import main
from napari_neuroscope.engine.results.save import read_result

SAMPLES = Path(str(files("napari_neuroscope.samples")))
NUCLEI = SAMPLES / "nuclei" / "images" / "02903040e19d.png"
WHITE_CELL = SAMPLES / "blood-cells" / "images" / "white-cell-1.png"


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_explain_writes_values_with_metadata(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "map.tif"
    status = run("explain", "demo:nuclei", NUCLEI, "--method", "grad_cam", "--layer", "enc*",
                 "--layer", "dec1", "--class", "nucleus", "--class", "border", "-o", out)  # fmt: skip
    assert status == 0
    assert tifffile.imread(out).shape == (10, 360, 360)
    found = read_result(out).explanation
    assert found.values.shape == (2, 5, 360, 360)
    assert found.labels["layer"] == ("enc1", "enc2", "enc3", "enc4", "dec1")
    assert "pixels where it is predicted (logit " in capsys.readouterr().out


def test_a_classifier_explains_its_answer(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run("explain", "demo:blood-cells", WHITE_CELL, "-o", tmp_path / "map.png") == 0
    assert "white cell" in capsys.readouterr().out
    assert (tmp_path / "map.png").stat().st_size > 1000


def test_scores_of_a_classifier(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "cam.npy"
    assert run("explain", "demo:blood-cells", WHITE_CELL, "--method", "score_map", "-o", out) == 0
    rows = re.findall(r"  ([a-z ]+): ([\d.]+)%", capsys.readouterr().out)
    assert max(rows, key=lambda row: float(row[1]))[0] == "white cell"
    assert sum(float(row[1]) for row in rows) == pytest.approx(100, abs=0.2)
    assert np.load(out).shape == (10, 10)


def test_options_reach_the_method(tmp_path: Path) -> None:
    out = tmp_path / "map.npy"
    run("explain", "demo:nuclei", NUCLEI, "--class", "1", "--layer", "dec1", "--option",
        "relu=false", "-o", out)  # fmt: skip
    assert np.load(out).min() < 0


def test_layers_are_listed(capsys: pytest.CaptureFixture) -> None:
    assert run("layers", "demo:nuclei") == 0
    printed = capsys.readouterr().out
    assert "enc1.conv1" in printed
    assert "convolution" in printed
    assert run("layers", "demo:nuclei", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[0]["name"] == "enc1.conv1"
    assert {row["kind"] for row in rows} >= {"convolution", "concatenate", "pooling", "block"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["demo:nuklei", NUCLEI, "-o", "x.tif"], "did you mean “nuclei”"),
        (["demo:nuclei", "missing.png", "-o", "x.tif"], "There is no image missing.png"),
        (["demo:nuclei", NUCLEI, "-o", "x.jpeg"], "ends in no known kind of file"),
        (["demo:nuclei", NUCLEI, "-o", "nowhere/x.tif"], "does not exist; make it first"),
        (["demo:nuclei", NUCLEI, "-o", "x.tif"], "needs a class"),
        (["demo:nuclei", NUCLEI, "--class", "nukleus", "-o", "x.tif"], "did you mean “nucleus”"),
        (["demo:nuclei", NUCLEI, "--class", "1", "--method", "gradcam", "-o", "x.tif"],
         "did you mean “grad_cam”"),
        (["demo:nuclei", NUCLEI, "--class", "1", "--layer", "dec9", "-o", "x.tif"],
         "did you mean “dec"),
        (["demo:nuclei", NUCLEI, "--class", "1", "--option", "relu", "-o", "x.tif"],
         "needs the form NAME=VALUE"),
        (["demo:nuclei", NUCLEI, "--class", "1", "--option", "rely=1", "-o", "x.tif"],
         "did you mean “relu”"),
        (["demo:nuclei", NUCLEI, "--class", "1", "--device", "cuda:77", "-o", "x.tif"],
         "device “cuda:77”"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(
    arguments: list[object],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("explain", *arguments) == 1
    printed = capsys.readouterr()
    assert says in printed.err
    assert "Traceback" not in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "map.npy"
    out.write_bytes(b"mine")
    command = ["explain", "demo:nuclei", NUCLEI, "--class", "1", "--method", "saliency", "-o", out]
    assert run(*command) == 1
    assert "--force" in capsys.readouterr().err
    assert out.read_bytes() == b"mine"
    assert run(*command, "--force") == 0


def test_a_file_that_is_no_image(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"this is no image")
    assert run("explain", "demo:nuclei", broken, "--class", "1", "-o", tmp_path / "x.tif") == 1
    assert "can't be read" in capsys.readouterr().err


def test_the_demo_needs_a_screen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert run("demo") == 1
    assert "no screen" in capsys.readouterr().err
