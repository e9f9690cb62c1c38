"""Scores of many images: networks whose answers are known."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import napari_neuroscope as ns
from napari_neuroscope.engine.evaluation.confusion import Confusion
from napari_neuroscope.engine.evaluation.confusion_metrics import (
    CONFUSION_METRICS,
    top_k,
    true_rank,
)
from napari_neuroscope.engine.evaluation.scoring import ImageScore, Scores, score_images
from napari_neuroscope.engine.images.pairing.find_pairs import pairs_of
from napari_neuroscope.engine.images.pairing.pair import Pair
from napari_neuroscope.engine.images.source import Source

NAMES = ("sky", "car", "road")


class Reads(nn.Module):
    """Answers the class whose number a pixel has."""

    def forward(self, x: Tensor) -> Tensor:
        return -((x[:, :1] - torch.arange(3.0).reshape(1, 3, 1, 1)) ** 2)


class Mean(nn.Module):
    """Answers the class that is nearest to the mean of an image."""

    def forward(self, x: Tensor) -> Tensor:
        return -((x.mean((1, 2, 3))[:, None] - torch.arange(3.0)) ** 2)


def network(model: nn.Module | None = None, task: str = "segmentation", **more: Any) -> ns.Network:
    spec = {"task": task, "classes": list(NAMES), "ignore_label": 9,
            "input": {"channels": 1, "order": "gray", "value_range": (0, 1), **more}}  # fmt: skip
    return ns.wrap(model or Reads(), spec, device="cpu")


def pair(name: str, answer: Any, truth: Any) -> Pair:
    """Return an image that is answered by `answer`."""
    return Pair(name, Source.of(np.array(answer, np.float32), name), truth)


def truth_of(labels: Any) -> Source:
    return Source.of(np.array(labels, np.uint8), "truth")


ONE = pair("one", [[0, 1, 1], [2, 2, 0]], truth_of([[0, 1, 2], [2, 2, 9]]))
TWO = pair("two", [[1, 1], [0, 0]], truth_of([[0, 0], [0, 1]]))
VOID = pair("void", [[1, 1], [0, 0]], truth_of([[9, 9], [9, 9]]))
LEFT_OUT = pair("left out", [[1, 1]], None)
BAD = pair("bad", [[1, 1]], truth_of([[1, 7]]))
PAIRS = [ONE, TWO, VOID, LEFT_OUT, BAD]


def scored(pairs: Any = PAIRS, **more: Any) -> Scores:
    return score_images(network(), pairs, **more)


def test_each_image_and_all_together() -> None:
    scores = scored()
    assert [result.name for result in scores.results] == ["one", "two", "void"]
    expected_one = [[1, 0, 0], [0, 1, 0], [0, 1, 2]]
    expected_two = [[1, 2, 0], [1, 0, 0], [0, 0, 0]]
    np.testing.assert_array_equal(scores.results[0].confusion.counts, expected_one)
    np.testing.assert_array_equal(scores.results[1].confusion.counts, expected_two)
    total = np.add(expected_one, expected_two)
    np.testing.assert_array_equal(scores.total.counts, total)
    assert scores.total.names == NAMES
    assert scores.metrics["accuracy"] == 5 / 9
    assert scores.results[0].metrics["accuracy"] == 4 / 5
    np.testing.assert_allclose(scores.metrics["iou"], [2 / 5, 1 / 5, 2 / 3])
    assert np.isnan(scores.results[2].metrics["mean_iou"])
    assert scores.results[0].notes == ("read as numbers of classes",)
    for name, metric in CONFUSION_METRICS.items():
        rows = [result.metrics[name] for result in scores.results]
        np.testing.assert_array_equal(scores.each(name), rows)
        np.testing.assert_array_equal(scores.metrics[name], metric(scores.total))


def test_images_that_fail_are_listed_and_the_rest_is_done() -> None:
    failed = {one.name: one.reason for one in scored([BAD, LEFT_OUT, ONE]).failed}
    assert set(failed) == {"bad", "left out"}
    assert "the number 7 in 1 pixels, but there are 3 classes" in failed["bad"]
    assert failed["left out"] == "“left out” has no ground truth."


def test_the_images_where_one_class_was_taken_for_another() -> None:
    scores = scored([ONE, TWO, pair("three", [[1, 1, 1]], truth_of([[0, 0, 0]]))])
    found = scores.images_with("sky", "car")
    assert [result.name for result in found] == ["three", "two"]
    assert [result.name for result in scores.images_with("car", 0)] == ["two"]
    assert scores.images_with("road", "sky") == []
    with pytest.raises(ns.NeuroscopeError, match="no class “bus”; choose from sky, car, road"):
        scores.images_with("bus", "sky")
    with pytest.raises(ns.NeuroscopeError, match="no class “3”"):
        scores.images_with(0, 3)


def test_images_by_a_figure() -> None:
    scores = scored()
    assert [result.name for result in scores.ranked("accuracy")] == ["two", "one", "void"]
    assert [result.name for result in scores.ranked("iou", "road")] == ["one", "two", "void"]
    with pytest.raises(ns.NeuroscopeError, match="say which class"):
        scores.ranked("iou")
    with pytest.raises(ns.NeuroscopeError, match="no metric “iuo”"):
        scores.ranked("iuo")


def test_what_the_network_did_not_see_is_left_out() -> None:
    # The centre two columns alone are cut out.
    cropped = network(size=(2, 2), resize="crop")
    image = pair("wide", [[0, 1, 1, 0], [0, 1, 1, 0]], truth_of([[1, 1, 1, 1], [1, 1, 1, 1]]))
    scores = score_images(cropped, [image])
    np.testing.assert_array_equal(scores.total.counts, [[0, 0, 0], [0, 4, 0], [0, 0, 0]])


def test_results_come_as_they_are_made_and_work_can_be_stopped() -> None:
    told: list[ImageScore] = []
    seen: list[tuple[int, int, str]] = []

    def stop(done: int, total: int, what: str) -> None:
        seen.append((done, total, what))
        if what == "void":
            raise ns.Cancelled

    with pytest.raises(ns.Cancelled):
        scored(truth_kind="classes", each=told.append, progress=stop)
    assert [result.name for result in told] == ["one", "two"]
    assert seen == [(0, 5, "one"), (1, 5, "two"), (2, 5, "void")]
    seen.clear()
    scored([ONE, TWO], truth_kind="classes", progress=lambda *step: seen.append(step))
    assert seen[-1][:2] == (2, 2)


def test_predictions_are_kept_within_a_bound() -> None:
    assert all(result.labels is None for result in scored().results)
    kept = [result.labels for result in scored(keep_bytes=20).results]
    np.testing.assert_array_equal(kept[0], [[0, 1, 1], [2, 2, 0]])
    assert kept[0].dtype == np.int16
    np.testing.assert_array_equal(kept[1], [[1, 1], [0, 0]])
    assert kept[2] is None


def test_no_image_at_all() -> None:
    scores = scored([])
    assert scores.total.total == 0
    assert np.isnan(scores.metrics["accuracy"])
    assert scores.ranked("accuracy") == scores.images_with(0, 1) == []


def test_all_ground_truths_are_read_alike() -> None:
    # Two nuclei have the numbers of two classes; their neighbours say that they are instances.
    few = pair("few", [[0, 1, 1]], truth_of([[0, 1, 2]]))
    many = pair("many", [[0, 1, 1, 1]], truth_of([[0, 11, 12, 13]]))
    for pairs in ([few, many], [many, few]):
        np.testing.assert_array_equal(scored(pairs).total.counts, [[2, 0, 0], [0, 5, 0], [0, 0, 0]])
    np.testing.assert_array_equal(scored([few]).total.counts, [[1, 0, 0], [0, 1, 0], [0, 1, 0]])


def test_how_ground_truth_is_read_is_passed_on() -> None:
    one = pair("one", [[0, 2, 2]], truth_of([[0, 5, 5]]))
    scores = scored([one], truth_kind="instances", instance_class="road")
    assert scores.metrics["accuracy"] == 1
    colours = Source.of(np.array([[(1, 2, 3), (9, 9, 9)]], np.uint8))
    assert "colours of no class" in scored([Pair("c", one.image, colours)]).failed[0].reason
    small = pair("small", [[0, 0, 2, 2]], truth_of([[0, 2]]))
    assert "resized by nearest" in scored([small]).results[0].notes[-1]
    assert "let it be resized" in scored([small], resize=False).failed[0].reason


def test_masks_of_one_class_each() -> None:
    masks = [Source("road", np.array([[1, 0, 0]])), Source("car", np.array([[0, 1, 0]]))]
    scores = scored([pair("m", [[2, 1, 0]], masks)])
    np.testing.assert_array_equal(scores.total.counts, np.eye(3))
    unnamed = [Source("x", np.array([[0, 1, 0]])), Source("y", np.array([[1, 0, 0]]))]
    np.testing.assert_array_equal(scored([pair("m", [[2, 1, 0]], unnamed)]).total.counts, np.eye(3))


def test_stacks_are_scored_plane_by_plane() -> None:
    stack = np.array([[[0, 1]], [[2, 2]], [[1, 1]]], np.float32)
    truth = np.array([[[0, 1]], [[2, 0]], [[1, 1]]], np.uint8)
    scores = scored([Pair("movie", Source.of(stack, "movie"), Source.of(truth))])
    assert [result.name for result in scores.results] == ["movie [0]", "movie [1]", "movie [2]"]
    assert scores.each("accuracy").tolist() == [1, 0.5, 1]


def test_files_from_disk(tmp_path: Path) -> None:
    for folder in ("images", "truths"):
        (tmp_path / folder).mkdir()
    for name, answer in (("a", [[0, 1]]), ("b", [[2, 2]])):
        np.save(tmp_path / "images" / f"{name}.npy", np.array(answer, np.float32))
        Image.fromarray(np.array([[0, 1]], np.uint8)).save(tmp_path / "truths" / f"{name}_gt.png")
    (tmp_path / "images" / "c.npy").write_bytes(b"broken")
    Image.fromarray(np.array([[0, 1]], np.uint8)).save(tmp_path / "truths" / "c.png")
    pairs = pairs_of(tmp_path / "images", tmp_path / "truths")
    scores = scored(pairs)
    assert [result.name for result in scores.results] == ["a.npy", "b.npy"]
    assert scores.each("accuracy").tolist() == [1, 0]
    assert "c.npy can't be read" in scores.failed[0].reason


# --- classification -------------------------------------------------------------------------------

CELLS = [
    Pair("a", Source.of(np.full((4, 4), 0.1), "a"), "sky"),
    Pair("b", Source.of(np.full((4, 4), 1.2), "b"), "road"),
    Pair("c", Source.of(np.full((4, 4), 1.9), "c"), 2),
    Pair("d", Source.of(np.full((4, 4), 0.2), "d"), "Road"),
    Pair("e", Source.of(np.full((4, 4), 1.2), "e"), "bus"),
    Pair("f", Source.of(np.full((4, 4), 1.2), "f"), truth_of([[1]])),
]


def test_classes_of_images() -> None:
    scores = score_images(network(Mean(), "classification"), CELLS)
    np.testing.assert_array_equal(scores.total.counts, [[1, 0, 0], [0, 0, 0], [1, 1, 1]])
    assert [result.rank for result in scores.results] == [1, 2, 1, 3]
    assert [scores.top_k(k) for k in (1, 2, 3)] == [0.5, 0.75, 1]
    assert [r.name for r in scores.images_with("road", "car")] == ["b"]
    failed = {one.name: one.reason for one in scores.failed}
    assert "no class “bus”" in failed["e"]
    assert "is an image, but the network says one class" in failed["f"]
    with pytest.raises(ns.NeuroscopeError, match="at least 1"):
        scores.top_k(0)
    assert np.isnan(Scores("classification", NAMES).top_k(1))


def test_a_class_is_no_ground_truth_of_pixels() -> None:
    assert "give an image of classes" in scored([pair("x", [[1]], "car")]).failed[0].reason


def test_the_blood_cells() -> None:
    folder = Path(ns.__file__).parent / "samples" / "blood-cells"
    cells = ns.load("demo:blood-cells", device="cpu")
    pairs = ns.pairs_of(folder / "images", folder / "labels.csv")
    scores = ns.score_images(cells, pairs)
    answers = [cells.predict(one.image.read()).scores for one in pairs]
    true = [cells.class_names.index(one.truth) for one in pairs]
    expected = Confusion.of(true, np.argmax(answers, 1), cells.class_names)
    np.testing.assert_array_equal(scores.total.counts, expected.counts)
    assert scores.total.total == 9
    assert scores.metrics["accuracy"] == np.mean(np.argmax(answers, 1) == true)
    assert scores.top_k(2) == top_k(true_rank(answers, true), 2)


# --- tables ---------------------------------------------------------------------------------------


def test_as_csv(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    scores = scored()
    scores.to_csv(path)
    rows = list(csv.DictReader(path.open(encoding="utf-8", newline="")))
    by_name = {row["image"]: row for row in rows}
    assert list(by_name) == [
        "one", "two", "void", "left out", "bad", "all together", "mean of the images",
    ]  # fmt: skip
    assert by_name["one"]["pixels"] == "5"
    assert float(by_name["one"]["IoU: road"]) == 2 / 3
    assert float(by_name["one"]["Recall: road"]) == 2 / 3
    assert float(by_name["one"]["Precision: car"]) == 1 / 2
    assert by_name["two"]["IoU: road"] == by_name["void"]["Accuracy"] == "n/a"
    assert "the number 7" in by_name["bad"]["notes"]
    assert by_name["all together"]["pixels"] == "9"
    assert float(by_name["all together"]["Accuracy"]) == 5 / 9
    np.testing.assert_allclose(
        float(by_name["mean of the images"]["Accuracy"]), (4 / 5 + 1 / 4) / 2
    )
    np.testing.assert_allclose(float(by_name["mean of the images"]["IoU: road"]), 2 / 3)
    with pytest.raises(ns.NeuroscopeError, match="is there already"):
        scores.to_csv(path)
    scored([]).to_csv(path, overwrite=True)
    assert len(path.read_text("utf-8").splitlines()) == 3
    assert [p.name for p in tmp_path.iterdir()] == ["scores.csv"]


def test_as_csv_of_classes(tmp_path: Path) -> None:
    score_images(network(Mean(), "classification"), CELLS).to_csv(tmp_path / "s.csv")
    rows = list(csv.DictReader((tmp_path / "s.csv").open(encoding="utf-8", newline="")))
    assert rows[0]["images"] == "1"
    assert "F1: sky" in rows[0]
    assert "Mean IoU" not in rows[0]
