"""What it costs to score the street scenes' 101 validation images, beside one bare count of each.

Ours counts the confusion of each image, void left out and every number checked, and computes all
figures of each image and of all; the peer is `np.bincount` of a code of both classes, void already
taken for a class of its own. The labels are there: neither side predicts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from skimage.io import imread

import timing
from napari_neuroscope.engine.evaluation.confusion import Confusion
from napari_neuroscope.engine.evaluation.confusion_metrics import CONFUSION_METRICS
from napari_neuroscope.engine.evaluation.scoring import ImageScore, Scores
from napari_neuroscope.engine.images.ground_truth.reader import TruthReader
from napari_neuroscope.engine.images.pairing.pair import Pair
from napari_neuroscope.engine.images.source import Source
from napari_neuroscope.engine.spec.model_spec import ModelSpec
from rows import Row, hand_over

LABELS = Path(__file__).parents[2] / "shared" / "data" / "camvid" / "val" / "labels"
NAMES = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car",
         "pedestrian", "bicyclist")  # fmt: skip
SPEC = ModelSpec.parse({"task": "segmentation", "classes": list(NAMES), "ignore_label": 11})
ROUNDS = 15


def files() -> list[np.ndarray]:
    """Return ground truth as it is in its files, or drawn alike where they are not here."""
    if LABELS.is_dir():
        return [imread(path) for path in sorted(LABELS.glob("*.png"))]
    rng = np.random.default_rng(0)
    return [np.kron(rng.integers(0, 12, (36, 48), np.uint8), np.ones((10, 10), np.uint8))
            for _ in range(101)]  # fmt: skip


def main() -> list[Row]:
    stored = files()
    reader = TruthReader.of(SPEC)
    truths = [reader.labels(one, one.shape).labels for one in stored]
    # An answer that is mostly right: the scene, shifted.
    answers = [np.roll(np.where(t < 0, 3, t), 9, axis=1).astype(np.int32) for t in truths]
    with_void = [np.where(t < 0, 11, t).astype(np.int32) for t in truths]
    pair = Pair("", Source("", None))

    def scored(labels: list[np.ndarray]) -> Scores:
        results = [ImageScore("", pair, Confusion.of(t, p, NAMES))
                   for t, p in zip(labels, answers, strict=True)]  # fmt: skip
        scores = Scores("segmentation", NAMES, results)
        for name in CONFUSION_METRICS:
            scores.each(name)
        scores.metrics  # noqa: B018
        return scores

    def ours(number: int) -> Scores:
        return scored(truths)

    def from_files(number: int) -> Scores:
        return scored([reader.labels(one, one.shape).labels for one in stored])

    def bare(number: int) -> np.ndarray:
        total = np.zeros(144, np.int64)
        for t, p in zip(with_void, answers, strict=True):
            total += np.bincount((12 * t + p).ravel(), minlength=144)
        return total.reshape(12, 12)[:11, :11]

    np.testing.assert_array_equal(ours(0).total.counts, bare(0))
    times = timing.alternate({"ours": ours, "files": from_files, "bare": bare}, ROUNDS)
    height, width = stored[0].shape
    what = (
        f"Confusion and all figures of {len(stored)} street scenes, {width} × {height}, 11 classes"
    )
    peer = "np.bincount of each image, nothing else"
    return [
        Row.of_times(what, peer, times["ours"], times["bare"], "cost", 1.5),
        Row.of_times(
            f"{what}: ground truth read from numbers of classes, too",
            peer,
            times["files"],
            times["bare"],
            "note",
            None,
        ),
    ]


if __name__ == "__main__":
    timing.set_threads()
    hand_over(*main())
