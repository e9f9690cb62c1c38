"""Mistakes: each is one clear sentence, with what was wrong and what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import napari_neuroscope as ns
from networks import EndingIn, GapLinear, Pixelwise, UNet, Vgg, as_network, settled
from sentences import sentence

GOOD = np.random.default_rng(0).random((16, 16, 3))


CLASSES = ["sky", "building", "car"]


# Either will do: what must not be is a map that looks like an answer. (Warnings are errors here.)
SAID = (ns.NeuroscopeError, ns.NeuroscopeWarning)


def segmenter() -> ns.Network:
    # Of any size, as is stated here, it is not.
    spec = {"task": "segmentation", "classes": CLASSES, "input": {"size": {"min": 1, "step": 1}}}
    return ns.wrap(settled(UNet()), spec, device="cpu")


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (("grad_cm", "car"), ["no method “grad_cm”", "did you mean “grad_cam”"]),
        (("nonsense", "car"), ["no method “nonsense”", "“saliency”"]),
        (("saliency", "cra"), ["no class “cra”", "did you mean “car”"]),
        (("saliency", "bilding"), ["did you mean “building”"]),
        (("saliency", 3), ["3 classes, 0..2", "class 3"]),
        (("saliency", -1), ["class -1"]),
        (("saliency", None), ["needs a class", "“sky”"]),
        (("grad_cam", "car", "bottm"), ["no layer “bottm”", "did you mean “bottom"]),
        (("grad_cam", "car", "encoder*"), ["No layer fits “encoder*”"]),
        (("grad_cam", "car", []), ['layer="all"']),
        (("saliency", "car", "enc1"), ["looks at no layer"]),
        (("saliency", []), ["list of targets is empty"]),
        (("grad_cam", ns.Target("car", "ground_truth")), ["needs ground truth", "ground_truth="]),
        (("grad_cam", ns.Target("car", np.zeros((16, 16)))), ["no positions", "everywhere"]),
        (("grad_cam", ns.Target("car", np.ones((8, 8)))), ["(8, 8)", "(16, 16)"]),
        (("grad_cam", ns.Target("car", (99, 99))), ["no positions"]),
    ],
)
def test_what_is_asked_does_not_exist(ask: tuple[Any, ...], words: list[str]) -> None:
    text = sentence(lambda: ns.explain(segmenter(), GOOD, *ask))
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("grad_cam", {"rellu": True}, ["no option “rellu”", "did you mean “relu”"]),
        ("grad_cam", {"strength": 1}, ["no option “strength”"]),
        ("grad_cam", {"relu": "perhaps"}, ["relu"]),
        ("grad_cam_plus_plus", {"relu": True}, ["no option “relu”"]),
        ("saliency", {"channels": "max"}, ["channels", "max_abs"]),
        ("activation", {"channels": -1}, ["channels"]),
        ("activation", {"channels": "many"}, ["channels"]),
        ("activation", {"rank": "size"}, ["rank", "relevance"]),
    ],
)
def test_options_that_do_not_exist(method: str, options: dict[str, Any], words: list[str]) -> None:
    text = sentence(lambda: ns.explain(segmenter(), GOOD, method, "car", **options))
    for word in words:
        assert word in text


@pytest.mark.parametrize("known", [False, True], ids=["at first", "when its layers are known"])
@pytest.mark.parametrize(
    ("image", "words"),
    [
        (GOOD[..., :2], ["2 channels", "takes 3"]),
        (np.zeros((16, 16, 5)), ["5 channels", "takes 3"]),
        (np.zeros((0, 16, 3)), ["empty"]),
        (np.zeros((16, 0)), ["empty"]),
        (np.full((16, 16, 3), np.nan), ["no finite value"]),
        (np.zeros((3, 3, 3)), ["smaller than the network's stride"]),
        (np.zeros((18, 18, 3)), ["multiples", "input.size"]),
        (np.zeros((4, 200, 300, 3)), ["(4, 200, 300, 3)", "choose one plane"]),
        (np.zeros(16), ["(16,)"]),
        (np.zeros((16, 16), complex), ["complex"]),
        (np.array([["a", "b"], ["c", "d"]]), ["real numbers"]),
        (np.zeros((16, 16), object), ["real numbers"]),
        (np.zeros((16, 16), "M8[s]"), ["real numbers"]),
        ([[1, 2], [3]], ["image"]),
        ("picture.png", ["image"]),
        (object(), ["image"]),
    ],
)
def test_images_that_do_not_fit(image: Any, words: list[str], known: bool) -> None:
    network = segmenter()
    if known:
        assert network.layers
    for ask in (
        lambda: ns.explain(network, image, "saliency", "car"),
        lambda: network.predict(image),
    ):
        text = sentence(ask)
        for word in words:
            assert word in text


def test_no_image_at_all() -> None:
    with pytest.raises(ns.NeuroscopeError, match="image"):
        ns.explain(segmenter(), None, "saliency", "car")


@pytest.mark.parametrize("layer", ["pool", "head", "flatten"])
def test_a_cam_of_a_layer_without_positions(layer: str) -> None:
    network = as_network(settled(GapLinear()))
    text = sentence(lambda: ns.explain(network, GOOD[..., 0], "grad_cam", 1, layer))
    assert f"“{layer}”" in text
    assert "no positions" in text
    assert "“relu”" in text


def test_a_cam_of_a_network_without_positions() -> None:
    network = as_network(nn.Sequential(nn.Flatten(), nn.Linear(256, 3)), size=(16, 16), channels=1)
    text = sentence(lambda: ns.explain(network, GOOD[..., 0], "grad_cam", 1))
    assert "needs a layer with positions" in text


def test_a_region_of_a_classifier() -> None:
    network = as_network(settled(Vgg()), size=(16, 16))
    for region in ("predicted", (3, 4), np.ones((16, 16))):
        target = ns.Target(1, region)
        assert "for segmentations" in sentence(
            lambda t=target: ns.explain(network, GOOD, "saliency", t)
        )


def test_a_method_for_the_other_task() -> None:
    network = as_network(settled(Vgg()), size=(16, 16))
    text = sentence(lambda: ns.explain(network, GOOD, "fusion_score_map"))
    assert "segmentation" in text
    assert "classification" in text


def test_a_class_that_is_predicted_nowhere() -> None:
    class Never(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x + 9, x], 1)

    network = as_network(Never(), "segmentation", ["sky", "car"], channels=1)
    # It begins with the class, as that is written.
    with pytest.raises(ns.NeuroscopeError, match=r"^car is predicted nowhere in this image\.$"):
        ns.explain(network, GOOD[..., 0], "saliency", ns.Target("car", "predicted"))


class FrozenBackbone(nn.Module):
    """The common way to train a head alone: what comes before it has no gradient at all."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            y = self.backbone(x)
        return self.head(y)


@pytest.mark.parametrize(
    ("method", "layer"), [("saliency", None), ("grad_cam", "backbone"), ("guided_backprop", None)]
)
def test_a_backbone_without_gradient_is_said(method: str, layer: str | None) -> None:
    """An all-zero map would say that nothing there mattered."""
    network = as_network(settled(FrozenBackbone()), "segmentation")
    with pytest.raises(SAID, match="gradient"):
        ns.explain(network, GOOD, method, 1, layer)
    assert ns.explain(network, GOOD, "score_map", 1).values.any()


def test_scores_that_are_no_numbers_are_said() -> None:
    model = EndingIn(settled(Pixelwise(3)), lambda x: x * float("nan"))
    network = as_network(model, "segmentation")
    for method in ("saliency", "score_map"):
        with pytest.raises(SAID, match=r"NaN|not finite"):
            ns.explain(network, GOOD, method, 1)


def test_what_a_network_gets_can_be_looked_at_where_its_scores_are_no_numbers() -> None:
    """The way to find out why, and what the refusal advises."""
    model = EndingIn(settled(Pixelwise(3)), lambda x: x * float("nan"))
    network = as_network(model, "segmentation")
    assert ns.explain(network, GOOD, "input").values.shape == (3, 16, 16)
    assert ns.explain(network, GOOD, "activation", layer="body.conv1").values.any()


@pytest.mark.parametrize("thing", [object(), "unet.pt", 3, nn.Module, dict])
def test_things_that_are_no_network(thing: Any) -> None:
    text = sentence(lambda: ns.wrap(thing))
    assert "no network that is known here" in text


def test_a_spec_that_is_wrong() -> None:
    model = settled(Pixelwise())
    text = sentence(lambda: ns.wrap(model, {"task": "segmentaton"}))
    assert "task" in text
    with pytest.raises(ns.NeuroscopeError):
        ns.wrap(model, "spec.yaml that does not exist")  # type: ignore[arg-type]


def test_files_that_are_no_network() -> None:
    assert "did you mean “nuclei”" in sentence(lambda: ns.load("demo:nuclie"))
    assert "missing.pt" in sentence(lambda: ns.load("missing.pt"))


@pytest.mark.parametrize("text", ["x" * 30_000, "äb", "", " ", "“", "{0}", "%s"])
def test_names_of_any_form(text: str) -> None:
    network = segmenter()
    for ask in (
        lambda: ns.explain(network, GOOD, text, "car"),
        lambda: ns.explain(network, GOOD, "saliency", text),
        lambda: ns.explain(network, GOOD, "grad_cam", "car", text),
        lambda: ns.explain(network, GOOD, "grad_cam", "car", "bottom", **{text: 1}),
        lambda: ns.explain(network, GOOD, "saliency", "car", channels=text),
        lambda: ns.Target("car", text),
        lambda: ns.Target("car", score=text),  # type: ignore[arg-type]
        lambda: ns.Target("car", reduce=text),  # type: ignore[arg-type]
        lambda: ns.wrap(settled(Pixelwise()), device=text),
        lambda: ns.load(text),
    ):
        sentence(ask)
