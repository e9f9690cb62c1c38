"""``napari-neuroscope evaluate``, as a user calls it."""

from __future__ import annotations

import csv
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from napari_neuroscope.cli.main import main

CELLS = Path(str(files("napari_neuroscope.samples"))) / "blood-cells" / "images"
NUCLEI = Path(str(files("napari_neuroscope.samples"))) / "nuclei"


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_is_measured_and_a_broken_image_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "cells"
    folder.mkdir()
    for path in sorted(CELLS.glob("*.png"))[:2]:
        shutil.copy(path, folder)
    (folder / "broken.png").write_bytes(b"no picture")
    out = tmp_path / "figures.csv"
    arguments = ["evaluate", "demo:blood-cells", folder, "--method", "grad_cam", "--method",
                 "saliency", "--metric", "insertion", "-o", out]  # fmt: skip
    assert run(*arguments) == 0
    rows = table(out)
    assert len(rows) == 5
    broken = [row for row in rows if row["problem"]]
    assert len(broken) == 1
    assert "broken" in broken[0]["image"]
    told = capsys.readouterr()
    assert "2 of 3 images measured" in told.out
    assert "broken" in told.err
    good = [row for row in rows if not row["problem"]]
    assert {row["method"] for row in good} == {"grad_cam", "saliency"}
    mean = np.mean([float(row["insertion"]) for row in good if row["method"] == "saliency"])
    assert f"saliency: insertion {mean:.3f}" in told.out

    before = out.read_bytes()
    assert run(*arguments) == 1
    assert "exists already" in capsys.readouterr().err
    assert out.read_bytes() == before


def test_ground_truth_is_found_by_name(tmp_path: Path) -> None:
    image = next(iter(sorted((NUCLEI / "images").glob("*.png"))))
    out = tmp_path / "figures.csv"
    truth = next(
        folder for folder in NUCLEI.iterdir() if folder.is_dir() and folder.name != "images"
    )
    assert run("evaluate", "demo:nuclei", image, "--truth", truth, "--method", "saliency", "--class",
               "nucleus", "--metric", "energy_in_mask", "-o", out) == 0  # fmt: skip
    (row,) = table(out)
    assert 0 < float(row["energy_in_mask"]) < 1
    assert row["class"] == "nucleus"


def test_what_can_not_be_measured_is_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    image = next(iter(sorted(CELLS.glob("*.png"))))
    common = ["evaluate", "demo:blood-cells", image, "--method", "saliency"]
    assert run(*common, "-o", tmp_path / "figures.txt") == 1
    assert "is no .csv file" in capsys.readouterr().err
    assert run(*common, "--metric", "deletoin", "-o", tmp_path / "figures.csv") == 1
    assert "did you mean “deletion”" in capsys.readouterr().err
    assert not (tmp_path / "figures.csv").exists()


def test_a_metric_of_another_package_has_its_column(tmp_path: Path, sparseness: str) -> None:
    image = next(iter(sorted(CELLS.glob("*.png"))))
    out = tmp_path / "values.csv"
    assert run("evaluate", "demo:blood-cells", image, "--method", "saliency", "--metric",
               sparseness, "-o", out) == 0  # fmt: skip
    (row,) = table(out)
    assert 0 < float(row[sparseness]) < 1
