"""Explanations as figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import napari_neuroscope as ns
from napari_neuroscope.engine.explanation.colormaps import coloured
from napari_neuroscope.engine.explanation.record import Unfinished
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.images.spacing import Spacing
from napari_neuroscope.engine.results.figure import round_length
from napari_neuroscope.engine.results.panels import over, panels_of
from napari_neuroscope.engine.results.save import save
from results import CLASSES, explanation_of


def read(path: Path) -> np.ndarray:
    with Image.open(path) as file:
        return np.asarray(file.convert("RGB"), float) / 255


def found_in(figure: np.ndarray, picture: np.ndarray, times: int) -> tuple[int, int] | None:
    """Return where a picture lies in a figure, each of its pixels a square of `times`."""
    fine = np.repeat(np.repeat(picture, times, 0), times, 1)
    height, width = fine.shape[:2]
    for y in range(figure.shape[0] - height + 1):
        row = figure[y, :, :]
        for x in range(min(figure.shape[1] - width + 1, 60)):
            if np.abs(row[x : x + width] - fine[0]).max() < 0.006:
                part = figure[y : y + height, x : x + width]
                if np.abs(part - fine).max() < 0.006:
                    return y, x
    return None


def test_pixels_are_whole_squares_of_the_map_over_the_image(tmp_path: Path) -> None:
    made = explanation_of(("y", "x"), (60, 80))
    image = np.random.default_rng(1).integers(0, 255, (60, 80, 3), np.uint8)
    save(made, image, tmp_path / "map.png")
    most = float(np.abs(made.values).max())
    above = coloured(made.values, (-most, most), signed=True)
    wanted = above[..., 3:] * above[..., :3] + (1 - above[..., 3:]) * image / 255
    assert found_in(read(tmp_path / "map.png"), wanted, 6) is not None


def test_where_the_network_saw_nothing_the_image_stays() -> None:
    made = explanation_of(("y", "x"), (6, 8))
    made.values[:, :4] = np.nan
    image = np.random.default_rng(1).integers(0, 255, (6, 8, 3), np.uint8)
    (panel,) = panels_of(made, image)
    np.testing.assert_allclose(panel.picture[:, :4], image[:, :4] / 255)
    assert np.abs(panel.picture[:, 4:] - image[:, 4:] / 255).max() > 0.1


def test_each_class_and_layer_has_a_panel_and_limits_of_its_own() -> None:
    made = explanation_of(("class", "layer", "y", "x"), (2, 3, 5, 4))
    panels = panels_of(made, np.zeros((5, 4), np.uint8))
    names = [f"{one} · {other}" for one in made.labels["class"] for other in made.labels["layer"]]
    assert [panel.title for panel in panels] == names
    for panel, values in zip(panels, made.values.reshape(6, 5, 4), strict=True):
        most = pytest.approx(float(np.abs(values).max()))
        assert panel.span == (-most.expected, most.expected) or panel.span[1] == most  # type: ignore[index]
        assert panel.unit == "Grad-CAM"


@pytest.mark.parametrize("channels", [(), (2,)])
def test_of_a_volume_the_strongest_plane_is_shown_and_named(channels: tuple[int, ...]) -> None:
    made = explanation_of(("z", "y", "x"), (4, 5, 6), scale=2.0, offset=0.5)
    made.values[...] *= 0.01
    made.values[2] = 3.0
    image = np.zeros((*channels, 8, 10, 12), np.uint8)
    image[..., 4, :, :] = 255
    image[..., 4, 0, 0] = 0
    (panel,) = panels_of(made, image)
    # The third plane of the map lies at 4.5 of the image; even numbers are rounded down.
    assert panel.title == "z = 4 of 0…7"
    assert panel.picture.shape == (10, 12, 3)
    assert panel.picture[1, 1].max() > 0.5


def test_of_a_stack_the_right_plane_of_the_image_lies_below() -> None:
    made = explanation_of(("t", "z", "y", "x"), (3, 1, 5, 6), space=4)
    # Every second time from the first one on, and the third plane.
    seen = Grid((3, 1, 5, 6), (2.0, 1.0, 1.0, 1.0), (1.0, 2.0, 0.0, 0.0))
    made = replace(made, grid=seen, image=seen)
    made.values[...] = 0
    made.values[1] = 1e-3
    image = np.zeros((7, 4, 5, 6), np.uint8)
    image[3, 2, 2, 2] = 255
    (panel,) = panels_of(replace(made, signed=False), image)
    assert panel.title == "t = 3, z = 2"
    assert panel.picture[2, 2].min() > panel.picture[0, 0].min()
    assert panel.span == (0, pytest.approx(1e-3))


def test_label_maps_have_their_classes_as_legend() -> None:
    labels = np.array([[0, 1], [1, -1]], np.int32)
    made = replace(explanation_of(("y", "x"), (2, 2)), companions={"prediction": labels})
    _, panel = panels_of(made, None)
    assert panel.title == "Prediction"
    assert panel.legend == (CLASSES[1],)
    clear = [panel.picture[0, 0], panel.picture[1, 1]]
    np.testing.assert_array_equal(clear, np.zeros((2, 3)))
    shade = np.array(CLASSES[1][1]) / 255
    np.testing.assert_allclose(panel.picture[0, 1] / shade, panel.picture[0, 1, 0] / shade[0])


@pytest.mark.parametrize(
    ("most", "length", "words"),
    [(7.7e-6, 5e-6, "5 µm"), (1e-6, 1e-6, "1 µm"), (0.99e-6, 5e-7, "500 nm"),
     (2.5e-3, 2e-3, "2 mm"), (49e-6, 20e-6, "20 µm"), (3e-13, 2e-13, "0.2 pm")],
)  # fmt: skip
def test_scale_bars_are_of_round_lengths(most: float, length: float, words: str) -> None:
    found = round_length(most)
    assert found[0] == pytest.approx(length)
    assert found[1] == words


def white_run(figure: np.ndarray) -> int:
    """Return the length of the longest white line between black ends."""
    white = (figure > 0.98).all(-1)
    longest = 0
    for row in white[60:-60, 15:-15]:
        steps = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
        longest = max(longest, *(steps[1::2] - steps[::2]), 0)
    return longest


@pytest.mark.parametrize(("step", "unit", "pixels"), [(0.5, "micrometer", 20), (0.002, "mm", 10)])
def test_the_scale_bar_is_as_long_as_it_says(
    step: float, unit: str, pixels: int, tmp_path: Path
) -> None:
    made = explanation_of(("y", "x"), (60, 96))
    made.values[...] = 0
    spacing = Spacing.of(("z", "y", "x"), (9.0, step, step), unit)
    save(made, None, tmp_path / "map.png", spacing=spacing)
    # 10 µm are 20 pixels of 0.5 µm, and 20 µm are 10 of 2 µm, each of them 5 of the figure.
    expected = {20: 20, 10: 10}[pixels] * 5
    assert white_run(read(tmp_path / "map.png")) == pytest.approx(expected, abs=4)


def test_without_lengths_there_is_no_scale_bar(tmp_path: Path) -> None:
    made = explanation_of(("y", "x"), (60, 96))
    made.values[...] = 0
    save(made, None, tmp_path / "map.png", spacing=Spacing.of_pixels(("y", "x")))
    assert white_run(read(tmp_path / "map.png")) == 0


def test_an_unfinished_map_says_so_in_its_title(tmp_path: Path) -> None:
    made = explanation_of(("y", "x"), (5, 4))
    made = replace(made, record=replace(made.record, unfinished=Unfinished(3, 2000)))
    save(made, None, tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as file:
        assert "(3 of 2,000)" in file.text["Title"]  # type: ignore[attr-defined]


def test_a_picture_of_far_too_many_maps_is_refused() -> None:
    made = explanation_of(("class", "y", "x"), (101, 2, 2))
    with pytest.raises(ns.NeuroscopeError, match="A picture of 101 maps"):
        panels_of(made, None)


def test_a_large_picture_is_thinned_out() -> None:
    made = explanation_of(("y", "x"), (2, 5000))
    (panel,) = panels_of(made, np.zeros((2, 5000), np.uint8))
    assert panel.step == 2
    assert panel.picture.shape == (1, 2500, 3)


def test_what_the_network_sees_is_shown_as_it_is() -> None:
    made = explanation_of(("channel", "y", "x"), (3, 5, 4))
    made = replace(made, record=replace(made.record, method="input"))
    made.values[...] = np.random.default_rng(0).uniform(size=(3, 5, 4))
    (panel,) = panels_of(made, None)
    np.testing.assert_allclose(panel.picture, np.moveaxis(made.values, 0, -1))
    assert panel.span is None


def test_half_clear_is_half_of_both() -> None:
    np.testing.assert_allclose(
        over(np.zeros((1, 1, 3)), np.array([[[1, 0.5, 0, 0.5]]])), [[[0.5, 0.25, 0]]]
    )
