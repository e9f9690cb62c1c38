"""All methods, with options by which each takes a few passes only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

import napari_neuroscope as ns
from napari_neuroscope.engine.methods.registry import Needs

_FEW_PASSES: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"steps": 3, "batch": 2},
    "smooth_grad": {"samples": 3, "batch": 2},
    "score_cam": {"batch": 8},
    "ablation_cam": {"batch": 8},
    "occlusion": {"window": 8, "stride": 8, "batch": 3},
    "rise": {"masks": 6, "cells": 3, "batch": 3},
    "xrai": {"steps": 2},
}


def asked(method: str) -> dict[str, Any]:
    """Return what `explain` is given besides the image, so that the method is quick."""
    target = {"target": 1} if Needs.TARGET in ns.methods[method].needs else {}
    return {**target, **_FEW_PASSES.get(method, {})}


def usable(network: ns.Network) -> list[str]:
    """Return the methods that can be used with a network."""
    assert network.layers  # some are refused once these are known
    return [name for name, method in ns.methods.items() if network.why_not(method) is None]


def maps(network: ns.Network, image: np.ndarray, methods: Iterable[str]) -> dict[str, bytes]:
    """Return the values of each method's map, bit for bit."""
    return {
        name: ns.explain(network, image, name, **asked(name)).values.tobytes() for name in methods
    }
