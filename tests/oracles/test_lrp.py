"""LRP against captum, as far as it knows the rules, and against zennit where it is installed."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import LRP
from captum.attr._utils.custom_modules import Addition_Module
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule, GammaRule
from torch import Tensor, nn

import napari_neuroscope as ns
from closeness import assert_close
from networks import Vgg, as_network, settled

# Captum warns that it sets requires_grad and hooks.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class Sum(nn.Module):
    """A sum as zennit knows it: of one tensor, along an axis."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.along(torch.stack([x, y], -1))

    def __init__(self) -> None:
        super().__init__()
        self.along = SumAlong()


class SumAlong(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum(-1)


class Residual(nn.Module):
    """Two residual blocks in which each module is used once."""

    def __init__(self, add: type[nn.Module], *, bias: bool = True, norms: bool = False) -> None:
        super().__init__()

        def conv(channels: int) -> nn.Module:
            own = nn.Conv2d(channels, 6, 3, padding=1, bias=bias)
            return nn.Sequential(own, nn.BatchNorm2d(6)) if norms else own

        self.stem, self.relu = conv(3), nn.ReLU()
        self.convs = nn.ModuleList(conv(6) for _ in range(4))
        self.relus = nn.ModuleList(nn.ReLU() for _ in range(4))
        self.adds = nn.ModuleList(add() for _ in range(2))
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(6, 4, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        for block in range(2):
            y = self.relus[2 * block](self.convs[2 * block](x))
            y = self.convs[2 * block + 1](y)
            x = self.relus[2 * block + 1](self.adds[block](y, x))
        return self.head(self.pool(x).flatten(1))


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    # Not negative: captum's gamma and α1β0 are for such inputs alone.
    return rng.random((16, 16, 3), dtype=np.float32)


def input_of(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None]


# --- captum ---

CAPTUMS = {"epsilon": EpsilonRule, "gamma": GammaRule, "z_plus": Alpha1_Beta0_Rule}


def captums(model: nn.Module, image: np.ndarray, target: int, rule: str) -> np.ndarray:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.rule = CAPTUMS[rule]()
        elif isinstance(module, nn.Flatten):
            module.rule = EpsilonRule()
    found = LRP(model).attribute(input_of(image), target)
    return found.sum(1)[0].detach().numpy()


def rectified(bias: bool) -> nn.Module:
    """Return a network whose convolutions' sums, where they go on, are positive."""
    model = settled(Vgg())
    if not bias:
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.bias = None
    return model


@pytest.mark.parametrize("target", [0, 2])
@pytest.mark.parametrize(
    ("rule", "bias"), [("epsilon", True), ("epsilon", False), ("gamma", False), ("z_plus", False)]
)
def test_a_plain_network_as_captum(rule: str, bias: bool, target: int, image: np.ndarray) -> None:
    expected = captums(rectified(bias), image, target, rule)
    found = ns.explain(as_network(rectified(bias)), image, "lrp", target, rule=rule, epsilon=0)
    assert_close(found.values, expected, 1e-4)


def test_a_residual_network_as_captum(image: np.ndarray) -> None:
    expected = captums(settled(Residual(Addition_Module)), image, 1, "epsilon")
    network = as_network(settled(Residual(Addition_Module)))
    found = ns.explain(network, image, "lrp", 1, rule="epsilon", epsilon=0)
    assert_close(found.values, expected, 1e-3)


# --- zennit ---


@pytest.fixture
def zennit(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Zennit, which imports classes of torchvision only to look for their instances."""
    try:
        import torchvision.models  # noqa: F401
    except Exception:  # noqa: BLE001  beside another PyTorch it fails in ways of its own
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            monkeypatch.delitem(sys.modules, name)
        for name in ("torchvision", "torchvision.models", "torchvision.models.resnet"):
            monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        blocks = {name: type(name, (nn.Module,), {}) for name in ("BasicBlock", "Bottleneck")}
        vars(sys.modules["torchvision.models.resnet"]).update(blocks)
    return pytest.importorskip("zennit", reason="zennit is not installed")


def zennits(model: nn.Module, image: np.ndarray, target: int, rule: str) -> np.ndarray:
    from zennit import rules
    from zennit.attribution import Gradient
    from zennit.canonizers import SequentialMergeBatchNorm
    from zennit.composites import LayerMapComposite, SpecialFirstLayerMapComposite
    from zennit.types import Activation, AvgPool

    least = 1e-12
    shares = {
        "epsilon": rules.Epsilon(least), "gamma": rules.Gamma(0.25, least),
        "z_plus": rules.ZPlus(least), "composite": rules.ZPlus(least),
    }  # fmt: skip
    of_layers = [
        (Activation, rules.Pass()), (AvgPool, rules.Norm(least)), (SumAlong, rules.Norm(least)),
        (nn.Conv2d, shares[rule]), (nn.Linear, rules.Epsilon(least)),
    ]  # fmt: skip
    kind, more = LayerMapComposite, {}
    if rule == "composite":
        kind, more = SpecialFirstLayerMapComposite, {"first_map": [(nn.Conv2d, rules.Flat(least))]}
    composite = kind(of_layers, canonizers=[SequentialMergeBatchNorm()], **more)
    with Gradient(model.double(), composite) as attributor:
        _, relevance = attributor(
            input_of(image).double(), lambda scores: scores * torch.eye(4)[[target]]
        )
    return relevance.sum(1)[0].detach().numpy()


MODELS = {
    "plain": Vgg,
    "residual": lambda: Residual(Sum),
    "residual with norms": lambda: Residual(Sum, bias=False, norms=True),
}


@pytest.mark.usefixtures("zennit")
@pytest.mark.parametrize("rule", ["composite", "z_plus", "gamma", "epsilon"])
@pytest.mark.parametrize("kind", MODELS)
def test_networks_as_zennit(kind: str, rule: str, rng: np.random.Generator) -> None:
    image = rng.standard_normal((16, 16, 3))
    expected = zennits(settled(MODELS[kind]()), image, 1, rule)
    network = as_network(settled(MODELS[kind]()).double())
    found = ns.explain(network, image, "lrp", 1, rule=rule, epsilon=0)
    # Zennit leaves a norm's eps, 1e-5, behind in each that it has merged.
    assert_close(found.values, expected, 1e-4 if "norms" in kind else 1e-6)
