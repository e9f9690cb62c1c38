"""What a map takes is told from what its method declares, before it is made."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.engine.explain.cost import Cost, cost_of, pace_of, share_behind
from napari_neuroscope.engine.methods.interface import Step

SHAPE = (40, 50)


@pytest.fixture(scope="module")
def network() -> ns.Network:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 1, bias=False),
        nn.Conv2d(4, 8, 1, bias=False),
        nn.Conv2d(8, 3, 1, bias=False),
    )
    return ns.wrap(model, {"task": "segmentation", "input": {"value_range": (0, 1)}}, device="cpu")


@pytest.fixture(scope="module")
def image(network: ns.Network) -> np.ndarray:
    made = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    network.discover(made)
    return made


def cost(network: ns.Network, name: str, layers=(), targets: int = 1, **options) -> Cost | None:
    return cost_of(ns.methods[name], options, network.layers, SHAPE, layers=layers, targets=targets)


def test_passes_as_the_cards_say(network: ns.Network, image: np.ndarray) -> None:
    assert cost(network, "rise", masks=300, targets=9) == Cost(300, 0, 0, 300)
    # ⌈(40 − 10) / 8⌉ + 1 = 5 by ⌈(50 − 10) / 8⌉ + 1 = 6 windows, and the image itself.
    assert cost(network, "occlusion", window=10, stride=8) == Cost(31, 0, 0, 31)
    # One window where the image is smaller.
    assert cost(network, "occlusion", window=64, stride=8) == Cost(2, 0, 0, 2)
    assert cost(network, "score_cam", ["0", "1"]) == Cost(12, 0, 0, 12)
    # Each target has ways back of its own, of twice the work.
    assert cost(network, "integrated_gradients", steps=10, targets=3) == Cost(11, 0, 30, 71)
    assert cost(network, "grad_cam", ["1"]) == Cost(0, 0, 1, 2)


def test_passes_from_a_layer_on_are_a_share_of_a_pass(
    network: ns.Network, image: np.ndarray
) -> None:
    # Work a position: 4 outputs and 4 weights, 8 and 32, 3 and 24.
    assert share_behind(network.layers, "1") == pytest.approx(27 / (8 + 40 + 27))
    assert share_behind(network.layers, "0") == pytest.approx(67 / (8 + 40 + 27))
    assert share_behind(network.layers, "2") == 0
    found = cost(network, "ablation_cam", ["1"])
    assert (found.forward, found.behind, found.backward) == (1, 8 + 3, 0)
    assert found.work == pytest.approx(1 + 11 * 27 / 75)
    assert found.passes == 12


def test_a_method_that_declares_nothing_tells_nothing(network: ns.Network) -> None:
    @ns.method("Undeclared")
    def undeclared(trace: ns.Trace, targets: list, layer: None):
        """Something.

        Cost
        ----
        Forward passes: 2. Backward passes: 0.
        """
        yield Step(1, 1, list)

    assert undeclared.cost == "Forward passes: 2. Backward passes: 0."
    assert cost_of(undeclared, {}, network.layers, SHAPE) is None


def test_what_depends_on_what_is_not_known_tells_nothing(network: ns.Network) -> None:
    unknown = {"layers": ["no such layer"], "targets": 1}
    assert cost_of(ns.methods["score_cam"], {}, network.layers, SHAPE, **unknown) is None
    assert cost_of(ns.methods["rise"], {"masks": "many"}, network.layers, SHAPE) is None


def test_options_that_take_passes_of_their_own(network: ns.Network, image: np.ndarray) -> None:
    assert cost(network, "activation", ["1"]) == Cost(0, 0, 0, 0)
    assert cost(network, "activation", ["1"], rank="relevance") == Cost(0, 0, 1, 2)
    assert cost(network, "segmented_score_map") == Cost(0, 0, 0, 0)
    assert cost(network, "segmented_score_map", base="saliency", targets=2) == Cost(0, 0, 2, 4)
    assert cost(network, "similarity_map", ["1"], base="score_cam") == Cost(8, 0, 0, 8)


def test_the_pace_is_that_of_a_pass(network: ns.Network, image: np.ndarray, monkeypatch) -> None:
    seen: list[int] = []
    forward = network.forward
    monkeypatch.setattr(network, "forward", lambda x: (seen.append(len(x)), forward(x))[1])
    pace = pace_of(network, image, 0.01)
    assert seen == [1]
    assert pace.seconds > 0
    assert pace.shape == SHAPE
    assert pace_of(network, image, 8.0).seconds == 8.0, "a long pass is not made again"
    assert seen == [1]


@pytest.mark.parametrize(
    ("first", "bytes_of_pass", "most_at_once", "batch"),
    [
        (6.0, 1, None, 1),
        (10.0, 1 << 40, None, 1),
        (5.0, 1, 1, 1),
    ],
)
def test_long_passes_go_one_by_one(
    network: ns.Network, image: np.ndarray, first: float, bytes_of_pass: int, most_at_once, batch
) -> None:
    assert pace_of(network, image, first).batch == batch


@pytest.mark.parametrize(
    ("seconds", "size", "most", "batch"),
    [
        (0.1, 1, 64, 4),
        (0.001, 1, 64, 64),
        (0.001, 1 << 28, 64, 4),
        (0.001, 1, 10, 8),
        (2, 1, 64, 1),
    ],
)
def test_batches_are_soon_over_and_fit_the_memory(
    network: ns.Network, image: np.ndarray, monkeypatch, seconds, size, most, batch
) -> None:
    clock = iter([0.0, seconds])
    monkeypatch.setattr(
        "napari_neuroscope.engine.explain.cost.time.perf_counter", lambda: next(clock)
    )
    monkeypatch.setattr(network, "bytes_of_pass", lambda x: size)
    monkeypatch.setattr(type(network), "most_at_once", most)
    assert pace_of(network, image, 0.01).batch == batch
