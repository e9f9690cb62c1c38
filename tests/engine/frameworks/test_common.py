"""What the frameworks share, worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import napari_neuroscope as ns
from napari_neuroscope.engine.errors import OutOfMemoryError
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.frameworks import common
from napari_neuroscope.engine.spec.model_spec import ModelSpec


@pytest.mark.parametrize(
    ("axes", "given", "brought"),
    [("bcyx", (2, 3, 4, 5), (2, 3, 4, 5)), ("byxc", (2, 3, 4, 5), (2, 4, 5, 3)),
     ("cbyx", (1, 3, 4, 5), (3, 1, 4, 5)), ("yx", (1, 1, 4, 5), (4, 5)),
     ("yxc", (1, 3, 4, 5), (4, 5, 3)), ("bczyx", (1, 2, 3, 4, 5), (1, 2, 3, 4, 5))],
)  # fmt: skip
def test_inputs_are_brought_to_the_order_of_a_networks_axes(
    axes: str, given: tuple[int, ...], brought: tuple[int, ...]
) -> None:
    assert common.to_axes(torch.zeros(given), axes).shape == brought


@pytest.mark.parametrize(
    ("shape", "axes", "stated", "told"),
    [(None, "bcyx", {}, {}), ((None, 3), "bcyx", {}, {}),
     ((None, 3, 8, 9), "bcyx", {}, {"size": (8, 9), "channels": 3}),
     ((None, 8, None, 3), "byxc", {}, {"channels": 3}),
     ((None, 8, 9), "byx", {}, {"size": (8, 9), "channels": 1}),
     ((None, None, 8, 9), "bcyx", {"channels": 2}, {"size": (8, 9)}),
     ((None, 3, 8, 9), "bcyx", {"size": (4, 4), "channels": 1}, {}),
     ((None, 3, 8, 9), "bcyx", {"size": {"min": 4, "step": 4}}, {"size": (8, 9), "channels": 3})],
)  # fmt: skip
def test_a_shape_tells_what_is_not_stated(
    shape: Any, axes: str, stated: dict[str, Any], told: dict[str, Any]
) -> None:
    spec = ModelSpec.parse({"input": stated})
    assert common.size_and_channels(shape, axes, spec) == told


def test_devices() -> None:
    assert common.parse_device("cuda:2", ("cpu", "cuda"), "It") == ("cuda", 2)
    assert common.parse_device("cpu", ("cpu", "cuda"), "It") == ("cpu", 0)
    for device in ("tpu", "cuda:x", ""):
        with pytest.raises(ns.NeuroscopeError, match="It has no device"):
            common.parse_device(device, ("cpu", "cuda"), "It")


def test_passes_that_take_too_much_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ALWAYS_PASS", 1000)
    monkeypatch.setattr(limits, "MOST_PASS_GROWTH", 10)
    monkeypatch.setattr(common, "free_memory", lambda: 2000)
    shape = (1, 1, 10, 10)
    common.refuse_large_pass(shape, 4000, 2000, advice="wait")
    with pytest.raises(OutOfMemoryError, match=r"4,001 bytes of memory, more than any .*; wait"):
        common.refuse_large_pass(shape, 4001, 10, advice="wait")
    with pytest.raises(OutOfMemoryError, match="2,001 bytes of memory, of which 2,000 are free"):
        common.refuse_large_pass(shape, 4000, 2001, advice="wait")


def test_a_digest_changes_with_values_names_and_order() -> None:
    first, second = ("a", np.arange(3.0)), ("b", np.zeros(()))
    digests = {
        common.digest_of_weights(weights)
        for weights in ([first], [first, second], [second, first], [("a", np.arange(3.0) + 1)])
    }
    assert len(digests) == 4
    transposed = np.arange(6.0).reshape(2, 3).T
    assert common.digest_of_weights([("a", transposed)]) == common.digest_of_weights(
        [("a", transposed.copy())]
    )
