"""Figures of matplotlib in the colours of the viewer's theme."""

from __future__ import annotations

from typing import Any, Literal

from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from napari.utils.theme import get_theme


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
