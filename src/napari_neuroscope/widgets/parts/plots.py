"""Figures of matplotlib in the colours of the viewer's theme."""

from __future__ import annotations

from typing import Any, Literal

from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from napari.utils.theme import get_theme

from napari_neuroscope.engine.evaluation.channel_statistics import ChannelStatistics
from napari_neuroscope.engine.plain_text import visible

_BARS = "#56b4e9"


def canvas(
    name: str, height: int, layout: Literal["constrained"] | None = "constrained"
) -> tuple[Figure, FigureCanvasQTAgg]:
    """Return a figure and the widget that shows it, so many pixels high at least."""
    figure = Figure(layout=layout)
    widget = FigureCanvasQTAgg(figure)
    widget.setMinimumHeight(height)
    widget.setAccessibleName(name)
    return figure, widget


def cleared(figure: Figure, theme_name: str) -> tuple[str, str]:
    """Clear a figure; return the theme's colours of the background and of what is on it."""
    theme = get_theme(theme_name)
    back, ink = (colour.as_hex() for colour in (theme.background, theme.text))
    figure.clear()
    figure.set_facecolor(back)
    return back, ink


def dress(axes: Any, back: str, ink: str, **ticks: Any) -> None:
    """Give axes the theme's colours; `ticks` goes to their ``tick_params``."""
    axes.set_facecolor(back)
    axes.tick_params(colors=ink, **ticks)
    for spine in axes.spines.values():
        spine.set_edgecolor(ink)


def on_plot(text: str) -> str:
    """Return words for a figure, where what stands between two $ would be set as a formula."""
    return visible(text).replace("$", r"\$")


def draw_histogram(figure: Figure, theme_name: str, statistics: ChannelStatistics | None) -> None:
    """Draw the distribution of an activation's values; nothing where there is none."""
    back, ink = cleared(figure, theme_name)
    if statistics is None:
        return
    axes = figure.subplots()
    axes.stairs(statistics.counts, statistics.edges, fill=True, color=_BARS)
    # Most values of an activation are zero: linear counts would show just that.
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(0, None)
    dress(axes, back, ink, labelsize=7)
    axes.set_ylabel("values", color=ink, fontsize=8)
    axes.set_xlabel("activation", color=ink, fontsize=8)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
