"""A confusion matrix as a picture whose cells can be clicked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.patches import Rectangle
from qtpy.QtWidgets import QScrollArea

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.evaluation.confusion import Confusion
from napari_neuroscope.widgets.parts.plots import canvas, cleared, dress, on_plot

MOST_READABLE = 40
"""Of more classes than these no cell can be read, nor their names."""
_MOST_ERRORS = 30
# The least size of a cell with a number in it, and what the names take beside them, in pixels.
_CELL = (30, 20)
_NAMES = (130, 130)
# Of a cell this light the number is black.
_LIGHT = 0.45

Cell = tuple[int, int]
"""The number of the true class, and of the predicted."""

Way = Literal["true", "predicted", "all"] | None
"""How counts are divided, as `Confusion.normalised` takes it; None: not."""


class ConfusionPlot:
    """Draws a matrix, and tells of cells that are pointed at and clicked.

    It takes all the room that there is, and can be scrolled where its cells need more.

    Parameters
    ----------
    clicked
        Is called with a cell.
    pointed
        Is called with the cell below the pointer, and None where there is none.

    Attributes
    ----------
    figure, canvas, area
        The figure, the widget that shows it, and what scrolls that.
    axes
        Where the matrix is drawn; None where there is none.
    """

    def __init__(
        self, clicked: Callable[[Cell], None], pointed: Callable[[Cell | None], None]
    ) -> None:
        self.figure, self.canvas = canvas("Confusion matrix", 110)
        # A turn of the wheel scrolls what is around it.
        self.canvas.wheelEvent = lambda event: event.ignore()  # type: ignore[method-assign]
        self.area = QScrollArea()
        self.area.setWidget(self.canvas)
        self.area.setWidgetResizable(True)
        self.area.setFrameShape(QScrollArea.Shape.NoFrame)
        self.area.setMinimumHeight(110)
        self.axes: Any = None
        self._confusion: Confusion | None = None
        self._classes: tuple[int, ...] = ()
        self._cell_frame: Any = None
        self._clicked, self._pointed = clicked, pointed
        self.canvas.mpl_connect("button_release_event", self._click)
        self.canvas.mpl_connect("motion_notify_event", self._point)
        self.canvas.mpl_connect("axes_leave_event", self._leave)

    def draw(
        self,
        confusion: Confusion | None,
        way: Way,
        theme: str,
        counted: str,
        *,
        only_errors: bool = False,
    ) -> None:
        """Draw a matrix in the colours of a theme.

        Parameters
        ----------
        confusion
            The matrix; None: what is to be done to have one.
        way
            How its counts are divided.
        theme
            The viewer's.
        counted
            What is counted, in words.
        only_errors
            Of many classes, draw only those with most errors.
        """
        back, ink = cleared(self.figure, theme)
        self.axes, self._cell_frame, self._confusion, self._classes = None, None, confusion, ()
        if confusion is None:
            self.canvas.setMinimumSize(1, 1)
            self.figure.text(0.5, 0.5, "Predict images with ground truth\nin the dock “Images”.",
                             ha="center", va="center", color=ink)  # fmt: skip
            self.canvas.draw_idle()
            return
        count = len(confusion.names)
        only_errors = only_errors and count > MOST_READABLE
        self._classes = with_most_errors(confusion) if only_errors else tuple(range(count))
        values = confusion.normalised(way)[np.ix_(self._classes, self._classes)]
        self.axes = axes = self.figure.add_subplot()
        dress(axes, back, ink)
        most = float(np.nanmax(values, initial=0)) if way is None else 1.0
        # Cells are as wide as there is room.
        shown = axes.imshow(values, cmap="viridis", vmin=0, vmax=most or 1.0, aspect="auto")
        _label(axes, [confusion.names[n] for n in self._classes], ink)
        if len(self._classes) <= MOST_READABLE:
            _write_numbers(axes, values, shown.to_rgba(np.nan_to_num(values)), way, ink)
            sides = (len(self._classes) * _CELL[n] + _NAMES[n] for n in (0, 1))
            self.canvas.setMinimumSize(*sides)
        else:
            bar = self.figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.03)
            bar.ax.tick_params(colors=ink, labelsize=8)
            bar.outline.set_edgecolor(ink)
            self.canvas.setMinimumSize(1, 1)
        title = f"{confusion.total:,} {counted}"
        if way is not None and len(self._classes) <= MOST_READABLE:
            title += ", shares in %"
        if only_errors:
            title += f"\nthe {len(self._classes)} of {count:,} classes with most errors"
        axes.set_title(title, color=ink, fontsize=9)

    def frame(self, cell: Cell | None) -> None:
        """Draw a frame about a cell."""
        if self._cell_frame is not None:
            self._cell_frame.remove()
            self._cell_frame = None
        if self.axes is not None and cell is not None and set(cell) <= set(self._classes):
            row, column = (self._classes.index(number) for number in cell)
            self._cell_frame = self.axes.add_patch(
                Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="#e69f00", lw=2.5)
            )
        self.canvas.draw_idle()

    def save(self, path: Path) -> None:
        """Save the picture as it is drawn.

        Raises
        ------
        NeuroscopeError
            Where it can't be written.
        """
        try:
            self.figure.savefig(path, dpi=200, facecolor=self.figure.get_facecolor())
        except OSError as error:
            raise NeuroscopeError(f"{path} can't be written: {error.strerror}.") from error

    def _cell_at(self, event: Any) -> Cell | None:
        if self._confusion is None or self.axes is None or event.inaxes is not self.axes:
            return None
        row, column, count = round(event.ydata), round(event.xdata), len(self._classes)
        if not (0 <= row < count and 0 <= column < count):
            return None
        return self._classes[row], self._classes[column]

    def _click(self, event: Any) -> None:
        if (cell := self._cell_at(event)) is not None:
            self._clicked(cell)

    def _point(self, event: Any) -> None:
        self._pointed(self._cell_at(event))

    def _leave(self, _: Any) -> None:
        self._pointed(None)


def with_most_errors(confusion: Confusion, most: int = _MOST_ERRORS) -> tuple[int, ...]:
    """Return the classes that are most often taken for others, or others for them, in their order."""
    right = np.diag(confusion.counts)
    errors = confusion.counts.sum(0) + confusion.counts.sum(1) - 2 * right
    chosen = np.argsort(-errors, kind="stable")[:most]
    return tuple(sorted(chosen.tolist()))


def _label(axes: Any, names: Sequence[str], ink: str) -> None:
    step = -(-len(names) // MOST_READABLE)
    places = range(0, len(names), step)
    short = [on_plot(shortened(name, 17)) for name in names[::step]]
    axes.set_xticks(places, short, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(places, short, fontsize=8)
    axes.set_xlabel("Predicted class", color=ink, fontsize=9)
    axes.set_ylabel("True class", color=ink, fontsize=9)


def _write_numbers(axes: Any, values: np.ndarray, colours: np.ndarray, way: Way, ink: str) -> None:
    for (row, column), value in np.ndenumerate(values):
        red, green, blue, _ = colours[row, column]
        # The luminance that Rec. 709 defines.
        light = 0.2126 * red + 0.7152 * green + 0.0722 * blue > _LIGHT
        # No share of nothing is drawn as the background.
        colour = ink if np.isnan(value) else "black" if light else "white"
        axes.text(column, row, _in_digits(value, way), ha="center", va="center", fontsize=8,
                  color=colour)  # fmt: skip


def _in_digits(value: float, way: Way) -> str:
    """Return what stands in a cell: nothing for none, and a share in whole percent."""
    if np.isnan(value):
        return "–"
    if value == 0:
        return ""
    if way is not None:
        percent = 100 * value
        # What is not quite none, or not quite all, is not called so.
        return "<1" if percent < 0.5 else ">99" if 99.5 <= percent < 100 else f"{percent:.0f}"
    for scale, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= scale:
            return f"{value / scale:.3g}{unit}"
    return f"{value:g}"
