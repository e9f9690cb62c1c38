"""Explanations as figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_neuroscope.engine.explanation.colormaps import coloured, limits
from napari_neuroscope.engine.images.spacing import Spacing
from napari_neuroscope.engine.results.figure import round_length
from napari_neuroscope.engine.results.save import save
from results import explanation_of


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
    above = coloured(made.values, limits(made.values, signed=True), signed=True)
    wanted = above[..., 3:] * above[..., :3] + (1 - above[..., 3:]) * image / 255
    assert found_in(read(tmp_path / "map.png"), wanted, 6) is not None


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
    made = made.so_far(3, 2000)
    save(made, None, tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as file:
        assert "(3 of 2,000)" in file.text["Title"]  # type: ignore[attr-defined]
