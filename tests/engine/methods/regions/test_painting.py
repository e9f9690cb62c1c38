"""Segments: how they are joined, cut, painted over and kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage import segmentation
from skimage.morphology import dilation, disk

import napari_neuroscope as ns
from napari_neuroscope.engine.images.segments import (
    CandidateCache,
    Candidates,
    Segmentation,
    candidates_of_images,
    dilated,
    paint,
)
from networks import UNet, as_network, settled
from region_maps import SCALES, by_base, greedy, picture, regions_of


def test_greedy_choice_by_hand() -> None:
    attribution = torch.tensor([[5.0, 1.0, 1.0, 4.0, 4.0, 0.0]])
    masks = np.array([[[1, 1, 0, 0, 0, 0]], [[0, 1, 1, 1, 1, 0]], [[0, 0, 0, 1, 1, 0]]], bool)
    # The means are 3, 5/2 and 4: the third, the first, then what the second still adds, the rest.
    found = paint(attribution, Candidates.of_masks(masks), 0)
    assert found.values.tolist() == [[3, 3, 1, 4, 4, 0]]
    assert found.order.tolist() == [[2, 2, 3, 1, 1, 4]]
    # One pixel is too little to be added: it belongs to the rest, whose mean is 1/2.
    found = paint(attribution, Candidates.of_masks(masks), 2)
    assert found.values.tolist() == [[3, 3, 0.5, 4, 4, 0.5]]
    assert found.order.tolist() == [[2, 2, 3, 1, 1, 3]]


def overlapping(draw: st.DrawFn) -> tuple[np.ndarray, list[np.ndarray], int]:
    shape = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    # Few whole numbers, so that many means are equal.
    attribution = draw(hnp.arrays(np.float32, shape, elements=st.integers(-3, 3)))
    masks = draw(st.lists(hnp.arrays(bool, shape), min_size=1, max_size=8))
    return attribution, masks, draw(st.integers(0, 5))


@settings(max_examples=200, deadline=None)
@given(given_=st.composite(overlapping)())
def test_any_segments_ties_included(given_: tuple[np.ndarray, list[np.ndarray], int]) -> None:
    attribution, masks, least = given_
    found = paint(torch.from_numpy(attribution), Candidates.of_masks(masks), least)
    values, order = greedy(attribution, masks, least)
    np.testing.assert_array_equal(found.order, order)
    np.testing.assert_allclose(found.values, values, rtol=0, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(
    given_=st.composite(overlapping)(),
    labels=hnp.arrays(np.int64, (7, 7), elements=st.integers(0, 3)),
)
def test_joined_and_cut_segments(
    given_: tuple[np.ndarray, list[np.ndarray], int], labels: np.ndarray
) -> None:
    attribution, masks, least = given_
    labels = labels[: attribution.shape[0], : attribution.shape[1]]
    some, regions = Candidates.of_masks(masks), regions_of(labels)
    for candidates, plain in (
        (some.joined_by(labels), [*masks, *regions]),
        (some.cut_by(labels), [mask & region for mask in masks for region in regions]),
    ):
        found = paint(torch.from_numpy(attribution), candidates, least)
        values, order = greedy(attribution, plain, least)
        np.testing.assert_array_equal(found.order, order)
        np.testing.assert_allclose(found.values, values, rtol=0, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(
    values=hnp.arrays(np.float32, (6, 9), elements=st.floats(-1e4, 1e4, width=32)),
    labels=hnp.arrays(np.int64, (2, 6, 9), elements=st.integers(0, 4)),
    radius=st.integers(0, 2),
)
def test_each_region_has_its_mean_and_the_sum_stays(
    values: np.ndarray, labels: np.ndarray, radius: int
) -> None:
    painted, order = paint(torch.from_numpy(values), Candidates.of_labels(list(labels), radius), 3)
    tolerance = 1e-6 * np.abs(values).max() + 1e-12
    for number in range(1, int(order.max()) + 1):
        region = (order == number).numpy()
        mean = values[region].mean(dtype=float)
        np.testing.assert_allclose(painted.numpy()[region], mean, rtol=0, atol=tolerance)
    np.testing.assert_allclose(
        painted.sum(dtype=torch.float64), values.sum(dtype=float), rtol=0, atol=54 * tolerance
    )


@settings(max_examples=100, deadline=None)
@given(
    mask=hnp.arrays(bool, st.tuples(st.integers(1, 30), st.integers(1, 30))),
    radius=st.integers(0, 9),
)
def test_dilation_is_that_by_a_disk(mask: np.ndarray, radius: int) -> None:
    np.testing.assert_array_equal(dilated(mask, radius), dilation(mask, disk(radius)))


def test_small_values_beside_large_ones_keep_their_digits() -> None:
    attribution = torch.tensor([[1e-30, 3e-30, 7e-30, 5e-30]])
    masks = np.array([[[1, 1, 0, 0]], [[0, 0, 1, 1]]], bool)
    found = paint(attribution, Candidates.of_masks(masks), 0)
    np.testing.assert_allclose(found.values, [[2e-30, 2e-30, 6e-30, 6e-30]], rtol=1e-6)
    assert found.order.tolist() == [[2, 2, 1, 1]]


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_an_attribution_that_is_not_finite_is_refused(wrong: float) -> None:
    with pytest.raises(ns.NeuroscopeError, match="not finite"):
        paint(torch.tensor([[1.0, wrong]]), Candidates.of_masks([np.ones((1, 2), bool)]))


@pytest.fixture
def splits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The scales of all splits that were made."""
    made: list[float] = []
    plain = segmentation.felzenszwalb

    def counted(image: np.ndarray, scale: float, **how: Any) -> np.ndarray:
        made.append(scale)
        return plain(image, scale=scale, **how)

    monkeypatch.setattr(segmentation, "felzenszwalb", counted)
    candidates_of_images.clear()
    return made


def test_an_image_is_split_once(splits: list[float], rng: np.random.Generator) -> None:
    network, image = by_base(rng)
    ns.explain(network, image, "segmented_score_map", [0, 1])
    assert splits == list(SCALES)
    ns.explain(network, image, "segmented_score_map", 2, min_new_area=3)
    ns.explain(network, image, "guided_segmented_score_map", 2)
    ns.explain(network, image, "segmented_score_map", 1, "enc1", base="grad_cam")
    ns.explain(as_network(settled(UNet(1), 1), "segmentation"), image, "segmented_score_map", 0)
    assert splits == list(SCALES), "neither another class, network nor base splits it again"
    ns.explain(network, image, "segmented_score_map", 0, sigma=0.5)
    assert len(splits) == 12
    ns.explain(network, image[::-1], "segmented_score_map", 0)
    assert len(splits) == 18


def test_what_is_kept_is_bounded(splits: list[float]) -> None:
    rng = np.random.default_rng(0)
    images = [torch.from_numpy(picture(rng, (30, 40)))[None] for _ in range(4)]
    how = Segmentation(scales=(100,))
    each = Candidates.of_image(images[0], how).nbytes
    cache = CandidateCache(2 * each + each // 2)
    splits.clear()

    def ask(number: int) -> None:
        cache.of(number, lambda: Candidates.of_image(images[number], how))

    for number in range(4):
        ask(number)
    assert len(cache) < 4
    before = len(splits)
    ask(3)
    assert len(splits) == before, "the newest is kept"
    ask(0)
    assert len(splits) == before + 1, "the oldest is not"
    cache.limit = 1
    ask(1)
    assert len(cache) == 0, "what is larger than all that may be kept is not"
