"""Finds the layers of a PyTorch network by one pass, with the activation that it ends in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

from napari_neuroscope.engine.errors import Progress
from napari_neuroscope.engine.frameworks.torch.model_runner import ModelRunner
from napari_neuroscope.engine.frameworks.torch.outputs import sums_to_one
from napari_neuroscope.engine.frameworks.torch.tracing.layer_recorder import LayerRecorder
from napari_neuroscope.engine.frameworks.torch.tracing.operations import (
    LOGARITHMIC,
    SIGMOID,
    SOFTMAX,
)
from napari_neuroscope.engine.graph.layer_graph import Layer, LayerGraph
from napari_neuroscope.engine.spec.model_spec import ModelSpec


def find_layers(
    runner: ModelRunner, x: Tensor, spec: ModelSpec, progress: Progress
) -> tuple[LayerGraph, Tensor]:
    """Find the layers by a pass of `x` (1, channel, *space); also return the output."""
    recorder = LayerRecorder(spec.input.axes)
    with runner.frozen(), torch.inference_mode(False), torch.enable_grad():
        output = runner.forward(runner.copied(x, gradients=True), spec, recorder, progress)
        runner.first_pass_ended()
    batched = "b" in spec.input.axes
    layers = recorder.layers(output, batched=batched)
    activation = _final_activation(layers, recorder.final_layer(output), output, spec)
    return LayerGraph(layers, len(spec.input.space), activation), output.detach()


def _final_activation(
    layers: Iterable[Layer], final: str | None, output: Tensor, spec: ModelSpec
) -> tuple[str, Literal["softmax", "sigmoid"]] | None:
    """Return the softmax or sigmoid whose output is the network's output, and which it is."""
    activation: tuple[str, Literal["softmax", "sigmoid"]] | None = None
    for layer in layers:
        if layer.name == final and layer.operation in SOFTMAX:
            # A softmax over other axes than that of the classes makes no probabilities of them.
            if sums_to_one(output.exp() if layer.operation in LOGARITHMIC else output, spec):
                activation = layer.name, "softmax"
        elif layer.name == final and layer.operation in SIGMOID:
            activation = layer.name, "sigmoid"
    return activation
