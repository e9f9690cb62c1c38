"""Images are resized, padded and normalised as Pillow, torchvision and NumPy do it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

import napari_neuroscope as ns
from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.images.preprocessing import prepare
from napari_neuroscope.engine.spec.model_spec import ModelSpec

PHOTO = np.asarray(
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 13, 3), np.uint8)).resize(
        (65, 45)
    )
)


def chw(image: Any) -> np.ndarray:
    return np.moveaxis(np.asarray(image, np.float32) / 255, -1, 0)


def prepared(**said: Any) -> np.ndarray:
    return prepare(PHOTO, ModelSpec.parse({"input": said}), 3).input.numpy()


@pytest.mark.parametrize("shape", [(20, 24), (90, 80)])
@pytest.mark.parametrize("how", ["bilinear", "bicubic", "nearest", "lanczos"])
def test_pixels_between_others_are_as_pillow_finds_them(how: str, shape: tuple[int, int]) -> None:
    wanted = Image.fromarray(PHOTO).resize(shape[::-1], Image.Resampling[how.upper()])
    np.testing.assert_allclose(prepared(size=shape, interpolation=how), chw(wanted), atol=0.01)


def test_without_smoothing_as_opencv_has_it() -> None:
    values = torch.from_numpy(chw(PHOTO))[None]
    wanted = functional.interpolate(values, (20, 24), mode="bilinear", align_corners=False)[0]
    np.testing.assert_allclose(prepared(size=(20, 24), antialias=False), wanted, atol=1e-6)


def test_the_shorter_side_and_then_a_cut() -> None:
    # torchvision's Resize(32) and CenterCrop(28): 65 × 32 / 45 is 46 whole pixels.
    large = Image.fromarray(PHOTO).resize((46, 32), Image.Resampling.BILINEAR)
    wanted = chw(large.crop((9, 2, 37, 30)))
    found = prepared(size=(28, 28), resize="crop", shorter_side=32)
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
    found = prepared(size=(78, 82), resize="pad", **said)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("resize", ["pad", "fit"])
def test_answers_lie_where_the_image_does(resize: str) -> None:
    size = (78, 82) if resize == "pad" else (65, 65)
    said = {"size": size, "resize": resize, "padding": "zero", "padding_place": "centre"}
    network = ns.wrap(lambda x: x, {"task": "segmentation", "input": {"channels": 3, **said}})
    np.testing.assert_allclose(network.predict(PHOTO).scores, chw(PHOTO), atol=1e-5)


@pytest.mark.parametrize(
    ("preset", "wanted"),
    [
        ("zero_255", lambda x: x * 255),
        ("mobilenet", lambda x: x * 2 - 1),
        ("mnist", lambda x: (x - 0.1307) / 0.3081),
    ],
)
def test_presets(preset: str, wanted: Any) -> None:
    np.testing.assert_allclose(prepared(normalization=preset), wanted(chw(PHOTO)), rtol=1e-5)


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"shorter_side": 32}, "shorter_side goes with"),
        ({"size": [40, 40], "resize": "crop", "shorter_side": 32}, "shorter_side goes with"),
        ({"axes": "bczyx", "interpolation": "bicubic"}, "over y and x alone"),
        ({"interpolation": "lanczos", "antialias": False}, "always smooths"),
        ({"resize": "tile", "padding": "zero"}, "not with tile"),
    ],
)
def test_what_does_not_go_together_is_told(said: dict[str, Any], says: str) -> None:
    with pytest.raises(NeuroscopeError, match=says):
        ModelSpec.parse({"input": said})
