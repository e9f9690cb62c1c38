"""Networks of half and double precision, frozen and lazy ones, and modes of the caller."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from closeness import assert_close
from networks import EndingIn, GapLinear, Pixelwise, ResNet, UNet, as_network, settled
from snapshot import Snapshot

IMAGE = np.random.default_rng(0).random((16, 16, 3)).astype(np.float32)


INPUT = torch.tensor(IMAGE.transpose(2, 0, 1)[None])


def test_lazy_modules_take_their_shapes_from_a_first_pass() -> None:
    model = nn.Sequential(
        nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.LazyLinear(3),
    ).eval()  # fmt: skip
    made = ns.explain(ns.wrap(model, {"input": {"channels": 3}}), IMAGE, "grad_cam", 1, relu=False)
    assert not any("random" in note for note in made.provenance["notes"])
    activation = model[:3](INPUT)
    (gradient,) = torch.autograd.grad(model[3:](activation)[0, 1], activation)
    expected = (activation * gradient.mean((2, 3), keepdim=True)).sum(1)[0]
    np.testing.assert_allclose(made.values, expected.detach(), rtol=1e-4, atol=1e-7)


METHODS: list[tuple[str, dict[str, Any]]] = [
    ("input", {}),
    ("activation", {"layer": "bottom", "rank": "relevance", "target": 1}),
    ("saliency", {"target": 1}),
    ("saliency", {"target": ns.Target(1, "predicted")}),
    ("saliency", {"target": ns.Target(1, np.eye(16), "probability", "mean")}),
    ("guided_backprop", {"target": 1}),
    ("grad_cam", {"target": [0, 1], "layer": ["enc1", "bottom", "cat"], "relu": False}),
    ("guided_grad_cam", {"target": 1, "layer": "dec1"}),
    ("grad_cam_plus_plus", {"target": 1, "layer": "bottom"}),
    ("score_map", {"target": 1}),
    ("fusion_score_map", {}),
]


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((16, 16, 3), dtype=np.float32)


def explain(model: nn.Module, image: np.ndarray, method: str, **more: Any) -> np.ndarray:
    return ns.explain(as_network(model, "segmentation"), image, method, **more).values


@pytest.mark.parametrize(("method", "more"), METHODS)
@pytest.mark.parametrize(("dtype", "relative"), [(torch.float16, 0.05), (torch.bfloat16, 0.3)])
def test_half_precision(
    dtype: torch.dtype, relative: float, method: str, more: dict[str, Any], image: np.ndarray
) -> None:
    half = settled(UNet()).to(dtype)
    # The same numbers, rounded, in single precision.
    expected = explain(settled(UNet()).to(dtype).float(), image, method, **more)
    found = explain(half, image, method, **more)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    if method != "activation":  # ranks may be exchanged by rounding
        difference = np.abs(found - expected)
        assert np.median(difference) <= relative * np.abs(expected).max()


def test_half_precision_does_not_lose_small_gradients(rng: np.random.Generator) -> None:
    """A mean over many positions is a gradient below the smallest half: it must not vanish."""
    image = rng.random((300, 300), dtype=np.float32)
    target = ns.Target(1, reduce="mean")
    model = settled(Pixelwise())
    single = explain(settled(Pixelwise()).half().float(), image, "saliency", target=target)
    half = explain(model.half(), image, "saliency", target=target)
    # A rounded activation may fall on the other side of a relu's zero, here and there.
    apart = np.abs(half - single) > 0.05 * single.max()
    assert apart.mean() < 1e-3


def test_double_precision(image: np.ndarray) -> None:
    for method, more in METHODS:
        double = explain(settled(UNet()).double(), image, method, **more)
        assert double.dtype == np.float32
        assert_close(double, explain(settled(UNet()), image, method, **more), 1e-4)


def test_frozen_networks(image: np.ndarray) -> None:
    for method, more in METHODS:
        frozen = explain(settled(UNet()).requires_grad_(False), image, method, **more)
        np.testing.assert_array_equal(frozen, explain(settled(UNet()), image, method, **more))


MODES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "enable_grad": torch.enable_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "none": nullcontext,
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("method", "more"), METHODS)
def test_modes_of_the_caller_change_nothing(
    mode: str, method: str, more: dict[str, Any], image: np.ndarray
) -> None:
    expected = explain(settled(UNet()), image, method, **more)
    model = settled(UNet())
    with MODES[mode]():
        before = Snapshot(model)
        found = explain(model, image, method, **more)
        before.assert_unchanged()
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("first", MODES)
@pytest.mark.parametrize("second", MODES)
def test_what_one_mode_kept_another_uses(first: str, second: str, image: np.ndarray) -> None:
    network = as_network(settled(UNet()), "segmentation")
    target = ns.Target(1, "predicted", "log_probability")
    expected = explain(settled(UNet()), image, "guided_grad_cam", target=target, layer="bottom")
    with MODES[first]():
        network.predict(image)
        ns.explain(network, image, "saliency", target)
    with MODES[second]():
        found = ns.explain(network, image, "guided_grad_cam", target, "bottom").values
    np.testing.assert_array_equal(found, expected)


def test_cam_in_inference_mode(rng: np.random.Generator) -> None:
    image = rng.random((8, 9))
    expected = ns.explain(as_network(settled(GapLinear())), image, "score_map", 1).values
    network = as_network(settled(GapLinear()))
    with torch.inference_mode():
        found = ns.explain(network, image, "score_map", 1).values
    np.testing.assert_array_equal(found, expected)


def test_a_model_made_in_inference_mode(image: np.ndarray) -> None:
    """PyTorch keeps such weights from every backward pass: that is said, or got around."""
    with torch.inference_mode():
        model = settled(UNet())
    before = Snapshot(model)
    try:
        found = explain(model, image, "saliency", target=1)
    except ns.NeuroscopeError as refusal:
        assert "inference" in str(refusal).lower()  # noqa: PT017
    else:
        assert_close(found, explain(settled(UNet()), image, "saliency", target=1))
    before.assert_unchanged()


@pytest.mark.parametrize("kind", [UNet, ResNet])
def test_a_network_given_in_training_is_explained_in_use(
    kind: type[nn.Module], image: np.ndarray
) -> None:
    task = "segmentation" if kind is UNet else "classification"
    maps = []
    for train in (False, True):
        model = settled(kind()).train(train)
        found = ns.explain(as_network(model, task), image, "saliency", 1)
        maps.append(found.values)
        assert model.training is train
    np.testing.assert_array_equal(*maps)


def test_a_random_network_is_the_same_for_one_trace(image: np.ndarray) -> None:
    """A dropout that is always on: what is kept of one pass goes together."""
    model = EndingIn(settled(UNet()), lambda x: nn.functional.dropout(x, 0.5, training=True))
    network = as_network(model, "segmentation")
    scores = ns.explain(network, image, "score_map", 1).values
    gradient = ns.explain(network, image, "grad_cam", ns.Target(1), "body.head", relu=False)
    again = ns.explain(network, image, "score_map", 1).values
    np.testing.assert_array_equal(again, scores)
    assert gradient.values.any()


def test_a_data_parallel_network_is_the_one_inside(image: np.ndarray) -> None:
    parallel = nn.DataParallel(settled(UNet()))
    network = as_network(parallel, "segmentation")
    assert "bottom" in network.layers
    found = ns.explain(network, image, "grad_cam", 1, "bottom").values
    np.testing.assert_array_equal(
        found, explain(settled(UNet()), image, "grad_cam", target=1, layer="bottom")
    )
