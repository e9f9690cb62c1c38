"""Integrated gradients, and what they have in common with other shares of the score."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from closeness import assert_close
from networks import Counted, EndingIn, Scores, UNet, Vgg, as_network, settled
from snapshot import Snapshot

METHODS = ["input_x_gradient", "integrated_gradients", "smooth_grad"]
MANY = METHODS[1:]
FEW: dict[str, dict[str, Any]] = {
    "input_x_gradient": {},
    "integrated_gradients": {"steps": 7},
    "smooth_grad": {"samples": 7},
}
# Two channels of two pixels.
WEIGHTS = np.array([[[1.0, -2.0]], [[-4.0, 3.0]]])
IMAGE = np.array([[[2.0, 1.0]], [[0.5, 1.0]]])


def of_two_channels(end: Any, **of_input: Any) -> ns.Network:
    """A classifier whose first score is `end` of w · x, and whose second is its negative."""
    body = Scores(nn.Identity(), [WEIGHTS.tolist(), (-WEIGHTS).tolist()])
    return as_network(EndingIn(body, end), channels=2, image_axes="cyx", order="n", **of_input)


def gap_of(explanation: ns.Explanation) -> tuple[float, float, float]:
    """Return the sum, the difference and the gap that the notes tell."""
    (note,) = (n for n in explanation.provenance["notes"] if "completeness gap" in n)
    numbers = re.search(r"adds up to (\S+), the score's .* is (\S+): .* gap of ([^\s;]+)", note)
    assert numbers, note
    found, wanted, gap = map(float, numbers.groups())
    return found, wanted, gap


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((16, 16, 3)).astype(np.float32)


def classifier() -> ns.Network:
    return as_network(settled(Vgg()), size=(16, 16))


def test_of_a_linear_network_all_are_its_weights() -> None:
    """w · x and w · (x − b), and w itself whatever the noise."""
    network, b = of_two_channels(lambda scores: scores), np.full((2, 1, 2), 0.25)
    asked = {"target": [0, 1], "channels": "keep"}
    found = ns.explain(network, IMAGE, "input_x_gradient", **asked)
    np.testing.assert_allclose(found.values, [WEIGHTS * IMAGE, -WEIGHTS * IMAGE], rtol=1e-6)
    assert found.axes == ("class", "channel", "y", "x")
    found = ns.explain(network, IMAGE, "integrated_gradients", baseline=b, **asked)
    share = WEIGHTS * (IMAGE - b)
    np.testing.assert_allclose(found.values, [share, -share], rtol=1e-5)
    found = ns.explain(network, IMAGE, "smooth_grad", **asked)
    np.testing.assert_allclose(found.values, [WEIGHTS, -WEIGHTS], rtol=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 50])
def test_integrated_gradients_of_a_square(steps: int) -> None:
    """T = (w · x)²: its gradient 2 w (w · x) rises evenly, and is w · (x + b) w on average."""
    network, b = of_two_channels(lambda scores: scores**2), np.full((2, 1, 2), 0.25)
    found = ns.explain(network, IMAGE, "integrated_gradients", 0, baseline=b, steps=steps)
    expected = (WEIGHTS * (IMAGE - b)).sum(0) * (WEIGHTS * (IMAGE + b)).sum()
    np.testing.assert_allclose(found.values, expected, rtol=1e-5)
    assert found.signed
    # w · x = 2 − 2 − 2 + 3 = 1 and w · b = −2 / 4: 1 − 1/4.
    assert gap_of(found)[:2] == pytest.approx((0.75, 0.75), abs=1e-4)


def test_input_x_gradient_of_a_square() -> None:
    network = of_two_channels(lambda scores: scores**2)
    found = ns.explain(network, IMAGE, "input_x_gradient", 0)
    np.testing.assert_allclose(found.values, (WEIGHTS * IMAGE).sum(0) * 2, rtol=1e-5)
    assert found.unit == "contribution"


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        ("sum", [[0.0, 1.0]]),
        ("max_abs", [[2.0, 3.0]]),
        ("l2", [[8**0.5, 13**0.5]]),
        ("signed_max", [[2.0, 3.0]]),
    ],
)
def test_channels_are_joined(channels: str, expected: Any) -> None:
    # The shares are [2, −2] and [−2, 3]; of two as large the positive one is the signed maximum.
    network = of_two_channels(lambda scores: scores)
    for method in ("input_x_gradient", "integrated_gradients"):
        found = ns.explain(network, IMAGE, method, 0, channels=channels)
        np.testing.assert_allclose(found.values, expected, atol=1e-6)
        assert found.signed == (channels in ("sum", "signed_max"))


@pytest.mark.parametrize("baseline", ["zero", "mean", "blur", "black", "white"])
def test_integrated_gradients_add_up_to_the_difference_of_scores(
    baseline: str, image: np.ndarray
) -> None:
    network = classifier()
    found = ns.explain(network, image, "integrated_gradients", 2, baseline=baseline, steps=200)
    total, wanted, gap = gap_of(found)
    assert total == pytest.approx(found.values.sum(dtype=np.float64), rel=1e-3)
    assert abs(wanted) > 0.05
    assert abs(gap) < 0.02 * abs(wanted)
    coarse = gap_of(ns.explain(network, image, "integrated_gradients", 2, steps=2))
    assert coarse[2] == pytest.approx(coarse[0] - coarse[1], rel=0.05, abs=1e-3)


def test_a_large_gap_asks_for_more_steps() -> None:
    """relu(w · x − 0.9) begins to rise at 0.9 of the way; the middle of it sees nothing."""
    network = of_two_channels(lambda scores: torch.relu(scores - 0.9))
    few, many = (
        ns.explain(network, IMAGE, "integrated_gradients", 0, steps=steps) for steps in (1, 500)
    )
    assert (few.values == 0).all()
    told = [
        note.endswith("gap of -0.1; more steps make it smaller") for note in few.provenance["notes"]
    ]
    assert any(told)
    np.testing.assert_allclose(many.values, [[0.0, 0.1]], atol=1e-3)
    assert not any(note.endswith("smaller") for note in many.provenance["notes"])


def test_the_input_times_the_gradient_adds_up_without_biases(image: np.ndarray) -> None:
    model = settled(Vgg())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
    network = as_network(model, size=(16, 16))
    for index in range(4):
        found = ns.explain(network, image, "input_x_gradient", index)
        score = network.predict(image).scores[index]
        assert found.values.sum(dtype=np.float64) == pytest.approx(score, rel=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_the_map_of_a_sum_of_networks_is_the_sum_of_their_maps(
    method: str, image: np.ndarray
) -> None:
    """Of the scores' weighted sum, too: the last layer's weights carry over."""
    model = settled(Vgg())
    network = as_network(model, size=(16, 16))
    asked = {"channels": "keep", **FEW[method]}
    first, second = ns.explain(network, image, method, [0, 1], **asked).values
    joined = as_network(
        EndingIn(model, lambda scores: torch.stack([3 * scores[:, 0] - 2 * scores[:, 1]] * 2, 1)),
        size=(16, 16),
    )
    assert_close(ns.explain(joined, image, method, 0, **asked).values, 3 * first - 2 * second, 1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["classifier", "segmenter"])
def test_batches_change_nothing_and_neither_do_other_classes(
    method: str, kind: str, image: np.ndarray
) -> None:
    if kind == "classifier":
        model, targets = settled(Vgg()), [0, 2]
        network = as_network(model, size=(16, 16))
    else:
        model, mask = settled(UNet()), np.indices((16, 16)).sum(0) < 13
        network = as_network(model, "segmentation")
        targets = [ns.Target(0, mask), ns.Target(2, mask, reduce="mean")]
    before = Snapshot(model)
    together = ns.explain(network, image, method, targets, **FEW[method]).values
    before.assert_unchanged()
    for batch in (1, 3) if method in MANY else ():
        again = ns.explain(network, image, method, targets, batch=batch, **FEW[method]).values
        assert_close(again, together, 1e-5)
    for target, values in zip(targets, together, strict=True):
        alone = ns.explain(network, image, method, target, **FEW[method]).values
        assert_close(values, alone, 1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_region_counts_alone(method: str, rng: np.random.Generator) -> None:
    """Where each pixel has its own score, the map is zero beyond the region."""
    conv = nn.Sequential(nn.Conv2d(1, 6, 1), nn.Tanh(), nn.Conv2d(6, 2, 1))
    network = as_network(settled(conv), "segmentation")
    image, mask = rng.random((6, 8)), np.zeros((6, 8), bool)
    mask[1:4, 2:7] = True
    asked = FEW[method]
    inside = ns.explain(network, image, method, ns.Target(1, mask), **asked).values
    whole = ns.explain(network, image, method, ns.Target(1), **asked).values
    assert (inside[~mask] == 0).all()
    assert_close(inside[mask], whole[mask], 1e-5)
    mean = ns.explain(network, image, method, ns.Target(1, mask, reduce="mean"), **asked).values
    assert_close(mean * mask.sum(), inside, 1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_detector_of_a_patch_finds_it(method: str, rng: np.random.Generator) -> None:
    """Class 0 answers to the brightness within a patch above a threshold, and to nothing else."""

    class Detector(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            means = torch.nn.functional.avg_pool2d(x, 4)[:, 0]
            return torch.stack([torch.relu(means[:, 1, 2] - 0.2), means[:, 0, 0]], 1)

    image = rng.random((16, 16)) * 0.3
    image[4:8, 8:12] = 0.9
    found = ns.explain(as_network(Detector(), size=(16, 16)), image, method, 0).values
    patch = np.zeros((16, 16), bool)
    patch[4:8, 8:12] = True
    assert found[patch].min() > 0
    assert (found[~patch] == 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_map_of_nothing_is_zero(method: str) -> None:
    """A black image, and scores that look at nothing."""
    network = as_network(settled(Vgg(channels=1)), size=(16, 16))
    values = ns.explain(network, np.zeros((16, 16)), method, 0, **FEW[method]).values
    assert np.isfinite(values).all()
    if method != "smooth_grad":
        assert (values == 0).all()
    blind = as_network(EndingIn(settled(Vgg(channels=1)), lambda scores: 0 * scores), size=(16, 16))
    found = ns.explain(blind, np.ones((16, 16)), method, 0, **FEW[method])
    assert (found.values == 0).all()
    assert "nan" not in " ".join(found.provenance["notes"])


def test_the_classes_share_the_forward_passes(image: np.ndarray) -> None:
    for method in MANY:
        counts = []
        for targets in ([0], [0, 1, 2, 3]):
            model = Counted(settled(Vgg()))
            network = as_network(model, size=(16, 16))
            network.trace(image)
            before = model.passes
            ns.explain(network, image, method, targets, **FEW[method])
            counts.append(model.passes - before)
        assert counts[0] == counts[1] > 0


def test_input_x_gradient_takes_no_pass_of_a_known_image(image: np.ndarray) -> None:
    model = Counted(settled(Vgg()))
    network = as_network(model, size=(16, 16))
    ns.explain(network, image, "saliency", 1)
    before = model.passes
    kept = ns.explain(network, image, "input_x_gradient", 1, channels="keep").values
    assert model.passes == before
    gradient = ns.explain(network, image, "saliency", 1, channels="keep").values
    assert_close(kept, gradient * image.transpose(2, 0, 1))


@pytest.mark.parametrize("method", MANY)
def test_the_map_so_far_is_of_the_whole(method: str) -> None:
    """Of a linear network every part of the passes gives the map that all of them give."""
    trace = of_two_channels(lambda scores: scores).trace(IMAGE)
    chosen = ns.methods[method]
    options = chosen.check_options({"batch": 3, "channels": "keep"})
    steps = list(chosen.function(trace, [trace.resolve(0)], None, **options))
    assert [step.done for step in steps][-1] == 50 == steps[-1].total
    assert len(steps) == 17
    maps = [step.maps()[0] for step in steps]
    for one in maps:
        np.testing.assert_allclose(one.values, maps[-1].values, rtol=1e-5)
        assert any("gap" in note for note in one.notes) == (
            one is maps[-1] and method == "integrated_gradients"
        )


def test_the_first_steps_lie_all_over_the_way() -> None:
    """T = (w · x)³: a tenth of the steps is near the result, not near that of the beginning."""
    trace = of_two_channels(lambda scores: scores**3).trace(IMAGE)
    chosen = ns.methods["integrated_gradients"]
    options = chosen.check_options({"batch": 5})
    steps = list(chosen.function(trace, [trace.resolve(0)], None, **options))
    first, last = (step.maps()[0].values.numpy() for step in (steps[0], steps[-1]))
    np.testing.assert_allclose(first, last, atol=0.3 * np.abs(last).max())
    np.testing.assert_allclose(last, (WEIGHTS * IMAGE).sum(0), atol=1e-5)


def test_an_image_is_a_baseline_and_stays_out_of_the_record(image: np.ndarray) -> None:
    network, gray = classifier(), np.full(image.shape, 0.5, np.float32)
    found = ns.explain(network, image, "integrated_gradients", 1, baseline=gray, steps=200)
    wanted = network.predict(image).scores[1] - network.predict(gray).scores[1]
    assert gap_of(found)[1] == pytest.approx(wanted, rel=1e-3)
    said = found.provenance["options"]["baseline"]
    assert said.startswith("image ")
    json.dumps(found.provenance)
    black = ns.explain(network, image, "integrated_gradients", 1, baseline=0 * gray)
    assert black.provenance["options"]["baseline"] != said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"baseline": np.zeros((3, 3))}, r"shape \(3, 3\), but the image \(16, 16, 3\)"),
        ({"baseline": "grey"}, "can't take baseline='grey'"),
        ({"baseline": 3}, "can't take baseline=3"),
        ({"steps": 0}, "can't take steps=0"),
        ({"channels": "mean"}, "can't take channels"),
    ],
)
def test_what_can_not_be_asked_is_refused(
    options: dict[str, Any], words: str, image: np.ndarray
) -> None:
    with pytest.raises(ns.NeuroscopeError, match=words):
        ns.explain(classifier(), image, "integrated_gradients", 1, **options)


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_is_near_single(method: str, image: np.ndarray) -> None:
    half = as_network(settled(Vgg()).half(), size=(16, 16))
    single = as_network(settled(Vgg()).half().float(), size=(16, 16))
    found, expected = (
        ns.explain(network, image, method, 1, **FEW[method]).values for network in (half, single)
    )
    assert np.isfinite(found).all()
    assert_close(found, expected, 0.05)
