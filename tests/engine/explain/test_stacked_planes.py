"""Explanations of stacks: each plane as by itself, where it lies, and no more read than is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import zarr

import napari_neuroscope as ns
from napari_neuroscope.engine.images.grid import Grid
from networks import Pixelwise, UNet, Vgg, as_network, settled

FILM = np.random.default_rng(0).random((3, 2, 16, 20)).astype(np.float32)


COLOURS = np.random.default_rng(1).random((4, 3, 2, 16, 16)).astype(np.float32)


def segmenter(channels: int = 1, **of_input: Any) -> ns.Network:
    return as_network(settled(Pixelwise(channels)), "segmentation", list("abc"), **of_input)


def classifier() -> ns.Network:
    return as_network(settled(Vgg()), "classification", list("abcd"))


class Counted:
    """An array that remembers what of it was read."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape, self.dtype = values, values.shape, values.dtype
        self.read: list[Any] = []

    def __getitem__(self, which: Any) -> np.ndarray:
        self.read.append(which)
        return self.values[which]


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("grad_cam", {"target": "b", "layer": "conv1"}),
        ("grad_cam", {"target": ["a", "c"], "layer": ["conv1", "relu"]}),
        ("saliency", {"target": "b", "channels": "keep"}),
        ("activation", {"layer": "conv1"}),
        ("fusion_score_map", {}),
        ("segmented_score_map", {"target": "b", "min_size": 4, "scales": (50.0,)}),
    ],
)
def test_each_plane_is_explained_as_by_itself(method: str, more: dict[str, Any]) -> None:
    network = segmenter()
    found = ns.explain_stack(network, FILM, method, axes="tzyx", **more)
    one = ns.explain(network, FILM[0, 0], method, **more)
    before = len(one.leading)
    assert found.axes == (*one.leading, "t", "z", "y", "x")
    assert found.leading == one.leading
    assert found.space == ("t", "z", "y", "x")
    assert found.labels == one.labels
    assert found.grid.shape == (3, 2, *one.grid.shape)
    for t, z in np.ndindex(3, 2):
        alone = ns.explain(network, FILM[t, z], method, **more)
        place = (slice(None),) * before
        np.testing.assert_array_equal(found.values[(*place, t, z)], alone.values)
        for name, labels in alone.companions.items():
            held = found.companions[name]
            lead = (slice(None),) * (labels.ndim - 2)
            np.testing.assert_array_equal(held[(*lead, t, z)], labels)
    record = found.provenance
    assert record["image"]["shape"] == [3, 2, 16, 20]
    assert record["planes"]["axes"] == ["t", "z"]
    assert len(record["planes"]["values"]) == 6


def test_where_a_range_lies() -> None:
    network = as_network(settled(UNet(1)), "segmentation", list("abc"))
    film = np.random.default_rng(2).random((7, 4, 16, 24))
    found = ns.explain_stack(
        network, film, "grad_cam", "a", "bottom", axes="tzyx", planes="t=1:7:2, z=3"
    )
    assert found.grid == Grid((3, 1, 4, 6), (2, 1, 4, 4), (1, 3, 1.5, 1.5))
    assert found.image == Grid((3, 1, 16, 24), (2, 1, 1, 1), (1, 3, 0, 0))
    alone = ns.explain(network, film[5, 3], "grad_cam", "a", "bottom")
    np.testing.assert_array_equal(found.on_image()[2, 0], alone.on_image())
    (data, attributes, _), *_ = found.to_layer_data({"scale": (3, 1.5, 0.2, 0.2)})
    assert data.shape == (3, 1, 4, 6)
    np.testing.assert_allclose(attributes["scale"], (6, 1.5, 0.8, 0.8))
    np.testing.assert_allclose(attributes["translate"], (3, 4.5, 0.3, 0.3))
    assert attributes["axis_labels"] == ("t", "z", "y", "x")


def test_an_image_that_is_no_stack_is_explained_as_ever() -> None:
    network = segmenter()
    found = ns.explain_stack(network, FILM[0, 0], "grad_cam", "a", "conv1")
    alone = ns.explain(network, FILM[0, 0], "grad_cam", "a", "conv1")
    np.testing.assert_array_equal(found.values, alone.values)
    assert found.axes == alone.axes
    assert found.grid == alone.grid
    assert found.provenance == alone.provenance


def test_channels_among_the_stack_s_axes() -> None:
    network = as_network(settled(Pixelwise(3)), "segmentation", list("abc"))
    found = ns.explain_stack(network, COLOURS, "saliency", "a", axes="tczyx")
    assert found.axes == ("t", "z", "y", "x")
    alone = ns.explain(network, COLOURS[2, :, 1], "saliency", "a")
    np.testing.assert_array_equal(found.values[2, 1], alone.values)


def test_top_predictions_of_each_plane() -> None:
    network = classifier()
    images = COLOURS[:, :, 0] * np.array([1, -1, 1, -3])[:, None, None, None]
    tops = [int(network.predict(image).probabilities.argmax()) for image in images]
    assert len(set(tops)) > 1
    found = ns.explain_stack(network, images, "grad_cam", axes="tcyx")
    assert [classes for (classes,) in found.provenance["planes"]["classes"]] == tops
    assert found.labels["target"] == ("top of each plane",)
    assert found.provenance["targets"][0]["index"] is None
    for t, top in enumerate(tops):
        alone = ns.explain(network, images[t], "grad_cam", top)
        np.testing.assert_array_equal(found.values[t], alone.values)
    again = ns.Recipe.of(found)
    assert again.targets[0].class_ is None
    same = ns.explain_stack(network, images[:1], "grad_cam", axes="tcyx")
    assert same.provenance["targets"][0]["index"] == tops[0]


def test_scores_over_time_are_a_table() -> None:
    network = classifier()
    found = ns.explain_stack(network, COLOURS[:, :, 0], "score_map", axes="tcyx")
    assert found.is_table
    assert found.axes == ("t", "class")
    for t in range(4):
        alone = ns.explain(network, COLOURS[t, :, 0], "score_map")
        np.testing.assert_array_equal(found.values[t], alone.values)
    assert found.to_layer_data() == []
    means = np.mean([network.predict(frame).probabilities for frame in COLOURS[:, :, 0]], 0)
    np.testing.assert_allclose(found.provenance["table"]["probability"], means, rtol=1e-5)
    assert found.table_in_words()[0].startswith("abcd"[means.argmax()])
    assert "the mean of 4 planes" in found.provenance["notes"][-1]


def test_channels_that_are_ranked_plane_by_plane() -> None:
    found = ns.explain_stack(segmenter(), FILM, "activation", None, "conv1", axes="tzyx",
                             rank="max", channels=6)  # fmt: skip
    orders = {
        ns.explain(segmenter(), plane, "activation", None, "conv1", rank="max", channels=6).labels[
            "channel"
        ]
        for plane in FILM.reshape(-1, 16, 20)
    }
    assert len(orders) > 1
    assert found.labels["channel"] == tuple(f"rank {n}" for n in range(1, 7))


def test_regions_of_one_plane_and_of_the_stack() -> None:
    network = segmenter()
    masks = np.random.default_rng(3).random(FILM.shape) > 0.5
    truth = np.random.default_rng(4).integers(0, 3, FILM.shape)
    of_stack = ns.explain_stack(network, FILM, "saliency", ns.Target("a", masks), axes="tzyx")
    of_plane = ns.explain_stack(network, FILM, "saliency", ns.Target("a", masks[0, 0]), axes="tzyx")
    true = ns.explain_stack(
        network, FILM, "saliency", ns.Target("a", "ground_truth"), axes="tzyx", ground_truth=truth
    )
    for t, z in np.ndindex(3, 2):
        plane = FILM[t, z]
        for found, target, more in (
            (of_stack, masks[t, z], None),
            (of_plane, masks[0, 0], None),
            (true, "ground_truth", truth[t, z]),
        ):
            alone = ns.explain(
                network, plane, "saliency", ns.Target("a", target), ground_truth=more
            )
            np.testing.assert_array_equal(found.values[t, z], alone.values)
    with pytest.raises(ns.NeuroscopeError, match="The stack has 3 × 2 planes"):
        ns.explain_stack(network, FILM, "saliency", ns.Target("a", masks[:2]), axes="tzyx")


def test_planes_on_which_the_region_is_empty() -> None:
    network = segmenter()
    labels = np.zeros(FILM.shape, int)
    labels[1, :, 3:6, 4:9] = 7
    target = ns.Target("a", ns.Instance(labels, 7))
    told: list[int] = []
    found = ns.explain_stack(
        network, FILM, "saliency", target, axes="tzyx",
        partial=lambda part: told.append(int(np.isfinite(part.values).all((2, 3)).sum())),
    )  # fmt: skip
    assert np.isnan(found.values[[0, 2]]).all()
    assert np.isfinite(found.values[1]).all()
    assert told == [1, 2, 2]
    assert found.provenance["planes"]["indices"] == [[1, 0], [1, 1]]
    assert (
        "no map of t=0, z=0 and 3 more planes, where the region is empty"
        in (found.provenance["notes"])
    )
    gone = ns.Target("a", ns.Instance(labels, 9))
    with pytest.raises(ns.NeuroscopeError, match="no instance 9"):
        ns.explain_stack(network, FILM, "saliency", gone, axes="tzyx")
    # Where nothing else is known of an array that is given, it is cleared.
    full = np.zeros(FILM.shape, np.float32)
    ns.explain_stack(network, FILM, "saliency", target, axes="tzyx", out=full)
    np.testing.assert_array_equal(full, found.values)


def test_what_is_written_and_offered_as_it_goes(tmp_path: Path) -> None:
    network = segmenter()
    made: list[tuple[int, ...]] = []

    def make(shape: tuple[int, ...]) -> Any:
        made.append(shape)
        return zarr.create_array(
            tmp_path / "map.zarr", shape=shape, chunks=(1, 1, *shape[2:]), dtype="f4"
        )

    parts: list[tuple[str, float]] = []
    steps: list[float] = []
    found = ns.explain_stack(
        network, FILM, "saliency", "a", axes="tzyx", out=make,
        partial=lambda part: parts.append((part.unfinished, part.values[0, 0].sum())),
        progress=lambda done, total, _: steps.append(done / total),
    )  # fmt: skip
    assert made == [(3, 2, 16, 20)]
    assert [words for words, _ in parts] == [f"{n} of 6 planes" for n in range(1, 6)]
    assert not found.unfinished
    assert steps == sorted(steps)
    assert steps[-1] == 1
    whole = ns.explain_stack(network, FILM, "saliency", "a", axes="tzyx")
    np.testing.assert_array_equal(found.values[...], whole.values)
    with pytest.raises(ns.NeuroscopeError, match="the array to write them to"):
        ns.explain_stack(network, FILM, "saliency", "a", axes="tzyx", out=np.zeros((2, 2)))


def test_a_stack_that_is_cancelled_keeps_its_planes() -> None:
    network = segmenter()
    out = np.full(FILM.shape, np.nan, np.float32)

    def stop(done: int, total: int, what: str) -> None:
        if done / total >= 0.5:
            raise ns.Cancelled

    with pytest.raises(ns.Cancelled):
        ns.explain_stack(network, FILM, "saliency", "a", axes="tzyx", out=out, progress=stop)
    whole = ns.explain_stack(network, FILM, "saliency", "a", axes="tzyx")
    np.testing.assert_array_equal(out[0], whole.values[0])
    assert np.isnan(out[2]).all()


def test_only_the_chosen_planes_are_read() -> None:
    network = segmenter()
    image = Counted(FILM)
    ns.explain_stack(network, image, "saliency", "a", axes="tzyx", planes="t=1:, z=0")
    assert image.read == [(1, 0), (2, 0)]
    blocks: list[Any] = []

    def block(block_info: Any = None) -> np.ndarray:
        blocks.append(block_info[None]["chunk-location"])
        return FILM[block_info[None]["chunk-location"][:2]][None, None]

    lazy = dask.array.map_blocks(
        block, chunks=((1,) * 3, (1,) * 2, 16, 20), dtype=FILM.dtype, meta=np.zeros((0,) * 4, "f4")
    )
    found = ns.explain_stack(network, lazy, "saliency", "a", axes="tzyx", planes="t=1:, z=0")
    assert sorted(blocks) == [(1, 0, 0, 0), (2, 0, 0, 0)]
    np.testing.assert_array_equal(
        found.values[:, 0], ns.explain_stack(network, FILM[1:, :1], "saliency", "a").values[:, 0]
    )


def test_a_plane_that_fails_is_named() -> None:
    film = FILM.copy()
    film[1, 1] = np.nan
    with pytest.raises(ns.NeuroscopeError, match="At t=1, z=1: The image has no finite value"):
        ns.explain_stack(segmenter(), film, "saliency", "a", axes="tzyx")

    class Broken(Counted):
        def __getitem__(self, which: Any) -> np.ndarray:
            raise OSError("the disk is gone")

    with pytest.raises(ns.NeuroscopeError, match="read at t=0, z=0: the disk is gone"):
        ns.explain_stack(segmenter(), Broken(FILM), "saliency", "a", axes="tzyx")


def test_notes_of_many_planes_are_few() -> None:
    film = np.random.default_rng(5).normal(size=(40, 8, 8))
    found = ns.explain_stack(segmenter(value_range="auto"), film, "saliency", "a", axes="tyx")
    notes = found.provenance["notes"]
    assert len(notes) < 16
    assert "28 more notes on single planes" in notes
    assert notes[0].endswith("(t=0)")


def test_a_file_tells_its_axes(tmp_path: Path) -> None:
    import tifffile

    tifffile.imwrite(tmp_path / "a.ome.tif", FILM, metadata={"axes": "TZYX"})
    network = segmenter()
    with ns.open_image(tmp_path / "a.ome.tif") as image:
        found = ns.explain_stack(network, image, "saliency", "a", planes="t=1")
    assert found.axes == ("t", "z", "y", "x")
    whole = ns.explain_stack(network, FILM, "saliency", "a", axes="tzyx")
    np.testing.assert_array_equal(found.values[0], whole.values[1])


def test_a_recipe_makes_a_stack_s_map_again(tmp_path: Path) -> None:
    network = ns.load("demo:nuclei", device="cpu")
    film = (np.random.default_rng(6).random((3, 2, 64, 64)) * 255).astype(np.uint8)
    first = ns.explain_stack(network, film, "grad_cam", "nucleus", "dec1", planes="axis 0=1:")
    recipe = ns.Recipe.from_yaml(ns.Recipe.of(first).to_yaml())
    assert recipe.planes == "axis 0=1:3"
    again = recipe.run(network, film)
    np.testing.assert_array_equal(again.values, first.values)
    assert again.grid == first.grid
    whole = recipe.run(network, film, planes="all")
    assert whole.values.shape[:2] == (3, 2)
    assert ns.Recipe.of(whole).planes == "all"
    assert ns.Recipe.of(ns.explain(network, film[0, 0], "grad_cam", "nucleus")).planes is None
    np.save(tmp_path / "film.npy", film)
    script: dict[str, Any] = {}
    exec(recipe.as_python(tmp_path / "film.npy"), script)
    np.testing.assert_array_equal(script["explanation"].values, first.values)
