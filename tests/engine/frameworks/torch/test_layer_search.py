"""The layers of a network, and the softmax or sigmoid that it ends in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from napari_neuroscope.engine.errors import no_progress
from napari_neuroscope.engine.frameworks.torch.layer_search import find_layers
from napari_neuroscope.engine.frameworks.torch.model_runner import ModelRunner
from napari_neuroscope.engine.spec.model_spec import ModelSpec
from networks import EndingIn, Pixelwise, settled

X = torch.rand(1, 1, 6, 7)


@pytest.mark.parametrize(
    ("end", "activation"),
    [
        (nn.Softmax(1), ("end", "softmax")),
        (nn.LogSoftmax(1), ("end", "softmax")),
        (nn.Sigmoid(), ("end", "sigmoid")),
        (lambda x: torch.log_softmax(x, 1), ("log_softmax", "softmax")),
        # Over the columns it makes no probabilities of classes.
        (nn.Softmax(3), None),
        (lambda x: x.softmax(1) * 2, None),
        (nn.ReLU(), None),
    ],
)
def test_the_activation_that_a_network_ends_in(
    end: Callable[[Tensor], Tensor], activation: tuple[str, str] | None
) -> None:
    model = EndingIn(settled(Pixelwise()), end)
    spec = ModelSpec(task="segmentation")
    layers, output = find_layers(ModelRunner(model, "cpu"), X, spec, no_progress)
    assert layers.final_activation == activation
    assert torch.equal(output, model(X))
    assert not output.requires_grad


def test_layers_have_their_shapes_and_what_they_read() -> None:
    runner = ModelRunner(settled(Pixelwise()), "cpu")
    layers, _ = find_layers(runner, X, ModelSpec(task="segmentation"), no_progress)
    assert {name: (layer.output_shape, layer.inputs) for name, layer in layers.items()} == {
        "conv1": ((6, 6, 7), ()),
        "relu": ((6, 6, 7), ("conv1",)),
        "conv2": ((3, 6, 7), ("relu",)),
    }
