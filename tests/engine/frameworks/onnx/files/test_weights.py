"""Weights beside an ONNX file stay within its folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import napari_neuroscope as ns

pytest.importorskip("onnx", reason="needs the extra “onnx”")

pytest.importorskip("onnxruntime", reason="needs the extra “onnx”")

import onnx
from onnx import TensorProto, helper

from onnx_networks import by_hand, model, node, value


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "networks"
    folder.mkdir()
    return folder / "net.onnx"


def refusal_of(path: Path) -> str:
    with pytest.raises(ns.NeuroscopeError) as refusal:
        ns.load(path, device="cpu")
    text = str(refusal.value)
    assert len(text.splitlines()) == 1
    return text


def beside(path: Path, location: str = "net.weights") -> onnx.ModelProto:
    """Write a network whose weights lie beside its file, and return it with its weights."""
    network = by_hand()
    onnx.save_model(network, path, save_as_external_data=True, location=location, size_threshold=0)
    return by_hand()


def moved(path: Path, location: str) -> None:
    """Have the file name other weights."""
    network = onnx.load(path, load_external_data=False)
    for tensor in network.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(network.SerializeToString())


def test_weights_beside_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = ns.wrap(beside(path), device="cpu").predict(np.eye(8))
    monkeypatch.chdir(path.parent.parent)
    network = ns.load(Path("networks/net.onnx"), device="cpu")
    np.testing.assert_array_equal(network.predict(np.eye(8)).scores, expected.scores)
    before = network.digest()
    data = path.with_name("net.weights")
    data.write_bytes(data.read_bytes()[:-1] + b"\x41")
    assert ns.load(path, device="cpu").digest() != before


@pytest.mark.parametrize("how", ["parent", "absolute", "link", "linked folder", "in and out"])
def test_weights_outside_of_the_folder_are_not_read(path: Path, how: str) -> None:
    beside(path)
    outside = path.parent.parent / "secret"
    path.with_name("net.weights").rename(outside)
    location = {
        "parent": "../secret", "absolute": str(outside), "link": "link",
        "linked folder": "folder/secret", "in and out": "x/../../secret",
    }[how]  # fmt: skip
    if how == "link":
        os.symlink(outside, path.with_name("link"))
    elif how == "linked folder":
        os.symlink(outside.parent, path.with_name("folder"))
    moved(path, location)
    assert "outside of its own folder" in refusal_of(path)


@pytest.mark.parametrize("where", ["constant", "branch", "function"])
def test_weights_anywhere_in_a_model_are_looked_at(path: Path, where: str) -> None:
    tensor = onnx.TensorProto(
        name="t", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL
    )
    tensor.external_data.add(key="location", value="/etc/hostname")
    constant = node("Constant", "", "t", value=tensor)
    functions: list[onnx.FunctionProto] = []
    nodes = [node("Add", "image t", "answer")]
    if where == "constant":
        nodes.insert(0, constant)
    elif where == "branch":
        branch = helper.make_graph([constant], "b", [], [value("t")])
        nodes.insert(0, node("If", "way", "t", then_branch=branch, else_branch=branch))
    else:
        opset = [helper.make_opsetid("", 17)]
        functions = [helper.make_function("own", "T", [], ["t"], [constant], opset)]
        nodes.insert(0, node("T", "", "t", domain="own"))
    network = model(nodes, [value("image", [1, 3, 8, 8])], [value("answer")],
                    {"way": np.bool_(True)}, domains={"own": 1}, functions=functions)  # fmt: skip
    path.write_bytes(network.SerializeToString())
    assert "outside of its own folder" in refusal_of(path)
    with pytest.raises(ns.NeuroscopeError, match="weights lie in another file"):
        ns.wrap(network)


def test_weights_that_are_missing_or_cut_off(path: Path) -> None:
    beside(path)
    data = path.with_name("net.weights")
    data.write_bytes(data.read_bytes()[:5])
    assert "that this file doesn't hold; it was cut off" in refusal_of(path)
    data.unlink()
    assert "there is no such file beside it" in refusal_of(path)
    moved(path, "")
    refusal_of(path)
