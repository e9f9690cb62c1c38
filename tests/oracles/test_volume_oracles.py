"""Networks of volumes: every method against captum, plain mathematics, Keras and ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import (
    LRP,
    GuidedBackprop,
    GuidedGradCam,
    InputXGradient,
    IntegratedGradients,
    LayerGradCam,
    Occlusion,
    Saliency,
)
from captum.attr._utils.lrp_rules import EpsilonRule
from torch import Tensor, nn
from torch.nn import functional

import napari_neuroscope as ns
from closeness import assert_close
from networks import as_network, settled

# Captum warns that it sets requires_grad and hooks.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SHAPE = (6, 8, 12)
DEEP = (6, 4, 6)


class Features(nn.Module):
    """Convolutions over z, y and x, with a pooling over rows and columns alone."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv3d(1, 4, 3, padding=1), nn.ReLU()
        self.pool = nn.MaxPool3d((1, 2, 2))
        self.deep, self.relu2 = nn.Conv3d(4, 5, (1, 3, 3), padding=(0, 1, 1)), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu2(self.deep(self.pool(self.relu(self.conv(x)))))


class Classifier(Features):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(5 * 6 * 4 * 6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(super().forward(x).flatten(1))


class Segmenter(Features):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.head = nn.Upsample(scale_factor=(1, 2, 2)), nn.Conv3d(5, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.up(super().forward(x)))


class Summed(nn.Module):
    """A segmenter as captum takes it: each class's scores over a region."""

    def __init__(self, body: nn.Module, mask: np.ndarray) -> None:
        super().__init__()
        self.body, self.mask = body, torch.from_numpy(mask)

    def forward(self, x: Tensor) -> Tensor:
        return (self.body(x) * self.mask).sum((2, 3, 4))


@pytest.fixture
def volume(rng: np.random.Generator) -> np.ndarray:
    return rng.random(SHAPE, dtype=np.float32)


class Case:
    """A network of volumes, as ours and as captum's."""

    def __init__(self, task: str) -> None:
        self.mask = np.zeros(SHAPE, bool)
        self.mask[1:4, 2:7, 3:11] = True
        segments = task == "segmentation"
        self.model = settled(Segmenter() if segments else Classifier())
        self.theirs = Summed(self.model, self.mask) if segments else self.model
        self.target = ns.Target(2, self.mask) if segments else ns.Target(2)
        size = None if segments else SHAPE
        self.network = as_network(self.model, task, axes="bczyx", size=size)

    def explain(
        self, volume: np.ndarray, method: str, layer: str | None = None, **more: Any
    ) -> Any:
        return ns.explain(self.network, volume, method, self.target, layer, **more).values

    def ask_captum(self, attribution: Any, volume: np.ndarray, **more: Any) -> np.ndarray:
        x = torch.from_numpy(volume)[None, None]
        return attribution.attribute(x, target=2, **more)[0, 0].detach().numpy()


@pytest.fixture(params=["classification", "segmentation"])
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def test_gradients(case: Case, volume: np.ndarray) -> None:
    keep = {"channels": "sum"}
    for method, theirs in (
        ("saliency", Saliency(case.theirs)),
        ("input_x_gradient", InputXGradient(case.theirs)),
        ("guided_backprop", GuidedBackprop(case.theirs)),
    ):
        more = {"channels": "max_abs"} if method == "saliency" else keep
        found = case.explain(volume, method, **more)
        assert_close(found, case.ask_captum(theirs, volume))
    found = case.explain(volume, "integrated_gradients", steps=20, baseline="black")
    expected = case.ask_captum(IntegratedGradients(case.theirs), volume, n_steps=20)
    assert_close(found, expected, 1e-4)


def test_grad_cam_and_guided_grad_cam(case: Case, volume: np.ndarray) -> None:
    for layer in ("conv", "relu", "pool", "deep"):
        theirs = LayerGradCam(case.theirs, case.model.get_submodule(layer))
        expected = case.ask_captum(theirs, volume, relu_attributions=True)
        assert_close(case.explain(volume, "grad_cam", layer), expected)
    theirs = GuidedGradCam(case.theirs, case.model.deep)
    expected = case.ask_captum(theirs, volume, interpolate_mode="trilinear")
    assert_close(case.explain(volume, "guided_grad_cam", "deep"), expected)


def test_lrp(volume: np.ndarray) -> None:
    case = Case("classification")  # captum's LRP knows no upsampling
    for module in (case.model.conv, case.model.deep, case.model.head):
        module.rule = EpsilonRule()
    expected = case.ask_captum(LRP(case.model), volume)
    found = case.explain(volume, "lrp", rule="epsilon", epsilon=0)
    assert_close(found, expected, 1e-3)


def test_occlusion(case: Case, volume: np.ndarray) -> None:
    expected = case.ask_captum(
        Occlusion(case.theirs), volume, sliding_window_shapes=(1, 2, 4, 5), strides=(1, 1, 4, 3)
    )
    found = case.explain(volume, "occlusion", window=(2, 4, 5), stride=(1, 4, 3))
    assert_close(found, expected, 1e-4)


def activations(case: Case, volume: np.ndarray) -> tuple[Tensor, Tensor, float]:
    """Return the deep layer's activations and gradients (channel, *space), and the score."""
    held: list[Tensor] = []
    hook = case.model.relu2.register_forward_hook(lambda *given: held.append(given[2]))
    score = case.theirs(torch.from_numpy(volume)[None, None])[0, 2]
    hook.remove()
    (gradient,) = torch.autograd.grad(score, held[0])
    return held[0][0].detach(), gradient[0], float(score)


def test_class_activation_maps_as_their_papers(case: Case, volume: np.ndarray) -> None:
    a, g, score = activations(case, volume)

    def combined(weights: Tensor) -> np.ndarray:
        return torch.einsum("k,kzyx->zyx", weights, a).relu().numpy()

    space = (1, 2, 3)
    alpha = g**2 / (2 * g**2 + g**3 * a.sum(space, keepdim=True))
    alpha = torch.where(g == 0, 0, alpha)
    expected = {
        "grad_cam": combined(g.mean(space)),
        "grad_cam_plus_plus": combined((alpha * g.relu()).sum(space)),
        "hires_cam": (g * a).sum(0).relu().numpy(),
        "layer_cam": (g.relu() * a).sum(0).relu().numpy(),
        # Channels that are zero everywhere have no weight.
        "x_grad_cam": combined(((g * a).sum(space) / a.sum(space)).nan_to_num()),
    }
    x = torch.from_numpy(volume)[None, None]

    def asked(inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return case.theirs(inputs)[:, 2]

    masks = functional.interpolate(a[:, None], SHAPE, mode="trilinear", align_corners=False)
    low, high = masks.amin((2, 3, 4), True), masks.amax((2, 3, 4), True)
    scores = asked(((masks - low) / (high - low)).nan_to_num() * x)
    seen = high.ravel() > low.ravel()
    expected["score_cam"] = combined(torch.where(seen, scores, -torch.inf).softmax(0))
    weights = []
    for channel in range(len(a)):

        def without(_: Any, __: Any, output: Tensor, channel: int = channel) -> Tensor:
            return output * (torch.arange(len(a)) != channel).reshape(1, -1, 1, 1, 1)

        hook = case.model.relu2.register_forward_hook(without)
        weights.append((score - float(asked(x))) / abs(score))
        hook.remove()
    expected["ablation_cam"] = combined(torch.tensor(weights))
    for method, one in expected.items():
        found = case.explain(volume, method, "relu2")
        assert found.shape == DEEP
        assert_close(found, one, 1e-3)


def test_eigen_cam(case: Case, volume: np.ndarray) -> None:
    a = activations(case, volume)[0]
    flat = a.flatten(1).T.double()
    expected = flat @ torch.linalg.svd(flat, full_matrices=False)[2][0]
    found = ns.explain(case.network, volume, "eigen_cam", layer="relu2").values
    assert_close(found, (expected * expected.sum().sign()).reshape(DEEP).numpy())


def test_rise_as_a_plain_script(case: Case, volume: np.ndarray) -> None:
    x = torch.from_numpy(volume)[None, None]
    cells, steps = (2, 3, 4), (3, 3, 3)
    generator, expected = torch.Generator().manual_seed(5), 0
    drawn = torch.rand(64, *cells, generator=generator) < 0.5
    shifts = [torch.randint(step, (64,), generator=generator).tolist() for step in steps]
    for number in range(20):
        coarse = drawn[number].float()[None, None]
        size = [(n + 1) * step for n, step in zip(cells, steps, strict=True)]
        fine = functional.interpolate(coarse, size, mode="trilinear", align_corners=False)[0, 0]
        at = [shift[number] for shift in shifts]
        mask = fine[tuple(slice(s, s + n) for s, n in zip(at, SHAPE, strict=True))]
        with torch.no_grad():
            expected = expected + case.theirs(mask * x)[0, 2] * mask / (0.5 * 20)
    found = case.explain(volume, "rise", masks=20, cells=cells, seed=5)
    assert_close(found, expected.numpy(), 1e-4)


def test_onnx_scores_and_black_boxes(case: Case, volume: np.ndarray) -> None:
    onnx_networks = pytest.importorskip("onnx_networks", reason="ONNX is not installed")
    shape = (1, 1, *SHAPE)
    exported = onnx_networks.exported(case.model, shape, fixed=True)
    network = ns.wrap(exported, case.network.spec)
    ours, theirs = network.predict(volume), case.network.predict(volume)
    assert_close(ours.scores, theirs.scores, 1e-4)
    options = {
        "occlusion": {"window": 4, "stride": 4},
        "rise": {"masks": 16, "cells": 3},
        "score_map": {},
    }
    for method, more in options.items():
        if case.network.spec.task == "classification" and method == "score_map":
            continue
        found = ns.explain(network, volume, method, case.target, **more).values
        assert_close(found, case.explain(volume, method, **more), 1e-3)


def test_keras_twins(volume: np.ndarray) -> None:
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    import keras
    from keras import layers

    from keras_networks import convert

    case = Case("segmentation")
    twin = keras.Sequential(
        [
            keras.Input((*SHAPE, 1)),
            layers.Conv3D(4, 3, padding="same", activation="relu", name="conv"),
            layers.MaxPooling3D((1, 2, 2), name="pool"),
            layers.Conv3D(5, (1, 3, 3), padding="same", activation="relu", name="deep"),
            layers.UpSampling3D((1, 2, 2), name="up"),
            layers.Conv3D(3, 1, name="head"),
        ]
    )
    spec = {"task": "segmentation", "input": {"value_range": (0, 1), "axes": "bzyxc"}}
    network = ns.wrap(convert(case.model, twin), spec)
    for method, layer, more in (
        ("score_map", None, {}),
        ("saliency", None, {}),
        ("guided_backprop", None, {}),
        ("integrated_gradients", None, {"steps": 4}),
        ("grad_cam", "deep", {}),
        ("grad_cam_plus_plus", "deep", {}),
        ("hires_cam", "deep", {}),
        ("score_cam", "pool", {}),
        ("occlusion", None, {"window": 4, "stride": 4}),
        ("activation", "pool", {}),
    ):
        ours = {"deep": "relu2"}.get(layer or "", layer)
        expected = case.explain(volume, method, ours, **more)
        found = ns.explain(network, volume, method, case.target, layer, **more)
        assert found.axes[-3:] == ("z", "y", "x")
        assert_close(found.values, expected, 1e-3)
