"""Which explanation can be believed: each measure worked out by hand, and on planted evidence."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

import napari_neuroscope as ns
from napari_neuroscope.engine.evaluation.metric_registry import metrics
from napari_neuroscope.engine.evaluation.metrics.deletion_and_insertion import order_of, steps_of
from snapshot import Snapshot

RAW = {"normalization": {"mean": [0.0], "std": [1.0]}, "value_range": [0, 1]}
CLASSIFIER = {"task": "classification", "classes": ["none", "patch"], "input": RAW}
SEGMENTER = {"task": "segmentation", "classes": ["none", "some"], "input": RAW}


class Weighted(nn.Module):
    """A score that is a weighted sum of the pixels of a 2 × 2 image: its true map is known."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 2, bias=False)
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.weight[1, 0] = torch.tensor([[4.0, 3.0], [2.0, 1.0]])

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).flatten(1)


class PatchDetector(nn.Module):
    """Answers how well a planted 5 × 5 checkerboard is found anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.match = nn.Conv2d(1, 1, 5, padding=2)
        board = (torch.arange(25) % 2).float().reshape(5, 5) * 2 - 1
        with torch.no_grad():
            self.match.weight[0, 0] = board
            self.match.bias.fill_(-4.0)
        self.head = nn.Linear(1, 2)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[0.0], [1.0]]))
            self.head.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.match(x).relu().flatten(2).amax(2))


def patched() -> tuple[np.ndarray, np.ndarray]:
    """Return a noisy image with one checkerboard and strong edges elsewhere, and where it is."""
    random = np.random.default_rng(3)
    image = random.random((32, 32)).astype(np.float32) * 0.1 + 0.4
    image[20:30, 2:14] = 0.9
    board = (np.arange(25) % 2).reshape(5, 5)
    image[6:11, 20:25] = board
    where = np.zeros((32, 32), bool)
    where[6:11, 20:25] = True
    return image, where


def like(explanation: ns.Explanation, values: np.ndarray) -> ns.Explanation:
    return replace(explanation, values=values.astype(np.float32))


@pytest.fixture
def weighted() -> tuple[ns.Network, np.ndarray, ns.Explanation]:
    network = ns.wrap(Weighted(), CLASSIFIER, device="cpu")
    image = np.ones((2, 2), np.float32)
    return network, image, ns.explain(network, image, "saliency", "patch")


def test_curves_by_hand(weighted: tuple) -> None:
    network, image, true = weighted
    evaluation = ns.evaluate(
        network, image, true, ["deletion", "insertion"], steps=4, baseline="zero"
    )
    (row,) = evaluation.rows
    assert row.curves["deletion"].score.tolist() == [10, 6, 3, 1, 0]
    assert row.curves["insertion"].score.tolist() == [0, 4, 7, 9, 10]
    assert row.curves["deletion"].share.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert row.values["deletion"] == pytest.approx((0.5 * 10 + 6 + 3 + 1) / 4 / 10)
    assert row.values["insertion"] == pytest.approx((4 + 7 + 9 + 5) / 4 / 10)


def test_the_reverse_map_has_the_reverse_curves(weighted: tuple) -> None:
    network, image, true = weighted
    wrong = like(true, -true.values)
    evaluation = ns.evaluate(network, image, [true, wrong], steps=4, baseline="zero")
    assert evaluation.rows[1].curves["deletion"].score.tolist() == [10, 9, 7, 4, 0]
    assert evaluation.best("deletion") == [0]
    assert evaluation.best("insertion") == [0]


def test_order_is_stable_and_unknown_positions_come_last() -> None:
    values = torch.tensor([[1.0, math.nan], [3.0, 1.0]])
    assert order_of(values).tolist() == [2, 0, 3, 1]
    assert steps_of(10, 4).tolist() == [0, 2, 5, 8, 10]


def test_a_score_that_never_changes_has_no_area(weighted: tuple) -> None:
    network, image, true = weighted
    evaluation = ns.evaluate(network, image, true, steps=2, baseline=image)
    assert math.isnan(evaluation.rows[0].values["deletion"])
    assert evaluation.best("deletion") == []
    assert evaluation.table()[1][3] is None


def test_the_score_of_a_segmentation_is_that_of_its_region() -> None:
    model = nn.Conv2d(1, 2, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1))
    network = ns.wrap(model, SEGMENTER, device="cpu")
    image = np.arange(1, 5, dtype=np.float32).reshape(2, 2) / 4
    region = np.array([[0, 1], [0, 1]])
    explanation = ns.explain(network, image, "saliency", ns.Target("some", region=region))
    evaluation = ns.evaluate(network, image, explanation, ["deletion"], steps=4, baseline="zero")
    # Equal values go in their order: the two of the region first.
    assert evaluation.rows[0].curves["deletion"].score.tolist() == [1.5, 1.0, 0, 0, 0]


def test_localisation_by_hand(weighted: tuple) -> None:
    network, image, true = weighted
    truth = np.array([[0, 1], [1, 0]])
    evaluation = ns.evaluate(
        network, image, [true, like(true, np.array([[0, 2], [1, -5]])), like(true, true.values * 0)],
        ["pointing_game", "energy_in_mask"], ground_truth=truth,
    )  # fmt: skip
    figures = [[row.values[name] for name in evaluation.metrics] for row in evaluation.rows]
    assert figures[0] == [0.0, 0.5]
    assert figures[1] == [1.0, 1.0]
    assert np.isnan(figures[2]).all()


def test_equal_maxima_share_the_point(weighted: tuple) -> None:
    network, image, true = weighted
    flat = like(true, np.ones((2, 2)))
    evaluation = ns.evaluate(network, image, flat, ["pointing_game"], ground_truth=image == 1)
    assert evaluation.rows[0].values["pointing_game"] == 1
    half = np.array([[True, True], [False, False]])
    evaluation = ns.evaluate(network, image, flat, ["pointing_game"], ground_truth=half)
    assert evaluation.rows[0].values["pointing_game"] == 0.5


def test_a_true_map_foretells_and_a_false_one_does_not(weighted: tuple) -> None:
    network, image, true = weighted
    wrong = like(true, true.values[::-1, ::-1] - 2.5)
    evaluation = ns.evaluate(
        network, image, [true, wrong, like(true, true.values * 0)], ["infidelity"], baseline="zero"
    )
    # Saliency times an image of ones is the exact effect of each pixel.
    assert evaluation.rows[0].values["infidelity"] == pytest.approx(0, abs=1e-12)
    assert evaluation.rows[1].values["infidelity"] > 0.2
    assert evaluation.rows[2].values["infidelity"] == 1


def test_sensitivity_of_a_linear_network_is_zero_and_of_a_square_is_the_noise() -> None:
    image = np.random.default_rng(0).random((6, 6)).astype(np.float32)
    spec = CLASSIFIER | {"input": {**RAW, "size": [6, 6], "channels": 1}}
    linear = ns.wrap(nn.Sequential(nn.Flatten(), nn.Linear(36, 2)), spec, device="cpu")
    flat = ns.explain(linear, image, "saliency", 1)
    assert (
        ns.evaluate(linear, image, flat, ["max_sensitivity"]).rows[0].values["max_sensitivity"] == 0
    )

    class Square(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return (x**2).flatten(1).sum(1, keepdim=True).repeat(1, 2)

    square = ns.wrap(Square(), CLASSIFIER, device="cpu")
    explanation = ns.explain(square, image, "saliency", 1)
    found = ns.evaluate(square, image, explanation, ["max_sensitivity"], samples=5, seed=1)
    generator = torch.Generator().manual_seed(1)
    x = torch.from_numpy(image)[None]
    reach = 0.02 * float(x.max() - x.min())
    most = 0.0
    for _ in range(5):
        noisy = x + (torch.rand(x.shape, generator=generator) * 2 - 1) * reach
        most = max(most, float((2 * noisy.abs() - 2 * x).norm() / (2 * x).norm()))
    assert found.rows[0].values["max_sensitivity"] == pytest.approx(most, rel=1e-5)


def test_planted_evidence_ranks_above_edges_and_noise() -> None:
    image, where = patched()
    network = ns.wrap(PatchDetector(), CLASSIFIER, device="cpu")
    saliency = ns.explain(network, image, "saliency", "patch")
    edges = like(saliency, np.hypot(*np.gradient(image)) * ~where)
    noise = like(saliency, np.random.default_rng(0).random(image.shape))
    evaluation = ns.evaluate(
        network, image, [noise, saliency, edges],
        ["deletion", "insertion", "pointing_game", "energy_in_mask", "infidelity"],
        ground_truth=where, baseline="mean", samples=400,
    )  # fmt: skip
    for metric in evaluation.metrics:
        assert evaluation.best(metric) == [1], metric


@pytest.fixture(scope="module")
def cells() -> tuple[ns.Network, np.ndarray]:
    samples = pytest.importorskip("napari_neuroscope.viewer.io.samples")
    stack = samples.blood_cells()[0][0]
    return ns.load("demo:blood-cells"), np.asarray(stack[0])


def test_guided_backprop_fails_the_sanity_check_and_grad_cam_passes(cells: tuple) -> None:
    network, image = cells
    model = network.adapter.model
    before = Snapshot(model)
    explanations = [ns.explain(network, image, name) for name in ("guided_backprop", "grad_cam")]
    evaluation = ns.evaluate(network, image, explanations, ["sanity_check"])
    before.assert_unchanged()
    guided, cam = (row.sanity for row in evaluation.rows)
    assert guided is not None
    assert cam is not None
    assert guided.passed is False
    assert cam.passed is True
    assert evaluation.best("sanity_check") == [1]
    assert len(guided.stages) == 8
    assert guided.maps.shape == (9, *explanations[0].values.shape)
    assert guided.similarity == pytest.approx(np.abs(guided.rank_correlation).mean())
    # The first is the map itself, and the figures are what the maps say.
    np.testing.assert_allclose(guided.maps[0], explanations[0].values, rtol=1e-4, atol=1e-7)
    for sanity in (guided, cam):
        first, *others = np.abs(sanity.maps)
        expected = [spearmanr(first, other, axis=None).statistic for other in others]
        np.testing.assert_allclose(sanity.rank_correlation, expected, rtol=1e-12)


def test_the_same_seed_gives_the_same_randomised_maps(cells: tuple) -> None:
    network, image = cells
    saliency = ns.explain(network, image, "saliency")
    first, again, other = (
        ns.evaluate(network, image, saliency, ["sanity_check"], stages=1, seed=seed).rows[0].sanity
        for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first.maps, again.maps)
    assert not np.array_equal(first.maps[1], other.maps[1])


def test_weights_come_back_where_the_sanity_check_is_stopped(cells: tuple) -> None:
    network, image = cells
    explanation = ns.explain(network, image, "grad_cam")
    before = Snapshot(network.adapter.model)

    def stop(done: int, total: int, what: str) -> None:
        if what.startswith("sanity") and done == 2:
            raise ns.Cancelled

    with pytest.raises(ns.Cancelled):
        ns.evaluate(network, image, explanation, ["sanity_check"], progress=stop)
    before.assert_unchanged()
    again = ns.explain(network, image, "grad_cam")
    np.testing.assert_array_equal(again.values, explanation.values)


def test_weights_that_share_memory_come_back_too() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3), nn.Flatten())
    model[2].weight = nn.Parameter(model[1].weight.detach())
    assert model[2].weight.data_ptr() == model[1].weight.data_ptr()
    network = ns.wrap(model, CLASSIFIER, device="cpu")
    image = np.random.default_rng(0).random((7, 7)).astype(np.float32)
    explanation = ns.explain(network, image, "saliency", "patch")
    before = Snapshot(model)
    row = ns.evaluate(network, image, explanation, ["sanity_check"], stages=3).rows[0]
    before.assert_unchanged()
    assert not np.array_equal(row.sanity.maps[0], row.sanity.maps[2])


def test_a_map_that_is_constant_can_not_be_compared() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = ns.wrap(model, CLASSIFIER, device="cpu")
    image = np.random.default_rng(0).random((8, 8)).astype(np.float32)
    explanation = ns.explain(network, image, "saliency", "patch")
    sanity = ns.evaluate(network, image, explanation, ["sanity_check"]).rows[0].sanity
    assert np.isnan(sanity.rank_correlation).all()
    assert np.isnan(sanity.ssim).all()
    assert sanity.passed is None


def test_no_more_is_passed_and_kept_than_is_measured(cells: tuple) -> None:
    network, image = cells
    layer = network.layers.of_kind("convolution")[-2]
    explanation = ns.explain(network, image, "grad_cam", layer=layer)
    count = 0

    def counted(*_: object) -> None:
        nonlocal count
        count += 1

    with network.adapter.model.register_forward_hook(counted):
        held = ns.evaluate(network, image, explanation, ["sanity_check"], stages=2)
        assert count == 2
        network.traces.clear()
        fresh = ns.evaluate(network, image, explanation, ["sanity_check"], stages=2)
        assert count == 5
        trace = network.trace(image, [layer], keep="asked")
        assert count == 5
    assert trace.layers == (layer,)
    np.testing.assert_allclose(held.rows[0].sanity.maps, fresh.rows[0].sanity.maps, rtol=1e-5)


def test_each_class_and_layer_is_a_row(cells: tuple) -> None:
    network, image = cells
    layers = network.layers.of_kind("convolution")[-2:]
    explanation = ns.explain(network, image, "grad_cam", [0, 1], layer=list(layers))
    evaluation = ns.evaluate(network, image, explanation, ["insertion"], steps=3)
    names = network.class_names
    assert [row[:3] for row in evaluation.table()[1:]] == [
        ["grad_cam", name, layer] for name in names[:2] for layer in layers
    ]
    one = ns.explain(network, image, "grad_cam", 1, layer=layers[1])
    alone = ns.evaluate(network, image, one, ["insertion"], steps=3)
    # Alone it lies on its own coarser grid, so the figures are near, not equal.
    assert alone.rows[0].values["insertion"] == pytest.approx(
        evaluation.rows[3].values["insertion"], abs=0.1
    )


def test_the_table_is_written_as_csv(weighted: tuple, tmp_path: Path) -> None:
    network, image, true = weighted
    evaluation = ns.evaluate(network, image, true, ["deletion"], steps=4, baseline="zero")
    evaluation.to_csv(tmp_path / "figures.csv")
    assert (tmp_path / "figures.csv").read_text().splitlines() == [
        "method,class,layer,deletion", "saliency,patch,,0.375",
    ]  # fmt: skip
    with pytest.raises(ns.NeuroscopeError, match="is there already"):
        evaluation.to_csv(tmp_path / "figures.csv")


def test_what_can_not_be_measured_is_said(weighted: tuple) -> None:
    network, image, true = weighted
    with pytest.raises(ns.NeuroscopeError, match="did you mean “deletion”"):
        ns.evaluate(network, image, true, ["deletoin"])
    with pytest.raises(ns.NeuroscopeError, match="as a list"):
        ns.evaluate(network, image, true, "deletion")  # type: ignore[arg-type]
    with pytest.raises(ns.NeuroscopeError, match="give ground_truth="):
        ns.evaluate(network, image, true, ["pointing_game"])
    with pytest.raises(ns.NeuroscopeError, match=r"shape \(3, 3\), but the image \(2, 2\)"):
        ns.evaluate(network, image, true, ["pointing_game"], ground_truth=np.ones((3, 3)))
    with pytest.raises(ns.NeuroscopeError, match="nothing of “patch”"):
        ns.evaluate(network, image, true, ["pointing_game"], ground_truth=np.zeros((2, 2)))
    with pytest.raises(ns.NeuroscopeError, match="of another image"):
        ns.evaluate(network, image + 1, true)
    with pytest.raises(ns.NeuroscopeError, match="explains no class"):
        ns.evaluate(network, image, ns.explain(network, image, "input"))
    with pytest.raises(ns.NeuroscopeError, match="axis “channel”"):
        ns.evaluate(network, image, ns.explain(network, image, "saliency", 1, channels="keep"))
    with pytest.raises(ns.NeuroscopeError, match="not made in this session"):
        ns.evaluate(network, image, replace(true, asked=None))


def test_consensus_by_hand(weighted: tuple) -> None:
    _, _, true = weighted
    one = like(true, np.array([[1, 20], [300, 4000]]))
    other = like(true, np.array([[0.1, 0.3], [0.2, 0.3]]))
    found = ns.consensus([one, other])
    expected = np.array([[[0, 1], [2, 3]], [[0, 2.5], [1, 2.5]]]) / 3
    np.testing.assert_allclose(found.mean.values, expected.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.disagreement.values, expected.std(0), rtol=1e-6)
    assert found.mean.labels["target"] == ("patch",)


def test_a_constant_map_has_no_opinion_and_unknown_stays_unknown(weighted: tuple) -> None:
    _, _, true = weighted
    flat, holed = like(true, np.ones((2, 2))), like(true, np.array([[1, np.nan], [3, 2]]))
    found = ns.consensus([flat, holed])
    np.testing.assert_allclose(found.mean.values, [[0.25, np.nan], [0.75, 0.5]])


def test_a_consensus_needs_two_maps_of_one_image(weighted: tuple) -> None:
    network, image, true = weighted
    with pytest.raises(ns.NeuroscopeError, match="at least two maps"):
        ns.consensus([true])
    with pytest.raises(ns.NeuroscopeError, match="of another image"):
        ns.consensus([true, ns.explain(network, image * 2, "saliency", 1)])


def test_all_measures_are_told_of() -> None:
    assert set(metrics) == {
        "deletion", "insertion", "pointing_game", "energy_in_mask", "sanity_check",
        "max_sensitivity", "infidelity",
    }  # fmt: skip
