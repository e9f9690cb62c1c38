"""ONNX networks: scores and activations as in PyTorch, and what is refused with the reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import napari_neuroscope as ns
from closeness import assert_close
from networks import ResNet, UNet, Vgg, as_network, settled

pytest.importorskip("onnx", reason="needs the extra “onnx”")

pytest.importorskip("onnxruntime", reason="needs the extra “onnx”")


from napari_neuroscope.engine.frameworks.onnx import framework
from onnx_networks import by_hand, exported, value

IMAGE = np.float32([[0, 1], [2, 3]])


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((16, 16, 3), dtype=np.float32)


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


def test_layers_are_found_without_keeping_them_all(
    image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    run = framework.run_session

    def seen(session: Any, names: list[str], *rest: Any) -> list[Any]:
        asked.extend(names)
        assert len(session.get_outputs()) < 4
        return run(session, names, *rest)

    monkeypatch.setattr(framework, "run_session", seen)
    network = as_network(exported(settled(UNet()), (1, 3, 16, 16)), "segmentation")
    layers = network.layers
    scores = network.predict(image).scores
    assert set(asked) < {*layers, "scores"}
    monkeypatch.undo()
    trace = network.trace(image, keep="everything")
    for name, layer in layers.items():
        # Shapes are told for the example that the layers were found with.
        assert trace.activation(name).shape[0] == layer.output_shape[0]
    np.testing.assert_array_equal(trace.outputs.scores.numpy(), scores)
