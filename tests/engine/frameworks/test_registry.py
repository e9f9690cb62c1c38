"""Which frameworks are installed: one of another package among them, and one that is broken."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine import plugin_catalogue
from napari_neuroscope.engine.frameworks import registry
from numpy_twins import twins


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((12, 15, 3), dtype=np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "cells.npnet"
    twins(softmax=True)[0].save(path)
    return path


def test_its_files_are_opened(path: Path, image: np.ndarray) -> None:
    network = ns.load(path, device="cpu")
    assert (network.framework, network.name, network.spec.task) == (
        "numpy",
        "cells",
        "segmentation",
    )
    wrapped = ns.wrap(twins(softmax=True)[0], network.spec)
    np.testing.assert_array_equal(
        ns.explain(network, image, "grad_cam", 1, "relu").values,
        ns.explain(wrapped, image, "grad_cam", 1, "relu").values,
    )
    assert registry.kind_of(path) == "NumPy network"
    assert ".npnet" in registry.suffixes()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ns.NeuroscopeError, match="broken NumPy network"):
        ns.load(path)


@pytest.mark.parametrize("broken", ["no_such_package:F", "json:NoSuchFramework"])
def test_a_framework_that_is_broken_does_not_stop_the_others(
    broken: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = plugin_catalogue.entry_points(group=registry.GROUP)
    bad = EntryPoint("broken", broken, registry.GROUP)
    monkeypatch.setattr(plugin_catalogue, "entry_points", lambda group: [bad, *entries])
    with pytest.warns(ns.NeuroscopeWarning, match="The framework “broken” .* can't be used"):
        assert ns.load(path).framework == "numpy"
    with pytest.warns(ns.NeuroscopeWarning):
        assert {"numpy", "torch"} <= {framework.name for framework in registry.frameworks()}
