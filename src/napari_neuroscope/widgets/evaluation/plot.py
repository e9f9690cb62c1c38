"""What metrics saw on their way, as a plot a metric: a line for each map."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from napari_neuroscope.engine.errors import shortened
from napari_neuroscope.engine.evaluation.evaluation import MapResults
from napari_neuroscope.engine.evaluation.map_metric import MetricPlot
from napari_neuroscope.engine.evaluation.metric_registry import metrics
from napari_neuroscope.widgets.parts.plots import cleared, dress, on_plot

# Apart for colour-blind eyes, on dark and on light.
_COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#0072b2", "#999999")
_DASHES = ("-", "--", ":", "-.")


def colours_of(count: int) -> list[str]:
    """Return a colour for each of so many rows."""
    return list(islice(cycle(_COLOURS), count))


def draw_curves(
    figure: Figure, theme: str, rows: Sequence[MapResults], titles: Sequence[str], chosen: int
) -> dict[str, Any]:
    """Draw the curves that there are, those of the chosen row thick.

    Returns
    -------
    dict
        The axes by metric.
    """
    back, ink = cleared(figure, theme)
    plots = {
        name: metric.plot
        for name, metric in metrics.items()
        if metric.plot is not None and any(_detail(row, name) is not None for row in rows)
    }
    if not plots:
        return {}
    axes_of = dict(zip(plots, np.atleast_1d(figure.subplots(len(plots), 1)), strict=True))
    lines: dict[int, Any] = {}
    for name, plot in plots.items():
        axes = axes_of[name]
        for number, row in enumerate(rows):
            if (detail := _detail(row, name)) is None:
                continue
            thick = number == chosen
            (lines[number],) = axes.plot(
                *plot.line(detail), color=colours_of(len(rows))[number],
                ls=_DASHES[number // len(_COLOURS) % len(_DASHES)],
                lw=3 if thick else 1.3, alpha=1 if thick or chosen < 0 else 0.6,
                marker="o" if plot.points is not None else "", markersize=3,
                zorder=3 if thick else 2,
            )  # fmt: skip
        _finish(axes, plot, [detail for row in rows if (detail := _detail(row, name))], back, ink)
    legend = figure.legend(
        [lines[number] for number in sorted(lines)], [on_plot(shortened(titles[number])) for number in sorted(lines)],
        loc="outside upper center", ncols=2, fontsize=7, frameon=False,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_color(ink)
    return axes_of


def _finish(axes: Any, plot: MetricPlot, details: Sequence[Any], back: str, ink: str) -> None:
    dress(axes, back, ink, labelsize=7)
    axes.grid(alpha=0.2)
    axes.set_xlabel(plot.across, color=ink, fontsize=8)
    axes.set_ylabel(plot.along, color=ink, fontsize=8)
    if plot.points is None:
        axes.set_xlim(0, 1)
        for level in plot.levels:
            axes.axhline(level, color=ink, lw=0.6, ls="--", alpha=0.6)
        return
    names = [on_plot(shortened(name, 40)) for name in plot.points(details[0])]
    axes.set_ylim(-0.05, 1.05)
    for level in plot.levels:
        axes.axhline(level, color=ink, lw=0.8, ls="--")
    axes.set_xticks(
        range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor", fontsize=7
    )


def _detail(row: MapResults, metric: str) -> Any:
    return row.results[metric].detail if metric in row.results else None
