"""What several maps agree on, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

import napari_neuroscope as ns
from maps_to_evaluate import like


def test_consensus_by_hand(weighted: tuple) -> None:
    _, _, true = weighted
    one = like(true, np.array([[1, 20], [300, 4000]]))
    other = like(true, np.array([[0.1, 0.3], [0.2, 0.3]]))
    found = ns.consensus([one, other])
    expected = np.array([[[0, 1], [2, 3]], [[0, 2.5], [1, 2.5]]]) / 3
    np.testing.assert_allclose(found.mean.values, expected.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.disagreement.values, expected.std(0), rtol=1e-6)
    assert found.mean.labels["target"] == ("patch",)


def test_a_constant_map_has_no_opinion_and_unknown_stays_unknown(weighted: tuple) -> None:
    _, _, true = weighted
    flat, holed = like(true, np.ones((2, 2))), like(true, np.array([[1, np.nan], [3, 2]]))
    found = ns.consensus([flat, holed])
    np.testing.assert_allclose(found.mean.values, [[0.25, np.nan], [0.75, 0.5]])


def test_a_consensus_needs_two_maps_of_one_image(weighted: tuple) -> None:
    network, image, true = weighted
    with pytest.raises(ns.NeuroscopeError, match="at least two maps"):
        ns.consensus([true])
    with pytest.raises(ns.NeuroscopeError, match="of another image"):
        ns.consensus([true, ns.explain(network, image * 2, "saliency", 1)])
