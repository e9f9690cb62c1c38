"""Every method leaves every framework's model as it was: after its end, an error, and cancelled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from every_method import asked, usable
from networks import UNet, settled
from snapshot import Snapshot
from token_networks import ViT

Check = Callable[[], None]


def of_torch() -> tuple[Any, Check]:
    model = settled(UNet()).train()
    model.enc1[1].eval()
    model.enc2[0].weight.requires_grad_(False)
    model(torch.rand(1, 3, 16, 16)).mean().backward()  # it has gradients
    return model, Snapshot(model).assert_unchanged


def of_tokens() -> tuple[Any, Check]:
    model = settled(ViT(size=(16, 16))).train()
    return model, Snapshot(model).assert_unchanged


def of_keras() -> tuple[Any, Check]:
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    import keras_networks

    model = keras_networks.settled(keras_networks.unet())
    ns.wrap(model, SEGMENTS, device="cpu").layers  # Keras makes some at the first call
    own, process = keras_networks.Snapshot(model), Snapshot(nn.Identity())

    def check() -> None:
        own.assert_unchanged()
        process.assert_unchanged()

    return model, check


def of_onnx() -> tuple[Any, Check]:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    import onnx_networks

    model = onnx_networks.exported(settled(UNet()), (1, 3, 16, 16))
    before, process = model.SerializeToString(), Snapshot(nn.Identity())

    def check() -> None:
        assert model.SerializeToString() == before
        process.assert_unchanged()

    return model, check


SEGMENTS = {"task": "segmentation", "input": {"value_range": (0, 1)}}
CLASSIFIES = {"task": "classification", "input": {"value_range": (0, 1), "size": (16, 16)}}


class OwnError(Exception):
    """What a progress callback raises that is no cancelling."""


@contextmanager
def ended_by(error: type[Exception], at: int) -> Iterator[Callable[..., None]]:
    """Give a progress callback that raises at a step, and expect it to come through."""
    steps = 0

    def progress(*_: Any) -> None:
        nonlocal steps
        steps += 1
        if steps > at:
            raise error

    with pytest.raises(error):
        yield progress


@pytest.mark.parametrize(
    ("make", "spec"),
    [(of_torch, SEGMENTS), (of_tokens, CLASSIFIES), (of_keras, SEGMENTS), (of_onnx, SEGMENTS)],
)
def test_a_model_is_as_it_was(
    make: Callable[[], tuple[Any, Check]], spec: dict[str, Any], rng: np.random.Generator
) -> None:
    image = rng.random((16, 16, 3), dtype=np.float32)
    model, check_unchanged = make()
    network = ns.wrap(model, spec, device="cpu")
    methods = usable(network)
    assert len(methods) > 10
    check_unchanged()
    refused: list[str] = []
    for method in methods:
        steps: list[Any] = []
        network.traces.clear()
        given = {**asked(method), "progress": lambda *step, to=steps: to.append(step)}
        try:
            whole = ns.explain(network, image, method, **given)
        except ns.NeuroscopeError:
            # Attention that is fused has no rule.
            refused.append(method)
            check_unchanged()
            continue
        check_unchanged()
        for error, at in ((ns.Cancelled, len(steps) // 2), (OwnError, len(steps) - 1)):
            network.traces.clear()
            if at >= 0 and steps:
                with ended_by(error, at) as progress:
                    ns.explain(network, image, method, **asked(method), progress=progress)
            check_unchanged()
        with pytest.raises(ns.NeuroscopeError):
            ns.explain(network, image[..., :2], method, **asked(method))
        check_unchanged()
        again = ns.explain(network, image, method, **asked(method))
        assert again.values.tobytes() == whole.values.tobytes(), method
    assert refused in ([], ["lrp"])
