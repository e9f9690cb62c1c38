"""Resizing: what the network sees of an image, as Pillow and torchvision have it, and where it lies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from torch.nn import functional

import napari_neuroscope as ns
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.images.preprocessing import PreparedImage, prepare
from napari_neuroscope.engine.spec.model_spec import ModelSpec
from networks import as_network, pointwise

_POLICIES = ["stretch", "fit", "crop", "pad"]


def prepared_size(image: np.ndarray, size: Any, resize: str, axes: str = "bcyx") -> PreparedImage:
    spec = ns.ModelSpec.parse({"input": {"axes": axes, "size": size, "resize": resize}})
    return prepare(image, spec, 1)


def edges(grid: Grid) -> np.ndarray:
    scale, offset, shape = map(np.asarray, (grid.scale, grid.offset, grid.shape))
    return np.stack([offset - scale / 2, offset + scale * (shape - 0.5)])


def test_stretch_covers_the_image_exactly() -> None:
    found = prepared_size(np.zeros((30, 50)), (16, 64), "stretch")
    assert found.input.shape == (1, 16, 64)
    np.testing.assert_allclose(edges(found.grid), [[-0.5, -0.5], [29.5, 49.5]], atol=1e-9)


def test_fit_keeps_the_aspect_and_pads_behind() -> None:
    # 20 × 40 into 32 × 32: the longer side shrinks by 0.8, 16 × 32, then 16 rows are added.
    found = prepared_size(np.zeros((20, 40)), (32, 32), "fit")
    assert found.input.shape == (1, 32, 32)
    np.testing.assert_allclose(found.grid.scale, (1.25, 1.25))
    np.testing.assert_allclose(edges(found.grid), [[-0.5, -0.5], [39.5, 39.5]], atol=1e-9)


def test_crop_keeps_the_aspect_and_cuts_the_middle() -> None:
    # 20 × 40 to 16 × 16: the shorter side shrinks by 0.8, 16 × 32, and 8 columns go on each side,
    # which are 10 pixels of the image.
    found = prepared_size(np.zeros((20, 40)), (16, 16), "crop")
    assert found.input.shape == (1, 16, 16)
    np.testing.assert_allclose(edges(found.grid), [[-0.5, 9.5], [19.5, 29.5]], atol=1e-9)


def test_pad_keeps_every_pixel_and_continues_the_border() -> None:
    image = np.arange(12.0).reshape(3, 4) / 12
    found = prepared_size(image, {"min": 4, "step": 4}, "pad")
    assert found.input.shape == (1, 4, 4)
    np.testing.assert_allclose(found.input[0, :3], image, atol=1e-7)
    np.testing.assert_allclose(found.input[0, 3], image[2], atol=1e-7)
    assert (found.grid.scale, found.grid.offset) == ((1.0, 1.0), (0.0, 0.0))


def test_pad_far_beyond_the_image() -> None:
    found = prepared_size(np.ones((3, 3)), (32, 16), "pad")
    np.testing.assert_array_equal(found.input, np.ones((1, 32, 16)))


def test_padding_cannot_make_an_image_smaller() -> None:
    with pytest.raises(ns.NeuroscopeError, match="40 × 40, larger than the network's 32 × 32"):
        prepared_size(np.zeros((40, 40)), (32, 32), "pad")


@pytest.mark.parametrize("resize", _POLICIES)
def test_a_step_is_rounded_up(resize: str) -> None:
    found = prepared_size(np.zeros((33, 64)), {"min": 32, "step": 16}, resize)
    assert found.input.shape == (1, 48, 64)


@pytest.mark.parametrize("resize", _POLICIES)
def test_a_valid_size_is_left_alone(resize: str, rng: np.random.Generator) -> None:
    image = rng.random((32, 48))
    found = prepared_size(image, (32, 48), resize)
    np.testing.assert_allclose(found.input[0], image, rtol=1e-6)
    assert found.grid == found.image


def test_without_a_size_any_image_is_left_alone(rng: np.random.Generator) -> None:
    image = rng.random((31, 47))
    np.testing.assert_allclose(prepared_size(image, None, "stretch").input[0], image, rtol=1e-6)


@pytest.mark.parametrize("resize", _POLICIES)
@pytest.mark.parametrize("shape", [(48, 80), (80, 48), (24, 30)])
def test_a_bright_spot_stays_where_it_is(resize: str, shape: tuple[int, int]) -> None:
    if resize == "pad" and max(shape) > 64:
        size: Any = {"min": 16, "step": 32}
    else:
        size = (64, 64)
    # Near the middle, so that a crop still sees it.
    spot = (shape[0] // 2 - 5, shape[1] // 2 + 4)
    image = np.zeros(shape)
    image[spot] = 1
    found = prepared_size(image, size, resize)
    y, x = np.indices(found.input.shape[1:])
    weight = found.input[0].numpy().astype(np.float64)
    centre = np.array([(weight * y).sum(), (weight * x).sum()]) / weight.sum()
    landed = np.multiply(found.grid.scale, centre) + found.grid.offset
    np.testing.assert_allclose(landed, spot, atol=0.1)


@given(
    shape=st.tuples(st.integers(3, 90), st.integers(3, 90)),
    size=st.tuples(st.integers(3, 60), st.integers(3, 60)),
    resize=st.sampled_from(["stretch", "fit", "crop"]),
)
def test_the_seen_part_and_the_image(shape: tuple, size: tuple, resize: str) -> None:
    found = prepared_size(np.zeros(shape), size, resize)
    assert found.input.shape[1:] == size == found.grid.shape
    first, last = edges(found.grid)
    image_first, image_last = edges(Grid.of_image(shape))
    if resize == "stretch":
        np.testing.assert_allclose([first, last], [image_first, image_last], atol=1e-9)
    elif resize == "fit":  # all of the image is seen, from its own corner on
        np.testing.assert_allclose(first, image_first, atol=1e-9)
        assert (last >= image_last - 1e-9).all()
    else:  # nothing beyond the image is seen, and the middle stays the middle
        assert (first >= image_first - 1e-9).all()
        assert (last <= image_last + 1e-9).all()
        middle, image_middle = (first + last) / 2, (image_first + image_last) / 2
        assert (np.abs(middle - image_middle) <= np.asarray(found.grid.scale) / 2 + 1e-9).all()


def test_three_axes_of_three_sizes(rng: np.random.Generator) -> None:
    found = prepared_size(rng.random((5, 12, 18)), (10, 6, 9), "stretch", "bczyx")
    assert found.input.shape == (1, 10, 6, 9)
    np.testing.assert_allclose(found.grid.scale, (0.5, 2, 2))


@pytest.mark.parametrize("resize", _POLICIES)
def test_a_map_comes_back_to_the_image(resize: str) -> None:
    """The network repeats its input, so its score map on the image is the image again."""
    y, x = np.indices((24, 40))
    image = 0.2 + 0.01 * y + 0.005 * x  # linear: resampling loses nothing but at borders
    size = (40, 40) if resize == "pad" else (24, 24)
    network = as_network(
        pointwise([[1.0], [0.0]]), "segmentation", size=size, resize=resize, value_range=(0, 1)
    )
    shown = ns.explain(network, image, "score_map", 0).on_image()
    assert shown.shape == image.shape
    if resize == "crop":
        # 24 of 40 columns are seen, from column 8 on.
        assert np.isnan(shown[:, :8]).all()
        assert np.isnan(shown[:, 32:]).all()
        np.testing.assert_allclose(shown[:, 8:32], image[:, 8:32], atol=1e-5)
    else:
        # Antialiasing is right to a tenth of a pixel; half a pixel would show here.
        inner = (slice(2, -2), slice(2, -2))
        np.testing.assert_allclose(shown[inner], image[inner], rtol=0, atol=0.1 * (0.01 + 0.005))
        assert np.isfinite(shown).all()


@pytest.mark.parametrize("resize", _POLICIES)
def test_the_corners_of_a_coarse_map_are_the_corners_of_the_image(resize: str) -> None:
    size = {"stretch": (32, 32), "fit": (32, 32), "crop": (32, 32), "pad": (48, 48)}[resize]
    network = as_network(
        nn.Sequential(nn.AvgPool2d(4), pointwise([[1.0], [-1.0]])),
        "segmentation",
        size=size,
        resize=resize,
    )
    found = ns.explain(network, np.full((40, 40), 0.5), "score_map", 0)
    assert found.values.shape == (size[0] // 4, size[1] // 4)
    expected = [[-0.5, -0.5], [47.5, 47.5]] if resize == "pad" else [[-0.5, -0.5], [39.5, 39.5]]
    np.testing.assert_allclose(edges(found.grid), expected, rtol=0, atol=1e-9)


def test_labels_outside_of_what_was_seen_are_minus_one() -> None:
    network = as_network(pointwise([[1.0], [0.0]]), "segmentation", size=(24, 24), resize="crop")
    image = np.full((24, 40), 0.5)
    found = ns.explain(network, image, "fusion_score_map")
    labels = found.companion_on_image("prediction")
    assert (labels[:, :8] == -1).all()
    assert (labels[:, 8:32] == 0).all()
    predicted = network.predict(image)
    np.testing.assert_array_equal(predicted.labels, labels)
    assert np.isnan(predicted.scores[:, :, :8]).all()


def test_a_region_is_brought_through_the_crop() -> None:
    """A mask on the image picks the pixels of the network that lie under it."""
    network = as_network(pointwise([[1.0], [0.0]]), "segmentation", size=(24, 24), resize="crop")
    image = np.full((24, 40), 0.5)
    mask = np.zeros(image.shape, bool)
    mask[3:6, 10:14] = True
    found = ns.explain(network, image, "saliency", ns.Target(0, mask)).on_image()
    np.testing.assert_array_equal(np.nan_to_num(found) > 0, mask)
    unseen = np.zeros(image.shape, bool)
    unseen[:, :8] = True
    with pytest.raises(ns.NeuroscopeError, match="no positions"):
        ns.explain(network, image, "saliency", ns.Target(0, unseen))


PHOTO = np.asarray(
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 13, 3), np.uint8)).resize(
        (65, 45)
    )
)


def chw(image: Any) -> np.ndarray:
    return np.moveaxis(np.asarray(image, np.float32) / 255, -1, 0)


def photo_input(**said: Any) -> np.ndarray:
    return prepare(PHOTO, ModelSpec.parse({"input": said}), 3).input.numpy()


@pytest.mark.parametrize("shape", [(20, 24), (90, 80)])
@pytest.mark.parametrize("how", ["bilinear", "bicubic", "nearest", "lanczos"])
def test_pixels_between_others_are_as_pillow_finds_them(how: str, shape: tuple[int, int]) -> None:
    wanted = Image.fromarray(PHOTO).resize(shape[::-1], Image.Resampling[how.upper()])
    np.testing.assert_allclose(photo_input(size=shape, interpolation=how), chw(wanted), atol=0.01)


def test_without_smoothing_as_opencv_has_it() -> None:
    values = torch.from_numpy(chw(PHOTO))[None]
    wanted = functional.interpolate(values, (20, 24), mode="bilinear", align_corners=False)[0]
    np.testing.assert_allclose(photo_input(size=(20, 24), antialias=False), wanted, atol=1e-6)


def test_the_shorter_side_and_then_a_cut() -> None:
    # torchvision's Resize(32) and CenterCrop(28): 65 × 32 / 45 is 46 whole pixels.
    large = Image.fromarray(PHOTO).resize((46, 32), Image.Resampling.BILINEAR)
    wanted = chw(large.crop((9, 2, 37, 30)))
    found = photo_input(size=(28, 28), resize="crop", shorter_side=32)
    np.testing.assert_allclose(found, wanted, atol=0.01)


@pytest.mark.parametrize("place", ["centre", "end"])
@pytest.mark.parametrize("padding", ["replicate", "reflect", "zero", "black"])
def test_padding(padding: str, place: str) -> None:
    top, left = (16, 8) if place == "centre" else (0, 0)
    around = ((0, 0), (top, 33 - top), (left, 17 - left))
    mode: Any = {"replicate": "edge", "reflect": "reflect"}.get(padding, "constant")
    normal = (chw(PHOTO) - 0.5) / 0.25
    more = {"constant_values": -2 if padding == "black" else 0} if mode == "constant" else {}
    wanted = np.pad(normal, around, mode, **more)
    said = {"normalization": {"mean": 0.5, "std": 0.25}, "padding": padding, "padding_place": place}
    found = photo_input(size=(78, 82), resize="pad", **said)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("resize", ["pad", "fit"])
def test_answers_lie_where_the_image_does(resize: str) -> None:
    size = (78, 82) if resize == "pad" else (65, 65)
    said = {"size": size, "resize": resize, "padding": "zero", "padding_place": "centre"}
    network = ns.wrap(lambda x: x, {"task": "segmentation", "input": {"channels": 3, **said}})
    np.testing.assert_allclose(network.predict(PHOTO).scores, chw(PHOTO), atol=1e-5)


def prepared_channels(image: np.ndarray, normalization: Any, **more: Any) -> PreparedImage:
    spec = {
        "image_axes": "cyx",
        "input": {"value_range": (0, 1), "normalization": normalization, "order": "n", **more},
    }
    return prepare(image, ns.ModelSpec.parse(spec), len(image))


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    """Raw values of two channels that differ by far."""
    return (rng.random((2, 20, 23)) * [[[50]], [[4000]]] + [[[10]], [[30000]]]).astype(np.float32)


def test_statistics_are_of_the_image_without_its_padding(image: np.ndarray) -> None:
    rule = {"min": [32, 16], "step": [0, 8]}
    got = prepared_channels(image, "per_image", size=rule, resize="pad").input
    assert got.shape == (2, 32, 24)
    wide = image.astype(float)
    np.testing.assert_allclose(got[:, :20, :23], (wide - wide.mean()) / wide.std(), atol=1e-5)


def test_an_image_beyond_the_only_size_of_an_axis_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ns.NeuroscopeError, match="20 × 23, larger than the network's 16 × 24"):
        prepared_channels(image, {}, size={"min": [16, 16], "step": [0, 8]}, resize="pad")
