"""The script of the paper's figures: its network, its data, its training and its choice of scenes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import napari_neuroscope as ns
from places import ROOT

sys.path.append(str(ROOT / "scripts"))

import paper_figures
import street_network as streets


def scenes(count: int = 5) -> list[streets.Scene]:
    """Return scenes of two halves, road below sky, whose colours tell them apart."""
    random = np.random.default_rng(0)
    made = []
    for number in range(count):
        labels = np.full((48, 64), streets.CLASSES.index("sky"), np.uint8)
        labels[20 + number :] = streets.CLASSES.index("road")
        labels[0, 0] = streets.VOID
        image = np.where(labels[..., None] == 3, 60, 200) + random.integers(0, 20, (48, 64, 3))
        made.append((f"scene {number}", image.astype(np.uint8), labels))
    return made


def test_the_network_keeps_the_size_of_any_image() -> None:
    model = streets.StreetNetwork(widths=(4, 8, 12, 16)).eval()
    for size in ((180, 240), (45, 61)):
        assert model(torch.zeros(1, 3, *size)).shape == (1, 11, *size)


def test_it_learns_keeps_what_it_learnt_and_goes_on(tmp_path: Path) -> None:
    path, told = tmp_path / "network.pt", []
    model = streets.train(scenes(), path, epochs=3, batch=2, report=told.append)
    assert len(told) == 3
    assert [file.name for file in tmp_path.iterdir()] == ["network.pt"]
    again = streets.train(scenes(), path, epochs=3, batch=2, report=told.append)
    assert len(told) == 3  # nothing was trained
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_an_interruption_changes_nothing(tmp_path: Path) -> None:
    whole = streets.train(scenes(), tmp_path / "whole.pt", epochs=2, batch=2, report=str)

    def stop(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        streets.train(scenes(), tmp_path / "part.pt", epochs=2, batch=2, report=stop)
    told: list[str] = []
    part = streets.train(scenes(), tmp_path / "part.pt", epochs=2, batch=2, report=told.append)
    assert len(told) == 1
    for one, other in zip(whole.parameters(), part.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_iou_by_hand() -> None:
    class Sky(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scores = torch.zeros(len(x), 11, *x.shape[2:])
            scores[:, 0] = 1
            return scores

    shares = streets.iou(Sky(), scenes(1))
    sky = 20 * 64 - 1
    assert shares[0] == pytest.approx(sky / (48 * 64 - 1))
    assert shares[3] == 0
    assert np.isnan(shares[8])


def test_rare_classes_weigh_more() -> None:
    weights = streets.class_weights(np.array([0] * 90 + [3] * 10 + [11] * 50, np.uint8))
    assert weights[3] / weights[0] == pytest.approx(3)
    assert float(weights.mean()) == pytest.approx(1)


def test_the_scene_with_most_of_what_is_found_is_chosen() -> None:
    class Dark(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 11, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            dark = -x.mean(1, keepdim=True)
            return torch.cat([-dark, *[dark - 9] * 2, dark, *[dark - 9] * 7], 1) + 0 * self.conv(x)

    network = ns.wrap(Dark(), streets.SPEC, device="cpu")
    title, image = paper_figures.scene_of("road", network, scenes())
    assert title == "scene 0"
    assert image.shape == (48, 64, 3)
    with pytest.raises(SystemExit, match="“car”"):
        paper_figures.scene_of("car", network, scenes())


def test_the_street_scenes_are_read_at_half_size() -> None:
    folder = paper_figures.CAMVID / "val"
    if not folder.is_dir():
        pytest.skip("the street scenes are not on this machine")
    found = streets.read_scenes(folder)
    assert len(found) == 101
    _, image, labels = found[0]
    assert image.shape == (180, 240, 3)
    assert labels.shape == (180, 240)
    assert set(np.unique(labels)) <= set(range(12))


def test_figures_are_drawn(tmp_path: Path) -> None:
    network = ns.load("demo:nuclei")
    image = np.zeros((96, 96), np.uint8)
    image[30:60, 30:70] = 200
    target = ns.Target("nucleus")
    for number, figure in enumerate((
        paper_figures.four_methods(network, image, target, "dec1"),
        paper_figures.evolution(network, image, "guided_grad_cam", target, ["enc1", "dec1"]),
        paper_figures.regions(network, image, target),
    )):  # fmt: skip
        path = tmp_path / f"{number}.png"
        paper_figures.save(figure, path)
        assert path.stat().st_size < 300_000
