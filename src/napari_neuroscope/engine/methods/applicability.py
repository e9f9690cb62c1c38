"""Whether a method can be used with a network, and what comes nearest where it can't."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari_neuroscope.engine.methods.interface import Method
from napari_neuroscope.engine.methods.interface.catalogue import methods
from napari_neuroscope.engine.passes.model import Model


def why_not(model: Model, method: Method, options: Mapping[str, Any] | None = None) -> str | None:
    """Return why a method can't be used with a network, and what comes nearest.

    A sentence; None where it can be used. What hangs on the network's layers is said once they have
    been found.
    """
    reason = _reason_against(model, method, options)
    if reason is None:
        return None
    near = methods.nearest(method, lambda near: _reason_against(model, near) is None)
    if near is method:
        return f"{reason[:-1]}; without them it runs."
    return f"{reason[:-1]}; {near.title} comes nearest." if near else reason


def _reason_against(
    model: Model, method: Method, options: Mapping[str, Any] | None = None
) -> str | None:
    limits, space = model.adapter.limits, model.spec.input.space
    reason = method.why_not(
        model.spec.task, model.capabilities, options, limits=limits, space=space
    )
    if reason is not None or not model.has_layers:
        return reason
    return method.why_not_of_layers(model.layers, options)
