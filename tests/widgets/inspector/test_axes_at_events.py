"""Axes of layers and of the viewer may differ at any event."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explanation.overlays.placement import Placement
from napari_neuroscope.session.network_catalog import DEMO_TITLES
from napari_neuroscope.viewer.image.image_pixels import Pixels, shown_index
from napari_neuroscope.viewer.image.shown_image import ShownImage


def test_a_layer_with_more_axes_than_its_viewer_begins_at_its_own_origin(viewer, rng) -> None:
    stack = viewer.add_image(rng.random((4, 16, 16)), translate=(5, 0, 0))
    labels = viewer.add_labels(np.ones((4, 16, 16), int), translate=(5, 0, 0))
    viewer.dims.set_current_step(0, 2)
    assert shown_index(stack, viewer)[0] == 2
    viewer.layers.remove(stack)
    viewer.layers.remove(labels)
    viewer.add_image(rng.random((16, 16)))
    assert viewer.dims.ndim == 2
    assert shown_index(stack, viewer)[0] == 0
    pixels = Pixels.of(stack, 2, viewer)
    assert pixels.plane == (0,)
    np.testing.assert_allclose(pixels.into(labels, viewer)[1], 0)
    flat = Pixels.of(viewer.layers[0], 2, viewer)
    matrix, offset = flat.into(stack, viewer)
    np.testing.assert_allclose(matrix, [[0, 0], [1, 0], [0, 1]])
    np.testing.assert_allclose(offset, 0)


def test_an_image_that_was_given_other_axes_is_said(viewer, rng) -> None:
    layer = viewer.add_image(rng.random((4, 16, 16)), name="image")
    Placement.of(layer, "yx", (1,))
    layer.data = rng.random((16, 16))
    with pytest.raises(NeuroscopeError, match="other axes now"):
        Placement.of(layer, "yx", (1,))
    assert ShownImage.of(layer, viewer).steps


def test_clearing_the_viewer_leaves_no_image_chosen(viewer, opened, qtbot, rng) -> None:
    inspector = opened(sample=None, network=None)
    inspector.form.live.setChecked(True)
    viewer.add_image(rng.random((4, 64, 64)).astype(np.float32), name="stack")
    inspector.choose_network(DEMO_TITLES["nuclei"])
    qtbot.waitUntil(inspector.ready, timeout=30_000)
    viewer.dims.set_current_step(0, 1)
    viewer.layers.clear()
    assert inspector.image_layer() is None
    assert inspector.session.image is None
    assert not inspector.ready()


def test_an_image_moves_between_two_and_three_dimensions(
    viewer, opened, explained, qtbot, rng
) -> None:
    inspector = opened(sample=None, network=None)
    layer = viewer.add_image(rng.random((4, 64, 64)).astype(np.float32), name="stack")
    inspector.choose_network(DEMO_TITLES["nuclei"])
    qtbot.waitUntil(inspector.ready, timeout=30_000)
    _, second = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Second network")
    inspector.form.live.setChecked(True)
    for shape in ((64, 64), (3, 64, 64), (2, 3, 64, 64), (64, 64)):
        layer.data = rng.random(shape).astype(np.float32)
        viewer.dims.set_current_step(0, 0)
        inspector.explain()
    qtbot.waitUntil(lambda: not inspector.jobs.busy and not second.jobs.busy, timeout=30_000)
    second.close_work()
