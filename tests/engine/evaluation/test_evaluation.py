"""The table of an evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest

import napari_neuroscope as ns


def test_each_class_and_layer_is_a_row(cells: tuple) -> None:
    network, image = cells
    layers = network.layers.of_kind("convolution")[-2:]
    explanation = ns.explain(network, image, "grad_cam", [0, 1], layer=list(layers))
    evaluation = ns.evaluate(network, image, explanation, ["insertion"], steps=3)
    names = network.class_names
    assert [row[:3] for row in evaluation.table()[1:]] == [
        ["grad_cam", name, layer] for name in names[:2] for layer in layers
    ]
    one = ns.explain(network, image, "grad_cam", 1, layer=layers[1])
    alone = ns.evaluate(network, image, one, ["insertion"], steps=3)
    # Alone it lies on its own coarser grid, so the figures are near, not equal.
    assert alone.rows[0].values["insertion"] == pytest.approx(
        evaluation.rows[3].values["insertion"], abs=0.1
    )


def test_the_table_is_written_as_csv(weighted: tuple, tmp_path: Path) -> None:
    network, image, true = weighted
    evaluation = ns.evaluate(network, image, true, ["deletion"], steps=4, baseline="zero")
    evaluation.to_csv(tmp_path / "figures.csv")
    assert (tmp_path / "figures.csv").read_text().splitlines() == [
        "method,class,layer,deletion", "saliency,patch,,0.375",
    ]  # fmt: skip
    with pytest.raises(ns.NeuroscopeError, match="is there already"):
        evaluation.to_csv(tmp_path / "figures.csv")
