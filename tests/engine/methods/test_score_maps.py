"""Score maps, class activation maps and the fusion score map, worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import napari_neuroscope as ns
from networks import GapLinear, Pixelwise, Vgg, as_network, pointwise, settled

LN2, LN3 = np.log(2), np.log(3)


def test_score_map_of_a_segmentation() -> None:
    # Scores x and 0: of x = ln 3 and -ln 3, π0 = 3 / (3 + 1) = 3/4 and 1/4.
    network = as_network(pointwise([[1.0], [0.0]]), "segmentation", ["cell", "rest"])
    image = np.array([[LN3, -LN3, 0.0]])
    for score, expected in {
        "logit": [LN3, -LN3, 0],
        "probability": [0.75, 0.25, 0.5],
        "log_probability": np.log([0.75, 0.25, 0.5]),
    }.items():
        found = ns.explain(network, image, "score_map", ns.Target("cell", score=score))
        np.testing.assert_allclose(found.values, [expected], atol=1e-6)
        assert found.unit == score
        assert found.signed == (score != "probability")
    both = ns.explain(network, image, "score_map", ["rest", "cell"])
    assert both.axes == ("class", "y", "x")
    np.testing.assert_allclose(both.values, [[[0, 0, 0]], [[LN3, -LN3, 0]]], atol=1e-6)


def test_score_map_on_a_coarser_output() -> None:
    model = nn.Sequential(nn.AvgPool2d(2), pointwise([[1.0], [0.0]]))
    found = ns.explain(as_network(model, "segmentation"), np.eye(4), "score_map", 0)
    np.testing.assert_allclose(found.values, [[0.5, 0], [0, 0.5]], atol=1e-6)
    assert found.grid.scale == (2.0, 2.0)
    assert found.on_image().shape == (4, 4)


def test_one_sigmoid_channel_has_two_classes() -> None:
    network = as_network(pointwise([[1.0]]), "segmentation", ["cell"])
    image = np.array([[LN3, -LN3, 0.0]])
    assert network.layers
    assert network.class_names == ["background", "cell"]

    def scores(which: str | int, score: Any = "logit") -> np.ndarray:
        return ns.explain(network, image, "score_map", ns.Target(which, score=score)).values

    np.testing.assert_allclose(scores("cell"), [[LN3, -LN3, 0]], atol=1e-6)
    np.testing.assert_allclose(scores("background"), [[-LN3, LN3, 0]], atol=1e-6)
    np.testing.assert_allclose(scores(1, "probability"), [[0.75, 0.25, 0.5]], atol=1e-6)
    np.testing.assert_allclose(scores(0, "probability"), [[0.25, 0.75, 0.5]], atol=1e-6)
    # Foreground is where π > 0.5, and not where it equals it.
    np.testing.assert_array_equal(network.predict(image).labels, [[1, 0, 0]])


def test_classification_gives_a_table_where_there_is_no_cam(rng: np.random.Generator) -> None:
    model = settled(Vgg())
    image = rng.random((16, 16, 3), dtype=np.float32)
    network = as_network(model, classes=["a", "b", "c", "d"], size=(16, 16))
    found = ns.explain(network, image, "score_map")
    with torch.no_grad():
        expected = model(torch.from_numpy(image).permute(2, 0, 1)[None])[0]
    assert found.is_table
    assert found.axes == ("class",)
    assert found.labels["class"] == ("a", "b", "c", "d")
    np.testing.assert_allclose(found.values, expected.numpy(), rtol=1e-5)
    table = found.provenance["table"]
    assert table["class"] == ["a", "b", "c", "d"]
    np.testing.assert_allclose(table["logit"], expected.tolist(), rtol=1e-5)
    np.testing.assert_allclose(table["probability"], expected.softmax(0).tolist(), rtol=1e-5)
    np.testing.assert_array_equal(found.on_image(), found.values)
    assert found.labels["target"] == ("abcd"[int(expected.argmax())],)


@pytest.mark.parametrize("score", ["probability", "log_probability"])
def test_the_table_is_of_the_score_that_is_asked_for(score: Any, rng: np.random.Generator) -> None:
    network = as_network(settled(Vgg()), size=(16, 16))
    image = rng.random((16, 16, 3))
    found = ns.explain(network, image, "score_map", ns.Target(2, score=score))
    probabilities = network.predict(image).probabilities
    expected = np.log(probabilities) if score == "log_probability" else probabilities
    np.testing.assert_allclose(found.values, expected, rtol=1e-4)


def test_several_classes_of_a_table_are_one_table(rng: np.random.Generator) -> None:
    """A table has all classes anyway: no axis of that name may come twice."""
    network = as_network(settled(Vgg()), size=(16, 16))
    found = ns.explain(network, rng.random((16, 16, 3)), "score_map", [0, 2])
    assert len(set(found.axes)) == len(found.axes)


def test_cam_by_hand() -> None:
    # A0 = x, A1 = 4 - x; class 0 has weights 1 and -2: A0 - 2 A1 = 3x - 8, and its score is the
    # mean of that and its bias 10.
    model = nn.Sequential()
    model.layer = pointwise([[1.0], [-1.0]], [0.0, 4.0])
    model.pool = nn.AdaptiveAvgPool2d(1)
    model.flat = nn.Flatten()
    model.head = nn.Linear(2, 2)
    with torch.no_grad():
        model.head.weight.copy_(torch.tensor([[1.0, -2.0], [0.0, 1.0]]))
        model.head.bias.copy_(torch.tensor([10.0, 0.0]))
    network = as_network(model, classes=["a", "b"])
    image = np.array([[1.0, 2.0], [3.0, 4.0]])
    found = ns.explain(network, image, "score_map", "a")
    np.testing.assert_allclose(found.values, 3 * image - 8, atol=1e-5)
    assert found.axes == ("y", "x")
    assert found.signed
    # The mean of 3x - 8 is -1/2, so the score is 9.5; of 4 - x it is 3/2.
    np.testing.assert_allclose(found.provenance["table"]["logit"], [9.5, 1.5], atol=1e-5)
    both = ns.explain(network, image, "score_map", ["b", "a"])
    np.testing.assert_allclose(both.values, [4 - image, 3 * image - 8], atol=1e-5)


class ByMean(GapLinear):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.conv(x)).mean((2, 3)))


class ByMeanInSteps(GapLinear):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.conv(x)).mean(-1).mean(-1))


class WithDropout(GapLinear):
    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout()

    def forward(self, x: Tensor) -> Tensor:
        pooled = nn.functional.adaptive_avg_pool2d(self.relu(self.conv(x)), 1)
        return self.head(self.dropout(pooled[:, :, 0, 0]))


@pytest.mark.parametrize("kind", [GapLinear, ByMean, WithDropout])
def test_cam_is_found_however_the_pooling_is_written(
    kind: type[GapLinear], rng: np.random.Generator
) -> None:
    model = settled(kind())
    image = rng.random((6, 9), dtype=np.float32)
    found = ns.explain(as_network(model), image, "score_map", 2).values
    with torch.no_grad():
        layer = model.relu(model.conv(torch.from_numpy(image)[None, None]))[0]
        expected = torch.einsum("k,kyx->yx", model.head.weight[2], layer)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


class Squared(GapLinear):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.relu(self.conv(x))).flatten(1) ** 2)


class Cosine(GapLinear):
    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pool(self.relu(self.conv(x))).flatten(1)
        return self.head(pooled / pooled.norm(dim=1, keepdim=True))


class CosineInPlace(GapLinear):
    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pool(self.relu(self.conv(x))).flatten(1)
        pooled.div_(pooled.norm(dim=1, keepdim=True))
        return self.head(pooled)


class SquaredScores(GapLinear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) ** 2


class SquaredActivations(GapLinear):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.relu(self.conv(x)) ** 2).flatten(1))


class Highest(GapLinear):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.conv(x)).amax((2, 3)))


class TwoDense(GapLinear):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.first(self.pool(self.relu(self.conv(x))).flatten(1)).relu())


@pytest.mark.parametrize(
    "kind",
    [Highest, TwoDense, Squared, SquaredScores, SquaredActivations, Cosine, CosineInPlace],
)
def test_other_heads_have_no_cam(kind: type[GapLinear], rng: np.random.Generator) -> None:
    """Where the score is no sum over positions, a map would claim what is not so."""
    found = ns.explain(as_network(settled(kind())), rng.random((6, 9)), "score_map", 2)
    assert found.is_table


def test_cam_of_a_probability_is_that_of_the_logit(rng: np.random.Generator) -> None:
    network = as_network(settled(GapLinear()))
    image = rng.random((6, 9))
    logit = ns.explain(network, image, "score_map", 1)
    probability = ns.explain(network, image, "score_map", ns.Target(1, score="probability"))
    np.testing.assert_array_equal(probability.values, logit.values)
    assert probability.unit == "logit"


def three_classes() -> ns.Network:
    # Scores 0, x and 2x: of x = ln 2 the powers are 1 2 4, of x = -ln 2 they are 1 1/2 1/4.
    return as_network(pointwise([[0.0], [1.0], [2.0]]), "segmentation", ["a", "b", "c"])


POWERS = np.array([[LN2, -LN2]])


def test_fusion_score_map_counts_the_last_class() -> None:
    found = ns.explain(three_classes(), POWERS, "fusion_score_map")
    # 4/7 of class c, the last, and 1 / (7/4) = 4/7 of class a.
    np.testing.assert_allclose(found.values, [[4 / 7, 4 / 7]], rtol=1e-5)
    np.testing.assert_array_equal(found.companions["prediction"], [[2, 0]])
    assert found.companions["prediction"].dtype == np.int32
    assert not found.signed
    assert found.axes == ("y", "x")
    assert [name for name, _ in found.classes] == ["a", "b", "c"]


def test_fusion_score_map_of_chosen_classes() -> None:
    # The probabilities are still among all classes: 2/7 of b, and 4/7 of a.
    for given in ({"classes": ["a", "b"]}, {"target": ["a", "b"]}, {"classes": [0, "b"]}):
        found = ns.explain(three_classes(), POWERS, "fusion_score_map", **given)
        np.testing.assert_allclose(found.values, [[2 / 7, 4 / 7]], rtol=1e-5)
        np.testing.assert_array_equal(found.companions["prediction"], [[2, 0]])
    one = ns.explain(three_classes(), POWERS, "fusion_score_map", "b")
    np.testing.assert_allclose(one.values, [[2 / 7, 2 / 7]], rtol=1e-5)


def test_fusion_score_map_refuses_no_classes_and_unknown_ones() -> None:
    with pytest.raises(ns.NeuroscopeError, match="at least one class"):
        ns.explain(three_classes(), POWERS, "fusion_score_map", classes=[])
    with pytest.raises(ns.NeuroscopeError, match="no class “d”"):
        ns.explain(three_classes(), POWERS, "fusion_score_map", classes=["a", "d"])
    with pytest.raises(ns.NeuroscopeError, match="not from both"):
        ns.explain(three_classes(), POWERS, "fusion_score_map", "a", classes=["b"])


def test_fusion_score_map_of_one_sigmoid_channel() -> None:
    network = as_network(pointwise([[1.0]]), "segmentation")
    found = ns.explain(network, np.array([[LN3, -LN3]]), "fusion_score_map")
    np.testing.assert_allclose(found.values, [[0.75, 0.75]], rtol=1e-5)
    np.testing.assert_array_equal(found.companions["prediction"], [[1, 0]])


def test_independent_classes_have_a_sigmoid_each() -> None:
    network = as_network(pointwise([[1.0], [2.0]]), "segmentation", output={"multi_label": True})
    image = np.array([[LN3]])
    for index, expected in enumerate([3 / 4, 9 / 10]):
        target = ns.Target(index, score="probability")
        found = ns.explain(network, image, "score_map", target)
        np.testing.assert_allclose(found.values, [[expected]], rtol=1e-5)


def test_prediction_is_what_the_network_says(rng: np.random.Generator) -> None:
    model = settled(Pixelwise())
    network = as_network(model, "segmentation")
    image = rng.random((7, 9), dtype=np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(image)[None, None])[0]
    for _ in range(2):  # by a pass of its own, then from the trace that is kept
        predicted = network.predict(image)
        np.testing.assert_allclose(predicted.scores, expected, atol=1e-6)
        np.testing.assert_allclose(predicted.probabilities, expected.softmax(0), atol=1e-6)
        np.testing.assert_array_equal(predicted.labels, expected.argmax(0))
        ns.explain(network, image, "saliency", 0)


def test_a_classifier_of_one_score_has_two_classes(rng: np.random.Generator) -> None:
    model = settled(GapLinear(classes=1))
    network = as_network(model, classes=["ill"])
    image = rng.random((6, 9), dtype=np.float32)
    with torch.no_grad():
        score = float(model(torch.from_numpy(image)[None, None]))
    predicted = network.predict(image)
    assert network.class_names == ["background", "ill"]
    np.testing.assert_allclose(predicted.scores, [-score, score], rtol=1e-5)
    np.testing.assert_allclose(predicted.probabilities[1], 1 / (1 + np.exp(-score)), rtol=1e-5)
    assert int(predicted.labels) == int(score > 0)
    ill = ns.explain(network, image, "saliency", "ill", channels="keep").values
    well = ns.explain(network, image, "saliency", "background", channels="keep").values
    np.testing.assert_array_equal(ill, -well)
