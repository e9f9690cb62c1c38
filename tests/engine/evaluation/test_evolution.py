"""How a map evolves through the layers, against numbers worked out by hand and against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.evaluation.evolution import Evolution

INSIDE = np.array([[True, False], [False, False]])


def of(*maps: list[list[float]]) -> Evolution:
    return Evolution.of(np.array(maps, float), [f"l{n}" for n in range(len(maps))], INSIDE)


def test_shares_by_hand() -> None:
    found = of([[1, 1], [1, 1]], [[3, 1], [0, 0]], [[2, -7], [np.nan, 2]], [[0, 0], [-1, 0]])
    np.testing.assert_allclose(found.share, [0.25, 0.75, 0.5, np.nan])
    assert found.by_chance == 0.25
    assert found.layers == ("l0", "l1", "l2", "l3")


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([0.3, 0.8, 0.9], None),
        ([0.3, 0.8, 0.3], 2),
        ([0.8, 0.2, 0.5, 0.3, 0.35], 3),
        ([0.1, 0.2, 0.1], 0),
        ([0.9, np.nan, np.nan], 1),
        ([0.1, 0.2, 0.26], None),
        ([np.nan, np.nan], None),
    ],
)
def test_from_where_on_it_is_wrong(shares: list[float], expected: int | None) -> None:
    evolution = Evolution(("a",) * len(shares), np.array(shares), 0.25, np.zeros(0))
    assert evolution.wrong_from == expected


@given(
    maps=arrays(np.float64, (3, 4, 5), elements=st.integers(-5, 5).map(float)),
    factor=st.floats(0.1, 10),
)
def test_rank_correlations_are_scipys_and_know_no_scale(maps: np.ndarray, factor: float) -> None:
    inside = np.zeros((4, 5), bool)
    inside[1:3, 1:3] = True
    found = Evolution.of(maps, ["a", "b", "c"], inside)
    for n in range(2):
        one, other = maps[n].ravel(), maps[n + 1].ravel()
        if np.ptp(one) == 0 or np.ptp(other) == 0:
            assert np.isnan(found.correlation[n])
        else:
            assert found.correlation[n] == pytest.approx(spearmanr(one, other).statistic, abs=1e-12)
    again = Evolution.of(maps * factor, ["a", "b", "c"], inside)
    np.testing.assert_allclose(again.share, found.share, rtol=1e-12)


def test_what_was_not_seen_counts_for_nothing() -> None:
    maps = np.random.default_rng(0).random((2, 6, 6))
    maps[:, 4:] = np.nan
    inside = np.zeros((6, 6), bool)
    inside[:2] = True
    found = Evolution.of(maps, ["a", "b"], inside)
    np.testing.assert_allclose(found.share, maps[:, :2].sum((1, 2)) / maps[:, :4].sum((1, 2)))
    expected = spearmanr(maps[0, :4].ravel(), maps[1, :4].ravel()).statistic
    assert found.correlation[0] == pytest.approx(expected, abs=1e-12)


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(NeuroscopeError, match="region is empty"):
        Evolution.of(np.ones((2, 2, 2)), ["a", "b"], np.zeros((2, 2), bool))
    with pytest.raises(NeuroscopeError, match="region of shape"):
        Evolution.of(np.ones((2, 2, 2)), ["a", "b"], np.ones((3, 2), bool))
