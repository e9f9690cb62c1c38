"""What is kept of a forward pass: when it is used again, and when it must not be."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from closeness import assert_close
from networks import Counted, UNet, as_network, settled


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((16, 16, 3), dtype=np.float32)


@pytest.fixture
def model() -> Counted:
    return Counted(settled(UNet()))


@pytest.fixture
def network(model: Counted) -> ns.Network:
    return as_network(model, "segmentation")


@pytest.mark.parametrize(
    ("method", "target", "layer"),
    [
        ("grad_cam", 1, "body.enc1"),
        ("grad_cam", 1, "cat"),
        ("grad_cam_plus_plus", 1, "body.bottom"),
        ("guided_grad_cam", 1, "body.dec1"),
        ("guided_backprop", 1, None),
        ("saliency", 0, None),
        ("grad_cam", 2, "body.bottom"),
        ("grad_cam", [0, 1, 2], "all"),
        ("grad_cam", ns.Target(1, "predicted"), "body.bottom"),
        ("saliency", ns.Target(1, score="probability"), None),
        ("score_map", 2, None),
        ("fusion_score_map", None, None),
        ("activation", None, "body.enc2"),
        ("input", None, None),
    ],
)
def test_another_question_takes_no_forward_pass(
    method: str, target: Any, layer: Any, model: Counted, network: ns.Network, image: np.ndarray
) -> None:
    ns.explain(network, image, "grad_cam", 1, "body.bottom")
    before = model.passes
    found = ns.explain(network, image, method, target, layer)
    network.predict(image)
    assert model.passes == before
    fresh = as_network(Counted(settled(UNet())), "segmentation")
    expected = ns.explain(fresh, image, method, target, layer)
    assert_close(found.values, expected.values)


def test_an_explanation_takes_few_forward_passes(
    model: Counted, network: ns.Network, image: np.ndarray
) -> None:
    """Two end at the first layer, one finds all layers; from then on an image takes one."""
    ns.explain(network, image, "grad_cam", [0, 1, 2], "all")
    assert model.passes <= 4
    before = model.passes
    ns.explain(network, 1 - image, "grad_cam", [0, 1, 2], "all")
    assert model.passes == before + 1


def test_only_what_is_asked_is_kept(model: Counted, network: ns.Network, image: np.ndarray) -> None:
    ns.explain(network, image, "grad_cam", 1, ["body.bottom", "body.enc1"], keep="asked")
    before = model.passes
    ns.explain(network, image, "grad_cam", 2, "body.bottom", keep="asked")
    assert model.passes == before
    ns.explain(network, image, "grad_cam", 2, "body.dec1", keep="asked")
    assert model.passes == before + 1


def test_another_class_takes_one_backward_pass_and_another_layer_none(
    network: ns.Network, image: np.ndarray
) -> None:
    """Counted by a function in the network that sees gradients come back."""
    passes = 0

    class Count(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *above: torch.Tensor) -> torch.Tensor:
            nonlocal passes
            passes += 1
            return above[0]

    class Ended(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = settled(UNet())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return Count.apply(self.body(x))

    network = as_network(Ended(), "segmentation")
    ns.explain(network, image, "grad_cam", 1, "body.bottom")
    assert passes == 1
    ns.explain(network, image, "grad_cam", 1, "body.enc1")
    ns.explain(network, image, "grad_cam_plus_plus", 1, "all")
    ns.explain(network, image, "saliency", 1)
    assert passes == 1
    ns.explain(network, image, "saliency", 2)
    assert passes == 2
    ns.explain(network, 1 - image, "grad_cam", 1, "all", keep="asked")
    assert passes == 3


def test_equal_images_are_one(model: Counted, network: ns.Network, image: np.ndarray) -> None:
    ns.explain(network, image, "saliency", 1)
    before = model.passes
    ns.explain(network, image.copy(), "saliency", 1)
    ns.explain(network, np.asfortranarray(image), "saliency", 1)
    assert model.passes == before


def test_a_changed_image_is_noticed(network: ns.Network, image: np.ndarray) -> None:
    first = ns.explain(network, image, "score_map", 1).values
    image[3, 4, 1] += 0.25
    second = ns.explain(network, image, "score_map", 1).values
    assert np.abs(first - second).max() > 0


def test_an_image_of_the_same_bytes_is_another(model: Counted) -> None:
    network = as_network(model, "segmentation", value_range="auto", image_axes="yxc")
    image = np.arange(16 * 24 * 3, dtype=np.uint16).reshape(16, 24, 3)
    answers = [
        ns.explain(network, other, "score_map", 1).values
        for other in (image, image.reshape(24, 16, 3), image.view(np.int16), image.byteswap())
    ]
    assert answers[0].shape != answers[1].shape
    assert np.abs(answers[0] - answers[2]).max() > 0
    assert np.abs(answers[0] - answers[3]).max() > 0


def test_a_changed_spec_is_noticed(network: ns.Network, image: np.ndarray) -> None:
    first = ns.explain(network, image, "score_map", 1).values
    mean = {"input": {"value_range": (0, 1), "normalization": {"mean": 0.5}}}
    network.spec = ns.ModelSpec.parse({**mean, "task": "segmentation"})
    second = ns.explain(network, image, "score_map", 1).values
    fresh = ns.explain(
        as_network(Counted(settled(UNet())), "segmentation", normalization={"mean": 0.5}),
        image,
        "score_map",
        1,
    ).values
    assert np.abs(first - second).max() > 1e-3
    np.testing.assert_array_equal(second, fresh)


def test_targets_of_one_image_do_not_mix(network: ns.Network, image: np.ndarray) -> None:
    targets = [
        ns.Target(1, "everywhere"),
        ns.Target(2, "everywhere"),
        ns.Target(1, "predicted"),
        ns.Target(1, (3, 4)),
        ns.Target(1, (4, 3)),
        ns.Target(1, "everywhere", "probability"),
        ns.Target(1, "everywhere", reduce="mean"),
    ]
    first = [ns.explain(network, image, "guided_backprop", t).values for t in targets]
    second = [ns.explain(network, image, "saliency", t).values for t in targets]
    for maps in (first, second):
        for a in range(len(maps)):
            for b in range(a):
                assert np.abs(maps[a] - maps[b]).max() > 0
    for target, kept in zip(targets, second, strict=True):
        fresh = as_network(Counted(settled(UNet())), "segmentation")
        np.testing.assert_array_equal(ns.explain(fresh, image, "saliency", target).values, kept)


def small(cache_bytes: int) -> tuple[Counted, ns.Network]:
    model = Counted(settled(UNet()))
    spec = ns.ModelSpec.parse({"task": "segmentation", "input": {"value_range": (0, 1)}})
    return model, ns.Network(model, spec, device="cpu", cache_bytes=cache_bytes)


def test_the_cache_is_bounded_by_bytes(rng: np.random.Generator) -> None:
    one = small(1 << 30)[1]
    ns.explain(one, rng.random((16, 16, 3)), "saliency", 1)
    limit = int(2.5 * one.traces.nbytes)
    model, network = small(limit)
    images = [rng.random((16, 16, 3)) for _ in range(6)]
    for image in images:
        ns.explain(network, image, "saliency", 1, keep="everything")
        assert network.traces.nbytes <= limit
    assert len(network.traces) == 2
    before = model.passes
    ns.explain(network, images[5], "saliency", 1)
    ns.explain(network, images[4], "saliency", 1)
    assert model.passes == before, "the newest are kept"
    ns.explain(network, images[0], "saliency", 1)
    assert model.passes == before + 1


def test_what_is_used_is_kept_longer(rng: np.random.Generator) -> None:
    one = small(1 << 30)[1]
    ns.explain(one, rng.random((16, 16, 3)), "saliency", 1)
    model, network = small(int(2.5 * one.traces.nbytes))
    first, second, third = (rng.random((16, 16, 3)) for _ in range(3))
    for image in (first, second, first, third):
        ns.explain(network, image, "saliency", 1, keep="everything")
    before = model.passes
    ns.explain(network, first, "saliency", 1)
    assert model.passes == before


def test_gradients_count_and_are_dropped_first(
    model: Counted, network: ns.Network, image: np.ndarray
) -> None:
    ns.explain(network, image, "saliency", 0, keep="everything")
    with_one = network.traces.nbytes
    points = [ns.Target(1, (y, x)) for y in range(8) for x in range(8)]
    network.traces.limit = 3 * with_one
    before = model.passes
    for point in points:
        ns.explain(network, image, "guided_backprop", point)
        ns.explain(network, image, "saliency", point)
        assert network.traces.nbytes <= network.traces.limit
    assert model.passes == before, "the forward pass is not what has to go"


def test_a_trace_larger_than_the_cache_is_not_kept(image: np.ndarray) -> None:
    _, network = small(1000)
    expected = ns.explain(small(1 << 30)[1], image, "grad_cam", 1, "all").values
    for _ in range(2):
        found = ns.explain(network, image, "grad_cam", 1, "all").values
        assert_close(found, expected)
        assert len(network.traces) == 0
        assert network.traces.nbytes == 0


def test_the_count_of_bytes_is_honest(network: ns.Network, image: np.ndarray) -> None:
    """At least the activations and gradients of all layers; what they share counts once."""
    ns.explain(network, image, "grad_cam", 1, "all", keep="everything")
    trace = network.trace(image, keep="everything")
    target = trace.resolve(1)
    tensors = [trace.activation(name) for name in network.layers]
    tensors += [trace.gradient(target, name) for name in network.layers]
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    assert len(storages) < len(tensors)
    assert sum(storages.values()) <= network.traces.nbytes
    elements = sum(tensor.numel() for tensor in tensors)
    assert network.traces.nbytes < 4 * elements


def test_clearing_forgets(model: Counted, network: ns.Network, image: np.ndarray) -> None:
    ns.explain(network, image, "saliency", 1)
    network.traces.clear()
    assert (len(network.traces), network.traces.nbytes) == (0, 0)
    before = model.passes
    ns.explain(network, image, "saliency", 1)
    assert model.passes == before + 1


def test_several_threads_get_what_one_would(network: ns.Network, rng: np.random.Generator) -> None:
    images = [rng.random((16, 16, 3)) for _ in range(6)]
    fresh = as_network(Counted(settled(UNet())), "segmentation")
    expected = [ns.explain(fresh, i, "guided_grad_cam", 1, "body.bottom").values for i in images]
    found: dict[int, np.ndarray] = {}

    def work(n: int) -> None:
        found[n] = ns.explain(network, images[n], "guided_grad_cam", 1, "body.bottom").values

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n in range(6):
        np.testing.assert_allclose(found[n], expected[n], rtol=1e-5, atol=1e-7)


def test_a_method_can_be_asked_of_a_trace(network: ns.Network, image: np.ndarray) -> None:
    """The way for methods of other packages."""
    trace = network.trace(image, ["body.bottom"])
    target = trace.resolve(ns.Target(1, "everywhere"))
    assert trace.value(target) == pytest.approx(
        float(network.predict(image).scores[1].sum()), rel=1e-4
    )
    assert trace.activation("body.bottom").shape == (16, 4, 4)
    assert trace.gradient(target, "body.bottom").shape == (16, 4, 4)
    assert trace.input_gradient(target).shape == (3, 16, 16)
    gradient, count = trace.guided_gradient(target)
    assert gradient.shape == (3, 16, 16)
    assert count == 10  # ten relus
    assert not trace.activation("body.bottom").requires_grad
