"""The card of each method: that it has every part, and that its cost is what is counted."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import napari_neuroscope as ns
from napari_neuroscope.engine.explain.cost import cost_of
from networks import settled

PAPER = re.compile(r"(doi:10\.\d{4,9}/\S+|arXiv:\d{4}\.\d{4,5})$")


@pytest.mark.parametrize("name", ns.methods)
def test_each_method_has_a_card(name: str) -> None:
    method = ns.methods[name]
    assert method.summary
    assert "\n" not in method.summary
    assert method.description, "how is it made? the text below the docstring's first line"
    assert method.caution, "when does it mislead? the docstring's section “Misleads”"
    assert re.match(r"Forward passes: .+?\. .*Backward passes: ", method.cost), method.cost
    for option in method.options.values():
        assert option.meaning.endswith("."), f"{option.name}: Field(description=…) of its type"
    for paper in method.reference.split("; ") if name != "input" else ():
        assert PAPER.search(paper), f"“{paper}” ends in no doi: or arXiv:"


class CountedConv(nn.Conv2d):
    """Counts the inputs that run through it."""

    seen = 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        return super().forward(x)


class Counted(nn.Module):
    """Counts the inputs that pass it whole, from a layer on, and back; input of any size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = CountedConv(1, 4, 3, padding=1)
        self.relu = nn.ReLU()
        self.layer = nn.Conv2d(4, channels, 3, padding=1)
        self.head = CountedConv(channels, 3, 1)
        self.back = 0

    def between(self, x: Tensor) -> Tensor:
        return self.relu(x)

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(self.layer(self.between(self.first(x))))
        if y.requires_grad:
            y.register_hook(self._went_back)
        return y

    def _went_back(self, gradient: Tensor) -> None:
        self.back += len(gradient)

    def passes(self) -> dict[str, int]:
        """Return what was counted since the last call."""
        whole, ends, back = self.first.seen, self.head.seen, self.back
        self.first.seen = self.head.seen = self.back = 0
        return {
            "Forward passes": whole,
            "Passes behind the layer": ends - whole,
            "Backward passes": back,
        }


class CountedAttention(Counted):
    """Lets all positions attend to each other in between."""

    def between(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).mT
        tokens = tokens + functional.scaled_dot_product_attention(tokens, tokens, tokens)
        return tokens.mT.unflatten(2, x.shape[2:])


def counting(name: str, channels: int, side: int) -> tuple[Counted, ns.Network, np.ndarray]:
    """Return a network that counts, and an image for it; its layers are known already."""
    attends = ns.Needs.ATTENTION in ns.methods[name].needs
    model = settled((CountedAttention if attends else Counted)(channels))
    spec = {"task": "segmentation", "input": {"value_range": (0, 1)}}
    network = ns.wrap(model, spec, device="cpu")
    image = np.random.default_rng(0).random((side, side), dtype=np.float32)
    network.discover(image)
    # Whether images of a batch see each other is asked once of each network.
    ns.explain(network, image, "rise", 0, masks=2)
    return model, network, image


def counted(
    model: Counted, network: ns.Network, image: np.ndarray, name: str, target: Any, **options: Any
) -> dict[str, int]:
    """Return the passes of a map, beside the one of the image that all maps share."""
    layer = "layer" if ns.Needs.LAYER in ns.methods[name].needs_with(options) else None
    network.traces.clear()
    model.passes()
    ns.explain(network, image, name, target, layer, **options)
    found = model.passes()
    return {**found, "Forward passes": found["Forward passes"] - 1}


def told(network: ns.Network, name: str, side: int, options: dict[str, Any]) -> dict[str, int]:
    """Return the passes that a method's card tells."""
    method = ns.methods[name]
    layers = ["layer"] if ns.Needs.LAYER in method.needs else []
    cost = cost_of(method, options, network.layers, (side, side), layers=layers)
    assert cost is not None, f"no numbers of passes in “{method.cost}”"
    return {
        "Forward passes": cost.forward,
        "Passes behind the layer": cost.behind,
        "Backward passes": cost.backward,
    }


# Fewer passes than by default, for the time of the test.
FEWER: dict[str, dict[str, Any]] = {
    "occlusion": {"window": 7, "stride": 4},
    "rise": {"masks": 37},
    "integrated_gradients": {"steps": 7},
    "smooth_grad": {"samples": 9},
    "xrai": {"steps": 5},
}


@pytest.mark.parametrize(("channels", "side"), [(5, 20), (18, 24)])
@pytest.mark.parametrize("name", ns.methods)
def test_the_cost_is_what_is_counted(name: str, channels: int, side: int) -> None:
    options = FEWER.get(name, {})
    model, network, image = counting(name, channels, side)
    target = 1 if ns.Needs.TARGET in ns.methods[name].needs else None
    found = counted(model, network, image, name, target, **options)
    assert found == told(network, name, side, options)


@pytest.mark.parametrize("name", [n for n, m in ns.methods.items() if "all targets." in m.cost])
def test_passes_that_serve_all_targets(name: str) -> None:
    options = FEWER.get(name, {})
    model, network, image = counting(name, 5, 20)
    found = counted(model, network, image, name, [0, 1, 2], **options)
    card = told(network, name, 20, options)
    if "forward passes are shared" in ns.methods[name].cost:
        del found["Backward passes"], card["Backward passes"]
    assert found == card


@pytest.mark.parametrize(
    ("name", "options", "forward", "backward"),
    [
        ("activation", {"rank": "relevance"}, 0, 1),
        ("segmented_score_map", {"base": "grad_cam"}, 0, 1),
        ("similarity_map", {"base": "saliency"}, 0, 1),
    ],
)
def test_costs_that_depend_on_options(
    name: str, options: dict[str, Any], forward: int, backward: int
) -> None:
    model, network, image = counting(name, 5, 20)
    found = counted(model, network, image, name, 1, **options)
    assert (found["Forward passes"], found["Backward passes"]) == (forward, backward)


def test_options_without_a_meaning_say_nothing() -> None:
    @ns.method("Bare")
    def bare(trace: Any, target: Any, layer: Any, *, power: int = 1) -> Tensor:
        """One."""
        return torch.ones(1)

    assert (bare.summary, bare.description, bare.cost, bare.caution) == ("One.", "", "", "")
    assert bare.options["power"].meaning == ""
