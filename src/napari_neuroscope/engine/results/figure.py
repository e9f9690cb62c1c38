"""Explanations as figures: maps over the image, with what their colours and lengths mean."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_neuroscope.engine.explanation.colormaps import coloured
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.images.spacing import Spacing
from napari_neuroscope.engine.results.panels import Panel, over, panels_of
from napari_neuroscope.engine.results.units import Unit, unit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DPI = 100
# A panel's longer side has at least so many pixels, by drawing each pixel as a square of several.
_LEAST_SIDE = 480
_INK, _FAINT = "#1a1a1a", "#666666"
# What a colour bar shows its transparent colours over.
_DARK = 0.12
# A scale bar takes at most this share of the width.
_BAR_SHARE = 0.25


def save_figure(explanation: Explanation, image: Any, path: Path, spacing: Spacing | None) -> None:
    """Write a figure of the maps over the image as PNG, one pixel as a square of whole pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = panels_of(explanation, image)
    title = explanation.record.full_title
    place = _Places(panels)
    figure = Figure((place.width / _DPI, place.height / _DPI), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    # All is placed by pixels from the upper left corner.
    axes.set(xlim=(0, place.width), ylim=(place.height, 0))
    axes.axis("off")
    axes.patch.set_visible(False)
    draw = _PixelAxes(axes, place)
    if len(panels) == 1:
        title = " · ".join(filter(None, (title, panels[0].title)))
    draw.words(place.margin, place.margin + 0.9 * place.font, title,
               place.width - 2 * place.margin, bold=True)  # fmt: skip
    length = _length_of_pixels(explanation, spacing)
    for number, panel in enumerate(panels):
        x, y = place.corner(number)
        if len(panels) > 1:
            draw.words(x, y - 0.7 * place.font, panel.title, place.panel_width)
        draw.picture(x, y, panel.picture, place.times)
        if length is not None:
            draw.scale_bar(x, y, length * panel.step / place.times)
        if panel.span is not None:
            draw.colour_bar(x, y + place.panel_height + 0.5 * place.font, panel)
        if panel.legend:
            draw.legend(x, y + place.panel_height + 0.5 * place.font, panel)
    software = {"Title": title, "Software": "napari-neuroscope"}
    figure.savefig(path, format="png", dpi=_DPI, metadata=software)


class _Places:
    """Where the panels lie, in pixels of the figure."""

    def __init__(self, panels: list[Panel]) -> None:
        height, width = panels[0].picture.shape[:2]
        self.times = max(1, -(-_LEAST_SIDE // max(height, width)))
        self.panel_width, self.panel_height = width * self.times, height * self.times
        self.columns = math.ceil(math.sqrt(len(panels)))
        if self.panel_height > 2 * self.panel_width:
            self.columns = len(panels)
        rows = -(-len(panels) // self.columns)
        across = self.columns * self.panel_width
        # Legible when the whole figure is looked at, and no larger than its panels bear.
        self.font = min(max(0.026 * self.panel_width, 0.016 * across, 13.0),
                        max(0.06 * self.panel_width, 13.0))  # fmt: skip
        self.margin = round(0.8 * self.font)
        self._gap = round(1.2 * self.font)
        self._head = round(2.0 * self.font) + self.margin
        self._above = round(1.5 * self.font) if len(panels) > 1 else 0
        deep = max(len(panel.legend) for panel in panels)
        below = max(3.6 if any(panel.span for panel in panels) else 0, 0.5 + 1.5 * deep)
        self._pitch = self._above + self.panel_height + round(below * self.font)
        self.width = 2 * self.margin + across + (self.columns - 1) * self._gap
        self.height = self._head + rows * self._pitch + (rows - 1) * self._gap // 2 + self.margin

    def corner(self, number: int) -> tuple[int, int]:
        """Return the upper left corner of a panel's picture."""
        row, column = divmod(number, self.columns)
        return (
            self.margin + column * (self.panel_width + self._gap),
            self._head + row * (self._pitch + self._gap // 2) + self._above,
        )


class _PixelAxes:
    """Draws on axes of pixels."""

    def __init__(self, axes: Axes, place: _Places) -> None:
        self._axes, self._place = axes, place

    def picture(self, x: int, y: int, picture: np.ndarray, times: int = 1) -> None:
        """Draw a picture, each of its pixels as a square of `times`."""
        figure = self._axes.get_figure(root=True)
        assert figure is not None
        picture = (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)
        picture = picture.repeat(times, 0).repeat(times, 1)
        height = len(picture)
        figure.figimage(picture, x, self._place.height - y - height, origin="upper", zorder=-1)

    def words(
        self, x: float, y: float, text: str, room: float, *, bold: bool = False, **more: Any
    ) -> None:
        """Draw a line of text, smaller or cut where there is no room."""
        size = self._place.font * 72 / _DPI
        look = {"color": _INK, "va": "center", "weight": "bold" if bold else "normal", **more}
        drawn = self._axes.text(x, y, text, fontsize=size, **look)
        wide = drawn.get_window_extent().width
        if wide > room:
            drawn.set_fontsize(max(size * room / wide, 0.7 * size))
        while drawn.get_window_extent().width > room and len(text) > 2:
            text = text[:-2]
            drawn.set_text(f"{text}…")

    def colour_bar(self, x: float, y: float, panel: Panel) -> None:
        """Draw the colours from the least to the most, with their values and unit."""
        assert panel.span is not None
        place, (low, high) = self._place, panel.span
        wide, deep = place.panel_width, max(round(0.7 * place.font), 6)
        steps = coloured(np.linspace(low, high, wide), panel.span, signed=panel.signed)
        bar = over(np.full((deep, wide, 3), _DARK), np.repeat(steps[None], deep, 0))
        self.picture(round(x), round(y), bar)
        line = y + deep + 0.85 * place.font
        for at, value, side in [(0, low, "left"), (wide, high, "right"), (wide / 2, 0.0, "center")]:
            if side != "center" or panel.signed:
                self.words(x + at, line, f"{value:.3g}".replace("-", "−"), wide / 3, ha=side)
        unit = panel.unit.replace("_", " ")
        self.words(x + wide / 2, line + 1.2 * place.font, unit, wide, ha="center", color=_FAINT)

    def legend(self, x: float, y: float, panel: Panel) -> None:
        """Draw the classes' colours and names, a line each."""
        from matplotlib.patches import Rectangle

        side = self._place.font
        for number, (name, colour) in enumerate(panel.legend):
            top = y + 1.5 * side * number
            shade = [part / 255 for part in colour]
            self._axes.add_patch(Rectangle((x, top), side, side, facecolor=shade, edgecolor=_FAINT))
            room = self._place.panel_width - 1.5 * side
            self.words(x + 1.5 * side, top + 0.5 * side, name, room)

    def scale_bar(self, x: float, y: float, metres: float) -> None:
        """Draw a bar of a round length at the lower right; a pixel of the figure is so long."""
        from matplotlib.patches import Rectangle
        from matplotlib.patheffects import withStroke

        place = self._place
        length, words = round_length(_BAR_SHARE * place.panel_width * metres)
        wide, deep = length / metres, max(0.35 * place.font, 3.0)
        right = x + place.panel_width - 0.8 * place.font
        bottom = y + place.panel_height - 0.8 * place.font
        self._axes.add_patch(
            Rectangle((right - wide, bottom - deep), wide, deep, facecolor="white",
                      edgecolor="black", linewidth=max(0.06 * place.font, 0.8))
        )  # fmt: skip
        self.words(
            right - wide / 2, bottom - deep - 0.25 * place.font, words, place.panel_width,
            color="white", ha="center", va="bottom",
            path_effects=[withStroke(linewidth=max(0.16 * place.font, 2.0), foreground="black")],
        )  # fmt: skip


def _length_of_pixels(explanation: Explanation, spacing: Spacing | None) -> float | None:
    """Return how many metres the image's pixels are apart along its last axis, where known."""
    if spacing is None:
        return None
    along = spacing.along(explanation.space[-1:])
    unit: Unit | None = unit_of(along.units[0])
    step = abs(along.steps[0])
    return step * unit.size if unit is not None and unit.kind == "length" and step else None


def round_length(most: float) -> tuple[float, str]:
    """Return the longest length of 1, 2 or 5 times a power of ten up to `most` metres, and its name."""
    power = 10.0 ** math.floor(math.log10(most) + 1e-9)
    length = next(n * power for n in (5, 2, 1) if n * power <= most * (1 + 1e-9))
    names = ("pm", "nm", "µm", "mm", "m", "km")
    units = [unit for unit in map(unit_of, names) if unit is not None]
    fitting = [unit for unit in units if unit.size <= length * (1 + 1e-9)] or units[:1]
    return length, f"{length / fitting[-1].size:g} {fitting[-1].symbol}"
