"""What ONNX nodes take of the layer before them: as the PyTorch layers that they were exported from."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

from networks import as_network

pytest.importorskip("onnx", reason="needs the extra “onnx”")
pytest.importorskip("onnxruntime", reason="needs the extra “onnx”")

from napari_neuroscope.engine.graph.reach import Window
from onnx_networks import exported, model, node, value

LAYERS = {
    "a convolution": nn.Conv2d(3, 2, 3, padding=1),
    "with strides": nn.Conv2d(3, 2, 5, stride=2, padding=(1, 2)),
    "dilated": nn.Conv2d(3, 2, 3, dilation=2),
    "transposed": nn.ConvTranspose2d(3, 2, 4, stride=2, padding=1),
    "the largest": nn.MaxPool2d(3, 2, 1),
    "averages": nn.AvgPool2d(2),
    "up": nn.Upsample(scale_factor=2),
    "up linearly": nn.Upsample(scale_factor=2, mode="bilinear"),
    "one by one": nn.ReLU(),
    "normed": nn.BatchNorm2d(3),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_an_exported_layer_reaches_as_far(layer: str) -> None:
    first = LAYERS[layer]
    channels = 2 if isinstance(first, nn.Conv2d | nn.ConvTranspose2d) else 3
    network = nn.Sequential(first, nn.Conv2d(channels, 2, 1)).eval()
    there = as_network(network, "segmentation").layers
    here = as_network(exported(network, (1, 3, 16, 16)), "segmentation").layers
    assert next(iter(here.values())).reach == next(iter(there.values())).reach is not None


@pytest.mark.parametrize(
    ("operation", "numbers", "before"),
    [("Pad", {"p": [0, 0, 1, 2, 0, 0, 3, 0]}, (1, 2)),
     ("Slice", {"p": [1, 2], "q": [9, 9], "r": [2, 3]}, (-1, -2)),
     # From the end, its place depends on the size.
     ("Slice", {"p": [-9, 2], "q": [99, 99], "r": [2, 3]}, None)],
)  # fmt: skip
def test_what_is_added_or_cut_off_moves_the_window(
    operation: str, numbers: dict[str, list[int]], before: tuple[int, int] | None
) -> None:
    constants = {name: np.int64(values) for name, values in numbers.items()}
    nodes = [
        node(operation, " ".join(["x", *constants]), "moved"),
        node("GlobalAveragePool", "moved", "pooled"),
        node("Flatten", "pooled", "y"),
    ]
    network = model(nodes, [value("x", [1, 3, 16, 16])], [value("y")], constants)
    reach = as_network(network).layers["moved"].reach
    assert reach == (None if before is None else Window((1, 1), (1, 1), before, (1, 1)))
