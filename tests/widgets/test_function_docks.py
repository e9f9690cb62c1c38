"""A network of which nothing but its scores can be seen: each dock says so, in one sentence."""

from __future__ import annotations

import napari_neuroscope as ns


def test_docks_of_a_function(viewer, opened, qtbot) -> None:
    inspector = opened(network=None)
    dock = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Activations")[1]
    activations = getattr(dock, "__wrapped__", dock)
    inspector.session.network = ns.wrap(
        lambda x: x - x.mean(1, keepdims=True), {"task": "segmentation"}
    )
    why = "Grad-CAM needs activations, and of a function nothing but its scores can be seen"
    qtbot.waitUntil(lambda: why in inspector._reason.text(), timeout=30_000)
    assert inspector._reason.text().endswith("; RISE comes nearest.")
    assert "Activation needs activations" in activations._note.text()
