"""The region methods, beside a plain and slow reading of their definition."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage import segmentation
from skimage.morphology import dilation, disk
from torch import nn
from torch.nn import functional

import napari_neuroscope as ns
from napari_neuroscope.cli.main import main
from napari_neuroscope.engine.images.segments import (
    CandidateCache,
    Candidates,
    Segmentation,
    candidates_of_images,
    dilated,
    paint,
)
from networks import Pixelwise, UNet, as_network, pointwise, settled

SCALES = (50, 100, 150, 250, 500, 1200)
REGION_METHODS = ("segmented_score_map", "guided_segmented_score_map", "similarity_map")


# --- the definition, word by word ---


def greedy(
    attribution: np.ndarray, masks: Sequence[np.ndarray], least: int = 50
) -> tuple[np.ndarray, np.ndarray]:
    """Take the largest mean over what is new, again and again: O(masks² · pixels)."""
    covered = np.zeros(attribution.shape, bool)
    values, order = np.full(attribution.shape, np.nan), np.zeros(attribution.shape, int)
    for step in itertools.count(1):
        best, where = -np.inf, None
        for mask in masks:
            new = mask & ~covered
            if new.sum() >= max(least, 1) and attribution[new].mean(dtype=float) > best:
                best, where = attribution[new].mean(dtype=float), new
        if where is None:
            break
        values[where], order[where] = best, step
        covered |= where
    if not covered.all():
        values[~covered], order[~covered] = attribution[~covered].mean(dtype=float), step
    return values, order


def segments(image: np.ndarray, **how: Any) -> list[np.ndarray]:
    """Split an image (y, x, channel) at all scales, each segment grown by a disk of radius 5."""
    low, high, size = image.min(), image.max(), image.shape[:2]
    if max(size) > 224:
        small = [max(1, round(n * 224 / max(size))) for n in size]
        pixels = torch.from_numpy(image).float().permute(2, 0, 1)[None]
        pixels = functional.interpolate(pixels, small, mode="bilinear", antialias=True)
        image = pixels[0].permute(1, 2, 0).numpy()
    scaled = (image.astype(float) - low) / ((high - low) or 1) * 2 - 1
    rows, columns = (
        np.minimum((np.arange(n) + 0.5) * m // n, m - 1).astype(int)
        for n, m in zip(size, scaled.shape, strict=False)
    )
    masks = []
    for scale in how.get("scales", SCALES):
        labels = segmentation.felzenszwalb(
            scaled, scale=scale, sigma=how.get("sigma", 0.8), min_size=how.get("min_size", 150)
        )[np.ix_(rows, columns)]
        masks += [labels == label for label in np.unique(labels)]
    return [dilation(mask, disk(how.get("dilation", 5))) for mask in masks]


def regions_of(predicted: np.ndarray) -> list[np.ndarray]:
    return [predicted == label for label in np.unique(predicted)]


def expected_map(
    method: str, image: np.ndarray, scores: np.ndarray, index: int, **how: Any
) -> tuple[np.ndarray, np.ndarray]:
    predicted = scores.argmax(0)
    least = how.get("min_new_area", 50)
    if method == "similarity_map":
        return greedy(scores[index], regions_of(predicted), 0)
    masks = segments(image, **how)
    if method == "guided_segmented_score_map":
        if how.get("candidates", "union") == "union":
            masks = masks + regions_of(predicted)
        else:
            masks = [mask & region for mask in masks for region in regions_of(predicted)]
    return greedy(scores[index], masks, least)


def picture(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    """Return an image of some flat patches and a little noise, so that it has segments."""
    coarse = rng.random((max(1, shape[0] // 12), max(1, shape[1] // 12), *shape[2:]))
    index = np.ix_(*(np.arange(n) * m // n for n, m in zip(shape[:2], coarse.shape, strict=False)))
    image = coarse[index] + rng.normal(0, 0.02, shape)
    return ((image - image.min()) / (np.ptp(image) or 1)).astype(np.float32)


CASES: dict[str, dict[str, Any]] = {
    "gray": {"shape": (70, 90)},
    "rgb": {"shape": (64, 48, 3), "channels": 3},
    "seven channels": {"shape": (40, 52, 7), "channels": 7, "order": "n"},
    "larger than 224": {"shape": (37, 301, 3), "channels": 3},
    "16 bit": {"shape": (50, 60), "type": np.uint16},
    "constant": {"shape": (20, 30), "type": "constant"},
    "one pixel": {"shape": (1, 1)},
    "one row": {"shape": (1, 9)},
    "three by five": {"shape": (3, 5)},
    "one sigmoid channel": {"shape": (60, 70), "classes": 1},
    "150 classes": {"shape": (60, 70), "classes": 150},
}


@pytest.mark.parametrize(
    ("method", "how"),
    [
        ("segmented_score_map", {}),
        ("segmented_score_map", {"scales": (30.0, 200.0), "sigma": 0.4, "min_size": 20,
                                 "dilation": 2, "min_new_area": 0}),
        ("guided_segmented_score_map", {}),
        ("guided_segmented_score_map", {"candidates": "intersection", "min_new_area": 5}),
        ("similarity_map", {}),
    ],
    ids=["SSM", "SSM of other options", "GSSM", "GSSM cut", "SM"],
)  # fmt: skip
@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:Got image with third dimension")
def test_maps_are_those_of_the_definition(
    name: str, method: str, how: dict[str, Any], rng: np.random.Generator
) -> None:
    case = CASES[name]
    channels, count = case.get("channels", 1), case.get("classes", 3)
    model = settled(Pixelwise(channels, classes=count))
    network = as_network(model, "segmentation", order=case.get("order"))
    image = picture(rng, case["shape"])
    unit: np.ndarray = image
    if case.get("type") == "constant":
        image = unit = np.full(case["shape"], 0.3, np.float32)
    elif case.get("type") is np.uint16:
        image = (image * 65535).astype(np.uint16)
        unit = (image.astype(np.float64) / 65535).astype(np.float32)
        network = as_network(model, "segmentation", value_range="auto")
    seen = unit.reshape(*unit.shape[:2], channels)
    with torch.no_grad():
        scores = model(torch.from_numpy(seen).permute(2, 0, 1)[None])[0].numpy()
    if count == 1:
        scores = np.concatenate([-scores, scores])
    asked = [0, len(scores) - 1]
    found = ns.explain(network, image, method, asked, **how)
    assert found.axes == ("class", "y", "x")
    assert found.signed
    for number, index in enumerate(asked):
        values, order = expected_map(method, seen.astype(np.float64), scores, index, **how)
        np.testing.assert_allclose(found.values[number], values, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(found.companions["order"][number], order)


@pytest.mark.parametrize("resize", ["pad", "fit", "crop", "stretch"])
def test_regions_lie_on_the_image_alone(resize: str, rng: np.random.Generator) -> None:
    """What pads the image has no region, and the map lies where the network's pixels lie."""
    model = settled(nn.Sequential(nn.AvgPool2d(2), Pixelwise(1)))
    size: Any = {"min": 16, "step": 8} if resize == "pad" else (64, 48)
    network = as_network(model, "segmentation", size=size, resize=resize)
    image = picture(rng, (45, 61))
    plain = ns.explain(network, image, "input")
    rows, columns = (
        (scale * np.arange(n) + offset + 0.5 <= limit).sum()
        for n, scale, offset, limit in zip(
            plain.values.shape[1:], plain.grid.scale, plain.grid.offset, image.shape, strict=True
        )
    )
    assert (resize in ("pad", "fit")) == ((rows, columns) != plain.values.shape[1:])
    with torch.no_grad():
        coarse = model(torch.from_numpy(plain.values)[None])
        fine = functional.interpolate(coarse, plain.values.shape[1:], mode="bilinear")[0].numpy()
    predicted = coarse[0].argmax(0).numpy().repeat(2, 0).repeat(2, 1)[:rows, :columns]
    attribution = fine[1][:rows, :columns]
    masks = segments(plain.values[0, :rows, :columns, None].astype(np.float64))
    for method, among in {
        "segmented_score_map": masks,
        "guided_segmented_score_map": [*masks, *regions_of(predicted)],
        "similarity_map": regions_of(predicted),
    }.items():
        found = ns.explain(network, image, method, 1)
        values, order = greedy(attribution, among, 0 if method == "similarity_map" else 50)
        np.testing.assert_allclose(found.values, values, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(found.companions["order"], order)
        assert found.grid.scale == plain.grid.scale
        assert found.grid.offset == plain.grid.offset
        unseen = np.isnan(ns.explain(network, image, "score_map", 1).on_image())
        np.testing.assert_array_equal(np.isnan(found.on_image()), unseen)


# --- the greedy choice alone ---


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


# --- bases ---


def by_base(rng: np.random.Generator) -> tuple[ns.Network, np.ndarray]:
    return as_network(settled(UNet(1)), "segmentation"), picture(rng, (48, 64))


@pytest.mark.parametrize(
    ("base", "method", "target", "layer"),
    [
        ("score_map", "score_map", ns.Target(1), None),
        ("score_map", "score_map", ns.Target(1, score="log_probability"), None),
        ("probability", "score_map", ns.Target(1, score="probability"), None),
        ("grad_cam", "grad_cam", ns.Target(1, region="predicted"), "enc2"),
        ("grad_cam_plus_plus", "grad_cam_plus_plus", ns.Target(1), "bottom"),
        ("saliency", "saliency", ns.Target(1), None),
        ("guided_grad_cam", "guided_grad_cam", ns.Target(1), "dec2"),
        ("fusion_score_map", "fusion_score_map", None, None),
    ],
)
def test_any_map_can_be_the_base(
    base: str, method: str, target: Any, layer: str | None, rng: np.random.Generator
) -> None:
    network, image = by_base(rng)
    plain = ns.explain(network, image, method, target, layer)
    attribution = plain.on_image()
    # A probability is asked for by the base, whatever the target's score.
    asked = ns.Target(1) if base in ("probability", "fusion_score_map") else target
    masks = segments(image[..., None].astype(np.float64))
    values, order = greedy(attribution, masks)
    found = ns.explain(network, image, "segmented_score_map", asked, layer, base=base)
    scale = np.abs(values).max()
    np.testing.assert_allclose(found.values, values, rtol=0, atol=1e-6 * scale)
    assert found.signed == plain.signed
    assert found.unit == plain.unit
    assert found.companions["order"].max() == order.max()


def test_several_layers_and_classes_each_have_their_order(rng: np.random.Generator) -> None:
    network, image = by_base(rng)
    layers = ["enc1", "bottom", "dec2"]
    ask: dict[str, Any] = {"method": "segmented_score_map", "base": "grad_cam", "min_new_area": 0}
    found = ns.explain(network, image, target=[0, 2], layer=layers, **ask)
    assert found.axes == ("class", "layer", "y", "x")
    order = found.companions["order"]
    assert order.shape == found.values.shape == (2, 3, 48, 64)
    for row, index in enumerate((0, 2)):
        for column, layer in enumerate(layers):
            one = ns.explain(network, image, target=index, layer=layer, **ask)
            np.testing.assert_allclose(found.values[row, column], one.values, atol=1e-7)
            np.testing.assert_array_equal(order[row, column], one.companions["order"])
    assert len({order[row, column].tobytes() for row in (0, 1) for column in (0, 1, 2)}) > 1


@pytest.mark.parametrize("method", REGION_METHODS)
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"base": "activation", "layer": "enc1"}, "Activation can't be the base.*axis “channel”"),
        ({"base": "input"}, "Input can't be the base"),
        ({"base": "similarity_map"}, "Similarity map is itself a map over regions"),
        ({"base": "xrai"}, "XRAI is itself a map over regions"),
        ({"base": "grad_cm"}, "no method “grad_cm”; did you mean “grad_cam"),
        ({"base": 3}, "can't take base=3"),
        ({"layer": "enc1"}, "looks at no layer"),
        ({"target": None}, "needs a class"),
    ],
)
def test_what_can_be_no_base_is_refused_in_a_sentence(
    method: str, options: dict[str, Any], words: str, rng: np.random.Generator
) -> None:
    network, image = by_base(rng)
    with pytest.raises(ns.NeuroscopeError, match=words):
        ns.explain(network, image, method, **{"target": 1, **options})


@pytest.mark.parametrize(
    "options", [{"scales": []}, {"scales": [0]}, {"sigma": -1}, {"min_size": 0}, {"dilation": -1},
                {"min_new_area": -1}, {"longest_side": 0}, {"scales": 5}, {"colour": 1}],
)  # fmt: skip
def test_options_have_limits(options: dict[str, Any], rng: np.random.Generator) -> None:
    network, image = by_base(rng)
    with pytest.raises(ns.NeuroscopeError, match=next(iter(options))):
        ns.explain(network, image, "segmented_score_map", 1, **options)


def test_tables_and_several_axes() -> None:
    classifier = as_network(settled(Pixelwise(1)), "classification")
    volume = as_network(settled(Pixelwise(1, axes=3)), "segmentation", axes="bczyx")
    for method in REGION_METHODS:
        with pytest.raises(ns.NeuroscopeError, match="is for segmentation"):
            ns.explain(classifier, np.zeros((8, 8)), method)
    for method in REGION_METHODS[:2]:
        reason = volume.why_not(ns.methods[method])
        assert reason is not None
        assert "z, y, x" in reason
        with pytest.raises(ns.NeuroscopeError, match="looks along z, y, x"):
            ns.explain(volume, np.zeros((4, 8, 8)), method, 1)


def test_similarity_of_a_volume(rng: np.random.Generator) -> None:
    model = settled(Pixelwise(1, axes=3))
    network = as_network(model, "segmentation", axes="bczyx")
    image = rng.random((4, 7, 9), dtype=np.float32)
    with torch.no_grad():
        scores = model(torch.from_numpy(image)[None, None])[0].numpy()
    found = ns.explain(network, image, "similarity_map", 2)
    values, order = greedy(scores[2], regions_of(scores.argmax(0)), 0)
    np.testing.assert_allclose(found.values, values, atol=1e-6)
    np.testing.assert_array_equal(found.companions["order"], order)


# --- the table of similarities ---


def test_similarity_table_by_hand() -> None:
    # Scores x, 0 and -2: of x = 1, 3, -1 the classes are a, a, b, and c is nowhere.
    network = as_network(
        pointwise([[1.0], [0.0], [0.0]], [0.0, 0.0, -2.0]), "segmentation", ["a", "b", "c"]
    )
    image = np.array([[1.0, 3.0, -1.0]])
    found = ns.explain(network, image, "similarity_map", "a")
    np.testing.assert_allclose(found.values, [[2, 2, -1]], atol=1e-6)
    assert found.companions["order"].tolist() == [[1, 1, 2]]
    assert found.companions["prediction"].tolist() == [[0, 0, 1]]
    table = found.provenance["table"]
    assert table["class"] == ["a", "b", "c"]
    assert table["similarity"] == [[2, -1, None], [0, 0, None], [-2, -2, None]]
    assert json.loads(json.dumps(found.provenance))["table"] == table
    assert found.table_in_words() == [
        "mean logit where a is predicted: a 2, b 0, c -2",
        "mean logit where b is predicted: b 0, a -1, c -2",
    ]
    (_, attributes, _), *others = found.to_layer_data()
    assert attributes["metadata"]["neuroscope"]["table"] == table
    assert [data[1]["name"] for data in others] == ["Order", "Prediction"]


@pytest.mark.parametrize("base", ["score_map", "probability"])
def test_the_table_and_the_maps_agree(base: str, rng: np.random.Generator) -> None:
    model = nn.Sequential(nn.AvgPool2d(2), settled(Pixelwise(1, classes=5)))
    network = as_network(model, "segmentation")
    image = picture(rng, (40, 52))
    found = ns.explain(network, image, "similarity_map", list(range(5)), base=base)
    rows = found.provenance["table"]["similarity"]
    predicted = found.companions["prediction"]
    assert len(np.unique(predicted)) > 1
    for index, region in itertools.product(range(5), range(5)):
        inside = found.values[index][predicted == region]
        mean = rows[index][region]
        if not inside.size:
            assert mean is None
        else:
            np.testing.assert_allclose(inside, mean, atol=1e-6)


def test_other_bases_have_no_table(rng: np.random.Generator) -> None:
    network, image = by_base(rng)
    found = ns.explain(network, image, "similarity_map", 1, "enc1", base="grad_cam")
    assert "table" not in found.provenance
    assert found.table_in_words() == []


# --- what is kept ---


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


# --- at the command line ---


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = tmp_path / "image.npy"
    np.save(image, picture(np.random.default_rng(1), (64, 80)))
    out = tmp_path / "map.npy"
    done = main(["explain", "demo:nuclei", str(image), "--method", "guided_segmented_score_map",
                 "--class", "nucleus", "--option", "candidates=intersection",
                 "--option", "scales=[50, 300]", "-o", str(out)])  # fmt: skip
    assert done == 0
    values = np.load(out)
    assert values.shape == (64, 80)
    assert 1 < len(np.unique(values)) < 64 * 80
    done = main(["explain", "demo:nuclei", str(image), "--method", "similarity_map",
                 "--class", "nucleus", "-o", str(tmp_path / "similar.tif")])  # fmt: skip
    assert done == 0
    assert "is predicted: " in capsys.readouterr().out
    done = main(["explain", "demo:nuclei", str(image), "--method", "segmented_score_map",
                 "--class", "nucleus", "--option", "base=activation",
                 "-o", str(tmp_path / "none.npy")])  # fmt: skip
    assert done == 1
    assert "can't be the base" in capsys.readouterr().err
