"""Passes that go on from given outputs of a layer, such as an ablated channel."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError, OutOfMemoryError
from napari_neuroscope.engine.frameworks.torch.model_runner import ModelRunner, final_activation_of
from napari_neuroscope.engine.frameworks.torch.outputs import results_agree
from napari_neuroscope.engine.frameworks.torch.tracing.resume import PrefixCache, ResumedForward
from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from napari_neuroscope.engine.graph.token_layout import TokenLayout
from napari_neuroscope.engine.spec.model_spec import ModelSpec


def resumed(
    runner: ModelRunner, x: Tensor, spec: ModelSpec, layers: LayerGraph, layer: str
) -> Callable[[Tensor, int], tuple[Tensor, Tensor | None]]:
    """Return what goes on from outputs of a layer, of n inputs, to the network's output and scores.

    It is tried with two inputs that are `x` (1, channel, *space).

    Raises
    ------
    NeuroscopeError
        Where what comes after the layer depends on more than its output.
    """
    overwritten = {name for name in layers if layers[name].overwritten}
    layout = layers[layer].layout
    for copying in (False, True):
        image = runner.copied(x)
        prefix = PrefixCache(layer, overwritten, final_activation_of(layers))
        with runner.lock, torch.no_grad():
            output = runner.forward(image, spec, prefix)
        runner.check_order(prefix.order, layers)
        go_on = partial(_go_on, runner, image, spec, prefix, copying=copying)
        if isinstance(layout, TokenLayout):
            values = layout.repeated(prefix.value, 2)
        else:
            values = prefix.value.expand(2, *prefix.value.shape[1:])
        versions = image._version, prefix.versions()
        try:
            twice = go_on(values, 2)
        except OutOfMemoryError:
            raise
        except NeuroscopeError:
            # What several inputs share can't be written on.
            if copying:
                raise
            continue
        if versions == (image._version, prefix.versions()):
            break
    for several, single in zip(twice, (output.detach(), prefix.scores), strict=True):
        if not results_agree(several, single):
            raise NeuroscopeError(
                f"The network can't be gone on with from the layer “{layer}”: what comes after "
                f"it depends on more than its output; choose a later layer."
            )
    return go_on


def _go_on(
    runner: ModelRunner,
    image: Tensor,
    spec: ModelSpec,
    prefix: PrefixCache,
    values: Tensor,
    count: int,
    *,
    copying: bool,
) -> tuple[Tensor, Tensor | None]:
    """Pass `count` inputs like an image (1, ...) on from outputs of a layer."""
    resumed_forward = ResumedForward(
        prefix, values.to(runner.device, runner.dtype), count, copying=copying
    )
    several = image.expand(count, *image.shape[1:])
    with runner.lock, torch.no_grad(), resumed_forward.answering(runner.model):
        output = runner.forward(several, spec, resumed_forward, copying=copying)
    return output.detach(), resumed_forward.scores
