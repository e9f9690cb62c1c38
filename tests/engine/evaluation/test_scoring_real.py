"""Scores of real images: nuclei of the demo network, and street scenes of an untrained one.

The images stand beside the project.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.io import imread
from skimage.segmentation import find_boundaries

import napari_neuroscope as ns
from napari_neuroscope.engine.evaluation.scoring import Scores
from networks import UNet, settled
from places import IMAGES as DATA

CARD = Path(ns.__file__).parent / "samples" / "nuclei" / "MODEL_CARD.md"
STREET = [
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
]


def _folder(name: str) -> Path:
    folder = DATA / name / "val"
    if not folder.is_dir():
        pytest.skip(f"the images of {folder} are not here")
    return folder


@pytest.fixture(scope="module")
def nuclei() -> Scores:
    folder = _folder("nuclei")
    pairs = ns.pairs_of(folder / "images", folder / "instances")
    assert len(pairs) == 81
    scores = ns.score_images(ns.load("demo:nuclei", device="cpu"), pairs, border_class="border")
    assert scores.failed == []
    return scores


@pytest.mark.timeout(600)
def test_nuclei_are_scored_as_by_a_plain_script(nuclei: Scores) -> None:
    folder = _folder("nuclei")
    network = ns.load("demo:nuclei", device="cpu")
    # Of all sizes there are, in less than all.
    some = nuclei.results[::9]
    counts = np.zeros((3, 3), int)
    for result in some:
        answer = network.predict(imread(folder / "images" / result.name)).labels
        instances = imread(folder / "instances" / result.name).astype(int)
        truth = (instances > 0).astype(int)
        truth[find_boundaries(instances, mode="inner")] = 2
        of_image = np.array(
            [[((truth == t) & (answer == p)).sum() for p in range(3)] for t in range(3)]
        )
        np.testing.assert_array_equal(result.confusion.counts, of_image)
        assert result.notes[0].startswith("read as instances of “nucleus”")
        counts += of_image
    assert counts.min() > 0
    scores = Scores("segmentation", nuclei.names, some)
    np.testing.assert_array_equal(scores.total.counts, counts)
    for n in range(3):
        union = counts[n].sum() + counts[:, n].sum() - counts[n, n]
        assert scores.metrics["iou"][n] == counts[n, n] / union
        assert scores.metrics["recall"][n] == counts[n, n] / counts[n].sum()
        assert scores.metrics["precision"][n] == counts[n, n] / counts[:, n].sum()


def test_nuclei_are_as_good_as_their_card_says(nuclei: Scores) -> None:
    card = dict(re.findall(r"^\| (.+?) \| ([\d.]+) \|$", CARD.read_text("utf-8"), re.MULTILINE))
    # The card's figures come of padding by reflection, ours of continued borders.
    for n, name in enumerate(("background", "nucleus", "border")):
        assert nuclei.metrics["iou"][n] == pytest.approx(
            float(card[f"IoU {name}, pooled"]), abs=2e-3
        )
    each = np.array([result.confusion.counts for result in nuclei.results])
    found = each[:, 1:, 1:].sum((1, 2)) / (each.sum((1, 2)) - each[:, 0, 0])
    assert found.mean() == pytest.approx(float(card["foreground IoU, mean over images"]), abs=2e-3)
    assert found.min() == pytest.approx(float(card["foreground IoU, lowest image"]), abs=5e-3)


def test_street_scenes_are_read_as_their_classes() -> None:
    folder = _folder("camvid")
    spec = {"task": "segmentation", "classes": STREET, "ignore_label": 11,
            "input": {"size": {"min": 32, "step": 32}, "resize": "pad"}}  # fmt: skip
    network = ns.wrap(settled(UNet(3, len(STREET))), spec, device="cpu")
    found = ns.pairs_of(folder / "images", folder / "labels")
    assert len(found) == 101
    assert found.skipped == found.without_truth == ()
    pairs = list(found)[::25]
    scores = ns.score_images(network, pairs)
    assert scores.failed == []
    for pair, result in zip(pairs, scores.results, strict=True):
        truth = imread(folder / "labels" / f"{Path(pair.name).stem}.png")
        with torch.no_grad():
            answer = network.predict(imread(folder / "images" / pair.name)).labels
        assert result.notes == ("read as numbers of classes",)
        assert result.confusion.total == (truth != 11).sum() < truth.size
        in_truth = [(truth == n).sum() for n in range(11)]
        np.testing.assert_array_equal(result.confusion.counts.sum(1), in_truth)
        answered = [((answer == n) & (truth != 11)).sum() for n in range(11)]
        np.testing.assert_array_equal(result.confusion.counts.sum(0), answered)
    # Without its number, void is no class, and must not turn the others into instances.
    unsaid = network.with_spec(network.stated.model_copy(update={"ignore_label": None}))
    failed = ns.score_images(unsaid, pairs[:2]).failed
    assert len(failed) == 2
    assert "set the spec's ignore_label to 11" in failed[0].reason
