"""Sources: files and arrays, read when they are needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import napari_neuroscope as ns
from named_axes import by_hand, network_of
from napari_neuroscope.engine.images.pairing.pair import Pair
from napari_neuroscope.engine.images.source import Source


def test_a_plane_of_a_source() -> None:
    stack = np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(Source("s", stack, (1,)).read(), stack[1])
    with pytest.raises(ns.NeuroscopeError, match="“s” can't be read: index 2"):
        Source("s", stack, (2,)).read()


def test_the_frames_of_a_moving_picture_are_an_axis_t(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "lime", "blue")]
    for name in ("a.gif", "a.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        source = Source.of(tmp_path / name)
        assert source.shape_and_axes == ((3, 4, 6, 3), ("t", "y", "x", "c"))
        opened = ns.open_image(tmp_path / name)
        assert opened.spacing.axes == ("t", "y", "x", "c")
        found = ns.explain_stack(network_of(3), opened, "score_map", 1)
        assert found.axes == ("t", "y", "x")
        expected = by_hand(np.asarray(opened, np.float32), "tyxc")
        np.testing.assert_allclose(found.values, expected, atol=1e-5)
        with pytest.raises(ns.NeuroscopeError, match="takes no t"):
            network_of(3).predict(opened)
        assert len(list(Pair("film", source).planes(network_of(3)))) == 3
    frames[0].save(tmp_path / "still.gif")
    assert Source.of(tmp_path / "still.gif").shape_and_axes == ((4, 6, 3), ("y", "x", "c"))
