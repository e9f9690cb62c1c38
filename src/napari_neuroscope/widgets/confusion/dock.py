"""The confusion matrix: looked at, clicked, saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import napari
import numpy as np
from matplotlib.patches import Rectangle
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
)

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.evaluation.confusion import Confusion
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.layers.error_layers import cell_data
from napari_neuroscope.viewer.layers.layer_manager import Shower
from napari_neuroscope.widgets.parts.dock import Dock
from napari_neuroscope.widgets.parts.labels import note, on_line
from napari_neuroscope.widgets.parts.notices import tell_error
from napari_neuroscope.widgets.parts.plots import canvas, cleared, dress, on_plot

_WAYS = {
    None: "Counts",
    "true": "Shares of the true class (rows)",
    "predicted": "Shares of the predicted class (columns)",
    "all": "Shares of all",
}
_MOST_NUMBERS = 16
_MOST_NAMES = 40


class ConfusionMatrix(Dock):
    """How often each class was taken for each other, over all images with ground truth.

    A click on a cell shows just those pixels in the image that is shown, and lists the images that
    have most of them.

    Parameters
    ----------
    napari_viewer
        The viewer.
    session
        What is chosen; the viewer's if not given.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        self._shower = Shower(napari_viewer)
        self._axes: Any = None
        self._cell_frame: Any = None
        self._build()
        events = self.session.events
        for signal, slot in (
            (events.scores, self._take_scores),
            (events.cell, self._show_cell),
            (events.comparison, self._show_pixels),
            (self._viewer.events.theme, self._draw),
        ):
            self.follow(signal, slot)
        self.at_end(self._shower.close)
        self._take_scores()

    def _build(self) -> None:
        self.setObjectName("neuroscope-confusion")
        self._way = QComboBox()
        self._way.setAccessibleName("Numbers")
        for way, words in _WAYS.items():
            self._way.addItem(words, way)
        self._way.setCurrentIndex(1)
        self._way.currentIndexChanged.connect(self._draw)
        self._figure, self._canvas = canvas("Confusion matrix", 280)
        self._canvas.mpl_connect("button_release_event", self._clicked)
        self._canvas.mpl_connect("motion_notify_event", self._pointed)
        self._note, self._pointed_at = note(), note()
        self._images = QListWidget()
        self._images.setAccessibleName("Images with most of these pixels")
        self._images.setMinimumHeight(70)
        self._images.itemActivated.connect(self._go_to)
        self._images.itemClicked.connect(self._go_to)
        self._save = QPushButton("Save…")
        self._save.setToolTip("As a picture (PNG, SVG), or as numbers (CSV).")
        self._save.clicked.connect(self._ask_where)
        self._clear = QPushButton("No cell")
        self._clear.setToolTip("Choose no cell, and hide its pixels.")
        self._clear.clicked.connect(lambda: setattr(self.session, "cell", None))
        top = QHBoxLayout()
        top.addWidget(self._way, 1)
        top.addWidget(self._save)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addLayout(top)
        layout.addWidget(self._canvas, 1)
        layout.addWidget(self._pointed_at)
        row = QHBoxLayout()
        row.addWidget(self._note, 1)
        row.addWidget(self._clear)
        layout.addLayout(row)
        layout.addWidget(self._images)
        self.setMinimumWidth(320)

    # --- what is shown ---

    @property
    def confusion(self) -> Confusion | None:
        """The matrix that is shown."""
        scores = self.session.scores
        return None if scores is None or not scores.total.total else scores.total

    def _take_scores(self, *_: Any) -> None:
        confusion, cell = self.confusion, self.session.cell
        if cell and (confusion is None or max(cell) >= len(confusion.names)):
            self.session.cell = None
        self._save.setEnabled(confusion is not None)
        self._draw()
        self._show_cell()

    def _draw(self, *_: Any) -> None:
        if self.closed:
            return
        back, ink = cleared(self._figure, self._viewer.theme)
        self._axes, self._cell_frame = None, None
        confusion = self.confusion
        if confusion is None:
            self._figure.text(0.5, 0.5, "Predict images with ground truth\nin the dock “Images”.",
                              ha="center", va="center", color=ink)  # fmt: skip
            self._canvas.draw_idle()
            return
        way = self._way.currentData()
        values = confusion.normalised(way)
        self._axes = axes = self._figure.add_subplot()
        dress(axes, back, ink)
        most = float(np.nanmax(values)) if way is None else 1.0
        shown = axes.imshow(values, cmap="viridis", vmin=0, vmax=most or 1.0)
        self._label(axes, confusion.names, ink)
        bar = self._figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.03)
        bar.ax.tick_params(colors=ink, labelsize=8)
        bar.outline.set_edgecolor(ink)
        if len(confusion.names) <= _MOST_NUMBERS:
            # No share of nothing is drawn as the background.
            colours = shown.to_rgba(np.nan_to_num(values))
            for (row, column), value in np.ndenumerate(values):
                red, green, blue, _ = colours[row, column]
                light = 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.45
                axes.text(
                    column, row, _in_digits(value, way), ha="center", va="center", fontsize=7,
                    color="black" if light and not np.isnan(value) else
                    (ink if np.isnan(value) else "white"),
                )  # fmt: skip
        what = "pixels" if self.session.counts_pixels() else "images"
        axes.set_title(f"{confusion.total:,} {what}", color=ink, fontsize=9)
        self._frame()

    def _label(self, axes: Any, names: tuple[str, ...], ink: str) -> None:
        step = -(-len(names) // _MOST_NAMES)
        places = range(0, len(names), step)
        short = [on_plot(shortened(name, 17)) for name in names[::step]]
        axes.set_xticks(places, short, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
        axes.set_yticks(places, short, fontsize=8)
        axes.set_xlabel("Predicted class", color=ink, fontsize=9)
        axes.set_ylabel("True class", color=ink, fontsize=9)

    def _frame(self) -> None:
        """Draw a frame about the cell that is chosen."""
        if self._cell_frame is not None:
            self._cell_frame.remove()
            self._cell_frame = None
        if self._axes is not None and self.session.cell is not None:
            row, column = self.session.cell
            self._cell_frame = self._axes.add_patch(
                Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="#e69f00", lw=2.5)
            )
        self._canvas.draw_idle()

    # --- what is chosen ---

    def _cell_at(self, event: Any) -> tuple[int, int] | None:
        confusion = self.confusion
        if confusion is None or self._axes is None or event.inaxes is not self._axes:
            return None
        row, column = round(event.ydata), round(event.xdata)
        inside = 0 <= row < len(confusion.names) and 0 <= column < len(confusion.names)
        return (row, column) if inside else None

    def _clicked(self, event: Any) -> None:
        if (cell := self._cell_at(event)) is not None:
            self.session.cell = cell

    def _pointed(self, event: Any) -> None:
        cell = self._cell_at(event)
        self._pointed_at.setText("" if cell is None else self._in_words(*cell))

    def _in_words(self, true: int, predicted: int) -> str:
        confusion = self.confusion
        assert confusion is not None
        count, whole = confusion.counts[true, predicted], confusion.counts[true].sum()
        share = f", {count / whole:.1%} of all true {confusion.names[true]}" if whole else ""
        return (
            f"True {confusion.names[true]}, predicted {confusion.names[predicted]}: "
            f"{count:,}{share}."
        )

    def _show_cell(self, *_: Any) -> None:
        if self.closed:
            return
        cell, scores = self.session.cell, self.session.scores
        self._frame()
        self._images.clear()
        self._clear.setEnabled(cell is not None)
        if cell is None or scores is None or self.confusion is None:
            self._note.setText("A click on a cell shows its pixels, and the images with most.")
            self._hide_pixels()
            return
        self._note.setText(self._in_words(*cell))
        for score in scores.images_with(*cell):
            count = int(score.confusion.counts[cell])
            item = QListWidgetItem(f"{on_line(score.name)}   {count:,}")
            item.setData(Qt.ItemDataRole.UserRole, score.name)
            self._images.addItem(item)
        self._show_pixels()

    def _show_pixels(self, *_: Any) -> None:
        """Show the pixels of the cell in the image that is shown."""
        cell, comparison = self.session.cell, self.session.comparison
        if self.closed or cell is None or comparison is None or comparison.truth is None:
            return
        if comparison.prediction.grid is None or comparison.source not in self._viewer.layers:
            return
        if self._shower.layer(("cell", "0")) is None:
            # Just these pixels are to be seen; the user may show the others again.
            self._shower.hide_others("prediction", "comparison")
        (layer,) = self._shower.show(cell_data(comparison, *cell), ("cell",))
        layer.visible, layer.opacity = True, 0.8

    def _hide_pixels(self) -> None:
        layer = self._shower.layer(("cell", "0"))
        if layer is not None:
            layer.visible = False

    def _go_to(self, item: QListWidgetItem) -> None:
        self.session.show_image(item.data(Qt.ItemDataRole.UserRole))

    # --- what is kept ---

    def _ask_where(self) -> None:
        chosen, _ = QFileDialog.getSaveFileName(
            self, "Save the confusion matrix", "confusion.png",
            "Pictures (*.png *.svg);;Numbers (*.csv)",
        )  # fmt: skip
        if chosen:
            try:
                self.save(Path(chosen))
            except NeuroscopeError as error:
                tell_error(str(error))

    def save(self, path: Path) -> None:
        """Save the matrix as it is shown: .png or .svg as a picture, .csv as numbers.

        An existing file is replaced; the dialog has asked.

        Raises
        ------
        NeuroscopeError
            Where the name ends in something else, or can't be written.
        """
        confusion = self.confusion
        if confusion is None:
            raise NeuroscopeError("There is no confusion matrix yet; predict images first.")
        suffix = path.suffix.lower()
        if suffix == ".csv":
            confusion.to_csv(path, self._way.currentData(), overwrite=True)
        elif suffix in (".png", ".svg"):
            try:
                self._figure.savefig(path, dpi=200, facecolor=self._figure.get_facecolor())
            except OSError as error:
                raise NeuroscopeError(f"{path} can't be written: {error.strerror}.") from error
        else:
            raise NeuroscopeError(
                f"“{path.name}” ends in none of .png, .svg and .csv; choose one of these."
            )


def _in_digits(value: float, way: str | None) -> str:
    if np.isnan(value):
        return "–"
    if way is not None:
        return f"{value:.2f}".lstrip("0") if value < 1 else "1"
    for scale, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= scale:
            return f"{value / scale:.3g}{unit}"
    return f"{value:g}"
