"""What is known of an ONNX model before it runs: how many numbers it learnt, how large a pass is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.errors import Cancelled, OutOfMemoryError, TimeLimitError
from napari_neuroscope.engine.files import limits
from networks import UNet, Vgg, settled

pytest.importorskip("onnx", reason="needs the extra “onnx”")
pytest.importorskip("onnxruntime", reason="needs the extra “onnx”")

import onnx
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from napari_neuroscope.engine.frameworks.onnx.graph import OnnxGraph
from napari_neuroscope.engine.frameworks.onnx.memory.pass_sizes import OnnxSizes, ShapesError
from napari_neuroscope.engine.frameworks.onnx.memory.small_values import known_values, small_values
from napari_neuroscope.engine.frameworks.onnx.parameters import ParameterCounter
from onnx_networks import exported, model, node, value

# --- parameters ---


@given(st.data())
def test_weights_are_counted_once_however_they_are_made(data: st.DataObject) -> None:
    """Constants are sums of earlier ones; each layer takes one or two of them."""
    sizes = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    weights = {f"w{i}": np.ones((size, 1), np.float32) for i, size in enumerate(sizes)}
    behind: dict[str, set[str]] = {name: {name} for name in weights}
    nodes = []
    for number in range(data.draw(st.integers(0, 12))):
        two = [data.draw(st.sampled_from(sorted(behind))) for _ in range(2)]
        behind[f"c{number}"] = behind[two[0]] | behind[two[1]]
        nodes.append(node("Concat", " ".join(two), f"c{number}", axis=0))
    before, expected = "image", {}
    for number in range(data.draw(st.integers(1, 4))):
        taken = data.draw(st.lists(st.sampled_from(sorted(behind)), min_size=1, max_size=2))
        nodes.append(node("Sum", " ".join([before, *taken]), f"l{number}"))
        learnt = set().union(*(behind[name] for name in taken))
        expected[f"l{number}"] = sum(weights[name].size for name in learnt)
        before = f"l{number}"
    graph = OnnxGraph.of(model(nodes, [value("image")], [value(before)], weights).graph)
    assert ParameterCounter(graph).of_layers(list(expected)) == expected


def test_paths_without_number_take_no_time() -> None:
    nodes = [node("Add", f"w{i} w{i}", f"w{i + 1}") for i in range(2000)]
    nodes += [node("Add", f"{'image' if i == 0 else f'l{i - 1}'} w2000", f"l{i}") for i in range(9)]
    weights = {"w0": np.ones((3, 1), np.float32)}
    graph = OnnxGraph.of(model(nodes, [value("image")], [value("l8")], weights).graph)
    layers = [f"l{i}" for i in range(9)]
    assert ParameterCounter(graph).of_layers(layers) == dict.fromkeys(layers, 3)


def test_layers_in_a_long_row_are_joined_in_order() -> None:
    nodes = [node("Relu", "image" if i == 0 else f"l{i - 1}", f"l{i}") for i in range(5000)]
    graph = OnnxGraph.of(model(nodes, [value("image")], [value("l4999")]).graph)
    inputs, altered = graph.edges([f"l{i}" for i in range(5000)])
    assert inputs["l0"] == ()
    assert inputs["l4999"] == ("l4998",)
    assert not altered


# --- sizes ---


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


@pytest.mark.parametrize(
    ("operation", "given", "attributes"),
    [
        ("Slice", [np.arange(9), [-1], [-100], [0], [-2]], {}),
        ("Slice", [np.arange(12).reshape(3, 4), [1, 0], [3, -1], [0, 1]], {}),
        ("Gather", [np.arange(12).reshape(3, 4), [2, 0]], {"axis": 1}),
        ("Concat", [np.arange(3), np.arange(2)], {"axis": 0}),
        ("Div", [np.int64([-7, 7]), np.int64([2, 2])], {}),
        ("Div", [np.float32([1, 2]), np.float32([3, 3])], {}),
        ("Cast", [np.float32([1.7, -1.7])], {"to": TensorProto.INT64}),
        ("Unsqueeze", [np.arange(3), [0, 2]], {}),
        ("Squeeze", [np.arange(3).reshape(1, 3, 1), [0]], {}),
        ("Reshape", [np.arange(12).reshape(3, 4), [0, 2, -1]], {}),
        ("Transpose", [np.arange(6).reshape(2, 3)], {}),
        ("Expand", [np.arange(3).reshape(3, 1), [1, 2]], {}),
        ("Where", [np.array([True, False]), np.int64([1, 2]), np.int64([3, 4])], {}),
        ("ConstantOfShape", [[2, 3]], {"value": numpy_helper.from_array(np.int64([7]))}),
    ],
)
def test_small_values_are_those_of_the_operation(
    operation: str, given: list[Any], attributes: dict[str, Any]
) -> None:
    inputs = {f"i{n}": np.asarray(one) for n, one in enumerate(given)}
    one = helper.make_node(operation, list(inputs), ["out"], **attributes)
    network = model([one], [], [value("out", None, 0)], inputs)
    values = known_values(network.graph)
    small_values(network.graph.node, values, {})
    (expected,) = ReferenceEvaluator(network).run(None, {})
    np.testing.assert_array_equal(values["out"], expected)
    assert values["out"].dtype == expected.dtype


# --- what opens, and what is stopped ---


def looping(times: int) -> onnx.ModelProto:
    body = helper.make_graph(
        [node("Identity", "go", "again"), node("Add", "v v", "next")], "body",
        [value("i", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("v")],
        [value("again", [], TensorProto.BOOL), value("next")],
    )  # fmt: skip
    nodes = [node("Loop", "times yes image", "more", body=body),
             node("Conv", "more w", "seen"), node("GlobalAveragePool", "seen", "answer")]  # fmt: skip
    weights = {"w": np.ones((2, 3, 1, 1), np.float32), "times": np.int64(times), "yes": np.bool_(1)}
    return model(nodes, [value("image", [1, 3, 8, 8])], [value("answer")], weights)


def test_a_loop_that_ends_opens_as_it_is(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(looping(3).SerializeToString())
    image = rng.random((8, 8, 3), dtype=np.float32)
    network = ns.load(path, device="cpu")
    expected = ns.wrap(looping(3), network.spec, device="cpu").predict(image).scores
    np.testing.assert_array_equal(network.predict(image).scores, expected)
    assert list(network.layers) == ["more", "seen", "answer"]


def test_a_loop_that_does_not_end_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    network = ns.wrap(looping(1 << 60), {"task": "classification"}, device="cpu")
    asked = []

    def progress(done: int, total: int, what: str) -> None:
        asked.append(what)
        if len(asked) > 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        network.discover(np.ones((8, 8, 3), np.float32), progress)
    monkeypatch.setattr(limits, "LOOP_SECONDS", 0.05)
    with pytest.raises(TimeLimitError, match="its loops may have no end"):
        network.layers


def test_a_pass_is_refused_where_memory_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(exported(settled(UNet()), (1, 3, 16, 16)).SerializeToString())
    network = ns.load(path, device="cpu")
    monkeypatch.setattr(limits, "ALWAYS_PASS", 1 << 20)
    monkeypatch.setattr("napari_neuroscope.engine.frameworks.common.free_memory", lambda: 1 << 20)
    with pytest.raises(OutOfMemoryError, match=r"of which 1,048,576 are free"):
        network.predict(np.ones((512, 512, 3), np.float32))
    # With trust nobody looks.
    trusted = ns.load(path, network.spec, device="cpu", trust=True)
    labels = trusted.predict(np.ones((64, 64, 3), np.float32)).labels
    assert math.prod(labels.shape) == 64 * 64
