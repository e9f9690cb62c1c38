"""Guided backpropagation through activations that networks write themselves, in float64."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import _get_current_dispatch_mode

import napari_neuroscope as ns
from closeness import assert_close
from guided import guided_pointwise, reference
from guided_networks import (
    Checkpointed,
    CheckpointedReentrant,
    Relu,
    Residual,
    Straight,
    as_input,
    image_of,
    ours,
)
from guided_parts import Clamp, Neck
from networks import as_network, settled


class Swish(torch.autograd.Function):
    """The memory-efficient swish of many packages."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return above[0] * (s * (1 + x * (1 - s)))


class ComputedAgain(Swish):
    """A swish whose way back is that of what it is made of."""

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> Tensor:
        with torch.enable_grad():
            x = ctx.saved_tensors[0].detach().requires_grad_()
            return torch.autograd.grad(x * torch.sigmoid(x), x, above[0])[0]


class InPlace(Swish):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x.clone())
        ctx.mark_dirty(x)
        return x.mul_(x.sigmoid())


def swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


scripted_swish = torch.jit.script(swish)


def filled(x: Tensor) -> Tensor:
    x = x.clone()
    x[x < 0] = 0
    return x


BETAS = torch.linspace(0.5, 2, 6)[:, None, None]


leaky = F.leaky_relu


# Each beside what it is, where autograd knows that only so.
BY_HAND: dict[str, tuple[Relu, Relu | None]] = {
    "quick GELU": (lambda x: x * torch.sigmoid(1.702 * x), None),
    "tanh GELU": (lambda x: 0.5 * x * (1 + torch.tanh(0.79788 * (x + 0.044715 * x**3))), None),
    "tanh GELU of products": (
        lambda x: 0.5 * x * (1 + torch.tanh(0.79788 * (x + 0.044715 * x * x * x))),
        None,
    ),
    "erf GELU": (lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5)), F.gelu),
    "x.sigmoid().mul(x)": (lambda x: x.sigmoid().mul(x), F.silu),
    "x.mul_(x.sigmoid())": (lambda x: x.mul_(x.sigmoid()), F.silu),
    "x / (1 + exp(-x))": (lambda x: x / (1 + torch.exp(-x)), F.silu),
    "swish of a slope for each channel": (lambda x: x * torch.sigmoid(BETAS.to(x) * x), None),
    "scripted swish": (scripted_swish, F.silu),
    "Function": (Swish.apply, F.silu),
    "Function computed again": (ComputedAgain.apply, F.silu),
    "Function in place": (InPlace.apply, F.silu),
    "Function that clamps": (Clamp.apply, F.relu),
    "mish": (lambda x: x * torch.tanh(torch.log(1 + torch.exp(x))), F.mish),
    "hardswish": (lambda x: x * F.relu6(x + 3) / 6, F.hardswish),
    "hardswish in place": (lambda x: x.mul_(F.relu6(x + 3).div_(6)), F.hardswish),
    "hardswish by hardtanh": (lambda x: x * F.hardtanh(x + 3, 0, 6) / 6, F.hardswish),
    "hardswish by clamp": (lambda x: x * (x + 3).clamp(0, 6) / 6, F.hardswish),
    "(x + |x|) / 2": (lambda x: (x + x.abs()) / 2, F.relu),
    "x · (x > 0)": (lambda x: x * (x > 0), F.relu),
    "x · mask of a detached x": (lambda x: x * (x.detach() > 0).float(), F.relu),
    "x · mask of its sigmoid": (lambda x: x * (torch.sigmoid(x) > 0.5), F.relu),
    "x · (sign(x) + 1) / 2": (lambda x: x * (torch.sign(x) + 1) / 2, F.relu),
    "masked_fill": (lambda x: x.masked_fill(x < 0, 0), F.relu),
    "x[x < 0] = 0": (filled, F.relu),
    "where": (lambda x: torch.where(x > 0, x, torch.zeros_like(x)), F.relu),
    "leaky by where": (lambda x: torch.where(x > 0, x, 0.1 * x), lambda x: leaky(x, 0.1)),
    "leaky by maximum": (lambda x: torch.maximum(x, 0.1 * x), lambda x: leaky(x, 0.1)),
    "leaky by clamps": (
        lambda x: x.clamp(min=0) + 0.1 * x.clamp(max=0),
        lambda x: leaky(x, 0.1),
    ),
    "prelu by relus": (lambda x: F.relu(x) - 0.25 * F.relu(-x), lambda x: leaky(x, 0.25)),
    "where nested": (
        lambda x: torch.where(x.abs() > 1, x, torch.where(x < 0, 0.1 * x, 0.5 * x)),
        None,
    ),
    "elu": (lambda x: torch.where(x > 0, x, torch.exp(x.clamp(max=0)) - 1), F.elu),
    "log(1 + exp(x))": (lambda x: torch.log(1 + torch.exp(x)), F.softplus),
    "stable softplus": (lambda x: x.clamp(min=0) + (-x.abs()).exp().log1p(), F.softplus),
    "logaddexp": (lambda x: torch.logaddexp(x, torch.zeros_like(x)), F.softplus),
    "-softplus(-x)": (lambda x: -F.softplus(-x), F.logsigmoid),
    "1 - relu(1 - relu(x))": (lambda x: 1 - F.relu(1 - F.relu(x)), lambda x: x.clamp(0, 1)),
    "1 / (1 + exp(-x))": (lambda x: 1 / (1 + torch.exp(-x)), torch.sigmoid),
    "1 - 2 / (1 + exp(2 x))": (lambda x: 1 - 2 / (1 + torch.exp(2 * x)), torch.tanh),
    "softsign": (F.softsign, None),
    "tanhshrink": (F.tanhshrink, None),
    "soft threshold": (lambda x: torch.sign(x) * F.relu(x.abs() - 0.1), None),
    "squared relu": (lambda x: F.relu(x) ** 2, None),
    "squared tanh": (lambda x: torch.tanh(x) ** 2, None),
    "sine": (torch.sin, None),
    "snake": (lambda x: x + torch.sin(x) ** 2, None),
    "bell": (lambda x: torch.exp(-(x**2)), None),
}


def beside_relu(activation: Relu) -> Callable[[], list[Relu]]:
    return lambda: [activation, F.relu, activation]


def expected_of(kind: type[Straight], activation: Relu, image: np.ndarray) -> np.ndarray:
    """Return R_in = max(R_out, 0) · f'(z) at each activation, in float64."""
    guided = guided_pointwise(activation), guided_pointwise(F.relu)
    model = settled(kind(lambda: [guided[0], guided[1], guided[0]])).double()
    return reference(model, as_input(image).double(), 1).numpy()


@pytest.mark.parametrize("written", BY_HAND)
def test_activations_by_hand(written: str, rng: np.random.Generator) -> None:
    activation, meant = BY_HAND[written]
    image = 2 * image_of(rng)
    for kind in (Straight, Residual):
        network = as_network(settled(kind(beside_relu(activation))))
        found = ns.explain(network, image, "guided_backprop", 1, channels="keep")
        assert_close(found.values, expected_of(kind, meant or activation, image), 1e-5)
        assert found.provenance["notes"] == []


@pytest.mark.filterwarnings("ignore::UserWarning:torch.utils.checkpoint")
@pytest.mark.parametrize("kind", [Checkpointed, CheckpointedReentrant])
@pytest.mark.parametrize("written", ["quick GELU", "leaky by where", "Function", "elu"])
def test_by_hand_in_checkpoints(
    written: str, kind: type[Straight], rng: np.random.Generator
) -> None:
    image = image_of(rng)
    model = settled(kind(beside_relu(BY_HAND[written][0])))
    expected = expected_of(Straight, BY_HAND[written][0], image)
    assert_close(ours(model, image, 1), expected, 1e-5)


def test_two_after_each_other_and_two_of_one_tensor(rng: np.random.Generator) -> None:
    image = image_of(rng)
    model = settled(Straight(beside_relu(lambda x: swish(swish(x)))))
    once = guided_pointwise(swish)
    relu = guided_pointwise(F.relu)
    twice = settled(Straight(lambda: [lambda x: once(once(x)), relu, lambda x: once(once(x))]))
    expected = reference(twice.double(), as_input(image).double(), 1).numpy()
    assert_close(ours(model, image, 1), expected, 1e-5)

    def halves(one: Relu, other: Relu) -> Relu:
        return lambda x: torch.cat([one(x)[:, :3], other(x)[:, 3:]], 1)

    def slope(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.1 * x)

    model = settled(Straight(beside_relu(halves(swish, slope))))
    explicit = halves(once, guided_pointwise(slope))
    other = settled(Straight(lambda: [explicit, relu, explicit])).double()
    expected = reference(other, as_input(image).double(), 1).numpy()
    assert_close(ours(model, image, 1), expected, 1e-5)


def squeezed(m: Any, a: Any, x: Tensor) -> Tensor:
    return x * a.sigmoid(m.dense(x.mean((2, 3))))[:, :, None, None]


def normalised(m: Any, a: Any, x: Tensor) -> Tensor:
    centred = x - x.mean(1, keepdim=True)
    return m.weight * centred / torch.sqrt(centred.pow(2).mean(1, keepdim=True) + 1e-6)


def attending(m: Any, a: Any, x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    scores = tokens @ tokens.transpose(1, 2) / 6**0.5
    shares = torch.exp(scores - scores.amax(-1, keepdim=True))
    shares = shares / shares.sum(-1, keepdim=True)
    return (shares @ tokens).transpose(1, 2).reshape(x.shape)


def recurrent(m: Any, a: Any, x: Tensor) -> Tensor:
    gate = a.sigmoid(m.third(x))
    return (1 - gate) * a.tanh(m.second(x)) + gate * x


NO_ACTIVATIONS: dict[str, Callable[[Any, Any, Tensor], Tensor]] = {
    "gate": lambda m, a, x: x * a.sigmoid(m.third(x)),
    "gate of a smoothed map": lambda m, a, x: x * a.sigmoid(F.avg_pool2d(x, 3, 1, 1)),
    "gate of a flipped map": lambda m, a, x: x * a.sigmoid(x.flip(2)),
    "gate of other channels": lambda m, a, x: x * a.sigmoid(x.roll(1, 1)),
    "squeeze and excite": squeezed,
    "GLU by chunk": lambda m, a, x: m.widen(x.chunk(2, 1)[0] * a.sigmoid(x.chunk(2, 1)[1])),
    "GLU by slices": lambda m, a, x: m.widen(x[:, :3] * a.sigmoid(x[:, 3:])),
    "GRU": recurrent,
    "residual": lambda m, a, x: a.relu(m.third(x)) + x,
    "scale": lambda m, a, x: m.weight * a.relu(x) - 1,
    "layer norm by hand": normalised,
    "RMS norm by hand": lambda m, a, x: x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-6),
    "standardised": lambda m, a, x: (x - x.mean()) / (x.std() + 1e-5),
    "attention by hand": attending,
    "linear": lambda m, a, x: (x * 2 + 1) / 3,
    "mask of another": lambda m, a, x: x * (m.third(x) > 0),
}


PLAIN = SimpleNamespace(relu=F.relu, sigmoid=torch.sigmoid, tanh=torch.tanh)


GUIDED = SimpleNamespace(
    relu=guided_pointwise(F.relu),
    sigmoid=guided_pointwise(torch.sigmoid),
    tanh=guided_pointwise(torch.tanh),
)


@pytest.mark.parametrize("part", NO_ACTIVATIONS)
def test_arithmetic_of_several_tensors_is_left_as_it_is(
    part: str, rng: np.random.Generator
) -> None:
    image = image_of(rng)
    network = as_network(settled(Neck(NO_ACTIVATIONS[part], PLAIN)))
    found = ns.explain(network, image, "guided_backprop", 1, channels="keep")
    explicit = settled(Neck(NO_ACTIVATIONS[part], GUIDED)).double()
    expected = reference(explicit, as_input(image).double(), 1).numpy()
    assert_close(found.values, expected, 1e-5)
    assert found.provenance["notes"] == []


def test_nothing_stays(rng: np.random.Generator) -> None:
    """Neither hooks nor modes: other maps, and the same again, are as they were."""
    image = image_of(rng)
    network = as_network(settled(Straight(beside_relu(BY_HAND["leaky by where"][0]))))
    maps = [
        ns.explain(network, image, method, 1, channels="keep").values
        for method in ("saliency", "guided_backprop", "saliency", "guided_backprop")
    ]
    np.testing.assert_array_equal(maps[0], maps[2])
    np.testing.assert_array_equal(maps[1], maps[3])
    assert np.abs(maps[0] - maps[1]).max() > 0
    assert _get_current_dispatch_mode() is None
