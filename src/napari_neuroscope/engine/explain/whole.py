"""An image as a whole: one pass forward, the maps of it, and what they make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial as with_arguments
from typing import Any, Literal

import numpy as np
import torch

from napari_neuroscope.engine.errors import CallbackError, NeuroscopeError, Progress
from napari_neuroscope.engine.explain.assemble import assemble
from napari_neuroscope.engine.explain.maps import choose_layers, maps_of, passing_errors
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.request import Request
from napari_neuroscope.engine.frameworks.base import OtherLayersError
from napari_neuroscope.engine.images.preprocessing import as_array
from napari_neuroscope.engine.methods.interface import Map, Method, Needs
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.trace import Trace

Keep = Literal["asked", "everything", "fit"]
"""What is kept of a pass, as `explain` takes it."""


def explain_whole(
    network: Network,
    image: Any,
    request: Request,
    *,
    keep: Keep | None,
    progress: Progress,
    partial: Callable[[Explanation], None] | None,
) -> Explanation:
    """Explain an image that is passed through the network as a whole, as `explain` does."""
    # Passes turn gradients on where they need them; nothing else here is to be followed.
    with torch.inference_mode(False), torch.no_grad():
        ask = with_arguments(
            _explain, network, as_array(image), request,
            keep=keep, progress=passing_errors(progress), partial=partial,
        )  # fmt: skip
        try:
            try:
                return ask()
            except OtherLayersError:
                # The layers are now those of this image, and what is asked of them may be others.
                return ask()
        except CallbackError as stop:
            raise stop.reason from None


def _explain(
    network: Network,
    array: np.ndarray,
    request: Request,
    *,
    keep: Keep | None,
    progress: Progress,
    partial: Callable[[Explanation], None] | None,
) -> Explanation:
    chosen = methods[request.method]
    request = with_classes_as_option(chosen, request)
    _refuse(network, chosen, request)
    request = replace(request, options=chosen.check_options(request.options))
    options, layer = dict(request.options), request.layer

    network.discover(array, progress)
    # Now it is known what layers there are; of attention, a pass tells more than they.
    if Needs.LAYER in chosen.needs_with(options):
        _refuse(network, chosen, request)
    names = choose_layers(network, chosen, layer, options)
    one_layer = layer is None or (isinstance(layer, str) and names == [layer])
    with network.frozen():
        trace = network.trace(
            array,
            network.layers.or_last(names),
            keep=keep or ("fit" if one_layer else "asked"),
            progress=progress,
        )
        targets = _resolve_targets(trace, chosen, request)
        resolved = request.resolved(targets, names, options, one_layer=one_layer)

        def assembled(maps: list[list[Map]]) -> Explanation:
            return assemble(
                network, trace, chosen, targets, names, maps, options, array, resolved,
                class_axis=request.several, layer_axis=bool(names) and not one_layer,
            )  # fmt: skip

        def offer(maps: list[list[Map]], done: int, total: int) -> None:
            assert partial is not None
            partial(assembled(maps).so_far(done, total))

        maps = maps_of(
            trace, chosen, targets, names or [None], options, progress,
            None if partial is None or len(names) > 1 else offer,
        )  # fmt: skip
        return assembled(maps)


def with_classes_as_option(chosen: Method, request: Request) -> Request:
    """Return the request; of a method of classes that has no target, they are its option."""
    if "classes" not in chosen.options or not request.targets or Needs.TARGET in chosen.needs:
        return request
    if "classes" in request.options:
        raise NeuroscopeError(
            f"{chosen.title} takes its classes from target or from the "
            f"option classes, not from both."
        )
    classes = [target.class_ for target in request.targets]
    return replace(
        request, targets=(), several=False, options={**request.options, "classes": classes}
    )


def _refuse(network: Network, chosen: Method, request: Request) -> None:
    """Refuse a method that can't be used with the network."""
    if refusal := network.why_not(chosen, request.options):
        raise NeuroscopeError(refusal)


def _resolve_targets(trace: Trace, chosen: Method, request: Request) -> list[ResolvedTarget | None]:
    if not request.targets:
        if Needs.TARGET not in chosen.needs_with(dict(request.options)):
            return [None]
        return [trace.resolve(None, request.ground_truth)]
    return [trace.resolve(target, request.ground_truth) for target in request.targets]
