"""Answers, maps and images that are no numbers, or too large ones, are told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import napari_neuroscope as ns
from every_method import asked, usable
from napari_neuroscope.engine.evaluation.scoring import score_images
from napari_neuroscope.engine.explain.difference import difference
from napari_neuroscope.engine.explanation.colormaps import coloured, limits
from napari_neuroscope.engine.images.pairing.pair import Pair
from napari_neuroscope.engine.images.source import Source
from napari_neuroscope.engine.results.panels import displayable
from networks import EndingIn, UNet, as_network, settled


class Root(torch.autograd.Function):
    """Finite forth, and not back."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx, *above: Tensor) -> Tensor:
        return above[0] / 0


ENDINGS = {
    "NaN": lambda y: y * torch.nan,
    "some NaN": lambda y: torch.where(y > y.mean(), y, torch.nan),
    "infinite": lambda y: y * torch.inf,
    "back": Root.apply,
}


def network(ending: str = "", task: str = "segmentation") -> ns.Network:
    end = ENDINGS.get(ending, lambda y: y)
    body = settled(UNet())
    if task == "classification":
        return as_network(EndingIn(body, lambda y: end(y.mean((2, 3)))), task)
    return as_network(EndingIn(body, end), task)


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((16, 16, 3), dtype=np.float32)


@pytest.mark.parametrize("task", ["segmentation", "classification"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_map_that_is_not_finite_is_told_by_every_method(
    ending: str, task: str, image: np.ndarray
) -> None:
    ill = network(ending, task)
    told, healthy = set(), set()
    refused: dict[str, str] = {}
    for method in usable(ill):
        try:
            found = ns.explain(ill, image, method, **asked(method))
        except ns.NeuroscopeError as error:
            refused[method] = str(error)
            continue
        notes = [note for note in found.provenance["notes"] if "finite" in note]
        assert bool(notes) == (not np.isfinite(found.values).all()), method
        (told if notes else healthy).add(method)
    assert {"input", "activation"} <= healthy
    # Where there is no rule for the way back, LRP makes nothing at all.
    assert all("NaN" in why or "finite" in why for name, why in refused.items() if name != "lrp")
    if "NaN" in ending:
        assert {"saliency", "grad_cam", "rise", "occlusion", "score_map"} <= refused.keys()
    if ending == "back":
        assert {"saliency", "grad_cam", "integrated_gradients"} <= told
    if task == "segmentation" and ending != "back":
        assert "fusion_score_map" in told


def test_planes_tiles_and_differences_tell_it_too(image: np.ndarray) -> None:
    ill, well = network("some NaN"), network()
    stack = np.stack([image, image])
    found = ns.explain_stack(ill, stack, "fusion_score_map")
    assert [note[:40] for note in found.provenance["notes"]] == [
        "some values of the map are not finite: l"
    ]
    model = settled(UNet())
    torch.nn.init.constant_(model.head.bias, torch.inf)
    large = np.tile(image, (5, 5, 1))
    tiled = ns.explain_tiled(
        as_network(model, "segmentation"), large, "fusion_score_map", tile=64, overlap=8
    )
    assert any("no value of the map is finite" in note for note in tiled.provenance["notes"])
    one = ns.explain(well, image, "fusion_score_map")
    other = ns.explain(ill, image, "fusion_score_map")
    assert difference(one, other).provenance["notes"] == [
        "some values of the second map are not finite"
    ]
    assert difference(one, one).provenance["notes"] == []


def test_figures_of_what_is_not_finite_are_refused(image: np.ndarray) -> None:
    ill = network("back")
    found = ns.explain(ill, image, "saliency", 1)
    with pytest.raises(ns.NeuroscopeError, match="has values that are not finite, so no metric"):
        ns.evaluate(ill, image, found)
    truth = Source.of(np.zeros((16, 16), np.uint8), "truth")
    scores = score_images(network("NaN"), [Pair("one", Source.of(image, "one"), truth)])
    assert "answers NaN" in scores.failed[0].reason


class Sometimes(nn.Module):
    """Answers infinity for all images but one."""

    def __init__(self, image: np.ndarray) -> None:
        super().__init__()
        self.own, self.body = float(image.sum()), settled(UNet())

    def forward(self, x: Tensor) -> Tensor:
        same = abs(float(x.detach().sum()) - self.own) < 1e-3
        return self.body(x) * (1.0 if same else torch.inf)


def test_a_map_that_is_no_number_beside_the_image_is_not_the_most_robust(image: np.ndarray) -> None:
    ill = as_network(Sometimes(image), "segmentation")
    found = ns.explain(ill, image, "saliency", 1)
    row = ns.evaluate(ill, image, found, ["max_sensitivity"], samples=2).rows[0]
    assert np.isnan(row.values["max_sensitivity"])


@pytest.mark.parametrize("value_range", [(0, 1), "auto", "data"])
def test_the_largest_numbers_in_an_image(value_range: object, image: np.ndarray) -> None:
    large = image.astype(np.float64)
    large[0, 0], large[1, 1] = 1.7e308, -1.7e308
    asked_of = as_network(settled(UNet()), "segmentation", value_range=value_range)
    if isinstance(value_range, tuple):
        with pytest.raises(ns.NeuroscopeError, match=r"run from -1.7e\+308 to 1.7e\+308, which is"):
            ns.explain(asked_of, large, "saliency", 1)
        return
    found = ns.explain(asked_of, large, "input").values
    assert np.isfinite(found).all()
    assert (found.min(), found.max()) == (0, 1)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(("dtype", "most"), [(np.float32, 3e38), (np.float64, 1.7e308)])
def test_pictures_of_the_largest_numbers(dtype: type, most: float, image: np.ndarray) -> None:
    ends = np.full((16, 16), most, dtype)
    ends[:8] *= -1
    shown = displayable(ends, (16, 16))
    assert (shown[0, 0].tolist(), shown[-1, -1].tolist()) == ([0, 0, 0], [1, 1, 1])
    values = ends.astype(np.float32) if dtype is np.float32 else image[..., 0]
    span = limits(values, signed=True)
    assert np.isfinite(coloured(values, span, signed=True)).all()
