"""The open interface: a framework of another package is opened, shown and explained as ours are.

The package is ``tests/example_framework``; “make install” installs it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import napari_neuroscope as ns
from closeness import assert_close
from napari_neuroscope.cli.main import main
from networks import as_network
from numpy_twins import twins

LAYERS = {"conv": "0", "relu": "1", "head": "2"}


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((12, 15, 3), dtype=np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "cells.npnet"
    twins(softmax=True)[0].save(path)
    return path


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("name", list(ns.methods))
def test_every_method_answers_as_in_pytorch(name: str, softmax: bool, image: np.ndarray) -> None:
    network, twin = (as_network(m, "segmentation") for m in twins(softmax=softmax))
    method = ns.methods[name]
    if why := network.why_not(method):
        pytest.skip(why)
    seen = int(np.bincount(twin.predict(image).labels.ravel()).argmax())
    target = (
        ns.Target(seen, "predicted", "log_probability") if ns.Needs.TARGET in method.needs else None
    )
    layers = list(LAYERS) if ns.Needs.LAYER in method.needs else [None]
    for layer in layers:
        there = LAYERS.get(layer) if layer else None
        found = ns.explain(network, image, name, target, layer)
        expected = ns.explain(twin, image, name, target, there)
        # Scores of many passes are float32, and their small differences lose digits.
        assert_close(found.values, expected.values, 1e-5 if method.gradual else 1e-6)
        assert found.axes == expected.axes
        assert found.grid == expected.grid


def test_all_layers_and_classes_in_one_question(image: np.ndarray) -> None:
    network, twin = (as_network(m, "segmentation") for m in twins())
    for keep in ("asked", "everything"):
        options: dict[str, Any] = {"target": [0, 2], "keep": keep, "relu": False}
        found = ns.explain(network, image, "grad_cam", layer="all", **options)
        expected = ns.explain(twin, image, "grad_cam", layer=list(LAYERS.values()), **options)
        assert found.labels["layer"] == tuple(LAYERS)
        assert_close(found.values, expected.values, 1e-6)


def test_its_layers_are_described_as_any(image: np.ndarray) -> None:
    network, twin = (as_network(m, "segmentation") for m in twins(softmax=True))
    for mine, theirs in zip(network.layers.values(), twin.layers.values(), strict=True):
        assert (mine.kind, mine.output_shape, mine.parameters) == (
            theirs.kind, theirs.output_shape, theirs.parameters,
        )  # fmt: skip
    assert network.layers["relu"].inputs == ("conv",)
    assert network.layers.final_activation == ("softmax", "softmax")
    found, expected = network.predict(image), twin.predict(image)
    assert_close(found.scores, expected.scores, 1e-6)
    assert_close(found.probabilities, expected.probabilities, 1e-6)


def test_weights_that_change_are_seen(image: np.ndarray) -> None:
    model, _ = twins()
    network = as_network(model, "segmentation")
    everywhere = ns.Target(0, "everywhere")
    before, digest = ns.explain(network, image, "saliency", everywhere).values, network.digest()
    model.weights *= 2
    assert_close(ns.explain(network, image, "saliency", everywhere).values, 2 * before, 1e-6)
    assert network.digest() != digest


def test_a_device_that_it_does_not_have() -> None:
    with pytest.raises(ns.NeuroscopeError, match="NumPy has no device “cuda”"):
        ns.wrap(twins()[0], device="cuda")


def test_the_command_line(path: Path, image: np.ndarray, capsys: pytest.CaptureFixture) -> None:
    picture, out = path.with_name("image.npy"), path.with_name("map.npy")
    np.save(picture, image)
    assert main(["check", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "numpy on cpu" in printed
    assert "softmax, cut off at “softmax”" in printed
    assert main(["layers", str(path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == ["conv", "relu", "head", "softmax"]
    assert main(["explain", str(path), str(picture), "--class", "1", "--layer", "relu",
                 "-o", str(out)]) == 0  # fmt: skip
    expected = ns.explain(ns.load(path), image, "grad_cam", 1, "relu")
    np.testing.assert_array_equal(np.load(out), expected.values)


def test_work_can_be_followed_and_stopped(image: np.ndarray) -> None:
    network = as_network(twins()[0], "segmentation")

    def stop(done: int, total: int, what: str) -> None:
        raise ns.Cancelled

    with pytest.raises(ns.Cancelled):
        ns.explain(network, image, "saliency", 0, progress=stop)
    assert ns.explain(network, image, "saliency", 0).values.any()
