"""Networks whose spec says “tile”: explain and predict run tile by tile by themselves."""

from __future__ import annotations

import numpy as np
import pytest
from torch import Tensor, nn

import napari_neuroscope as ns
from napari_neuroscope.engine.tiles import tiling as tiles
from networks import UNet, as_network, settled

CLASSES = ["background", "cell", "edge"]
RULE = {"size": {"min": 16, "step": 4}}


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "DEFAULT_TILE", {2: 120})


class Watched(UNet):
    """It refuses more than a tile."""

    most = 120

    def forward(self, x: Tensor) -> Tensor:
        assert max(x.shape[2:]) <= self.most
        return super().forward(x)


def network(model: nn.Module | None = None, **of_input: object) -> ns.Network:
    given = {"resize": "pad", **RULE, **of_input}
    return as_network(settled(model or UNet()), "segmentation", CLASSES, **given)


def image() -> np.ndarray:
    return np.random.default_rng(1).random((165, 187, 3), np.float32)


@pytest.mark.parametrize("method", ["saliency", "grad_cam", "score_map"])
def test_explain_runs_tile_by_tile(method: str) -> None:
    tiled = network(Watched(), resize="tile")
    target = ns.Target("cell", "predicted")
    found, whole = (ns.explain(one, image(), method, target) for one in (tiled, network()))
    np.testing.assert_allclose(found.values, whole.values, rtol=0, atol=1e-5)
    assert found.grid == whole.grid
    assert "tiling" in found.provenance
    again = ns.explain(tiled, image()[:100, :110], method, target)
    assert "tiling" not in again.provenance


def test_the_prediction_too() -> None:
    found = network(Watched(), resize="tile").predict(image())
    whole = network().predict(image())
    np.testing.assert_allclose(found.scores, whole.scores, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.probabilities, whole.probabilities, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found.labels, whole.labels)
    assert found.class_names == whole.class_names


class OneSize(UNet):
    """It takes images of one size alone, though it is fully convolutional."""

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[2:] == (112, 124)
        return super().forward(x)


@pytest.mark.parametrize("method", ["saliency", "grad_cam", "score_map"])
def test_a_network_of_one_size_is_tiled_by_it(method: str) -> None:
    tiled = network(OneSize(), resize="tile", size=(112, 124))
    found, whole = (ns.explain(one, image(), method, "cell") for one in (tiled, network()))
    # Where the padded border of the image isn't seen: it is padded further.
    part = (slice(0, 165 - 48), slice(0, 187 - 48))
    atol = 1e-5 if method != "grad_cam" else 1e-2
    np.testing.assert_allclose(found.values[part], whole.values[part], rtol=0, atol=atol)
    scores = tiled.predict(image()).scores
    assert scores.shape == (3, 165, 187)
    assert np.isfinite(scores).all()
    small = ns.explain(tiled, image()[:50, :60], method, "cell")
    assert small.grid.shape == (112, 124)


def test_the_spec_says_how_far_tiles_overlap() -> None:
    whole = ns.explain(network(), image(), "score_map", "cell").values
    short = ns.explain(network(resize="tile", halo=4), image(), "score_map", "cell")
    assert short.provenance["tiling"]["overlap"] == 4
    assert any("overlap by 4 pixels, as the spec's halo" in n for n in short.provenance["notes"])
    assert not np.allclose(short.values, whole, atol=1e-5)
    enough = ns.explain(network(resize="tile", halo=24), image(), "score_map", "cell")
    np.testing.assert_allclose(enough.values, whole, rtol=0, atol=1e-5)
    assert enough.provenance["notes"] == []
    full = ns.explain_tiled(
        network(resize="tile", halo=4), image(), "score_map", "cell", overlap="receptive field"
    )
    np.testing.assert_allclose(full.values, whole, rtol=0, atol=1e-5)


def test_what_needs_the_whole_is_refused() -> None:
    tiny = network(resize="tile", size=(64, 64))
    with pytest.raises(ns.NeuroscopeError, match=r"input\.halo to less"):
        ns.explain(tiny, image(), "saliency", "cell")
    tiled = network(Watched(), resize="tile")
    with pytest.raises(ns.NeuroscopeError, match="RISE can't be made tile by tile"):
        ns.explain(tiled, image(), "rise", "cell")
    with pytest.raises(ns.NeuroscopeError, match="larger than a tile"):
        tiled.trace(image())
    assert ns.ModelSpec.parse(tiled.spec.model_dump()) == tiled.spec
