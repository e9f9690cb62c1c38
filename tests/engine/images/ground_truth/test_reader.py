"""Ground truth of each kind, read as classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from skimage.segmentation import find_boundaries

import napari_neuroscope as ns
from ground_truths import FOREGROUND, IDS, INSTANCES, MANY, NUCLEI, STREET, coloured, notes, read
from napari_neuroscope.engine.images.ground_truth.reader import class_labels
from napari_neuroscope.engine.images.source import read_truth


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int64, np.uint64, np.float32])
def test_numbers_of_classes(dtype: type) -> None:
    truth = np.array([[0, 1, 255], [2, 1, 0]], dtype)
    assert read(truth) == [[0, 1, -1], [2, 1, 0]]
    assert class_labels(truth, STREET, (2, 3)).labels.dtype == np.int32
    assert class_labels(truth, STREET, (2, 3)).kind == "classes"
    assert notes(truth) == "read as numbers of classes"


def test_tensors_and_lists_of_arrays_alike() -> None:
    assert read(torch.from_numpy(IDS)) == IDS.tolist()


@given(arrays(np.uint8, (4, 5), elements=st.integers(0, 10)))
def test_numbers_are_kept_as_they_are(truth: np.ndarray) -> None:
    assert read(truth, MANY) == truth.tolist()


def test_gray_saved_as_colours_is_numbers() -> None:
    gray = np.repeat(IDS[..., None], 3, axis=-1).astype(np.uint8)
    assert read(gray) == IDS.tolist()
    assert "three channels are equal" in notes(gray)
    assert read(gray, kind="classes") == IDS.tolist()
    # A gray that is a class's colour is that class.
    assert read(np.full((2, 2, 3), 128, np.uint8)) == [[0, 0], [0, 0]]


def test_files_without_palette_are_read_as_images(tmp_path: Path) -> None:
    Image.fromarray(IDS.astype(np.uint8)).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(read_truth(tmp_path / "gray.png"), IDS)


def test_instances_are_the_foreground() -> None:
    found = class_labels(INSTANCES, NUCLEI, (4, 4))
    assert found.kind == "instances"
    assert found.labels.tolist() == FOREGROUND.tolist()
    assert found.notes == ("read as instances of “nucleus”, 0 as “background”",)
    assert read(INSTANCES, kind="instances", instance_class="road") == (2 * FOREGROUND).tolist()


def test_the_rim_of_instances_may_be_a_class() -> None:
    found = class_labels(INSTANCES, STREET, (4, 4), border_class="road")
    rim = find_boundaries(INSTANCES, mode="inner")
    assert rim.any()
    assert not rim[INSTANCES > 0].all()
    assert found.labels.tolist() == np.where(rim, 2, FOREGROUND).tolist()
    assert "rim inside each as “road”" in found.notes[1]


def test_void_among_instances() -> None:
    truth = INSTANCES.copy()
    truth[0, 0] = 255
    assert read(truth)[0] == [-1, 1, 1, 1]


@pytest.mark.parametrize("high", [True, 255])
def test_a_mask(high: Any) -> None:
    truth = (FOREGROUND * high).astype(bool if high is True else np.uint8)
    assert read(truth, NUCLEI) == FOREGROUND.tolist()
    assert "a mask of “nucleus”" in notes(truth, NUCLEI)


def test_instances_need_a_background() -> None:
    one = ns.ModelSpec.parse({"task": "segmentation", "classes": ["cell"]})
    with pytest.raises(ns.NeuroscopeError, match="one class alone"):
        read(INSTANCES, one, "instances")


CAR, ROAD = np.array([[255, 255, 0]], np.uint8), np.array([[0, 1, 0]], np.uint8)


def test_masks_of_named_classes() -> None:
    found = class_labels({"car": CAR, "road": ROAD}, STREET, (1, 3))
    assert found.labels.tolist() == [[1, 2, 0]]
    assert "what none covers is “sky”" in found.notes[0]
    assert "1 pixels are in several masks: the later one counts" in found.notes[1]
    swapped = class_labels({"road": ROAD, "car": CAR}, STREET, (1, 3))
    assert swapped.labels.tolist() == [[1, 1, 0]]


def test_masks_in_the_order_of_the_classes() -> None:
    assert read([CAR, ROAD], shape=(1, 3)) == [[1, 2, 0]]
    sky = np.array([[False, False, False]])
    found = class_labels([sky, CAR, ROAD], STREET, (1, 3))
    assert found.labels.tolist() == [[1, 2, -1]]
    assert "what none covers is void" in found.notes[0]


def test_masks_of_one_instance_each() -> None:
    assert read([CAR, ROAD, CAR, ROAD], kind="instances", shape=(1, 3)) == [[1, 1, 0]]


def test_masks_with_alpha_are_where_they_have_colour() -> None:
    mask = np.zeros((1, 3, 4), np.uint8)
    mask[..., 3] = 255
    mask[0, 1, 0] = 200
    assert read({"car": mask}, shape=(1, 3)) == [[0, 1, 0]]


@pytest.mark.parametrize(
    ("masks", "says"),
    [
        ([], "has no mask"),
        ([CAR], "1 masks, but there are 3 classes"),
        ({"bus": CAR}, "no class “bus”"),
        ({"car": CAR, "road": ROAD.T}, r"several shapes: (1, 3), (3, 1)"),
        ({"car": CAR[0]}, "has shape (3,), but the image 2 axes"),
    ],
)
def test_masks_that_are_none(masks: Any, says: str) -> None:
    with pytest.raises(ns.NeuroscopeError) as refusal:
        read(masks, shape=(1, 3))
    assert says in str(refusal.value)


def test_another_size_is_resized_and_said() -> None:
    truth = np.array([[0, 1], [2, 1]])
    found = class_labels(truth, STREET, (4, 6))
    assert found.labels.tolist() == np.kron(truth, np.ones((2, 3), int)).tolist()
    assert found.notes[-1] == (
        "it is 2 × 2, but the image 4 × 6: it was resized by nearest neighbour"
    )
    smaller = class_labels(np.arange(9)[None] % 3, STREET, (1, 3))
    # The middle of each three.
    assert smaller.labels.tolist() == [[1, 1, 1]]
    with pytest.raises(ns.NeuroscopeError, match="2 × 2, but the image 4 × 6; give one"):
        read(truth, shape=(4, 6), resize=False)
    with pytest.raises(ns.NeuroscopeError, match="lies on its side"):
        read(IDS, shape=(3, 2))


@pytest.mark.parametrize(
    ("truth", "more", "says"),
    [
        (np.zeros((2, 3, 5), int), {}, "(2, 3, 5), but the image 2 axes"),
        (np.zeros(3, int), {"shape": (1, 3)}, "(3,), but the image 2 axes"),
        (np.zeros((0, 3)), {}, "is empty"),
        (np.full((2, 2), 0.5), {}, "4 values that are no whole numbers"),
        (np.full((2, 2), np.nan), {}, "4 values that are no whole numbers"),
        (np.full((2, 2), "car"), {}, "type is <U3"),
        (IDS, {"kind": "colours"}, "no colours"),
        (coloured(), {"kind": "classes"}, "is coloured"),
        (IDS, {"kind": "colors"}, "did you mean “colours”"),
        (IDS, {"instance_class": "bus"}, "no class “bus”"),
        (IDS, {"border_class": 3}, "class 3 was asked for"),
        (IDS - 5, {}, "the number -5 in 2 pixels"),
        (IDS, {"spec": ns.ModelSpec(task="segmentation")}, "names no classes"),
    ],
)
def test_ground_truth_that_is_none(truth: Any, more: dict[str, Any], says: str) -> None:
    with pytest.raises(ns.NeuroscopeError) as refusal:
        read(truth, **more)
    assert says in str(refusal.value)


def test_volumes() -> None:
    spec = ns.ModelSpec.parse(
        {"task": "segmentation", "input": {"axes": "bczyx"}, "classes": ["a", "b", "c"]}
    )
    truth = np.arange(27).reshape(3, 3, 3) % 3
    np.testing.assert_array_equal(class_labels(truth, spec, (3, 3, 3)).labels, truth)
    # An axis of three is no colours where it is one of space.
    with pytest.raises(ns.NeuroscopeError, match="3 axes"):
        class_labels(truth[0], spec, (3, 3, 3))
