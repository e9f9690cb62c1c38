"""InputSpec: presets, sizes and normalisations, and what does not go together."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import napari_neuroscope as ns
from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.spec.input_spec import InputSpec, SizeRule
from napari_neuroscope.engine.spec.model_spec import ModelSpec


@pytest.mark.parametrize(
    ("preset", "mean"),
    [("imagenet", (0.485, 0.456, 0.406)), ("minus_one_one", (0.5,)), ("zero_one", None)],
)
def test_presets(preset: str, mean: tuple[float, ...] | None) -> None:
    by_name = ns.ModelSpec.parse({"input": {"normalization": preset}})
    by_key = ns.ModelSpec.parse({"input": {"normalization": {"preset": preset}}})
    assert by_name == by_key
    assert by_name.input.normalization.mean == mean


@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 500))
def test_smallest_valid_size(least: int, step: int, size: int) -> None:
    found = SizeRule(min=least, step=step).smallest_at_least(size)
    valid = range(least, size + least + step + 1, step)
    assert found == min(n for n in valid if n >= size)


def test_spatial_axes_in_the_networks_order() -> None:
    assert InputSpec(axes="bczyx").space == "zyx"
    assert InputSpec(axes="xyc").space == "xy"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"clip": [None, None]}, "needs a number"),
        ({"clip": [2, 1]}, "first number below"),
        ({"per_channel": True}, "go with percentile"),
        ({"mean": 1, "eps": 0.1}, "go with percentile"),
        ({"per_image": True, "eps": -1}, "greater than or equal"),
        ({"then": {"std": 0}}, "above zero"),
    ],
)
def test_nonsense_is_refused(wrong: Any, says: str) -> None:
    with pytest.raises(ns.NeuroscopeError, match=says):
        ns.ModelSpec.parse({"input": {"normalization": wrong}})


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"min": [1, 2, 3]}, "size.min has 3 numbers"),
        ({"step": [1]}, "size.step has 1 numbers"),
        ({"min": [0, 1]}, "at least 1"),
        ({"step": -1}, "at least 0"),
    ],
)
def test_a_size_rule_that_does_not_fit_is_refused(wrong: Any, says: str) -> None:
    with pytest.raises(ns.NeuroscopeError, match=says):
        ns.ModelSpec.parse({"input": {"size": wrong}})


def test_what_is_new_is_written_and_read_again() -> None:
    spec = ns.ModelSpec.parse(
        {
            "input": {
                "size": {"min": [4, 8], "step": [0, 2]},
                "normalization": {
                    "percentile": [1, 99],
                    "per_channel": True,
                    "eps": 1e-6,
                    "clip": [0, None],
                    "then": {"mean": 0.5, "std": 2},
                },
            }
        }
    )
    import yaml

    assert ns.ModelSpec.parse(yaml.safe_load(spec.to_yaml())) == spec
    assert isinstance(spec.input, InputSpec)
    assert isinstance(spec.input.size, SizeRule)


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"shorter_side": 32}, "shorter_side goes with"),
        ({"size": [40, 40], "resize": "crop", "shorter_side": 32}, "shorter_side goes with"),
        ({"axes": "bczyx", "interpolation": "bicubic"}, "over y and x alone"),
        ({"interpolation": "lanczos", "antialias": False}, "always smooths"),
        ({"resize": "tile", "padding": "zero"}, "not with tile"),
    ],
)
def test_what_does_not_go_together_is_told(said: dict[str, Any], says: str) -> None:
    with pytest.raises(NeuroscopeError, match=says):
        ModelSpec.parse({"input": said})
