"""The confusion matrix: looked at, clicked, saved."""

from __future__ import annotations

from pathlib import Path

import napari
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QListWidget, QListWidgetItem

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.evaluation.confusion import Confusion
from napari_neuroscope.session.cell_question import CellQuestion
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.layers.error_layers import cell_data
from napari_neuroscope.viewer.layers.maps.layer_manager import LayerManager
from napari_neuroscope.widgets.confusion.plot import MOST_READABLE, Cell, ConfusionPlot
from napari_neuroscope.widgets.parts.dialogs.save_dialog import ask_and_save
from napari_neuroscope.widgets.parts.dock import Dock
from napari_neuroscope.widgets.parts.form import button, choice, row
from napari_neuroscope.widgets.parts.labels import on_button, on_line, plain_tooltip
from napari_neuroscope.widgets.parts.window.open_dock import open_dock

_WAYS = {
    None: "Counts",
    "true": "Shares of the true class (rows)",
    "predicted": "Shares of the predicted class (columns)",
    "all": "Shares of all",
}


class ConfusionMatrix(Dock):
    """How often each class was taken for each other, over all images with ground truth.

    A click on a cell shows just those pixels in the image that is shown, and lists the images that
    have most of them. “Why?” has them explained in the inspector.

    Parameters
    ----------
    napari_viewer
        The viewer.
    session
        What is chosen; the viewer's if not given.

    Attributes
    ----------
    plot
        The picture of the matrix.
    way
        How its counts are divided.
    classes
        Of many classes, whether all are shown.
    images
        The images with most of the pixels of the chosen cell.
    why_button, why_not_button
        Ask why those pixels are what they are predicted to be, and why not what they truly are.
    """

    name = "confusion"

    def __init__(self, napari_viewer: napari.viewer.Viewer, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        self._layer_manager = self.owned(LayerManager(napari_viewer))
        self._build()
        events = self.session.events
        self.follow(events.scores, self._take_scores)
        self.follow(events.cell, self._show_cell)
        self.follow(events.comparison, self._show_pixels)
        self.follow(self._viewer.events.theme, self._draw)
        self._take_scores()

    def _build(self) -> None:
        self.way = choice("Numbers", _WAYS)
        self.way.setCurrentIndex(1)
        self.way.currentIndexChanged.connect(self._draw)
        self.classes = choice("Which classes", {True: "Classes with most errors", False: "All"})
        self.classes.currentIndexChanged.connect(self._draw)
        self.plot = ConfusionPlot(self._choose, self._say_pointed)
        self.images = QListWidget()
        self.images.setAccessibleName("Images with most of these pixels")
        self.images.setMinimumHeight(44)
        self.images.setMaximumHeight(90)
        self.why_button = button("Why?", clicked=lambda: self._ask_why(predicted=True))
        self.why_not_button = button("Why not?", clicked=lambda: self._ask_why(predicted=False))
        self.images.itemActivated.connect(self._go_to)
        self.images.itemClicked.connect(self._go_to)
        self._save = button("Save…", "As a picture (PNG, SVG), or as numbers (CSV).", self._ask)
        self.clear_button = button(
            "No cell", "Choose no cell, and hide its pixels.", lambda: self._choose(None)
        )
        self.lay_out(
            row(self.way, self.classes, self._save, stretch=self.way),
            self.plot.area,
            self.message,
            row(self.why_button, self.why_not_button, self.clear_button),
            self.images,
            stretch=self.plot.area,
        )
        # A sentence that takes a second line moves nothing below it.
        self.message.setMinimumHeight(2 * self.message.fontMetrics().lineSpacing())

    # --- what is shown ---

    @property
    def confusion(self) -> Confusion | None:
        """The matrix that is shown."""
        scores = self.session.scores
        return None if scores is None or not scores.total.total else scores.total

    def _take_scores(self) -> None:
        confusion, cell = self.confusion, self.session.cell
        if cell and (confusion is None or max(cell) >= len(confusion.names)):
            self.session.cell = None
        self._save.setEnabled(confusion is not None)
        self.classes.setVisible(confusion is not None and len(confusion.names) > MOST_READABLE)
        self._draw()
        self._show_cell()

    def _draw(self) -> None:
        counted = "pixels" if self.session.counts_pixels() else "images"
        self.plot.draw(
            self.confusion, self.way.currentData(), self._viewer.theme, counted,
            only_errors=self.classes.currentData(),
        )  # fmt: skip
        self.plot.frame(self.session.cell)

    def _in_words(self, cell: Cell) -> str:
        confusion, (true, predicted) = self.confusion, cell
        assert confusion is not None
        count, of_class = confusion.counts[true, predicted], confusion.counts[true].sum()
        counted = "pixels" if self.session.counts_pixels() else "images"
        share = f", {count / of_class:.1%} of all true {confusion.names[true]}" if of_class else ""
        return (
            f"True {confusion.names[true]}, predicted {confusion.names[predicted]}: "
            f"{count:,} {counted}{share}."
        )

    def _show_cell(self) -> None:
        cell, scores = self.session.cell, self.session.scores
        self.plot.frame(cell)
        self.images.clear()
        self.clear_button.setEnabled(cell is not None)
        self._say_pointed(None)
        self._offer_why(cell)
        has_images = cell is not None and self.confusion is not None
        # An empty list takes no room.
        self.images.setVisible(has_images)
        if cell is None or scores is None or self.confusion is None:
            self._hide_pixels()
            return
        for score in scores.images_with(*cell):
            count = int(score.confusion.counts[cell])
            item = QListWidgetItem(f"{on_line(score.name)}   {count:,}")
            item.setData(Qt.ItemDataRole.UserRole, score.name)
            self.images.addItem(item)
        self._show_pixels()

    def _show_pixels(self) -> None:
        """Show the pixels of the cell in the image that is shown."""
        cell, comparison = self.session.cell, self.session.comparison
        if cell is None or comparison is None or comparison.truth is None:
            return
        if comparison.prediction.grid is None or comparison.source not in self._viewer.layers:
            return
        # Just these pixels are to be seen; the user may show the others again.
        self._layer_manager.hide_others("prediction", "ground truth", "comparison")
        (layer,) = self._layer_manager.show(cell_data(comparison, *cell), ("cell",))
        layer.visible, layer.opacity = True, 0.8

    def _hide_pixels(self) -> None:
        layer = self._layer_manager.layer(("cell", "0"))
        if layer is not None:
            layer.visible = False

    # --- what is chosen ---

    def _choose(self, cell: Cell | None) -> None:
        self.session.cell = cell

    def _say_pointed(self, cell: Cell | None) -> None:
        """Say what is in the cell below the pointer, or else in the chosen one."""
        cell = cell or self.session.cell
        if cell is None or self.confusion is None:
            what = "pixels, and the images with most" if self.session.counts_pixels() else "images"
            self.message.setText(f"A click on a cell shows its {what}.")
        else:
            self.message.setText(self._in_words(cell))

    # --- why ---

    def _offer_why(self, cell: Cell | None) -> None:
        """Offer to explain what is in a cell, if anything is."""
        confusion = self.confusion
        is_filled = cell is not None and confusion is not None and bool(confusion.counts[cell])
        for made in (self.why_button, self.why_not_button):
            made.setEnabled(is_filled)
        self.why_button.setText("Why?")
        self.why_not_button.setVisible(cell is None or cell[0] != cell[1])
        self.why_not_button.setText("Why not?")
        if cell is None or confusion is None or not is_filled:
            tip = "Click on a cell that is not empty first."
            self.why_button.setToolTip(tip)
            self.why_not_button.setToolTip(tip)
            return
        true, predicted = (shortened(confusion.names[n], 24) for n in cell)
        self.why_button.setText(on_button(f"Why {predicted}?"))
        self.why_button.setToolTip(
            plain_tooltip(f"Explain {predicted}, where {true} was taken for it.")
        )
        self.why_not_button.setText(on_button(f"Why not {true}?"))
        self.why_not_button.setToolTip(
            plain_tooltip(f"Explain {true}, where it was taken for {predicted}.")
        )

    def _ask_why(self, *, predicted: bool) -> None:
        cell = self.session.cell
        if cell is None:
            return
        self._show_pixels()
        if not len(self.session.events.why):
            # Nobody answers yet.
            open_dock(self._viewer, "Neuroscope")
        self.session.ask_why(CellQuestion(*cell, cell[1] if predicted else cell[0]))

    def _go_to(self, item: QListWidgetItem) -> None:
        self.session.show_image(item.data(Qt.ItemDataRole.UserRole))

    # --- what is kept ---

    def _ask(self) -> None:
        ask_and_save(
            self, "Save the confusion matrix", "confusion.png",
            "Pictures (*.png *.svg);;Numbers (*.csv)", self.save,
        )  # fmt: skip

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
            confusion.to_csv(path, self.way.currentData(), overwrite=True)
        elif suffix in (".png", ".svg"):
            self.plot.save(path)
        else:
            raise NeuroscopeError(
                f"“{path.name}” ends in none of .png, .svg and .csv; choose one of these."
            )
