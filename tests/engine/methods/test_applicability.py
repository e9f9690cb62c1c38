"""Every method with every framework: it runs, or its refusal names one that runs there."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy_networks import PixelNetwork
from torch import nn

import napari_neuroscope as ns
from networks import UNet, Vgg, as_network, settled

IMAGE = np.random.default_rng(0).random((16, 16, 3), dtype=np.float32)
# As little as shows that it runs.
SMALL = {
    "masks": 8, "cells": 3, "window": 8, "stride": 8, "steps": 4, "samples": 2,
    "min_size": 4, "min_new_area": 0,
}  # fmt: skip


def explained(network: ns.Network, name: str, image: np.ndarray = IMAGE) -> ns.Explanation:
    method = ns.methods[name]
    options = {key: value for key, value in SMALL.items() if key in method.options}
    target = 1 if ns.Needs.TARGET in method.needs else None
    return ns.explain(network, image, name, target, **options)


def in_torch() -> ns.Network:
    return as_network(settled(Vgg()), size=(16, 16))


def segmenting() -> ns.Network:
    return as_network(settled(UNet()), "segmentation")


def without_positions() -> ns.Network:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(768, 8), nn.ReLU(), nn.Linear(8, 3))
    return as_network(settled(flat), size=(16, 16))


def scripted() -> ns.Network:
    return as_network(torch.jit.script(settled(Vgg())), size=(16, 16))


def in_keras() -> ns.Network:
    pytest.importorskip("keras", reason="needs the extra “tensorflow”")
    import keras_networks

    return as_network(keras_networks.settled(keras_networks.vgg()), axes="byxc")


def in_onnx() -> ns.Network:
    pytest.importorskip("onnxruntime", reason="needs the extra “onnx”")
    from onnx_networks import exported

    return as_network(exported(settled(Vgg()), (1, 3, 16, 16)), size=(16, 16))


def onnx_segmenting() -> ns.Network:
    pytest.importorskip("onnxruntime", reason="needs the extra “onnx”")
    from onnx_networks import exported

    return as_network(exported(settled(UNet()), (1, 3, 16, 16)), "segmentation")


def of_a_function() -> ns.Network:
    return as_network(lambda x: x.mean((2, 3)), classes=["a", "b", "c"])


def function_segmenting() -> ns.Network:
    return as_network(lambda x: x - x.mean(1, keepdims=True), "segmentation")


def of_another_package() -> ns.Network:
    rng = np.random.default_rng(0)
    model = PixelNetwork(
        rng.standard_normal((4, 3, 3, 3)), np.zeros(4), rng.standard_normal((3, 4)), np.zeros(3)
    )
    return as_network(model, "segmentation")


NETWORKS: list[Callable[[], ns.Network]] = [
    in_torch, segmenting, without_positions, scripted, in_keras, in_onnx, onnx_segmenting,
    of_a_function, function_segmenting, of_another_package,
]  # fmt: skip
NEAR = re.compile(r"; (.+) comes nearest\.$")
# Found out only in the midst of the work.
LATE = re.compile(
    r"; use the network as it was before .*, or (.+)\.$|; use (\w+), which needs no rules\.$"
)


@pytest.mark.parametrize("known", [False, True], ids=["at first", "when its layers are known"])
@pytest.mark.parametrize("make", NETWORKS)
def test_each_method_runs_or_names_one_that_does(
    make: Callable[[], ns.Network], known: bool
) -> None:
    network = make()
    if known:
        assert network.layers is not None
    by_title = {method.title: name for name, method in ns.methods.items()}
    for name, method in ns.methods.items():
        try:
            assert explained(network, name).values.size
            continue
        except ns.NeuroscopeError as error:
            said = str(error)
        assert said.startswith(method.title)
        if near := NEAR.search(said):
            # What explain() says is what tooltips and the command line say.
            assert network.why_not(method) == said
        else:
            near = LATE.search(said)
        assert near, f"{name}: {said}"
        named = near[near.lastindex or 1]
        other = by_title.get(named, named)
        assert other != name
        assert explained(network, other).values.size, said


def test_networks_of_three_axes() -> None:
    model = settled(nn.Sequential(nn.Conv3d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv3d(3, 2, 1)))
    network = as_network(model, "segmentation", axes="bczyx", channels=1)
    volume = np.random.default_rng(0).random((4, 8, 8), dtype=np.float32)
    for name in ("xrai", "segmented_score_map", "guided_segmented_score_map"):
        with pytest.raises(
            ns.NeuroscopeError, match=r"looks along z, y, x; .* comes nearest\.$"
        ) as e:
            explained(network, name, volume)
        near = NEAR.search(str(e.value))
        assert near
        (other,) = (n for n, method in ns.methods.items() if method.title == near[1])
        assert explained(network, other, volume).values.any()


def test_with_other_options_it_runs() -> None:
    with pytest.raises(ns.NeuroscopeError, match=r"with these options .*; without them it runs\."):
        ns.explain(in_onnx(), IMAGE, "activation", 1, rank="relevance")


def test_a_method_of_another_package_is_given_an_alternative(
    offer_method,
) -> None:
    @ns.method("Sensitive", needs=ns.Needs.TARGET | ns.Needs.GRADIENTS)
    def sensitive(trace: ns.Trace, target: object, layer: None) -> torch.Tensor:
        return trace.input_gradient(target)[0]

    offer_method(sensitive)
    assert in_torch().why_not(sensitive) is None
    assert of_a_function().why_not(sensitive) == (
        "Sensitive needs gradients, and of a function nothing but its scores can be seen; "
        "Occlusion comes nearest."
    )


def test_networks_without_attention_say_so() -> None:
    if "attention_rollout" not in ns.methods:
        pytest.skip("attention rollout is not installed")
    why = None
    with pytest.raises(ns.NeuroscopeError) as error:
        explained(in_torch(), "attention_rollout")
    why = str(error.value)
    assert (
        why
        == "Attention rollout needs attention, which this network has none of; Grad-CAM comes nearest."
    )
