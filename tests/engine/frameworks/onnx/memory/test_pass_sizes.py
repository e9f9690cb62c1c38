"""How large a pass of an ONNX network is, known before it runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from networks import UNet, Vgg, settled

pytest.importorskip("onnx", reason="needs the extra “onnx”")

pytest.importorskip("onnxruntime", reason="needs the extra “onnx”")

import onnx
from onnx import TensorProto

from napari_neuroscope.engine.frameworks.onnx.memory.pass_sizes import OnnxSizes, ShapesError
from onnx_networks import exported, model, node, value


def measured(network: onnx.ModelProto, image: np.ndarray) -> dict[str, int]:
    """Return the bytes of all tensors of a pass."""
    import onnxruntime

    whole = onnx.ModelProto()
    whole.CopyFrom(network)
    del whole.graph.output[:]
    names = [name for one in network.graph.node for name in one.output if name]
    whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(
        whole.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    values = session.run(names, {network.graph.input[0].name: image})
    return {name: np.asarray(v).nbytes for name, v in zip(names, values, strict=True)}


def resized() -> onnx.ModelProto:
    """Return a network that resizes to sizes that it computes, as exporters write it."""
    nodes = [
        node("Conv", "image w", "seen", strides=[2, 2]),
        node("Shape", "image", "shape"), node("Slice", "shape two four", "size"),
        node("Shape", "seen", "inner"), node("Slice", "inner zero two", "first"),
        node("Concat", "first size", "sizes", axis=0),
        node("Resize", "seen none none sizes", "large"),
        node("Cast", "size", "sides", to=TensorProto.FLOAT),
        node("Reshape", "large flat", "answer"),
    ]  # fmt: skip
    nodes[6].input[:] = ["seen", "", "", "sizes"]
    weights = {"w": np.ones((2, 3, 1, 1), np.float32), "zero": np.int64([0]), "two": np.int64([2]),
               "four": np.int64([4]), "flat": np.int64([1, 2, -1])}  # fmt: skip
    return model(nodes, [value("image", ["n", 3, "h", "w"])], [value("answer")], weights)


NETWORKS: dict[str, Any] = {
    "a U-Net": lambda: exported(settled(UNet()), (1, 3, 16, 16)),
    "a VGG": lambda: exported(settled(Vgg()), (1, 3, 16, 16)),
    "sizes that are computed": resized,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_sizes_are_those_of_the_pass(name: str) -> None:
    network = NETWORKS[name]()
    sizes = OnnxSizes(network).of((1, 3, 16, 16))
    assert sizes is not None
    expected = measured(network, np.ones((1, 3, 16, 16), np.float32))
    assert {k: sizes.of[k] for k in expected if k in sizes.of} == {
        k: v for k, v in expected.items() if k in sizes.of
    }
    # What is left out are values of shapes.
    assert all(nbytes <= 64 for k, nbytes in expected.items() if k not in sizes.of)
    assert sizes.least(["answer"]) == max(sizes.of.values())


def test_sizes_that_do_not_fit_are_told_from_those_that_are_unknown() -> None:
    sizes = OnnxSizes(exported(settled(Vgg()), (1, 3, 16, 16)))
    with pytest.raises(ShapesError):
        sizes.of((1, 3, 64, 64))
    found = node("NonZero", "image", "places")
    unknown = model([found], [value("image", [1, 1, 4, 4])], [value("places", None, 7)])
    assert OnnxSizes(unknown).of((1, 1, 4, 4)) is None
