"""Packages of bioimage.io that hold ONNX weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import napari_neuroscope as ns
import packages
from napari_neuroscope.engine.networks.check_published import check_published

onnx = pytest.importorskip("onnx", reason="needs the extra “onnx”")
pytest.importorskip("onnxruntime", reason="needs the extra “onnx”")


def with_onnx(folder: Path, *others: str, beside: bool = False) -> Path:
    """Write a package of ONNX weights, by wish with the numbers in a file beside."""
    packages.make(folder, formats=others)
    file = folder / "weights.onnx"
    torch.onnx.export(
        packages.net(), (torch.zeros(1, 1, 16, 16),), file, dynamo=False, opset_version=17,
        input_names=["raw"], output_names=["masks"],
        dynamic_axes={"raw": {2: "y", 3: "x"}, "masks": {2: "y", 3: "x"}},
    )  # fmt: skip
    entry: dict[str, object] = {"source": "weights.onnx", "opset_version": 17}
    if beside:
        proto = onnx.load(file)
        onnx.save(proto, file, save_as_external_data=True, location="numbers", size_threshold=0)
        entry["external_data"] = {
            "source": "numbers",
            "sha256": packages.sha256(folder / "numbers"),
        }
    description = packages.read(folder)
    description["weights"]["onnx"] = {**entry, "sha256": packages.sha256(file)}
    packages.write(folder, description)
    return folder


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::UserWarning")
def test_onnx_weights(beside: bool, tmp_path: Path) -> None:
    network = ns.load(packages.zipped(with_onnx(tmp_path / "net", beside=beside)))
    assert network.spec.task == "segmentation"
    assert check_published(network).passed
    assert len(network.layers) > 4


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::UserWarning")
def test_onnx_shows_more_than_torchscript_and_asks_nothing(tmp_path: Path) -> None:
    folder = with_onnx(tmp_path / "net", "pytorch_state_dict", "torchscript")
    with pytest.warns(ns.NeuroscopeWarning, match=r"opened by onnx, not by pytorch_state_dict"):
        network = ns.load(folder)
    assert network.framework == "onnx"
