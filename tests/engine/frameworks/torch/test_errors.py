"""What a network raises is one clear sentence, with what was wrong and what to do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import napari_neuroscope as ns
from networks import EndingIn, Pixelwise, as_network, settled
from sentences import sentence

GOOD = np.random.default_rng(0).random((16, 16, 3))


# Either will do: what must not be is a map that looks like an answer. (Warnings are errors here.)
SAID = (ns.NeuroscopeError, ns.NeuroscopeWarning)


class Raising(nn.Module):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.error = error

    def forward(self, x: Tensor) -> Tensor:
        self.conv(x)
        raise self.error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("bad luck"), ["ValueError: bad luck", "3 channels", "16 × 16"]),
        (RuntimeError("one\ntwo\nthree"), ["RuntimeError: one"]),
        (KeyError("x"), ["KeyError"]),
        (AssertionError(), ["AssertionError"]),
        (RuntimeError("x" * 5000), ["RuntimeError"]),
        (
            torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total of 10 GiB"
            ),
            ["out of memory", "20.00 GiB", "a smaller image or fewer layers"],
        ),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate "
                "memory: you tried to allocate 123 bytes. Error code 12 (Cannot allocate memory)"
            ),
            ["out of memory on cpu", "123 bytes", "a smaller image"],
        ),
        (MemoryError(), ["out of memory"]),
        (
            RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported"),
            ["out of memory"],
        ),
    ],
)
def test_a_network_that_raises(error: BaseException, words: list[str]) -> None:
    network = as_network(Raising(error), "segmentation")
    with pytest.raises(ns.NeuroscopeError) as refusal:
        ns.explain(network, GOOD, "saliency", 1)
    text = sentence(lambda: ns.explain(network, GOOD, "saliency", 1))
    for word in words:
        assert word in text
    assert refusal.value.__cause__ is error, "the network's own error is kept for its author"


def test_being_interrupted_is_no_error_of_the_network() -> None:
    for error in (KeyboardInterrupt(), ns.Cancelled()):
        with pytest.raises(type(error)):
            ns.explain(as_network(Raising(error), "segmentation"), GOOD, "saliency", 1)


def test_layers_of_a_network_that_raises() -> None:
    network = as_network(Raising(ValueError("bad luck")), "segmentation")
    assert "bad luck" in sentence(lambda: network.layers)


def test_a_network_that_has_no_gradient() -> None:
    """Its answer does not hang on its input in a way that can be differentiated."""
    network = as_network(
        EndingIn(settled(Pixelwise(3)), lambda x: (x > 0).float()), "segmentation", ["a", "b", "c"]
    )
    for method in ("saliency", "grad_cam", "guided_backprop"):
        with pytest.raises(SAID, match="gradient"):
            ns.explain(network, GOOD, method, "b")


def test_a_network_that_detaches_says_so() -> None:
    model = EndingIn(settled(Pixelwise(3)), lambda x: x.detach() * 1.0)
    with pytest.raises(SAID, match="gradient"):
        ns.explain(as_network(model, "segmentation"), GOOD, "saliency", 1)
