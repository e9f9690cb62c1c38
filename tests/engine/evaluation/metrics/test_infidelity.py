"""Infidelity of maps that foretell all, little and nothing."""

from __future__ import annotations

import pytest

import napari_neuroscope as ns
from maps_to_evaluate import like


def test_a_true_map_foretells_and_a_false_one_does_not(weighted: tuple) -> None:
    network, image, true = weighted
    wrong = like(true, true.values[::-1, ::-1] - 2.5)
    evaluation = ns.evaluate(
        network, image, [true, wrong, like(true, true.values * 0)], ["infidelity"], baseline="zero"
    )
    # Saliency times an image of ones is the exact effect of each pixel.
    assert evaluation.rows[0].values["infidelity"] == pytest.approx(0, abs=1e-12)
    assert evaluation.rows[1].values["infidelity"] > 0.2
    assert evaluation.rows[2].values["infidelity"] == 1
