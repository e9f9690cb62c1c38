"""Ground truth in the classes' colours, and with palettes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import napari_neuroscope as ns
from ground_truths import COLOURS, IDS, STREET, coloured, notes, read
from napari_neuroscope.engine.images.ground_truth.reader import class_labels
from napari_neuroscope.engine.images.source import PaletteImage, read_image, read_truth


def test_colours_of_the_classes() -> None:
    assert read(coloured()) == IDS.tolist()
    assert read(coloured().astype(np.uint16)) == IDS.tolist()
    assert class_labels(coloured(), STREET, (2, 3)).kind == "colours"
    assert "colours" in notes(coloured())
    # Red and blue are not the same.
    with pytest.raises(ns.NeuroscopeError, match=r"\(128, 0, 64\) in 2 pixels"):
        read(coloured()[..., ::-1])


def test_transparent_pixels_are_void() -> None:
    rgba = np.dstack([coloured(), np.array([[255, 255, 0], [1, 255, 255]], np.uint8)])
    assert read(rgba) == [[0, 1, -1], [2, 1, 0]]
    assert "1 transparent pixels are void" in notes(rgba)


def test_colours_that_are_no_class() -> None:
    truth = coloured()
    truth[0, :2] = (1, 2, 3)
    truth[1, 0] = (9, 9, 9)
    with pytest.raises(ns.NeuroscopeError) as refusal:
        read(truth)
    assert "(1, 2, 3) in 2 pixels and 1 more, 3 pixels in all" in str(refusal.value)
    void = [(1, 2, 3), (9, 9, 9)]
    assert read(truth, void_colours=void) == [[-1, -1, 2], [-1, 1, 0]]


def test_colours_of_more_bits_are_no_class() -> None:
    truth = coloured().astype(np.uint16)
    truth[0, 0] = (128, 128, 128 + 65536 // 256 * 128)
    with pytest.raises(ns.NeuroscopeError, match="colours of no class"):
        read(truth)


def test_a_photo_is_no_ground_truth(rng: np.random.Generator) -> None:
    with pytest.raises(ns.NeuroscopeError, match="saved as JPEG: save it as PNG"):
        read(rng.integers(0, 255, (20, 20, 3), np.uint8))


def test_the_colour_of_the_ignored_class_is_void() -> None:
    ignored = STREET.model_copy(update={"ignore_label": 2})
    assert read(coloured(), ignored) == np.where(IDS == 2, -1, IDS).tolist()


def test_two_classes_of_one_colour() -> None:
    alike = ns.ModelSpec.parse({"task": "segmentation", "classes": [
        {"name": "a", "colour": [1, 2, 3]}, {"name": "b", "colour": [1, 2, 3]}]})  # fmt: skip
    with pytest.raises(ns.NeuroscopeError, match="“a” and “b” have the same colour"):
        read(np.full((2, 2, 3), (1, 2, 3), np.uint8), alike, "colours")
    assert read(IDS % 2, alike) == (IDS % 2).tolist()


def saved_palette(path: Path, indices: np.ndarray, palette: Any) -> Path:
    image = Image.fromarray(indices.astype(np.uint8), "P")
    image.putpalette(np.asarray(palette, np.uint8).ravel().tolist())
    image.save(path)
    return path


def test_a_palette_of_other_colours_numbers_the_classes(tmp_path: Path) -> None:
    palette = [(0, 0, 0), (128, 0, 0), (0, 128, 0)]
    path = saved_palette(tmp_path / "voc.png", IDS, palette)
    truth = read_truth(path)
    assert isinstance(truth, PaletteImage)
    assert class_labels(truth, STREET, (2, 3)).labels.tolist() == IDS.tolist()
    # The same file is an image of its colours.
    np.testing.assert_array_equal(read_image(path)[..., :3], np.array(palette)[IDS])


def test_a_palette_of_the_classes_colours_is_read_by_them(tmp_path: Path) -> None:
    # Programs that save few colours number them as they come.
    path = saved_palette(tmp_path / "few.png", (IDS + 1) % 3, np.roll(COLOURS, 1, 0))
    truth = read_truth(path)
    found = class_labels(truth, STREET, (2, 3))
    assert found.labels.tolist() == IDS.tolist()
    assert "palette has the classes' colours" in found.notes[0]
    by_number = class_labels(truth, STREET, (2, 3), "classes")
    assert by_number.labels.tolist() == ((IDS + 1) % 3).tolist()
