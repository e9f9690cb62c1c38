"""The table of all instances says what each one says when it is asked singly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.engine.errors import Cancelled, NeuroscopeError
from napari_neuroscope.engine.explain.instances import explain_instances
from napari_neuroscope.engine.passes.target import Instance, Mask, Target
from napari_neuroscope.viewer.io.samples import nuclei


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enc = nn.Conv2d(1, 6, 3, padding=1, stride=2)
        self.dec = nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.ConvTranspose2d(6, 3, 2, stride=2)
        self.passes = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        return self.head(torch.relu(self.dec(torch.relu(self.enc(x)))))


SPEC = {"task": "segmentation", "classes": ["a", "b", "c"], "image_axes": "yx"}


@pytest.fixture
def network() -> ns.Network:
    return ns.wrap(Net(), SPEC, device="cpu")


@pytest.fixture
def image(rng) -> np.ndarray:
    return rng.random((24, 32)).astype(np.float32)


@pytest.fixture
def labels() -> np.ndarray:
    labels = np.zeros((24, 32), np.int64)
    labels[2:8, 3:9], labels[10:20, 12:18], labels[22:, 30:] = 4, 7, 3_000_000_000
    labels[4:6, 5:7] = 0
    labels[0, 0] = -1
    return labels


@pytest.mark.parametrize("keep", ["asked", "everything"])
@pytest.mark.parametrize(
    ("method", "layer", "options"),
    [
        ("grad_cam", "enc", {"relu": False}),
        ("grad_cam_plus_plus", "dec", {}),
        ("saliency", None, {}),
        ("guided_grad_cam", "enc", {"channels": "keep"}),
    ],
)
def test_the_table_equals_single_questions(
    network, image, labels, method: str, layer: str, options, keep: str
) -> None:
    network.trace(image, ["enc", "dec"], keep=keep)
    table = explain_instances(
        network, image, labels, method, layer, score="probability", margin=2.5, **options
    )
    assert [row.label for row in table] == [4, 7, 3_000_000_000]
    prediction = network.predict(image)
    for row in table:
        pixels = labels == row.label
        classes = np.bincount(prediction.labels[pixels], minlength=3)
        index = ["a", "b", "c"].index(row.class_)
        assert classes[index] == classes.max()
        assert row.probability == pytest.approx(prediction.probabilities[index][pixels].mean())
        target = Target(index, Instance(labels, row.label), "probability")
        single = ns.explain(network, image, method, target, layer, **options)
        assert row.value == pytest.approx(single.provenance["targets"][0]["value"], rel=1e-5)
        weights = np.abs(single.on_image()).reshape(-1, 24, 32).sum(0)
        near = ndimage.distance_transform_edt(~pixels) <= 2.5
        assert row.inside == pytest.approx(weights[pixels].sum() / weights.sum(), rel=1e-4)
        assert row.near == pytest.approx(weights[near].sum() / weights.sum(), rel=1e-4)
        assert 0 < row.inside < row.near < 1
        ranked = ns.explain(
            network, image, "activation", target, layer or "relu_2", rank="relevance", channels=3
        )
        assert tuple(map(str, row.channels)) == ranked.labels["channel"]


def test_there_is_one_pass_forward_and_nothing_stays(network, image, labels) -> None:
    network.discover(image)
    model, before = network.adapter.model, network.adapter.model.passes
    explain_instances(network, image, labels, "grad_cam", "enc")
    assert model.passes == before + 1
    without_gradients = network.for_a_pass().trace(image, ["enc"], keep="asked")
    assert network.traces.nbytes == without_gradients.nbytes


def test_an_instance_that_the_output_does_not_hold_has_a_row_all_the_same(image) -> None:
    model = nn.Conv2d(1, 2, 4, stride=4)
    network = ns.wrap(model, {"task": "segmentation", "image_axes": "yx"}, device="cpu")
    labels = np.zeros((24, 32), int)
    labels[0, 0], labels[8:16, 8:16] = 1, 2
    small, large = explain_instances(network, image, labels, "saliency")
    assert small.class_
    assert math.isfinite(small.probability)
    assert math.isnan(small.value)
    assert math.isnan(small.inside)
    assert small.channels == ()
    assert math.isfinite(large.value)


def test_it_can_be_stopped(network, image, labels, monkeypatch) -> None:
    monkeypatch.setattr("napari_neuroscope.engine.explain.instances._MOST_AT_ONCE", 1)
    seen = []

    def progress(done: int, total: int, what: str) -> None:
        if what == "Instances":
            seen.append((done, total))
            if done == 2:
                raise Cancelled

    with pytest.raises(Cancelled):
        explain_instances(network, image, labels, "grad_cam", "enc", progress=progress)
    assert seen == [(1, 3), (2, 3)]
    assert len(explain_instances(network, image, labels, "grad_cam", "enc")) == 3


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.zeros((24, 32), int), "no instance"),
        (np.ones((24, 31), int), "must be equal"),
        (np.ones((24, 32)), "whole numbers"),
    ],
)
def test_labels_that_do_not_fit_are_refused(network, image, labels, says: str) -> None:
    with pytest.raises(NeuroscopeError, match=says):
        explain_instances(network, image, labels, "grad_cam", "enc")


def test_classifiers_and_several_layers_are_refused(network, image, labels) -> None:
    with pytest.raises(NeuroscopeError, match="single one"):
        explain_instances(network, image, labels, "grad_cam", "all")
    with pytest.raises(NeuroscopeError, match="margin"):
        explain_instances(network, image, labels, "grad_cam", "enc", margin=-1)
    cells = ns.load("demo:blood-cells")
    with pytest.raises(NeuroscopeError, match="classifier"):
        explain_instances(cells, np.zeros((64, 64, 3), np.uint8), np.ones((64, 64), int))


def test_a_mask_says_what_it_is(network, image) -> None:
    mask = np.zeros((24, 32), bool)
    mask[3:6, 4:9] = True
    target = Target("b", Mask(mask, "label 5 of “Cells”", ("a part lies outside",)))
    named = ns.explain(network, image, "grad_cam", target, "enc")
    plain = ns.explain(network, image, "grad_cam", Target("b", mask), "enc")
    np.testing.assert_array_equal(named.values, plain.values)
    region = named.provenance["targets"][0]["region"]
    assert region.startswith("label 5 of “Cells”, mask ")
    assert region.endswith(", 15 pixels")
    assert "a part lies outside" in named.provenance["notes"]


def test_the_nuclei_of_the_sample_are_found() -> None:
    (picture, *_), (truth, *_) = nuclei()
    network = ns.load("demo:nuclei")
    table = explain_instances(network, picture, truth, "grad_cam", "dec1")
    assert len(table) == len(np.unique(truth)) - 1
    assert sum(row.class_ == "nucleus" for row in table) > 0.8 * len(table)
    found = [row for row in table if row.class_ == "nucleus" and math.isfinite(row.inside)]
    assert found
    assert all(0 <= row.inside <= row.near <= 1 for row in found)
    assert all(len(row.channels) == 3 for row in found)
