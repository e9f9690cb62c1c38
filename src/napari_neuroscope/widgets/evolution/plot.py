"""The evolution through the layers as two curves, with a marker where the slider stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import shortened
from napari_neuroscope.engine.evaluation.evolution import Evolution
from napari_neuroscope.widgets.parts.plots import canvas, cleared, dress, on_plot

_SHARE, _LOW, _NEXT = "#56b4e9", "#d55e00", "#e69f00"
_MOST_NAMES = 24


class EvolutionFigure:
    """Draws how much of each map lies inside the region, and how alike it is to the next.

    Parameters
    ----------
    clicked
        Is called with the number of the layer that is clicked.

    Attributes
    ----------
    canvas
        The widget.
    axes
        Where the curves are drawn: the shares above, the likeness below; empty without any.
    markers
        The lines that mark the slider's step.
    """

    def __init__(self, clicked: Callable[[int], None]) -> None:
        self._figure, self.canvas = canvas("Evolution through the layers", 320)
        self.axes: list[Any] = []
        self.markers: list[Any] = []
        self._count = 0
        self._clicked = clicked
        self.canvas.mpl_connect("button_release_event", self._click)

    def draw(self, evolution: Evolution | None, theme: str) -> None:
        """Draw an evolution in the colours of a theme; nothing where there is none."""
        back, ink = cleared(self._figure, theme)
        self.axes, self.markers = [], []
        if evolution is None:
            return
        self._count = len(evolution.layers)
        self.axes = list(self._figure.subplots(2, 1, sharex=True))
        above, below = self.axes
        _draw_shares(above, evolution, ink)
        _draw_likeness(below, evolution, ink)
        for axes in self.axes:
            dress(axes, back, ink, labelsize=8)
            axes.grid(alpha=0.2)
            self.markers.append(axes.axvline(0, color=ink, lw=1.5, alpha=0.7))

    def mark(self, step: int) -> None:
        """Move the marker to a layer."""
        for marker in self.markers:
            marker.set_xdata([step, step])
        self.canvas.draw_idle()

    def _click(self, event: Any) -> None:
        if self.axes and event.inaxes in self.axes:
            self._clicked(int(np.clip(round(event.xdata), 0, self._count - 1)))


def _draw_shares(axes: Any, evolution: Evolution, ink: str) -> None:
    at = np.arange(len(evolution.layers))
    axes.plot(at, evolution.share, "o-", color=_SHARE, markersize=4)
    axes.axhline(evolution.by_chance, color=ink, lw=0.8, ls="--")
    axes.annotate("by chance", (0, evolution.by_chance), xytext=(2, 2),
                  textcoords="offset points", color=ink, fontsize=7)  # fmt: skip
    if (wrong := evolution.wrong_from) is not None:
        axes.plot(at[wrong:], evolution.share[wrong:], "o", color=_LOW, markersize=6)
        axes.axvspan(wrong - 0.5, at[-1] + 0.5, color=_LOW, alpha=0.15, lw=0)
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("share inside", color=ink, fontsize=9)


def _draw_likeness(axes: Any, evolution: Evolution, ink: str) -> None:
    at = np.arange(len(evolution.layers))
    axes.plot(at[:-1] + 0.5, evolution.correlation, "s-", color=_NEXT, markersize=4)
    axes.set_ylim(-1.05, 1.05)
    axes.set_ylabel("rank correlation\nwith the next", color=ink, fontsize=9)
    step = -(-len(at) // _MOST_NAMES)
    names = [on_plot(shortened(name, 40)) for name in evolution.layers[::step]]
    axes.set_xticks(at[::step], names, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_xlim(-0.5, len(at) - 0.5)
