"""A network of which nothing but its scores can be seen: docks say so, and RISE explains it."""

from __future__ import annotations

import numpy as np
from qtpy.QtWidgets import QLabel

import napari_neuroscope as ns


def brightness(images: np.ndarray) -> np.ndarray:
    """Score how bright and how dark each pixel is: (image, class, y, x)."""
    mean = images.mean(1)
    return np.stack([mean * 5 - 2, 2 - mean * 5], 1)


def test_a_function_in_the_docks(viewer, opened, explained, qtbot) -> None:
    inspector = opened("nuclei", network=None)
    docks = {}
    for name in ("Architecture", "Activations"):
        dock = viewer.window.add_plugin_dock_widget("napari-neuroscope", name)[1]
        docks[name] = getattr(dock, "__wrapped__", dock)
    spec = {"task": "segmentation", "classes": ["bright", "dark"], "input": {"value_range": (0, 1)}}
    inspector.add_network(ns.wrap(brightness, spec))

    def said(name: str, words: str) -> bool:
        return any(words in label.text() for label in docks[name].findChildren(QLabel))

    qtbot.waitUntil(lambda: said("Architecture", "no layers that can be seen"), timeout=30_000)
    why = "needs activations, and of a function nothing but its scores can be seen"
    qtbot.waitUntil(lambda: why in inspector.form.reason.text(), timeout=30_000)
    assert inspector.form.reason.text().endswith("; RISE comes nearest.")
    qtbot.waitUntil(lambda: said("Activations", f"Activation {why}"), timeout=30_000)

    inspector.choose_method("rise")
    inspector.choose_classes([0])
    inspector.choose_options({"masks": 4, "cells": 3})
    qtbot.waitUntil(inspector.ready, timeout=30_000)
    explained(inspector)
    assert [layer.name for layer in viewer.layers if "RISE" in layer.name]
    for dock in docks.values():
        dock.close_work()
