"""A network with no memory for many inputs at once: batches are halved, once, and that is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import napari_neuroscope as ns
from networks import Vgg, as_network, settled

IMAGE = np.random.default_rng(0).random((16, 16, 3), dtype=np.float32)
METHODS: dict[str, dict[str, Any]] = {
    "occlusion": {"window": 4, "stride": 4},
    "rise": {"masks": 24, "cells": 4},
    "score_cam": {},
    "ablation_cam": {},
}


class Narrow(nn.Module):
    """Runs out of memory behind its first layers where more than three inputs come at once."""

    def __init__(self, most: int = 3) -> None:
        super().__init__()
        self.inner, self.most, self.tried = settled(Vgg()), most, 0

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner.features(x)
        if len(x) > self.most:
            self.tried += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.inner.classifier(x)


@pytest.mark.parametrize("name", METHODS)
def test_a_map_is_that_of_a_network_with_memory(name: str) -> None:
    narrow = Narrow()
    layer = {"layer": "inner.features.6"} if "cam" in name else {}
    options = {"batch": 8, **METHODS[name]}
    found = ns.explain(as_network(narrow, size=(16, 16)), IMAGE, name, [0, 1], **layer, **options)
    # Behind a small layer as many more go at once as take the same memory.
    first = 24 if name == "ablation_cam" else 8
    assert 1 <= narrow.tried <= 4, "no batch is tried at a size that was too large"
    said = [note for note in found.provenance["notes"] if "at once were too many" in note]
    (words,) = said
    assert words.startswith(f"{first} inputs at once were too many for the memory: ")
    assert words.endswith(" went through it at a time")
    assert int(words.split()[-7]) <= 3
    wide = as_network(Narrow(100), size=(16, 16))
    expected = ns.explain(wide, IMAGE, name, [0, 1], **layer, **options)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-4, atol=1e-6)
    assert expected.values.any()
    assert not [note for note in expected.provenance["notes"] if "too many" in note]


@pytest.mark.parametrize("metric", ["deletion", "insertion", "infidelity"])
def test_a_figure_is_that_of_a_network_with_memory(metric: str) -> None:
    figures, tried = [], []
    for most in (3, 100):
        model = Narrow(most)
        network = as_network(model, size=(16, 16))
        map_ = ns.explain(network, IMAGE, "saliency", 0)
        model.tried = 0
        found = ns.evaluate(network, IMAGE, map_, [metric], steps=10, samples=20, batch=8)
        figures.append(found.rows[0].values[metric])
        tried.append(model.tried)
        if metric != "infidelity":
            said = [note for note in found.notes if "at once were too many" in note]
            assert len(said) == (most == 3)
    np.testing.assert_allclose(figures[0], figures[1], rtol=1e-4)
    assert 1 <= tried[0] <= 2
    assert tried[1] == 0


def test_without_memory_for_one_input_it_is_an_error() -> None:
    network = as_network(Narrow(0), size=(16, 16))
    with pytest.raises(ns.NeuroscopeError, match=r"ran out of memory .* smaller image"):
        ns.explain(network, IMAGE, "rise", 0)
