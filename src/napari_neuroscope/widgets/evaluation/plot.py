"""The curves of judged maps: deletion, insertion, and likeness under randomisation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from napari_neuroscope.engine.errors import shortened
from napari_neuroscope.engine.evaluation.evaluate import Row
from napari_neuroscope.engine.evaluation.faithfulness import Way
from napari_neuroscope.engine.evaluation.sanity import MOST_LIKE
from napari_neuroscope.widgets.parts.plots import cleared, dress, on_plot

# Apart for colour-blind eyes, on dark and on light.
_COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#0072b2", "#999999")
_DASHES = ("-", "--", ":", "-.")
_PARTS: dict[str, tuple[str, str]] = {
    "deletion": ("share removed", "score, deleting"),
    "insertion": ("share restored", "score, inserting"),
    "sanity_check": ("layers random, from the end", "like the map"),
}


def colours_of(count: int) -> list[str]:
    """Return a colour for each of so many rows."""
    return list(islice(cycle(_COLOURS), count))


def draw_curves(
    figure: Figure, theme: str, rows: Sequence[Row], titles: Sequence[str], chosen: int
) -> dict[str, Any]:
    """Draw the curves that there are, those of the chosen row thick.

    Returns
    -------
    dict
        The axes of each part: "deletion", "insertion" and "sanity_check".
    """
    back, ink = cleared(figure, theme)
    parts = [part for part in _PARTS if any(_curve(row, part) is not None for row in rows)]
    if not parts:
        return {}
    found = dict(zip(parts, np.atleast_1d(figure.subplots(len(parts), 1)), strict=True))
    lines: dict[int, Any] = {}
    for part, axes in found.items():
        for number, row in enumerate(rows):
            if (curve := _curve(row, part)) is None:
                continue
            thick = number == chosen
            (lines[number],) = axes.plot(
                *curve, color=colours_of(len(rows))[number],
                ls=_DASHES[number // len(_COLOURS) % len(_DASHES)],
                lw=3 if thick else 1.3, alpha=1 if thick or chosen < 0 else 0.6,
                marker="o" if part == "sanity_check" else "", markersize=3,
                zorder=3 if thick else 2,
            )  # fmt: skip
        _finish(axes, part, rows, back, ink)
    legend = figure.legend(
        [lines[number] for number in sorted(lines)], [on_plot(shortened(titles[number])) for number in sorted(lines)],
        loc="outside upper center", ncols=2, fontsize=7, frameon=False,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_color(ink)
    return found


def _finish(axes: Any, part: str, rows: Sequence[Row], back: str, ink: str) -> None:
    across, along = _PARTS[part]
    dress(axes, back, ink, labelsize=7)
    axes.grid(alpha=0.2)
    axes.set_xlabel(across, color=ink, fontsize=8)
    axes.set_ylabel(along, color=ink, fontsize=8)
    if part != "sanity_check":
        axes.set_xlim(0, 1)
        for level in (0, 1):
            axes.axhline(level, color=ink, lw=0.6, ls="--", alpha=0.6)
        return
    stages = next(row.sanity.stages for row in rows if row.sanity is not None)
    axes.set_ylim(-0.05, 1.05)
    axes.axhline(MOST_LIKE, color=ink, lw=0.8, ls="--")
    axes.set_xticks(range(len(stages) + 1), ["none", *(on_plot(shortened(name, 40)) for name in stages)], rotation=30, ha="right",
                    rotation_mode="anchor", fontsize=7)  # fmt: skip


def _curve(row: Row, part: str) -> tuple[np.ndarray, np.ndarray] | None:
    if part == "sanity_check":
        if row.sanity is None:
            return None
        # A map turned upside down shows what it showed before.
        like = np.abs(row.sanity.rank_correlation)
        return np.arange(len(like) + 1), np.concatenate([[1.0], like])
    way: Way = "deletion" if part == "deletion" else "insertion"
    curve = row.curves.get(way)
    return None if curve is None else (curve.share, curve.relative)
