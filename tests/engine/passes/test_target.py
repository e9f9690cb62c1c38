"""Targets: regions on the image brought to the network's output."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import napari_neuroscope as ns
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.passes.target import resolve_region

IMAGE = Grid.of_image((8, 12))
OUTPUT = IMAGE.divided((4, 6))  # an output of half the image's size
PREDICTED = torch.tensor(
    [[0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2], [0, 0, 0, 0, 0, 0], [2, 2, 2, 2, 2, 2]]
)


def resolve(region: Any, index: int = 1, **more: Any) -> tuple[torch.Tensor | None, str]:
    return resolve_region(
        region, index=index, predicted=PREDICTED, output=OUTPUT, image=IMAGE, **more
    )


def positions(mask: torch.Tensor | None) -> set[tuple[int, int]]:
    assert mask is not None
    return {(int(y), int(x)) for y, x in mask.nonzero()}


def test_everywhere_is_no_mask() -> None:
    assert resolve("everywhere") == (None, "everywhere")


def test_predicted_is_where_the_class_is_the_answer() -> None:
    mask, words = resolve("predicted")
    assert positions(mask) == {(0, 2), (0, 3), (1, 2), (1, 3)}
    assert words == "predicted"


def test_a_mask_is_taken_at_the_centre_of_each_cell() -> None:
    mask = np.zeros(IMAGE.shape, bool)
    mask[2:4, 4:8] = True
    assert positions(resolve(mask)[0]) == {(1, 2), (1, 3)}
    as_numbers, _ = resolve(mask.astype(np.uint8) * 255)
    assert positions(as_numbers) == {(1, 2), (1, 3)}
    as_tensor, _ = resolve(torch.from_numpy(mask))
    assert positions(as_tensor) == {(1, 2), (1, 3)}


def test_a_mask_as_nested_lists() -> None:
    mask = np.zeros(IMAGE.shape, int)
    mask[:2, :2] = 1
    assert positions(resolve(mask.tolist())[0]) == {(0, 0)}


def test_ground_truth_is_where_the_class_truly_is() -> None:
    truth = np.zeros(IMAGE.shape, int)
    truth[6:, 10:] = 1
    assert positions(resolve("ground_truth", ground_truth=truth)[0]) == {(3, 5)}


def test_an_instance_is_one_label_of_several() -> None:
    labels = np.zeros(IMAGE.shape, int)
    labels[:2, :2], labels[4:6, 2:6] = 5, 9
    mask, words = resolve(ns.Instance(labels, 9))
    assert positions(mask) == {(2, 1), (2, 2)}
    assert words == "instance 9"


@pytest.mark.parametrize(
    ("point", "cell"),
    [((0, 0), (0, 0)), ((7, 11), (3, 5)), ((3.4, 4.6), (1, 2)), ((-0.5, 1), (0, 0))],
)
def test_a_point_is_the_cell_that_covers_it(point: tuple, cell: tuple) -> None:
    for given in (point, list(point)):
        assert positions(resolve(given)[0]) == {cell}


def test_a_point_through_a_crop() -> None:
    # The network sees rows 2..5 and columns 4..9 of the image, and answers one cell a pixel.
    mask, _ = resolve_region(
        (3, 5),
        index=0,
        predicted=torch.zeros(4, 6),
        output=IMAGE.window((2, 4), (4, 6)),
        image=IMAGE,
    )
    assert positions(mask) == {(1, 1)}


@pytest.mark.parametrize(
    ("region", "more", "says"),
    [
        ("predicted", {"index": 7, "name": "pole"}, "pole is predicted nowhere in this image."),
        (np.zeros((8, 12)), {}, "no positions"),
        ((20, 3), {}, "no positions"),
        ((1,), {}, "1 coordinates, but the image 2 axes"),
        ((), {}, "0 coordinates"),
        (np.ones((4, 6)), {}, "(4, 6), but the image (8, 12)"),
        (np.ones((8, 12, 3)), {}, "(8, 12, 3)"),
        ("ground_truth", {}, "needs ground truth"),
        ("ground_truth", {"ground_truth": np.zeros((8, 12))}, "nowhere in the ground truth"),
        ("ground_truth", {"ground_truth": np.zeros((8, 11))}, "(8, 11)"),
        (ns.Instance(np.zeros((8, 12), int), 3), {}, "no instance 3"),
        (ns.Instance(np.zeros((8, 13), int), 0), {}, "(8, 13)"),
    ],
)
def test_regions_that_are_none(region: Any, more: dict[str, Any], says: str) -> None:
    with pytest.raises(ns.NeuroscopeError) as refusal:
        resolve(region, **more)
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"score": "probabilty"}, "did you mean “probability”"),
        ({"reduce": "max"}, "“sum” or “mean”"),
        ({"region": "predicte"}, "did you mean “predicted”"),
    ],
)
def test_fields_that_do_not_exist(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ns.NeuroscopeError) as refusal:
        ns.Target("car", **fields)
    assert says in str(refusal.value)


def test_a_class_alone_is_a_target() -> None:
    assert ns.Target.of("car").class_ == "car"
    target = ns.Target("car", "predicted")
    assert ns.Target.of(target) is target


def test_different_masks_have_different_words() -> None:
    first, second = np.zeros(IMAGE.shape, bool), np.zeros(IMAGE.shape, bool)
    first[:4], second[4:] = True, True
    assert resolve(first)[1] != resolve(second)[1]
    assert resolve(first)[1] == resolve(first.astype(float))[1]
