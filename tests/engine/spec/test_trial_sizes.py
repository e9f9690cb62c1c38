"""The images that an unknown network is tried with."""

from __future__ import annotations

import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.spec.input_spec import SizeRule
from napari_neuroscope.engine.spec.trial_sizes import trial_image, usual_shapes


def test_shapes_fit_what_is_known_of_the_sizes() -> None:
    assert usual_shapes((30, 40), 2) == [(30, 40)]
    assert usual_shapes(None, 2)[0] == (64, 64)
    for shape in usual_shapes(SizeRule(min=10, step=7), 3):
        assert len(shape) == 3
        assert all((n - 10) % 7 == 0 for n in shape)


def test_a_trial_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert trial_image(3, (8, 9), "a").shape == (1, 3, 8, 9)
    monkeypatch.setattr(limits, "MOST_TRIAL_IMAGE", 100)
    with pytest.raises(ns.NeuroscopeError, match="more than it can be tried with"):
        trial_image(3, (8, 9), "a")
