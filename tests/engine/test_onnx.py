"""ONNX networks: layers, scores and activations, and what is refused with the reason."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from closeness import assert_close
from networks import ResNet, UNet, Vgg, as_network, settled

pytest.importorskip("onnx", reason="needs the extra “onnx”")
pytest.importorskip("onnxruntime", reason="needs the extra “onnx”")

import onnxruntime
from onnx import TensorProto, helper

from onnx_networks import by_hand, channels_last, exported, model, node, value

IMAGE = np.float32([[0, 1], [2, 3]])


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((16, 16, 3), dtype=np.float32)


# --- worked out by hand ---


def test_every_tensor_and_score_of_a_network_on_paper() -> None:
    network = as_network(by_hand())
    assert list(network.layers) == ["conv", "relu", "pool", "flat", "logit", "answer"]
    run = network.trace(IMAGE, keep="everything")
    assert_close(run.activation("conv"), [[[0, 1], [2, 3]], [[1, 0], [-1, -2]]])
    assert_close(run.activation("relu"), [[[0, 1], [2, 3]], [[1, 0], [0, 0]]])
    assert_close(run.activation("pool").flatten(), [1.5, 0.25])
    assert_close(run.activation("logit"), [2, 6])
    prediction = network.predict(IMAGE)
    assert_close(prediction.scores, [2, 6])
    odds = np.exp(-4)
    assert_close(prediction.probabilities, [odds / (1 + odds), 1 / (1 + odds)])


def test_layers_with_kinds_parameters_shapes_and_edges() -> None:
    graph = as_network(by_hand()).layers
    kinds = {name: layer.kind for name, layer in graph.items()}
    assert kinds == {
        "conv": "convolution", "relu": "activation", "pool": "pooling", "flat": "reshape",
        "logit": "dense", "answer": "activation",
    }  # fmt: skip
    assert [graph[name].parameters for name in ("conv", "relu", "logit")] == [4, 0, 6]
    assert graph["conv"].output_shape == (2, 64, 64)
    assert graph["flat"].inputs == ("pool",)
    assert graph["flat"].outputs == ("logit",)
    assert graph["conv"].description == "Conv(kernel_shape=[1, 1])"
    assert graph.last_with_positions() == "relu"
    assert graph.final_activation == ("answer", "softmax")


@pytest.mark.parametrize(
    ("end", "attributes", "kind"),
    [
        ("Softmax", {}, "softmax"),
        ("LogSoftmax", {"axis": 1}, "softmax"),
        ("Sigmoid", {}, "sigmoid"),
        ("Softmax", {"axis": 0}, None),
        ("Tanh", {}, None),
    ],
)
def test_a_network_is_cut_before_its_last_softmax_or_sigmoid(
    end: str, attributes: dict[str, Any], kind: str | None
) -> None:
    network = as_network(by_hand(end, **attributes))
    found = network.layers.final_activation
    assert found == (("answer", kind) if kind else None)
    expected = {"Tanh": np.tanh([2, 6])}.get(end, [2, 6] if kind else [1, 1])
    assert_close(network.predict(IMAGE).scores, expected)


# --- the same as PyTorch ---


@pytest.mark.parametrize(
    ("make", "task", "fixed"),
    [
        (Vgg, "classification", True),
        (ResNet, "classification", False),
        (UNet, "segmentation", False),
    ],
)
def test_all_answers_are_those_of_the_exported_network(
    make: Any, task: str, fixed: bool, image: np.ndarray
) -> None:
    module = settled(make())
    network = as_network(exported(module, (1, 3, 16, 16), fixed=fixed), task)
    twin = as_network(module, task)
    assert network.spec.input.size == ((16, 16) if fixed else None)
    found, expected = network.predict(image), twin.predict(image)
    assert_close(found.scores, expected.scores)
    assert_close(found.probabilities, expected.probabilities)
    here = network.trace(image, keep="everything")
    there = twin.trace(image, keep="everything")
    left = {n: there.activation(n) for n in twin.layers if twin.layers[n].kind != "block"}
    for name in network.layers:
        activation = here.activation(name)
        like = [n for n, other in left.items() if other.shape == activation.shape]
        twins = [n for n in like if torch.allclose(left[n], activation, rtol=1e-4, atol=1e-5)]
        assert twins, f"“{name}” is no layer of the network that was exported"
        # A dropout that does nothing is no layer of the file.
        for twin_name in [twins[0], *(n for n in twins[1:] if "dropout" in twin.layers[n].kind)]:
            assert twin.layers[twin_name].parameters == network.layers[name].parameters
            left.pop(twin_name)
    assert {twin.layers[name].kind for name in left} <= {"dropout"}


def test_maps_of_activations_lie_where_those_of_pytorch_do(rng: np.random.Generator) -> None:
    module = settled(UNet())
    scan = rng.random((37, 45, 3), dtype=np.float32)
    size = {"size": {"min": 16, "step": 4}, "resize": "pad"}
    network = as_network(exported(module, (1, 3, 16, 16)), "segmentation", **size)
    twin = as_network(module, "segmentation", **size)
    layer = "/bottom/bottom.4/Relu_output_0"
    options: dict[str, Any] = {"rank": "mean", "channels": 3}
    found = ns.explain(network, scan, "activation", layer=layer, **options)
    expected = ns.explain(twin, scan, "activation", layer="bottom.4", **options)
    assert found.labels["channel"] == expected.labels["channel"]
    assert_close(found.values, expected.values)
    assert found.grid == expected.grid
    assert_close(found.on_image(), expected.on_image())
    for method in ("input", "score_map", "fusion_score_map"):
        target = 1 if method == "score_map" else None
        assert_close(
            ns.explain(network, scan, method, target).values,
            ns.explain(twin, scan, method, target).values,
        )


def test_tensors_are_what_the_graph_defines(image: np.ndarray) -> None:
    """ONNX's own slow reference runs each operation as it is written."""
    from onnx.reference import ReferenceEvaluator

    network = exported(settled(ResNet()), (1, 3, 16, 16))
    trace = as_network(network).trace(image, keep="everything")
    names = [name for layer in network.graph.node for name in layer.output]
    network.graph.output.extend([value(name) for name in names if name != "scores"])
    found = ReferenceEvaluator(network).run(names, {"image": image.transpose(2, 0, 1)[None]})
    expected = dict(zip(names, found, strict=True))
    assert len(trace.layers) > 20
    for name in trace.layers:
        assert_close(trace.activation(name), expected[name][0])


def test_answers_do_not_depend_on_what_else_is_asked(
    image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    session = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda *a, **k: made.append(a) or session(*a, **k)
    )
    network = as_network(exported(settled(UNet()), (1, 3, 16, 16)), "segmentation")
    layer = network.layers.of_kind("convolution")[2]
    alone = network.trace(image, [layer], keep="asked").activation(layer)
    network.traces.clear()
    before = network.predict(image).scores
    trace = network.trace(image, keep="everything")
    assert torch.equal(trace.activation(layer), alone)
    assert np.array_equal(trace.outputs.scores.numpy(), before)
    # One of the ends alone, and one of all tensors.
    assert len(made) == 2


# --- channels last ---


def test_a_network_with_channels_last(image: np.ndarray) -> None:
    module = settled(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1)))
    network, twin = (
        as_network(channels_last(module), "segmentation"),
        as_network(module, "segmentation"),
    )
    assert network.spec.input.axes == "byxc"
    assert network.channels == 3
    assert network.layers["conv1"].output_shape == (4, 64, 64)
    assert network.layers["last"].output_shape == (2, 64, 64)
    assert network.layers.final_activation == ("softmax", "softmax")
    wide = image[:, :12]
    assert_close(network.predict(wide).scores, twin.predict(wide).scores)
    assert_close(network.predict(wide).probabilities, twin.predict(wide).probabilities)
    found = ns.explain(network, wide, "activation", layer=["relu", "first"][:1])
    assert_close(found.values[0], ns.explain(twin, wide, "activation", layer="1").values)
    trace = network.trace(wide, ["first", "softmax"])
    assert_close(trace.activation("first"), wide.transpose(2, 0, 1))
    assert trace.activation("softmax").shape == (2, 16, 12)


def test_a_softmax_before_the_last_transposition_is_cut(image: np.ndarray) -> None:
    module = settled(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1)))
    network = channels_last(module)
    network.graph.node[4].CopyFrom(node("Softmax", "conv2", "softmax", axis=1))
    network.graph.node[5].CopyFrom(node("Transpose", "softmax", "last", perm=[0, 2, 3, 1]))
    network.graph.node[6].input[0] = "last"
    found, twin = as_network(network, "segmentation"), as_network(module, "segmentation")
    assert found.layers.final_activation == ("softmax", "softmax")
    assert_close(found.predict(image).scores, twin.predict(image).scores)


@pytest.mark.parametrize(
    ("shape", "axes", "size"),
    [
        ([1, 3, 20, 20], "bcyx", (20, 20)),
        ([1, 20, 20, 3], "byxc", (20, 20)),
        (["n", "h", "w", 1], "byxc", None),
        (["n", "c", "h", "w"], "bcyx", None),
        (["n", 1, 8, 20, 20], "bczyx", (8, 20, 20)),
        (["n", 8, 20, 20, 1], "bzyxc", (8, 20, 20)),
        (["n", 20, 20], "byx", (20, 20)),
    ],
)
def test_the_axes_are_told_by_the_shape_where_no_convolution_tells(
    shape: list[Any], axes: str, size: tuple[int, ...] | None
) -> None:
    network = model([node("Relu", "image", "answer")], [value("image", shape)], [value("answer")])
    found = as_network(network, "segmentation").spec.input
    assert (found.axes, found.size) == (axes, size)


def test_volumes(rng: np.random.Generator) -> None:
    module = settled(nn.Sequential(nn.Conv3d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv3d(3, 2, 1)))
    network = as_network(exported(module, (1, 1, 8, 8, 8)), "segmentation")
    assert network.spec.input.axes == "bczyx"
    twin = as_network(module, "segmentation", axes="bczyx")
    volume = rng.random((6, 10, 8), dtype=np.float32)
    assert_close(network.predict(volume).scores, twin.predict(volume).scores)


# --- types ---


def test_half_precision(image: np.ndarray) -> None:
    nodes = [node("Conv", "image w", "conv"), node("Relu", "conv", "answer")]
    w = np.random.default_rng(1).standard_normal((2, 3, 1, 1)).astype(np.float16)
    inputs = [value("image", ["n", 3, "h", "w"], TensorProto.FLOAT16)]
    half = model(nodes, inputs, [value("answer", None, TensorProto.FLOAT16)], {"w": w})
    network = as_network(half, "segmentation")
    expected = np.einsum("oc,yxc->oyx", w[..., 0, 0].astype(float), image.astype(float))
    found = network.predict(image).scores
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.clip(min=0), atol=0.01)


def test_whole_numbers_are_the_values_of_the_image(rng: np.random.Generator) -> None:
    nodes = [
        node("Cast", "image", "real", to=TensorProto.FLOAT),
        node("Identity", "real", "answer"),
    ]
    inputs = [value("image", ["n", 3, "h", "w"], TensorProto.UINT8)]
    network = as_network(
        model(nodes, inputs, [value("answer")]), "segmentation", value_range="auto"
    )
    image = rng.integers(0, 256, (9, 7, 3), np.uint8)
    assert_close(network.predict(image).scores, image.transpose(2, 0, 1))


def test_other_types_of_input_are_refused() -> None:
    nodes = [node("Cast", "image", "answer", to=TensorProto.FLOAT)]
    inputs = [value("image", ["n", 3, "h", "w"], TensorProto.INT64)]
    with pytest.raises(ns.NeuroscopeError, match=r"int64.*only networks that take float32"):
        as_network(model(nodes, inputs, [value("answer")]))


# --- graphs of all kinds ---


def test_arithmetic_of_shapes_and_constants_are_no_layers(image: np.ndarray) -> None:
    size = helper.make_tensor("value", TensorProto.INT64, [1], [-1])
    nodes = [
        node("Shape", "image", "shape"),
        node("Cast", "shape", "real", to=TensorProto.FLOAT),
        node("Constant", "", "rest", value=size),
        node("Gather", "shape zero", "first"),
        node("Concat", "first rest", "wanted", axis=0),
        node("Relu", "image", "relu"),
        node("Cast", "relu", "whole", to=TensorProto.INT32),
        node("Cast", "whole", "back", to=TensorProto.FLOAT),
        node("Split", "back half", "left right", axis=3),
        node("Add", "left right", "sum"),
        node("Mul", "w w", "squared"),
        node("Mul", "sum squared", "scaled"),
        node("Reshape", "scaled wanted", "flat"),
        node("MatMul", "flat dense", "answer"),
    ]  # fmt: skip
    weights = {
        "zero": np.int64([0]), "half": np.int64([8, 8]), "w": np.full(1, 3, np.float32),
        "dense": np.ones((384, 2), np.float32),
    }  # fmt: skip
    network = as_network(model(nodes, [value("image", [1, 3, 16, 16])], [value("answer")], weights))
    graph = network.layers
    assert list(graph) == ["relu", "back", "left", "right", "sum", "scaled", "flat", "answer"]
    assert graph["relu"].altered
    assert graph["back"].inputs == ("relu",)
    assert graph["sum"].inputs == ("left", "right")
    assert graph["sum"].kind == "add"
    assert graph["scaled"].inputs == ("sum",)
    assert graph["answer"].parameters == 768
    bright = np.floor(image * 9)
    assert_close(network.predict(bright).scores, [9 * bright.sum()] * 2)


def test_functions_of_the_model_are_looked_into(image: np.ndarray) -> None:
    block = helper.make_function(
        "own", "Block", ["x"], ["y"], [node("Relu", "x", "inner"), node("Neg", "inner", "y")],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    nodes = [node("Block", "image", "middle", domain="own"), node("Tanh", "middle", "answer")]
    network = as_network(
        model(nodes, [value("image", ["n", 3, "h", "w"])], [value("answer")],
              domains={"own": 1}, functions=[block]), "segmentation",
    )  # fmt: skip
    operations = [layer.operation for layer in network.layers.values()]
    assert operations == ["Relu", "Neg", "Tanh"]
    assert_close(network.predict(image).scores, np.tanh(-image.transpose(2, 0, 1)))


def test_what_a_branch_takes_from_outside_is_an_edge() -> None:
    def branch(name: str, operation: str) -> Any:
        return helper.make_graph([node(operation, "relu", name)], name, [], [value(name)])

    nodes = [
        node("Relu", "image", "relu"),
        node("ReduceSum", "image", "sum", keepdims=0),
        node("Greater", "sum zero", "bright"),
        node("If", "bright", "way", then_branch=branch("a", "Neg"), else_branch=branch("b", "Abs")),
        node("Identity", "way", "answer"),
    ]
    network = as_network(
        model(nodes, [value("image", ["n", 1, "h", "w"])], [value("answer")],
              {"zero": np.float32(0)}), "segmentation",
    )  # fmt: skip
    assert set(network.layers["way"].inputs) == {"relu", "sum"}
    assert_close(network.predict(IMAGE).scores[1], -IMAGE)


def several(*outputs: tuple[str, int]) -> Any:
    nodes = [
        node("Conv", "image w", "first"),
        node("Neg", "first", "second"),
        node("ArgMax", "first", "labels", axis=1),
    ]
    w = np.float32([[[[1]]], [[[2]]]])
    return model(nodes, [value("image", ["n", 1, "h", "w"])],
                 [value(name, None, kind) for name, kind in outputs], {"w": w})  # fmt: skip


@pytest.mark.parametrize(("index", "sign"), [(None, 1), (1, 1), ("second", -1), (-1, -1)])
def test_one_of_several_outputs(index: Any, sign: int) -> None:
    network = several(
        ("labels", TensorProto.INT64), ("first", TensorProto.FLOAT), ("second", TensorProto.FLOAT)
    )
    found = as_network(network, "segmentation", output={"index": index}).predict(IMAGE).scores
    assert_close(found, sign * np.stack([IMAGE, 2 * IMAGE]))


@pytest.mark.parametrize(("index", "says"), [("third", "no output “third”"), (0, "whole numbers"), (7, "no output “7”")])  # fmt: skip
def test_an_output_that_is_not_there_or_holds_labels(index: Any, says: str) -> None:
    network = several(("labels", TensorProto.INT64), ("first", TensorProto.FLOAT))
    with pytest.raises(ns.NeuroscopeError, match=says):
        as_network(network, "segmentation", output={"index": index}).predict(IMAGE)


def test_several_inputs_and_fixed_batches_are_refused() -> None:
    nodes = [node("Add", "image other", "answer")]
    inputs = [value("image", [1, 3, 8, 8]), value("other", [1, 3, 8, 8])]
    with pytest.raises(ns.NeuroscopeError, match=r"takes 2 inputs \(image, other\)"):
        as_network(model(nodes, inputs, [value("answer")]))
    nodes = [node("Relu", "image", "answer")]
    with pytest.raises(ns.NeuroscopeError, match="takes 4 images at once"):
        as_network(model(nodes, [value("image", [4, 3, 8, 8])], [value("answer")]))


def test_weights_among_the_inputs_are_no_inputs() -> None:
    network = by_hand()
    network.ir_version = 3
    network.graph.input.extend(
        [value("w", [2, 1, 1, 1]), value("b", [2]), value("m", [2, 2]), value("c", [2])]
    )
    assert_close(as_network(network).predict(IMAGE).scores, [2, 6])


# --- what ONNX can't do ---


def test_methods_that_need_gradients_are_refused_with_the_reason(image: np.ndarray) -> None:
    network = as_network(exported(settled(Vgg()), (1, 3, 16, 16), fixed=True))
    refused = {name for name, method in ns.methods.items() if network.why_not(method)}
    assert {"saliency", "guided_backprop", "grad_cam", "guided_grad_cam"} <= refused
    assert refused.isdisjoint({"input", "activation", "score_map"})
    for name in (name for name in refused if "classification" in ns.methods[name].tasks):
        with pytest.raises(
            ns.NeuroscopeError, match=r" needs .*, and ONNX networks have none: open"
        ):
            ns.explain(network, image, name)
    assert ns.explain(network, image, "score_map").is_table


def test_ranking_by_relevance_is_refused_with_the_reason(image: np.ndarray) -> None:
    network = as_network(exported(settled(Vgg()), (1, 3, 16, 16), fixed=True))
    with pytest.raises(ns.NeuroscopeError, match="Activation with these options needs gradients"):
        ns.explain(network, image, "activation", 0, rank="relevance")
    for rank in ("index", "mean", "max"):
        assert ns.explain(network, image, "activation", rank=rank).values.any()


def test_a_method_that_asks_for_a_gradient_unsaid_is_told_so(image: np.ndarray) -> None:
    network = as_network(exported(settled(Vgg()), (1, 3, 16, 16), fixed=True))
    trace = network.trace(image)
    with pytest.raises(ns.NeuroscopeError, match="gives no gradients"):
        trace.input_gradient(trace.resolve(0))


def test_an_input_that_does_not_fit_is_one_sentence(image: np.ndarray) -> None:
    network = as_network(exported(settled(Vgg()), (1, 3, 16, 16), fixed=True), size=(20, 20))
    with pytest.raises(ns.NeuroscopeError, match="Got: 20 Expected: 16") as refusal:
        network.predict(image)
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps", "tpu", "cuda:x"])
def test_a_device_that_is_not_there(device: str) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("there is a GPU")
    with pytest.raises(ns.NeuroscopeError, match=f"device “{device}”.*choose auto"):
        ns.wrap(by_hand(), device=device)


def test_models_that_can_not_be_wrapped() -> None:
    session = onnxruntime.InferenceSession(by_hand().SerializeToString())
    with pytest.raises(ns.NeuroscopeError, match=r"give the onnx\.ModelProto"):
        ns.wrap(session)


def test_a_long_pass_is_stopped_in_its_midst(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_neuroscope.engine.frameworks.onnx.session.ASK_EVERY_S", 1e-3)
    convolutions = 300
    nodes = [node("Conv", f"t{n} w", f"t{n + 1}", pads=[1] * 4) for n in range(convolutions)]
    w = np.full((8, 8, 3, 3), 1 / 72, np.float32)
    long = model(nodes, [value("t0", [1, 8, 128, 128])], [value(f"t{convolutions}")], {"w": w})
    network = as_network(long, "segmentation")
    large = np.ones((128, 128, 8), np.float32)
    calls: list[tuple[int, int]] = []

    def progress(done: int, total: int, what: str) -> None:
        calls.append((done, total))
        if len(calls) == 2:
            raise ns.Cancelled

    with pytest.raises(ns.Cancelled):
        network.trace(large, ["t1"], keep="asked", progress=progress)
    assert calls == [(0, 1), (0, 1)], "it was asked again before the pass was done"
    small = as_network(by_hand())
    done: list[tuple[int, int]] = []
    small.trace(IMAGE, progress=lambda n, total, what: done.append((n, total)))
    assert done[-1] == (1, 1)


# --- the model is left as it is ---


def test_the_model_is_not_changed_and_its_digest_is_of_its_weights() -> None:
    network = by_hand()
    before = network.SerializeToString()
    wrapped = as_network(network)
    wrapped.predict(IMAGE)
    assert network.SerializeToString() == before
    assert as_network(by_hand()).digest() == wrapped.digest()
    network.graph.initializer[0].raw_data = np.float32([2, 2]).tobytes()
    assert as_network(network).digest() != wrapped.digest()
    assert_close(wrapped.predict(IMAGE + 1).scores, as_network(by_hand()).predict(IMAGE + 1).scores)  # fmt: skip


def test_nothing_of_onnx_is_imported_unasked(tmp_path: Path) -> None:
    code = (
        "import sys, napari_neuroscope.engine.frameworks.registry as registry\n"
        "assert 'onnx' in [f.name for f in registry.frameworks()]\n"
        "print([m for m in ('onnx', 'onnxruntime') if m in sys.modules])\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
