"""Which axis of an image is which: one owner, asked by all, whatever says it."""

from __future__ import annotations

import sys
from subprocess import run
from typing import Any

import dask.array
import numpy as np
import pytest
import xarray

import napari_neuroscope as ns
from named_axes import by_hand, image_of, network_of
from napari_neuroscope.engine.explain.crop import explain_crop
from napari_neuroscope.engine.images.axes import (
    ImageAxes,
    axes_of,
    guess_image_axes,
    in_order_of,
    in_read_order,
)
from napari_neuroscope.engine.images.formats.lazy_image import LazyImage
from napari_neuroscope.engine.images.spacing import Spacing
from napari_neuroscope.engine.results.panels import panels_of
from prepared_images import values

ORDERS = [
    ("yx", 1), ("yxc", 2), ("cyx", 5), ("xyc", 3), ("xy", 1), ("cxy", 2),
    ("zyx", 1), ("zyxc", 2), ("czyx", 2), ("xzy", 1), ("tyx", 1), ("tyxc", 2), ("tcyx", 3),
]  # fmt: skip


@pytest.mark.parametrize(("axes", "channels"), ORDERS)
def test_each_order_of_axes_by_hand(axes: str, channels: int) -> None:
    space = "zyx" if "z" in axes else "yx"
    image, expected = image_of(axes, channels), by_hand(image_of(axes, channels), axes, space)
    plane = axes.replace("t", "")
    stated = network_of(channels, space, image_axes=plane)
    told = network_of(channels, space)
    named = xarray.DataArray(image, dims=tuple(axes))
    for network, given in ((stated, image), (told, named), (stated, named)):
        if "t" in axes:
            found = ns.explain_stack(network, given, "score_map", 1, axes=list(axes)).values
        else:
            found = ns.explain(network, given, "score_map", 1).values
            np.testing.assert_allclose(network.predict(given).scores[1], expected, atol=1e-6)
            lazily = xarray.DataArray(dask.array.from_array(image, 3), dims=tuple(axes))
            tiled = ns.explain_tiled(
                network, lazily if given is named else image, "score_map", 1,
                tile=16 if space == "yx" else 8,
            )  # fmt: skip
            np.testing.assert_allclose(tiled.values, expected, atol=1e-6)
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "names", "spec", "channels", "expected"),
    [
        # What the shape tells, a stack before the plane.
        ((64, 48, 2), None, {}, 2, ((0, 1), 2, ())),
        ((64, 48, 3), None, {}, 1, ((0, 1), 2, ())),
        ((31, 64, 48), None, {}, 1, ((1, 2), None, (0,))),
        ((31, 64, 48), None, {}, 3, ((1, 2), None, (0,))),
        # Planes of one channel are nothing to a network of five.
        ((7, 64, 48), None, {}, 5, ((1, 2), 0, ())),
        ((4, 7, 64, 48), None, {}, 5, ((2, 3), 1, (0,))),
        # What the spec says, of the last axes.
        ((12, 12, 12), None, {"image_axes": "yxc"}, 12, ((0, 1), 2, ())),
        ((5, 64, 48, 3), None, {"image_axes": "xyc"}, 3, ((2, 1), 3, (0,))),
        # What names say, wherever the axes are.
        ((64, 48, 4), ("Y", "X", "T"), {}, 1, ((0, 1), None, (2,))),
        ((5, 3, 4, 64, 48), tuple("tczyx"), {}, 3, ((3, 4), 1, (0, 2))),
        ((4, 64, 48), ("Channel", "y", "x"), {}, 4, ((1, 2), 0, ())),
        ((4, 64, 48), tuple("zyx"), {}, 4, ((1, 2), None, (0,))),
        ((4, 64, 48), ("band", "y", "x"), {}, 4, ((1, 2), 0, ())),
        ((4, 64, 48), ("position", "y", "x"), {}, 1, ((1, 2), None, (0,))),
        ((3, 64, 48), tuple("cyx"), {"image_axes": "yxc"}, 3, ((1, 2), 0, ())),
        # Names that lack an axis of the network's, or are the same twice, say nothing.
        ((3, 64, 48), ("c", "row", "column"), {}, 3, ((1, 2), 0, ())),
        ((5, 64, 48), ("y", "y", "x"), {}, 1, ((1, 2), None, (0,))),
    ],
)  # fmt: skip
def test_what_says_which_axis_is_which(
    shape: tuple[int, ...], names: Any, spec: dict[str, Any], channels: int, expected: Any
) -> None:
    found = axes_of(shape, ns.ModelSpec.parse(spec), channels, names)
    assert (found.space, found.channel, found.stack) == expected
    assert sorted((*found.order, *found.stack)) == list(range(len(shape)))


def test_colours_that_are_known_are_the_last_axis() -> None:
    spec = ns.ModelSpec.parse({})
    assert axes_of((64, 48, 3), spec, 64, coloured=True) == ImageAxes((0, 1), 2, (), (0, 1, 2))
    assert axes_of((5, 64, 48, 4), spec, 1, coloured=True).stack == (0,)
    with pytest.raises(ns.NeuroscopeError, match="does not fit the axes “yx”"):
        axes_of((64, 48, 3), ns.ModelSpec.parse({"image_axes": "yx"}), 1, coloured=True)


@pytest.mark.parametrize(
    ("shape", "names", "words"),
    [
        ((4, 40, 50), "zyx", "takes no z: choose one plane"),
        ((4, 40, 50), ("Time", "y", "x"), "axes are time, y, x, and the network takes no time"),
        ((4, 4, 40, 50), ("position", "band", "y", "x"), "takes no position"),
    ],
)
def test_a_named_stack_is_no_image(shape: tuple[int, ...], names: Any, words: str) -> None:
    network, image = network_of(4), xarray.DataArray(np.zeros(shape), dims=tuple(names))
    for ask in (network.predict, network.trace, network.prepare, network.discover,
                lambda one: ns.explain(network, one, "saliency", 1)):  # fmt: skip
        with pytest.raises(ns.NeuroscopeError, match=words):
            ask(image)


def test_names_are_kept_where_the_shape_says_otherwise() -> None:
    """As wide as there are channels, and of one step along what is no axis of the network's."""
    network = network_of(3)
    image = np.random.default_rng(0).random((3, 8, 3), np.float32)
    named = LazyImage("image", (image[None],), Spacing.of_pixels(tuple("tcyx")))
    np.testing.assert_allclose(network.predict(named).scores[1], by_hand(image, "cyx"), atol=1e-6)
    cube = LazyImage("image", (image[:, :3],), Spacing.of_pixels(tuple("cyx")))
    np.testing.assert_allclose(
        network.predict(cube).scores[1], by_hand(image[:, :3], "cyx"), atol=1e-6
    )
    assert network.digests(named) == network.digests(image.transpose(1, 2, 0))
    plain = np.zeros((3, 8, 3))
    assert in_read_order(plain, network.spec, 3) is plain


def test_a_crop_of_named_axes() -> None:
    image = image_of("xyc", 3)
    network, window = network_of(3), ((1, 5), (2, 8))
    found = explain_crop(
        network, xarray.DataArray(image, dims=tuple("xyc")), window, "score_map", 1
    )
    np.testing.assert_allclose(found.values, by_hand(image[2:8, 1:5], "xyc"), atol=1e-6)


def test_a_figure_lays_the_image_under_its_map() -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    image[4, 12] = 255  # x = 4, y = 12
    network = network_of(3, image_axes="xyc")
    explanation = ns.explain(network, image, "saliency", 1)
    explanation.values[:] = 0
    (panel,) = panels_of(explanation, image)
    assert [tuple(at) for at in np.argwhere(panel.picture.sum(-1) > 1)] == [(12, 4)]
    assert in_order_of(image, "yx", None) is image
    assert in_order_of(image[0], "yx", "xyc").shape == (16, 3), "of other axes, it is left as it is"


def test_the_owner_needs_no_network_and_no_window() -> None:
    code = (
        "import sys, napari_neuroscope.engine.images.axes; "
        "sys.exit(bool({'torch', 'qtpy', 'napari'} & set(sys.modules)))"
    )
    assert run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("shape", "channels", "leading"),
    [
        ((8, 9), 1, 0), ((8, 9, 3), 3, 0), ((8, 9, 4), 1, 0), ((5, 8, 9), 1, 1), ((5, 8, 9), 3, 1),
        ((3, 8, 9), 3, 0), ((3, 8, 9), 1, 1), ((5, 8, 9, 3), 3, 1), ((5, 3, 8, 9), 3, 1),
        ((2, 5, 8, 9), 1, 2), ((8, 9, 6), 6, 0), ((40, 30, 2), 1, 0), ((5, 40, 30, 2), 1, 1), ((30, 40, 16), 1, 1),
        ((6, 8, 9), 6, 0), ((1, 8, 9), 1, 1),
    ],
)  # fmt: skip
def test_axes_of_a_stack(shape: tuple[int, ...], channels: int, leading: int) -> None:
    spec = ns.ModelSpec.parse({"task": "segmentation"})
    assert axes_of(shape, spec, channels).stack == tuple(range(leading))


def test_axes_of_a_stack_as_the_spec_says() -> None:
    channels_last = ns.ModelSpec.parse({"task": "segmentation", "image_axes": "yxc"})
    assert axes_of((8, 9, 5), channels_last, 5).stack == ()
    planes = ns.ModelSpec.parse({"task": "segmentation", "image_axes": "yx"})
    assert axes_of((2, 8, 9), planes, 2).stack == (0,)
    volumes = ns.ModelSpec.parse({"task": "segmentation", "input": {"axes": "bczyx"}})
    with pytest.raises(ns.NeuroscopeError, match="3 spatial axes"):
        axes_of((8, 9), volumes, 1)


@pytest.mark.parametrize(
    ("shape", "space", "channels", "axes"),
    [
        ((20, 30), "yx", 3, "yx"),
        ((20, 30, 3), "yx", 3, "yxc"),
        ((20, 30, 4), "yx", 3, "yxc"),
        ((20, 30, 3), "yx", 1, "yxc"),
        ((3, 20, 30), "yx", 3, "cyx"),
        ((1, 20, 30), "yx", 1, "cyx"),
        ((20, 30, 7), "yx", 7, "yxc"),
        ((7, 20, 30), "yx", 7, "cyx"),
        ((9, 20, 30), "yx", 3, "cyx"),
        ((9, 20, 30), "zyx", 1, "zyx"),
        ((9, 20, 30, 2), "zyx", 2, "zyxc"),
        ((2, 9, 20, 30), "zyx", 2, "czyx"),
        ((50,), "x", 1, "x"),
    ],
)
def test_axes_of_an_image_are_told_by_its_shape(
    shape: tuple[int, ...], space: str, channels: int, axes: str
) -> None:
    assert guess_image_axes(shape, space, channels) == axes


def test_axes_that_are_given_win(rng: np.random.Generator) -> None:
    image = rng.random((3, 8, 3))
    np.testing.assert_allclose(values(image, axes="cyx"), image, rtol=1e-6)
    np.testing.assert_allclose(values(image, axes="yxc"), image.transpose(2, 0, 1), rtol=1e-6)
    np.testing.assert_allclose(
        values(image, channels=8, axes="xcy"), image.transpose(1, 2, 0), rtol=1e-6
    )


def test_axes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ns.NeuroscopeError, match="does not fit the axes “yxc”"):
        values(np.zeros((4, 4)), axes="yxc")
