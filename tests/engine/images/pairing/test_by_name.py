"""Which ground truth goes with an image: endings, masks of classes, and tables."""

from __future__ import annotations

from pathlib import Path

import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.images.pairing.find_pairs import pairs_of
from pair_files import partners, put, reasons


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


def test_several_partners_are_said(tmp_path: Path) -> None:
    images = put(tmp_path / "i", "a.png", "b.png")
    truths = put(tmp_path / "t", "a_gt.png", "a_mask.png", "b.png", "b_mask.png", "a_mask.tif")
    pairs = pairs_of(images, truths)
    # The very name comes before one with an ending.
    assert partners(pairs) == {"b.png": "b.png"}
    assert "“a.png” has several ground truths: “a_gt.png” and “a_mask.png” and" in reasons(pairs)


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
