"""Saliency, Grad-CAM and guided Grad-CAM against captum, on networks of several kinds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import (
    GuidedBackprop,
    GuidedGradCam,
    InputXGradient,
    IntegratedGradients,
    LayerGradCam,
    NoiseTunnel,
    Saliency,
)
from torch import Tensor, nn

import napari_neuroscope as ns
from closeness import assert_close
from networks import ResNet, UNet, Vgg, as_network, settled

# Captum warns that it sets requires_grad and hooks, and of align_corners left at its default.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class SummedOver(nn.Module):
    """A segmenter as captum takes it: the scores of each class, summed over a region."""

    def __init__(self, body: nn.Module, mask: Tensor | None) -> None:
        super().__init__()
        self.body, self.mask = body, mask

    def forward(self, x: Tensor) -> Tensor:
        scores = self.body(x)
        return (scores if self.mask is None else scores * self.mask).sum((2, 3))


@dataclass
class Case:
    """A network, the layers to compare, and what is explained."""

    model: nn.Module
    layers: list[str]
    target: ns.Target
    mask: np.ndarray | None = None

    @property
    def network(self) -> ns.Network:
        task = "segmentation" if isinstance(self.model, UNet) else "classification"
        return as_network(self.model, task, size=(16, 16))

    @property
    def theirs(self) -> nn.Module:
        if not isinstance(self.model, UNet):
            return self.model
        return SummedOver(self.model, None if self.mask is None else torch.from_numpy(self.mask))


def _disk() -> np.ndarray:
    y, x = np.indices((16, 16))
    return (y - 6) ** 2 + (x - 9) ** 2 < 20


def cases() -> dict[str, Case]:
    vgg = ["features.0", "features.1", "features.2", "features.3", "features.6", "features.7"]
    # Captum's layer methods can't look at the first of two calls of a module, nor at functions.
    resnet = ["conv1", "layer1.0", "layer1", "layer1.1.conv2", "layer2.0.downsample", "layer2"]
    unet = ["enc1.0", "enc1", "enc2.2", "bottom.4", "bottom", "up2", "dec2", "dec1", "head"]
    mask = _disk()
    return {
        "vgg": Case(settled(Vgg()), vgg, ns.Target(2)),
        "vgg in place": Case(
            settled(Vgg(inplace=True)), ["features.1", "features.4"], ns.Target(1)
        ),
        "resnet": Case(settled(ResNet()), resnet, ns.Target(0)),
        "u-net everywhere": Case(settled(UNet()), unet, ns.Target(1, "everywhere")),
        "u-net in a region": Case(settled(UNet()), unet, ns.Target(2, mask), mask),
    }


CASES = list(cases())


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return cases()[request.param]


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((16, 16, 3)).astype(np.float32)


def as_input(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None]


def theirs(attribution: Any, image: np.ndarray, case: Case, **more: Any) -> np.ndarray:
    found = attribution.attribute(as_input(image), target=case.target.class_, **more)
    return found[0].detach().numpy()


def test_saliency(case: Case, image: np.ndarray) -> None:
    each = theirs(Saliency(case.theirs), image, case)
    # Captum keeps the channels; the largest of them is what Simonyan et al. show.
    assert_close(ns.explain(case.network, image, "saliency", case.target).values, each.max(0))
    kept = ns.explain(case.network, image, "saliency", case.target, channels="keep").values
    assert_close(np.abs(kept), each)
    signed = theirs(Saliency(case.theirs), image, case, abs=False)
    assert_close(kept, signed)


def test_input_x_gradient(case: Case, image: np.ndarray) -> None:
    expected = theirs(InputXGradient(case.theirs), image, case)
    ours = ns.explain(case.network, image, "input_x_gradient", case.target)
    assert_close(ours.values, expected.sum(0))
    kept = ns.explain(case.network, image, "input_x_gradient", case.target, channels="keep")
    assert_close(kept.values, expected)


@pytest.mark.parametrize("baseline", ["zero", "image"])
def test_integrated_gradients(case: Case, image: np.ndarray, baseline: str) -> None:
    """By Gauss and Legendre, as captum unless it is asked otherwise; so is the sum's gap."""
    other = np.roll(image, 5, 0) / 2
    given: dict[str, Any] = {} if baseline == "zero" else {"baselines": as_input(other)}
    expected, gap = IntegratedGradients(case.theirs).attribute(
        as_input(image), target=case.target.class_, n_steps=20, return_convergence_delta=True,
        **given,
    )  # fmt: skip
    ours = ns.explain(
        case.network, image, "integrated_gradients", case.target, channels="keep", steps=20,
        baseline="zero" if baseline == "zero" else other,
    )  # fmt: skip
    assert_close(ours.values, expected[0].detach().numpy(), 1e-4)
    (note,) = (note for note in ours.provenance["notes"] if "completeness gap" in note)
    said = float(note.partition("gap of ")[2].partition(";")[0])
    assert said == pytest.approx(float(gap), rel=0.06, abs=1e-3)


def test_smooth_grad_of_the_same_noise(case: Case, image: np.ndarray) -> None:
    """Its mean of gradients at inputs with noise; captum is given ours, one by one."""
    deviation = 0.1 * (image.max() - image.min())
    found = []
    for number in range(4):
        noise = np.random.default_rng((3, number)).standard_normal((3, 16, 16), np.float32)
        moved = image + deviation * noise.transpose(1, 2, 0)
        found.append(theirs(Saliency(case.theirs), moved, case, abs=False))
    asked = {"noise": 0.1, "seed": 3, "channels": "keep"}
    ours = ns.explain(case.network, image, "smooth_grad", case.target, samples=4, **asked).values
    assert_close(ours, np.mean(found, 0), 1e-4)


def test_smooth_grad_of_other_noise(image: np.ndarray) -> None:
    """Captum's tunnel draws its own: the means come near each other, not to their neighbours."""
    case = cases()["vgg"]
    deviation = float(0.1 * (image.max() - image.min()))
    torch.manual_seed(0)
    means = {
        index: NoiseTunnel(Saliency(case.model)).attribute(
            as_input(image), nt_type="smoothgrad", nt_samples=400, nt_samples_batch_size=100,
            stdevs=deviation, target=index, abs=False,
        )[0].numpy()
        for index in (2, 3)
    }  # fmt: skip
    ours = ns.explain(
        case.network, image, "smooth_grad", 2, samples=400, noise=0.1, channels="keep"
    ).values
    near, far = (float(np.corrcoef(ours.ravel(), means[n].ravel())[0, 1]) for n in (2, 3))
    assert near > 0.97
    assert far < 0.8


@pytest.mark.parametrize("keep", ["asked", "everything"])
def test_grad_cam_of_each_layer(case: Case, image: np.ndarray, keep: Any) -> None:
    network = case.network
    for layer in case.layers:
        module = case.model.get_submodule(layer)
        # Captum leaves the relu out unless it is asked for.
        signed = theirs(LayerGradCam(case.theirs, module), image, case)[0]
        ours = ns.explain(network, image, "grad_cam", case.target, layer, relu=False, keep=keep)
        assert_close(ours.values, signed)
        positive = ns.explain(network, image, "grad_cam", case.target, layer, keep=keep)
        np.testing.assert_allclose(
            positive.values, np.maximum(signed, 0), atol=1e-5 * np.abs(signed).max()
        )


def test_grad_cam_of_all_layers_at_once(case: Case, image: np.ndarray) -> None:
    """By one backward pass, where captum takes one a layer."""
    found = ns.explain(case.network, image, "grad_cam", case.target, case.layers, relu=False)
    order = found.labels["layer"]
    assert set(order) == set(case.layers)
    finest = found.values.shape[1:]
    for values, layer in zip(found.values, order, strict=True):
        signed = theirs(LayerGradCam(case.theirs, case.model.get_submodule(layer)), image, case)
        fine = torch.nn.functional.interpolate(
            torch.from_numpy(signed)[None], finest, mode="bilinear"
        )[0, 0]
        assert_close(values, fine.numpy())


def test_guided_backpropagation(case: Case, image: np.ndarray) -> None:
    expected = theirs(GuidedBackprop(case.theirs), image, case)
    ours = ns.explain(case.network, image, "guided_backprop", case.target, channels="keep").values
    assert_close(ours, expected)


def test_guided_grad_cam(case: Case, image: np.ndarray) -> None:
    for layer in case.layers[-3:]:
        module = case.model.get_submodule(layer)
        # Its resampling is by nearest neighbour unless it is asked for another.
        expected = theirs(
            GuidedGradCam(case.theirs, module), image, case, interpolate_mode="bilinear"
        )
        ours = ns.explain(
            case.network, image, "guided_grad_cam", case.target, layer, channels="keep"
        ).values
        if not expected.any():
            assert not ours.any()
        else:
            assert_close(ours, expected)


def test_the_cases_have_positive_evidence(image: np.ndarray) -> None:
    """An all-zero guided Grad-CAM would compare nothing: each kind has some layer with one."""
    for name, case in cases().items():
        maps = ns.explain(case.network, image, "guided_grad_cam", case.target, case.layers[-3:])
        assert maps.values.any(), name
