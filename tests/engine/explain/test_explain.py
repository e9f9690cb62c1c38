"""explain(): what comes back, its axes, places, names and record."""

from __future__ import annotations

import json
from typing import Any

import dask.array
import numpy as np
import pytest
import torch

import napari_neuroscope as ns
from networks import GapLinear, ResNet, UNet, Vgg, as_network, settled


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (16, 24, 3), dtype=np.uint8)


@pytest.fixture
def network() -> ns.Network:
    return as_network(settled(UNet()), "segmentation", ["sky", "car", "road"], value_range="auto")


@pytest.mark.parametrize(
    ("target", "layer", "axes", "shape"),
    [
        ("car", "bottom", ("y", "x"), (4, 6)),
        (["car"], "bottom", ("class", "y", "x"), (1, 4, 6)),
        (["car", "sky"], "bottom", ("class", "y", "x"), (2, 4, 6)),
        ("car", ["bottom"], ("layer", "y", "x"), (1, 4, 6)),
        ("car", ["bottom", "enc1"], ("layer", "y", "x"), (2, 16, 24)),
        ("car", "enc*", ("layer", "y", "x"), (2, 16, 24)),
        ("car", "botto?", ("layer", "y", "x"), (1, 4, 6)),
        (["car", "sky"], ["bottom", "up2"], ("class", "layer", "y", "x"), (2, 2, 8, 12)),
        (("car", "sky"), ("bottom",), ("class", "layer", "y", "x"), (2, 1, 4, 6)),
    ],
)
def test_lists_make_axes(
    target: Any, layer: Any, axes: tuple, shape: tuple, network: ns.Network, image: np.ndarray
) -> None:
    found = ns.explain(network, image, "grad_cam", target, layer)
    assert found.axes == axes
    assert found.values.shape == shape
    assert found.values.dtype == np.float32
    assert found.values.flags.c_contiguous
    for axis, names in found.labels.items():
        if axis in axes:
            assert len(names) == shape[axes.index(axis)]
    named = (target,) if isinstance(target, str) else tuple(target)
    assert found.labels["class" if "class" in axes else "target"] == named


def test_a_stack_lies_on_the_finest_of_its_grids(network: ns.Network, image: np.ndarray) -> None:
    found = ns.explain(network, image, "grad_cam", "car", ["bottom", "enc2"])
    assert found.values.shape == (2, 8, 12)
    assert found.grid.scale == (2.0, 2.0)
    assert found.grid.offset == (0.5, 0.5)
    assert found.on_image().shape == (2, 16, 24)


def test_all_is_every_layer_with_positions(network: ns.Network, image: np.ndarray) -> None:
    found = ns.explain(network, image, "grad_cam", "car", "all")
    assert list(found.labels["layer"]) == network.layers.select("all")


def test_the_record_is_plain_and_enough_to_make_it_again(
    network: ns.Network, image: np.ndarray
) -> None:
    mask = np.indices((16, 24)).sum(0) < 20
    found = ns.explain(
        network,
        image,
        "grad_cam",
        [ns.Target("car", mask, "probability", "mean"), ns.Target("sky", "everywhere")],
        ["enc1", "bottom"],
        relu=False,
    )
    record = json.loads(json.dumps(found.provenance))
    assert record == found.provenance
    assert record["method"] == found.method == "grad_cam"
    assert record["options"] == {"relu": False}
    assert record["layers"] == ["enc1", "bottom"]
    first, second = record["targets"]
    assert (first["class"], first["index"]) == ("car", 1)
    assert (first["score"], first["reduce"]) == ("probability", "mean")
    assert first["region"].startswith("mask ")
    assert (second["class"], second["region"], second["score"]) == ("sky", "everywhere", "logit")
    predicted = network.predict(image)
    assert first["value"] == pytest.approx(predicted.probabilities[1][mask].mean(), rel=1e-4)
    assert second["value"] == pytest.approx(predicted.scores[0].sum(), rel=1e-4)
    assert record["image"]["shape"] == [16, 24, 3]
    assert record["image"]["dtype"] == "uint8"
    assert ns.ModelSpec.parse(record["spec"]) == network.spec
    assert record["versions"]["torch"] == torch.__version__


def test_the_record_tells_networks_and_images_apart(network: ns.Network, image: np.ndarray) -> None:
    record = ns.explain(network, image, "saliency", "car").provenance
    again = ns.explain(
        as_network(settled(UNet()), "segmentation", value_range="auto"), image, "saliency", 1
    ).provenance
    assert again["network"]["digest"] == record["network"]["digest"]
    assert again["image"]["digest"] == record["image"]["digest"]
    other = as_network(settled(UNet(), seed=1), "segmentation")
    changed = ns.explain(other, 255 - image, "saliency", 1).provenance
    assert changed["network"]["digest"] != record["network"]["digest"]
    assert changed["image"]["digest"] != record["image"]["digest"]


def test_notes_of_the_image_are_in_the_record(network: ns.Network, image: np.ndarray) -> None:
    floats = image / 255
    floats[0, 0] = np.nan
    notes = ns.explain(network, floats, "saliency", "car").provenance["notes"]
    assert len(notes) == 1
    assert "not finite" in notes[0]
    assert ns.explain(network, image, "saliency", "car").provenance["notes"] == []


def test_units_and_signs(network: ns.Network, image: np.ndarray) -> None:
    def found(method: str, **more: Any) -> ns.Explanation:
        return ns.explain(network, image, method, **more)

    assert not found("saliency", target="car").signed
    assert found("saliency", target="car", channels="keep").signed
    assert found("guided_backprop", target="car").signed
    assert not found("grad_cam", target="car").signed
    assert found("grad_cam", target="car", relu=False).signed
    assert found("score_map", target="car").signed
    assert not found("fusion_score_map").signed
    assert found("fusion_score_map").unit == "probability"
    assert found("saliency", target="car").unit == "gradient"


def test_the_top_class_of_a_classifier_is_the_default(image: np.ndarray) -> None:
    network = as_network(settled(ResNet()), classes=["a", "b", "c", "d"])
    top = int(network.predict(image).labels)
    found = ns.explain(network, image, "saliency")
    assert found.provenance["targets"][0]["index"] == top
    assert found.labels["target"] == ("abcd"[top],)
    named = ns.explain(network, image, "saliency", "abcd"[top])
    np.testing.assert_array_equal(found.values, named.values)


def test_classes_by_name_index_and_numpy_index(network: ns.Network, image: np.ndarray) -> None:
    maps = [
        ns.explain(network, image, "saliency", which).values
        for which in ("car", "CAR", 1, np.int64(1), "1", ns.Target("car"))
    ]
    for values in maps[1:]:
        np.testing.assert_array_equal(values, maps[0])


@pytest.mark.parametrize(
    "convert",
    [
        lambda image: dask.array.from_array(image, chunks=(8, 8, 3)),
        torch.from_numpy,
        lambda image: image.tolist(),
    ],
    ids=["dask", "torch", "lists"],
)
def test_anything_like_an_array_is_an_image(
    convert: Any, network: ns.Network, image: np.ndarray
) -> None:
    expected = ns.explain(network, image, "saliency", "car").values
    found = ns.explain(network, convert(image), "saliency", "car").values
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_tensor_that_learns_is_an_image(network: ns.Network, image: np.ndarray) -> None:
    floats = (image / 255).astype(np.float32)
    expected = ns.explain(network, floats, "saliency", "car").values
    tensor = torch.from_numpy(floats).requires_grad_()
    np.testing.assert_array_equal(ns.explain(network, tensor, "saliency", "car").values, expected)
    assert tensor.grad is None
    np.testing.assert_array_equal(network.predict(tensor).labels, network.predict(floats).labels)


def test_an_image_of_another_size_is_resized_and_comes_back() -> None:
    network = as_network(settled(Vgg()), size=(16, 16), value_range="auto")
    image = np.indices((40, 60)).sum(0).astype(np.uint8)
    found = ns.explain(network, image, "grad_cam", 1, "features.3")
    assert found.values.shape == (8, 8)
    assert found.on_image().shape == (40, 60)
    assert found.grid.scale == (5.0, 7.5)


def test_tables_are_the_same_on_the_image() -> None:
    network = as_network(settled(Vgg()), size=(16, 16))
    found = ns.explain(network, np.zeros((16, 16, 3)), "score_map")
    assert found.is_table
    np.testing.assert_array_equal(found.on_image(), found.values)


def test_a_method_that_needs_no_target_may_have_one(network: ns.Network, image: np.ndarray) -> None:
    found = ns.explain(network, image, "activation", "car", "enc2")
    np.testing.assert_array_equal(
        found.values, ns.explain(network, image, "activation", layer="enc2").values
    )


def test_networks_of_one_model_do_not_share_what_they_know(image: np.ndarray) -> None:
    model = settled(GapLinear(3))
    first = as_network(model, classes=["a", "b", "c"])
    second = as_network(model, normalization={"mean": 0.5})
    a = ns.explain(first, image, "score_map", "b").values
    b = ns.explain(second, image, "score_map", 1).values
    assert np.abs(a - b).max() > 1e-3


def test_methods_describe_themselves() -> None:
    assert list(ns.methods)[:2] == ["input", "activation"]
    assert len(ns.methods) >= 9
    for name, method in ns.methods.items():
        assert method.name == name
        assert method.title
        assert method.summary
        assert "\n" not in method.summary
        assert method.caution, f"{name} doesn't say when it misleads"
        assert set(method.tasks) <= {"classification", "segmentation"}
        for option in method.options.values():
            assert option.name
    assert ns.methods["grad_cam"].options["relu"].default is True
    assert "Selvaraju" in ns.methods["grad_cam"].reference


def test_a_method_of_ones_own(network: ns.Network, image: np.ndarray, offer_method: Any) -> None:
    @ns.method("Mean activation", needs=ns.Needs.LAYER | ns.Needs.POSITIONS)
    def mean_activation(trace: ns.Trace, target: Any, layer: str, *, power: int = 1):  # type: ignore[no-untyped-def]
        """The mean of a layer's channels.

        Misleads
        --------
        Rarely.
        """
        return trace.activation(layer).mean(0) ** power

    assert mean_activation.options["power"].default == 1
    assert (mean_activation.summary, mean_activation.caution) == (
        "The mean of a layer's channels.",
        "Rarely.",
    )
    offer_method(mean_activation)
    found = ns.explain(network, image, "mean_activation", layer=["enc1", "bottom"], power=2)
    assert found.axes == ("layer", "y", "x")
    each = ns.explain(network, image, "activation", layer="enc1").values
    np.testing.assert_allclose(found.values[0], each.mean(0) ** 2, rtol=1e-5)
    assert found.unit == "Mean activation"
