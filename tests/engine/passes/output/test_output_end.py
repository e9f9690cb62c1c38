"""Networks that end in a softmax or sigmoid are explained before it, or it is said that they can't be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import napari_neuroscope as ns
from closeness import assert_close
from networks import EndingIn, Pixelwise, Vgg, as_network, settled

SOFTMAX = {
    "Softmax": nn.Softmax(1),
    "Softmax(-3)": nn.Softmax(-3),
    "LogSoftmax": nn.LogSoftmax(1),
    "F.softmax": lambda x: functional.softmax(x, 1),
    "F.log_softmax": lambda x: functional.log_softmax(x, dim=1),
    "torch.softmax": lambda x: torch.softmax(x, 1),
    "x.softmax": lambda x: x.softmax(1),
    "x.log_softmax": lambda x: x.log_softmax(1),
    "by keyword": lambda x: functional.softmax(input=x, dim=1),
    "in a dict": lambda x: {"out": x.softmax(1)},
    "in a tuple": lambda x: (x.softmax(1), x.mean()),
}
SIGMOID = {
    "Sigmoid": nn.Sigmoid(),
    "torch.sigmoid": torch.sigmoid,
    "x.sigmoid": lambda x: x.sigmoid(),
    "x.sigmoid_": lambda x: x.sigmoid_(),
    "F.logsigmoid": functional.logsigmoid,
}


def body(classes: int) -> nn.Module:
    return settled(Pixelwise(3, classes))


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((9, 11, 3)).astype(np.float32)


def compare(ending: ns.Network, plain: ns.Network, image: np.ndarray, classes: int) -> None:
    for index in range(classes):
        for method, more in (
            ("saliency", {"channels": "keep"}),
            ("grad_cam", {"layer": "body.relu", "relu": False}),
            ("guided_backprop", {}),
            ("score_map", {}),
        ):
            found = ns.explain(ending, image, method, index, **more)
            inside = {**more, "layer": "relu"} if "layer" in more else more
            assert_close(found.values, ns.explain(plain, image, method, index, **inside).values)
            assert found.provenance["targets"][0]["score"] == "logit"
            assert found.provenance["notes"] == []
    assert_close(ending.predict(image).scores, plain.predict(image).scores)
    assert_close(ending.predict(image).probabilities, plain.predict(image).probabilities)


@pytest.mark.parametrize("end", SOFTMAX)
def test_a_softmax_is_cut_off(end: str, image: np.ndarray) -> None:
    ending = as_network(EndingIn(body(3), SOFTMAX[end]), "segmentation")
    plain = as_network(body(3), "segmentation")
    compare(ending, plain, image, 3)
    kept = plain.predict(image).probabilities
    np.testing.assert_allclose(kept.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize("end", SIGMOID)
@pytest.mark.parametrize("classes", [1, 3])
def test_a_sigmoid_is_cut_off(end: str, classes: int, image: np.ndarray) -> None:
    ending = as_network(EndingIn(body(classes), SIGMOID[end]), "segmentation")
    plain = as_network(body(classes), "segmentation", output={"multi_label": True})
    compare(ending, plain, image, max(classes, 2))


@pytest.mark.parametrize("end", [nn.Softmax(1), nn.Sigmoid(), nn.LogSoftmax(1)])
def test_a_classifiers_ending_is_cut_off(end: nn.Module, rng: np.random.Generator) -> None:
    image = rng.random((16, 16, 3))
    ending = as_network(EndingIn(settled(Vgg()), end), size=(16, 16))
    plain = as_network(settled(Vgg()), size=(16, 16))
    for index in (0, 3):
        assert_close(
            ns.explain(ending, image, "saliency", index).values,
            ns.explain(plain, image, "saliency", index).values,
        )
    assert_close(ending.predict(image).scores, plain.predict(image).scores)


def test_a_saturated_softmax_still_has_a_gradient(image: np.ndarray) -> None:
    """Through it, all would be zero: the reason to cut."""

    class Loud(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = body(3)

        def forward(self, x: Tensor) -> Tensor:
            return torch.softmax(self.body(x) * 1e4, 1)

    found = ns.explain(as_network(Loud(), "segmentation"), image, "saliency", 0)
    assert (found.values > 0).all()


@pytest.mark.parametrize("score", ["probability", "log_probability"])
def test_probabilities_are_those_of_the_network(score: Any, image: np.ndarray) -> None:
    """With the softmax cut off and put on again, or never there, the gradient is the same."""
    ending = EndingIn(body(3), nn.Softmax(1))
    target = ns.Target(1, "everywhere", score)
    found = ns.explain(
        as_network(ending, "segmentation"), image, "saliency", target, channels="keep"
    )
    x = torch.from_numpy(image).permute(2, 0, 1)[None].requires_grad_()
    value = ending(x)[:, 1]
    value = (value.log() if score == "log_probability" else value).sum()
    assert_close(found.values, torch.autograd.grad(value, x)[0][0].numpy())
    assert found.provenance["targets"][0]["value"] == pytest.approx(value.item(), rel=1e-5)


# --- what can't be cut ---


def by_hand(x: Tensor) -> Tensor:
    powers = (x - x.amax(1, keepdim=True).detach()).exp()
    return powers / powers.sum(1, keepdim=True)


def test_a_softmax_written_by_hand_is_explained_through_its_logarithm(image: np.ndarray) -> None:
    model = EndingIn(body(3), by_hand)
    network = as_network(model, "segmentation")
    found = ns.explain(network, image, "saliency", 1, channels="keep")
    plain = as_network(body(3), "segmentation")
    expected = ns.explain(
        plain, image, "saliency", ns.Target(1, score="log_probability"), channels="keep"
    )
    assert_close(found.values, expected.values, 1e-4)
    assert found.provenance["targets"][0]["score"] == "log_probability"
    assert any("can't be cut off" in note for note in found.provenance["notes"])
    assert_close(network.predict(image).probabilities, plain.predict(image).probabilities)
    np.testing.assert_array_equal(network.predict(image).labels, plain.predict(image).labels)


def test_what_is_not_asked_of_a_logit_has_no_note(image: np.ndarray) -> None:
    """Also where a logit was asked of the same image before."""
    network = as_network(EndingIn(body(3), by_hand), "segmentation")
    ns.explain(network, image, "saliency", 1)
    found = ns.explain(network, image, "saliency", ns.Target(1, score="probability"))
    assert found.provenance["targets"][0]["score"] == "probability"
    assert not any("can't be cut off" in note for note in found.provenance["notes"])


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_an_ending_that_is_stated_is_believed(activation: str, image: np.ndarray) -> None:
    end = by_hand if activation == "softmax" else lambda x: 1 / (1 + (-x).exp())
    network = as_network(EndingIn(body(3), end), "segmentation", output={"activation": activation})
    found = ns.explain(network, image, "score_map", 1)
    assert found.unit == "log_probability"
    multi = {"multi_label": activation == "sigmoid"}
    plain = as_network(body(3), "segmentation", output=multi)
    expected = plain.predict(image).probabilities
    assert_close(network.predict(image).probabilities, expected)
    assert_close(found.values, np.log(expected[1]))


def test_one_channel_of_probabilities_by_hand(image: np.ndarray) -> None:
    """Background is 1 - π there, and foreground is where π > 0.5."""
    network = as_network(
        EndingIn(body(1), lambda x: 1 / (1 + (-x).exp())),
        "segmentation",
        output={"activation": "sigmoid"},
    )
    plain = as_network(body(1), "segmentation")
    assert_close(network.predict(image).probabilities, plain.predict(image).probabilities)
    labels = plain.predict(image).labels
    assert set(np.unique(labels)) == {0, 1}
    np.testing.assert_array_equal(network.predict(image).labels, labels)
    for index in (0, 1):
        target = ns.Target(index, "predicted", score="log_probability")
        assert_close(
            ns.explain(network, image, "saliency", target).values,
            ns.explain(plain, image, "saliency", target).values,
            1e-4,
        )


def test_a_softmax_within_is_no_ending(image: np.ndarray) -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = body(4), nn.Conv2d(4, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.body(x).softmax(1))

    network = as_network(settled(Gated()), "segmentation")
    assert network.layers.final_activation is None
    assert ns.explain(network, image, "score_map", 0).unit == "logit"


def test_a_softmax_that_is_scaled_afterwards_is_no_ending(image: np.ndarray) -> None:
    """The output is not the softmax's: to cut before it would explain another function."""
    end = lambda x: x.softmax(1) * torch.tensor([1.0, 2.0, 4.0])[:, None, None]  # noqa: E731
    model = EndingIn(body(3), end)
    target = ns.Target(2, "everywhere")
    network = as_network(model, "segmentation")
    found = ns.explain(network, image, "saliency", target, channels="keep")
    x = torch.from_numpy(image).permute(2, 0, 1)[None].requires_grad_()
    assert_close(found.values, torch.autograd.grad(model(x)[:, 2].sum(), x)[0][0].numpy())


def test_a_softmax_over_another_axis_is_no_ending(image: np.ndarray) -> None:
    """Over the columns it makes no probabilities of classes."""
    model = EndingIn(body(3), nn.Softmax(3))
    network = as_network(model, "segmentation")
    found = ns.explain(network, image, "saliency", ns.Target(2, (4, 5)), channels="keep")
    x = torch.from_numpy(image).permute(2, 0, 1)[None].requires_grad_()
    assert_close(found.values, torch.autograd.grad(model(x)[0, 2, 4, 5], x)[0][0].numpy())
