"""The pointing game and the energy in the mask, worked out by hand."""

from __future__ import annotations

import numpy as np

import napari_neuroscope as ns
from maps_to_evaluate import like


def test_localisation_by_hand(weighted: tuple) -> None:
    network, image, true = weighted
    truth = np.array([[0, 1], [1, 0]])
    evaluation = ns.evaluate(
        network, image, [true, like(true, np.array([[0, 2], [1, -5]])), like(true, true.values * 0)],
        ["pointing_game", "energy_in_mask"], ground_truth=truth,
    )  # fmt: skip
    figures = [[row.values[name] for name in evaluation.metrics] for row in evaluation.rows]
    assert figures[0] == [0.0, 0.5]
    assert figures[1] == [1.0, 1.0]
    assert np.isnan(figures[2]).all()


def test_equal_maxima_share_the_point(weighted: tuple) -> None:
    network, image, true = weighted
    flat = like(true, np.ones((2, 2)))
    evaluation = ns.evaluate(network, image, flat, ["pointing_game"], ground_truth=image == 1)
    assert evaluation.rows[0].values["pointing_game"] == 1
    half = np.array([[True, True], [False, False]])
    evaluation = ns.evaluate(network, image, flat, ["pointing_game"], ground_truth=half)
    assert evaluation.rows[0].values["pointing_game"] == 0.5
