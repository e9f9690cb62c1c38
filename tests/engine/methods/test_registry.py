"""Methods of other packages are offered, explained, tiled, counted and described as ours are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import napari_neuroscope as ns
from closeness import assert_close
from napari_neuroscope.engine.explain.cost import Cost, cost_of
from networks import UNet, as_network, settled

PADDED = {"size": {"min": 16, "step": 4}, "resize": "pad"}


@pytest.fixture
def network() -> ns.Network:
    return as_network(settled(UNet()), "segmentation", ["background", "cell", "edge"], **PADDED)


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((128, 144, 3), dtype=np.float32)


def test_it_is_listed_behind_ours(sensitivity_cam: str) -> None:
    assert list(ns.methods)[-1] == sensitivity_cam
    assert ns.methods[sensitivity_cam].title == "Sensitivity-CAM"
    with pytest.raises(ns.NeuroscopeError, match="did you mean “sensitivity_cam”"):
        ns.methods["sensitvity_cam"]


def test_without_its_package_there_is_none() -> None:
    assert "sensitivity_cam" not in ns.methods


def test_the_map_is_what_its_function_says(
    sensitivity_cam: str, network: ns.Network, image: np.ndarray
) -> None:
    found = ns.explain(network, image, sensitivity_cam, 1, "dec1", power=2.0)
    trace = network.trace(image, ["dec1"])
    target = trace.resolve(1)
    weights = trace.gradient(target, "dec1").abs().flatten(1).mean(1)
    expected = torch.einsum("k,kyx->yx", weights, trace.activation("dec1").abs()) ** 2
    assert_close(found.values, expected.numpy(), 1e-6)


@pytest.mark.parametrize("layer", ["dec1", ["enc1", "dec1"]])
@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_tiles_are_weighed_by_the_whole(
    sensitivity_cam: str, network: ns.Network, image: np.ndarray, reduce: str, layer: object
) -> None:
    target = ns.Target(1, "everywhere", reduce=reduce)
    whole = ns.explain(network, image, sensitivity_cam, target, layer)
    tiled = ns.explain_tiled(network, image, sensitivity_cam, target, layer, tile=96)
    assert tiled.values.shape == whole.values.shape
    assert_close(tiled.values, whole.values, 1e-5)
    assert tiled.grid == whole.grid


def test_its_cost_is_what_it_declares(
    sensitivity_cam: str, network: ns.Network, image: np.ndarray
) -> None:
    network.discover(image)
    method = ns.methods[sensitivity_cam]
    assert method.cost == "Forward passes: 0. Backward passes: 1."
    cost = cost_of(method, {}, network.layers, image.shape[:2], layers=["dec1"], targets=3)
    assert cost == Cost(0, 0, 3, 6)


def test_its_options_are_checked(
    sensitivity_cam: str, network: ns.Network, image: np.ndarray
) -> None:
    with pytest.raises(ns.NeuroscopeError, match="Sensitivity-CAM can't take power=0"):
        ns.explain(network, image, sensitivity_cam, 1, "dec1", power=0)


def test_a_method_that_declares_nothing_says_so(
    offer_method, network: ns.Network, image: np.ndarray
) -> None:
    @ns.method("Undeclared", needs=ns.Needs.TARGET | ns.Needs.GRADIENTS)
    def undeclared(trace: ns.Trace, target: object, layer: None) -> Tensor:
        """Something."""
        return trace.input_gradient(target)[0]

    offer_method(undeclared)
    assert ns.explain(network, image, "undeclared", 1).values.any()
    assert cost_of(undeclared, {}, network.layers, image.shape[:2]) is None
    assert undeclared.cost == ""
    with pytest.raises(
        ns.NeuroscopeError, match=r"^Undeclared can't be made tile by tile; .*grad_cam"
    ):
        ns.explain_tiled(network, image, "undeclared", 1, tile=64)


def test_a_map_that_asks_for_more_than_it_declares_is_refused_on_tiles(
    offer_method, network: ns.Network, image: np.ndarray
) -> None:
    grad_cam = ns.methods["grad_cam"]

    @ns.method("Forgetful", needs=grad_cam.needs, tiles=grad_cam.tiles)
    def forgetful(trace: ns.Trace, target: object, layer: str, weights: Tensor) -> Tensor:
        """Something."""
        return trace.activation(layer).sum(0) * trace.gradient(target, layer).sum(0)

    offer_method(forgetful)
    with pytest.raises(ns.NeuroscopeError, match=r"Forgetful asks for “gradient” .* also=Needs"):
        ns.explain_tiled(network, image, "forgetful", 1, "bottom", tile=96)
