"""Guided backpropagation against the same network written with an explicit guided relu."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import napari_neuroscope as ns
from closeness import assert_close
from guided import guided_pointwise, reference
from guided_networks import (
    WRITTEN,
    Checkpointed,
    CheckpointedReentrant,
    PreActivation,
    Relu,
    Residual,
    Straight,
    as_input,
    image_of,
    ours,
    reference_of,
    three,
)
from networks import as_network, settled

IN_PLACE = [w for w in WRITTEN if "in place" in w or "relu_" in w or w == "one of each"]
ROWS = [
    (kind, written)
    for kind in (Straight, PreActivation, Residual, Checkpointed)
    for written in WRITTEN
    if not (kind is PreActivation and written in IN_PLACE)
]


@pytest.mark.parametrize(("kind", "written"), ROWS)
def test_every_way_to_write_a_relu(
    kind: type[Straight], written: str, rng: np.random.Generator
) -> None:
    image = image_of(rng)
    model = settled(kind(WRITTEN[written]))
    for index in (0, 3):
        assert_close(ours(model, image, index), reference_of(kind, image, index), 1e-6)


@pytest.mark.filterwarnings("ignore::UserWarning:torch.utils.checkpoint")
@pytest.mark.parametrize("written", ["module", "one module reused in place", "F.relu"])
def test_reentrant_checkpoints(written: str, rng: np.random.Generator) -> None:
    image = image_of(rng)
    model = settled(CheckpointedReentrant(WRITTEN[written]))
    expected = reference_of(Straight, image, 2)
    assert_close(ours(model, image, 2), expected, 1e-6)


@pytest.mark.parametrize("written", ["module", "F.relu in place"])
@pytest.mark.parametrize(
    "convert",
    [
        lambda model, x: torch.export.export(model, (x,)).module(),
        torch.jit.trace,
    ],
    ids=["torch.export", "torch.jit.trace"],
)
@pytest.mark.parametrize("kind", [Straight, Residual])
def test_converted_networks(
    kind: type[Straight], convert: Any, written: str, rng: np.random.Generator
) -> None:
    image = image_of(rng)
    model = convert(settled(kind(WRITTEN[written])), as_input(image))
    assert_close(ours(model, image, 1), reference_of(kind, image, 1), 1e-6)


def test_the_reference_is_no_plain_gradient(rng: np.random.Generator) -> None:
    """Else the tests above could not fail."""
    image = image_of(rng)
    network = as_network(settled(Straight(WRITTEN["module"])))
    plain = ns.explain(network, image, "saliency", 0, channels="keep").values
    expected = reference_of(Straight, image, 0)
    assert np.abs(plain - expected).max() > 0.1 * np.abs(expected).max()


# --- other activations: R_in = max(R_out, 0) · f'(z) ---

ACTIVATIONS: dict[str, tuple[Callable[[], Relu], Callable[[Tensor], Tensor]]] = {
    "relu6": (nn.ReLU6, functional.relu6),
    "relu6 in place": (lambda: nn.ReLU6(inplace=True), functional.relu6),
    "F.relu6": (lambda: functional.relu6, functional.relu6),
    "hardtanh": (nn.Hardtanh, functional.hardtanh),
    "leaky_relu": (lambda: nn.LeakyReLU(0.1), lambda x: functional.leaky_relu(x, 0.1)),
    "leaky_relu in place": (
        lambda: nn.LeakyReLU(0.1, inplace=True),
        lambda x: functional.leaky_relu(x, 0.1),
    ),
    "elu": (nn.ELU, functional.elu),
    "elu in place": (lambda: nn.ELU(inplace=True), functional.elu),
    "selu": (nn.SELU, functional.selu),
    "celu": (lambda: nn.CELU(0.7), lambda x: functional.celu(x, 0.7)),
    "gelu": (nn.GELU, functional.gelu),
    "gelu tanh": (
        lambda: nn.GELU("tanh"),
        lambda x: functional.gelu(x, approximate="tanh"),
    ),
    "silu": (nn.SiLU, functional.silu),
    "silu in place": (lambda: nn.SiLU(inplace=True), functional.silu),
    "mish": (nn.Mish, functional.mish),
    "hardswish": (nn.Hardswish, functional.hardswish),
    "hardsigmoid": (nn.Hardsigmoid, functional.hardsigmoid),
    "softplus": (nn.Softplus, functional.softplus),
    "tanh": (lambda: torch.tanh, torch.tanh),
    "sigmoid": (nn.Sigmoid, torch.sigmoid),
    "logsigmoid": (nn.LogSigmoid, functional.logsigmoid),
    "rrelu": (nn.RReLU, lambda x: functional.leaky_relu(x, (1 / 8 + 1 / 3) / 2)),
    "softshrink": (nn.Softshrink, functional.softshrink),
    "hardshrink": (nn.Hardshrink, functional.hardshrink),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_other_activations(activation: str, rng: np.random.Generator) -> None:
    make, function = ACTIVATIONS[activation]
    image = 2 * image_of(rng)  # wide enough to meet the ends of relu6 and hardtanh
    model = settled(Straight(three(make)))
    explicit = settled(Straight(three(lambda: guided_pointwise(function))))
    expected = reference(explicit, as_input(image), 1).numpy()
    assert_close(ours(model, image, 1), expected, 1e-5)


def test_prelu_with_its_learnt_slopes(rng: np.random.Generator) -> None:
    image = image_of(rng)
    model = Straight(three(lambda: nn.PReLU(6)))
    explicit = Straight(three(lambda: lambda x: x))
    explicit.load_state_dict(settled(model).state_dict(), strict=False)
    for n, prelu in enumerate(model.made):
        weight = prelu.weight.detach()
        explicit.made[n] = guided_pointwise(lambda x, w=weight: functional.prelu(x, w))
    assert_close(ours(model, image, 0), reference(explicit, as_input(image), 0).numpy())


# --- what can't be guided is said ---


def _mixed(second: Relu) -> Straight:
    return settled(Straight(lambda: [nn.ReLU(), second, nn.ReLU()]))


@pytest.mark.parametrize(
    "second",
    [
        lambda x: x.clamp(min=0),
        lambda x: x.clamp(0),
        lambda x: torch.clamp(x, min=0),
        lambda x: x.clamp_(min=0),
        lambda x: torch.clamp_min(x, 0),
        lambda x: x.clip(0),
        lambda x: torch.maximum(x, torch.zeros(())),
        lambda x: torch.maximum(x, torch.zeros_like(x)),
        lambda x: torch.max(x, torch.zeros_like(x)),
        lambda x: torch.fmax(x, torch.zeros_like(x)),
    ],
    ids=[
        "x.clamp(min=0)",
        "x.clamp(0)",
        "torch.clamp",
        "x.clamp_(min=0)",
        "clamp_min",
        "clip",
        "maximum",
        "maximum of zeros like it",
        "max",
        "fmax",
    ],
)
def test_a_relu_in_disguise_is_warned_of(second: Relu, rng: np.random.Generator) -> None:
    network = as_network(_mixed(second))
    with pytest.warns(ns.NeuroscopeWarning, match="can't be told from other arithmetic") as said:
        found = ns.explain(network, image_of(rng), "guided_backprop", 0)
    assert len(said) == 1
    assert "\n" not in str(said[0].message)
    # It stands in the record as well as on the screen.
    assert any("can't be told" in note for note in found.provenance["notes"])


def test_the_warning_names_what_is_not_guided(rng: np.random.Generator) -> None:
    network = as_network(_mixed(lambda x: x.clamp(min=0)))
    with pytest.warns(ns.NeuroscopeWarning, match=r"\bclamp\b"):
        ns.explain(network, image_of(rng), "guided_grad_cam", 0, "conv3")


def test_a_network_without_an_activation_is_warned_of(rng: np.random.Generator) -> None:
    network = as_network(settled(Straight(three(lambda: lambda x: x))))
    image = image_of(rng)
    with pytest.warns(ns.NeuroscopeWarning, match="equals the plain gradient"):
        found = ns.explain(network, image, "guided_backprop", 0, channels="keep")
    plain = ns.explain(network, image, "saliency", 0, channels="keep")
    np.testing.assert_array_equal(found.values, plain.values)
    assert any("plain gradient" in note for note in found.provenance["notes"])


def test_the_warning_comes_each_time_it_is_asked(rng: np.random.Generator) -> None:
    """Also where the map is taken from what is kept."""
    network = as_network(settled(Straight(three(lambda: lambda x: x))))
    image = image_of(rng)
    for _ in range(2):
        with pytest.warns(ns.NeuroscopeWarning, match="plain gradient"):
            ns.explain(network, image, "guided_backprop", 0)


class Scripted(Straight):
    """A network with a scripted part."""

    def __init__(self) -> None:
        super().__init__(WRITTEN["module"])
        self.part = torch.jit.script(nn.Sequential(nn.Conv2d(6, 6, 1), nn.ReLU()))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv4(self.part(self.made[0](self.conv1(x)))).mean((2, 3))


@pytest.mark.parametrize(
    "model",
    [
        lambda: torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten())),
        Scripted,
    ],
    ids=["the whole", "a part"],
)
def test_scripted_networks_are_refused(model: Any, rng: np.random.Generator) -> None:
    network = as_network(settled(model()))
    with pytest.raises(ns.NeuroscopeError, match="scripted"):
        ns.explain(network, image_of(rng), "guided_backprop", 0)


def test_scripted_parts_leave_other_methods_alone(rng: np.random.Generator) -> None:
    model = settled(Scripted())
    image = image_of(rng)
    found = ns.explain(as_network(model), image, "saliency", 0, channels="keep").values
    assert_close(found, reference(model, as_input(image), 0).numpy())
