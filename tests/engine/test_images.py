"""Images and their ground truth, found and paired by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import napari_neuroscope as ns
from napari_neuroscope.engine.images.axes import axes_of
from napari_neuroscope.engine.images.pairing.find_pairs import pairs_of
from napari_neuroscope.engine.images.pairing.image_search import natural_key
from napari_neuroscope.engine.images.pairing.pair import Pair, Pairs
from napari_neuroscope.engine.images.source import Source, read_image

PIXELS = np.arange(12, dtype=np.uint8).reshape(3, 4)


def put(folder: Path, *names: str) -> Path:
    """Make a folder of small images."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".npy":
            np.save(path, PIXELS)
        elif path.suffix == ".tif":
            tifffile.imwrite(path, PIXELS)
        else:
            Image.fromarray(PIXELS).save(path)
    return folder


def partners(pairs: Pairs) -> dict[str, Any]:
    """Return the name of each image's ground truth."""
    return {
        pair.name: pair.truth.name if isinstance(pair.truth, Source) else pair.truth
        for pair in pairs
    }


def reasons(pairs: Pairs) -> str:
    return " ".join(one.reason for one in pairs.skipped)


# --- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npy", "a.bmp", "A.PNG"])
def test_each_kind_of_file(name: str, tmp_path: Path) -> None:
    put(tmp_path, name)
    np.testing.assert_array_equal(read_image(tmp_path / name), PIXELS)


def test_files_that_are_no_images(tmp_path: Path) -> None:
    for name in ("a.png", "a.tif", "a.npy", "a.jpg"):
        (tmp_path / name).write_bytes(b"this is no image")
        with pytest.raises(ns.NeuroscopeError, match=rf"{name} can't be read: .+\.$") as refusal:
            read_image(tmp_path / name)
        assert "\n" not in str(refusal.value)
    with pytest.raises(ns.NeuroscopeError, match="There is no image"):
        read_image(tmp_path / "b.png")


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ns.NeuroscopeError, match="can't be read"):
        read_image(tmp_path / "a.npy")


def test_a_plane_of_a_source() -> None:
    stack = np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(Source("s", stack, (1,)).read(), stack[1])
    with pytest.raises(ns.NeuroscopeError, match="“s” can't be read: index 2"):
        Source("s", stack, (2,)).read()


class Lazy:
    """An array that tells which parts of it are read."""

    def __init__(self, data: np.ndarray) -> None:
        self.data, self.shape, self.read = data, data.shape, []

    def __getitem__(self, which: Any) -> np.ndarray:
        self.read.append(which)
        return self.data[which]


# --- pairing --------------------------------------------------------------------------------------


def test_partners_have_the_same_stem(tmp_path: Path) -> None:
    images = put(tmp_path / "images", "cell10.jpg", "cell2.png", "cell1.tif")
    truths = put(tmp_path / "truths", "cell1.png", "cell2.npy", "cell10.png", "cell.png")
    pairs = pairs_of(images, truths)
    assert list(partners(pairs).items()) == [
        ("cell1.tif", "cell1.png"), ("cell2.png", "cell2.npy"), ("cell10.jpg", "cell10.png"),
    ]  # fmt: skip
    assert reasons(pairs) == "No image goes with “cell.png”."
    assert pairs[0].image.path == images / "cell1.tif"


@pytest.mark.parametrize(
    ("image", "truth"),
    [
        ("a.png", "a_gt.png"), ("a.png", "a_mask.tif"), ("a.png", "a_labels.png"),
        ("a.png", "a_L.png"), ("a.png", "a-instances.png"), ("a_1.png", "a_1_label.png"),
        ("a_image.png", "a_mask.png"), ("a_img.png", "a.png"), ("a.png", "a_Mask.png"),
    ],
)  # fmt: skip
def test_partners_with_what_they_are_in_their_name(image: str, truth: str, tmp_path: Path) -> None:
    pairs = pairs_of(put(tmp_path / "i", image), put(tmp_path / "t", truth))
    assert partners(pairs) == {image: truth}
    assert pairs.skipped == ()
    # In one folder, too.
    both = put(tmp_path / "both", image, truth)
    assert partners(pairs_of(both / image, both / truth)) == {image: truth}


def test_images_and_ground_truth_in_one_folder(tmp_path: Path) -> None:
    folder = put(tmp_path, "a.png", "a_mask.png", "b.png", "b_mask.png", "lone_mask.png")
    pairs = pairs_of(folder, folder)
    assert partners(pairs) == {"a.png": "a_mask.png", "b.png": "b_mask.png", "lone_mask.png": None}


def test_an_image_without_partner_is_there_without(tmp_path: Path) -> None:
    pairs = pairs_of(put(tmp_path / "i", "a.png", "b.png"), put(tmp_path / "t", "b.png"))
    assert partners(pairs) == {"a.png": None, "b.png": "b.png"}
    assert pairs.without_truth == ("a.png",)
    assert partners(pairs_of(tmp_path / "i")) == {"a.png": None, "b.png": None}


def test_several_partners_are_said(tmp_path: Path) -> None:
    images = put(tmp_path / "i", "a.png", "b.png")
    truths = put(tmp_path / "t", "a_gt.png", "a_mask.png", "b.png", "b_mask.png", "a_mask.tif")
    pairs = pairs_of(images, truths)
    # The very name comes before one with an ending.
    assert partners(pairs) == {"b.png": "b.png"}
    assert "“a.png” has several ground truths: “a_gt.png” and “a_mask.png” and" in reasons(pairs)


def test_what_is_no_image_is_skipped_and_the_rest_is_there(tmp_path: Path) -> None:
    folder = put(tmp_path, "a.png", ".hidden.png")
    (folder / "notes.docx").write_text("words")
    (folder / "empty.png").touch()
    (folder / "deeper").mkdir()
    pairs = pairs_of(folder)
    assert list(partners(pairs)) == ["a.png"]
    assert {one.name for one in pairs.skipped} == {"notes.docx", "empty.png"}
    assert "“notes.docx” is no image" in reasons(pairs)
    assert "“empty.png” is empty" in reasons(pairs)


def test_patterns_files_and_folders_together(tmp_path: Path) -> None:
    put(tmp_path, "x/a.png", "x/b.tif", "y/a.png", "y/c.png")
    pairs = pairs_of([tmp_path / "x", tmp_path / "y" / "a.png", str(tmp_path / "y" / "*.png")])
    assert [pair.name for pair in pairs] == ["x/a.png", "b.tif", "y/a.png", "c.png"]


@pytest.mark.parametrize("where", ["nowhere", "nowhere/*.png", "."])
def test_no_image_at_all(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ns.NeuroscopeError, match="There is no image"):
        pairs_of(where)


def test_a_folder_of_ground_truth_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ns.NeuroscopeError, match="There is no ground truth"):
        pairs_of(put(tmp_path, "a.png"), tmp_path / "nowhere")


def test_masks_of_one_class_each(tmp_path: Path) -> None:
    images = put(tmp_path / "i", "a.png", "b.png")
    truths = put(tmp_path / "t", "a_car.png", "a_road.png", "a_bus.png", "car/b.png", "old/b.png")
    pairs = pairs_of(images, truths, classes=("car", "road"))
    found = {pair.name: [source.name for source in pair.truth] for pair in pairs}  # type: ignore[union-attr]
    assert found == {"a.png": ["car", "road"], "b.png": ["car"]}
    assert reasons(pairs) == "No image goes with “a_bus.png”."


def test_the_longer_of_two_classes(tmp_path: Path) -> None:
    truths = put(tmp_path / "t", "a_red_car.png")
    pairs = pairs_of(put(tmp_path / "i", "a.png"), truths, classes=("car", "red_car"))
    assert [source.name for source in pairs[0].truth] == ["red_car"]  # type: ignore[union-attr]


# --- classes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "file,class\na.png,white cell\nb.png,red cell\n",
        "\ufeffclass;name\nwhite cell;a\nred cell;b\n",
        "a.png\twhite cell\nb.png\tred cell",
        "images/a.png,white cell\n\nimages/b.png,red cell\n",
    ],
)
def test_a_table_of_classes(text: str, tmp_path: Path) -> None:
    images = put(tmp_path / "images", "a.png", "b.png")
    table = tmp_path / "labels.csv"
    table.write_text(text, "utf-8")
    assert partners(pairs_of(images, table)) == {"a.png": "white cell", "b.png": "red cell"}


def test_a_table_that_does_not_fit(tmp_path: Path) -> None:
    images = put(tmp_path / "images", "a.png", "b.png")
    table = tmp_path / "labels.csv"
    table.write_text("a.png,red\nc.png,red\nd.png\n")
    pairs = pairs_of(images, table)
    assert partners(pairs) == {"a.png": "red", "b.png": None}
    assert "There is no image “c.png”." in reasons(pairs)
    assert "Row 3 of “labels.csv” has no class." in reasons(pairs)
    table.write_text("a.png,red\na.png,white\n")
    with pytest.raises(ns.NeuroscopeError, match=r"“a\.png” two classes, “red” and “white”"):
        pairs_of(images, table)
    table.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ns.NeuroscopeError, match="no text in UTF-8"):
        pairs_of(images, table)


def test_the_table_of_the_samples() -> None:
    folder = Path(ns.__file__).parent / "samples" / "blood-cells"
    pairs = pairs_of(folder / "images", folder / "labels.csv")
    assert len(pairs) == 9
    assert pairs.skipped == ()
    assert partners(pairs)["platelet-1.png"] == "platelet"


def test_folders_named_by_classes(tmp_path: Path) -> None:
    folder = put(tmp_path, "red/a.png", "white/a.png", "white/b.png")
    pairs = pairs_of(folder, folder_names=True)
    assert partners(pairs) == {"red/a.png": "red", "white/a.png": "white", "b.png": "white"}


@given(st.lists(st.text(alphabet="aA01_-", min_size=1, max_size=5), unique_by=str.casefold))
def test_names_are_sorted_as_people_do(names: list[str]) -> None:
    # No two names are the same to it.
    assert len({str(natural_key(name)) for name in names}) == len(names)
    assert sorted(["b2", "b10", "b1", "a"], key=natural_key) == ["a", "b1", "b2", "b10"]


# --- stacks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "channels", "leading"),
    [
        ((8, 9), 1, 0), ((8, 9, 3), 3, 0), ((8, 9, 4), 1, 0), ((5, 8, 9), 1, 1), ((5, 8, 9), 3, 1),
        ((3, 8, 9), 3, 0), ((3, 8, 9), 1, 1), ((5, 8, 9, 3), 3, 1), ((5, 3, 8, 9), 3, 1),
        ((2, 5, 8, 9), 1, 2), ((8, 9, 6), 6, 0), ((40, 30, 2), 1, 0), ((5, 40, 30, 2), 1, 1), ((30, 40, 16), 1, 1),
        ((6, 8, 9), 6, 0), ((1, 8, 9), 1, 1),
    ],
)  # fmt: skip
def test_axes_of_a_stack(shape: tuple[int, ...], channels: int, leading: int) -> None:
    spec = ns.ModelSpec.parse({"task": "segmentation"})
    assert axes_of(shape, spec, channels).stack == tuple(range(leading))


def test_axes_of_a_stack_as_the_spec_says() -> None:
    channels_last = ns.ModelSpec.parse({"task": "segmentation", "image_axes": "yxc"})
    assert axes_of((8, 9, 5), channels_last, 5).stack == ()
    planes = ns.ModelSpec.parse({"task": "segmentation", "image_axes": "yx"})
    assert axes_of((2, 8, 9), planes, 2).stack == (0,)
    volumes = ns.ModelSpec.parse({"task": "segmentation", "input": {"axes": "bczyx"}})
    with pytest.raises(ns.NeuroscopeError, match="3 spatial axes"):
        axes_of((8, 9), volumes, 1)


def test_planes_of_a_stack_are_read_one_by_one() -> None:
    network = ns.wrap(torch.nn.Conv2d(1, 2, 1), {"task": "segmentation"}, device="cpu")
    data = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    lazy = Lazy(data)
    pair = Pair("movie", Source.of(lazy, "movie"), Source.of(data % 2))
    planes = list(pair.planes(network))
    assert lazy.read == []
    assert [plane.name for plane in planes][:4] == [
        "movie [0, 0]", "movie [0, 1]", "movie [0, 2]", "movie [1, 0]",
    ]  # fmt: skip
    np.testing.assert_array_equal(planes[3].image.read(), data[1, 0])
    assert lazy.read == [(1, 0)]
    assert isinstance(planes[3].truth, Source)
    np.testing.assert_array_equal(planes[3].truth.read(), data[1, 0] % 2)
    short = Pair("movie", Source.of(data), Source.of(data[0]))
    with pytest.raises(ns.NeuroscopeError, match="a stack of 2 × 3 planes, but the ground truth"):
        list(short.planes(network))
    plain = Pair("one", Source.of(data[0, 0], "one"), "car")
    assert [(plane.name, plane.truth) for plane in plain.planes(network)] == [("one", "car")]
