"""What is seen of the dock “Images”: its menus, fields and buttons, and how they are laid out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QWidget
from superqt.utils import signals_blocked

from napari_neuroscope.viewer.layers.error_layers import PARTS
from napari_neuroscope.widgets.images.image_table import ImageTable
from napari_neuroscope.widgets.parts.buttons import menu_button
from napari_neuroscope.widgets.parts.form import Part, button, choice
from napari_neuroscope.widgets.parts.labels import PlainLabel, note, on_line

_TRUTH_KINDS = {
    "auto": "Found out",
    "classes": "Numbers of classes",
    "colours": "Colours of classes",
    "instances": "Numbers of instances, or masks",
}
# Shorter than the names of their layers.
_ERROR_KINDS = {**PARTS, "errors": "Right, wrong"}
_RIM_NAMES = ("border", "boundary", "contour", "edge", "outline", "rim")


_INSTANCES = ("read as instances", "read as a mask")
"""How a note begins of ground truth that was read so."""


class ImagesForm:
    """The parts of the dock that are looked at, typed into and clicked.

    Parameters
    ----------
    dock
        Dialogs open over it.

    Attributes
    ----------
    add_menu, truth_menu
        Buttons that offer where images and their ground truth come from.
    truth_kind, rim
        How ground truth is read: what its values mean, and the class of the rim of instances.
    table
        The images.
    columns
        The button whose menu says which metrics the table shows.
    class_box, error_kind
        Of which class the error layer is, and what it shows.
    overall, image_note
        What is said of all images, and of the one that is shown.
    """

    def __init__(self, dock: QWidget) -> None:
        self._dock = dock
        self._classes: list[str] = []
        self._has_instances = False
        self.table = ImageTable()
        self.truth_kind = choice(
            "How ground truth is read", _TRUTH_KINDS, "How ground truth is read."
        )
        self.rim = choice(
            "Class of the rim of instances",
            {},
            "The class of the rim, one pixel wide, inside each instance.",
        )
        self.rim_row = QWidget()
        rim = filled_row(PlainLabel("Rim of instances"), self.rim)
        rim.setContentsMargins(0, 0, 0, 0)
        self.rim_row.setLayout(rim)
        self.columns = menu_button("Figures", {})
        self.columns.setToolTip("Which figures the table shows. A click on a heading sorts.")
        self.remove = button("Remove", "Take the chosen images off this list. Their files stay.")
        self.back = button("◀", clicked=lambda: self.table.step(-1))
        self.back.setAccessibleName("Previous image")
        self.back.setToolTip("The previous image (Alt+Up).")
        self.next = button("▶", clicked=lambda: self.table.step(1))
        self.next.setAccessibleName("Next image")
        self.next.setToolTip("The next image (Alt+Down).")
        # Wherever the keyboard is in the window, also on the picture.
        for keys, by in (("Alt+Up", -1), ("Alt+Down", 1)):
            QShortcut(QKeySequence(keys), dock, lambda by=by: self.table.step(by))
        self.predict_all = button("Predict all")
        self.save = button("Save…", "Save the figures of all images as CSV.")
        self.class_box = choice("Class of the error layer", {})
        self.error_kind = choice("What the error layer shows", _ERROR_KINDS)
        self.show_errors = button(
            "Show", "Show where prediction and ground truth agree, and where not."
        )
        self.overall, self.image_note = note(selectable=True), note(selectable=True)

    def add_menus(
        self,
        add_files: Callable[[Any], None],
        add_layers: Callable[[], None],
        pair_with: Callable[[Path], None],
        ask_for_truth: Callable[[], None],
    ) -> None:
        """Make the menus that ask for images and ground truth, and say what takes the answers."""

        def ask_for_files() -> None:
            paths, _ = QFileDialog.getOpenFileNames(self._dock, "Images")
            if paths:
                add_files([Path(path) for path in paths])

        def ask_for_folder() -> None:
            if folder := QFileDialog.getExistingDirectory(self._dock, "A folder of images"):
                add_files(Path(folder))

        def ask_for_truths() -> None:
            if folder := QFileDialog.getExistingDirectory(
                self._dock, "The folder of the ground truth"
            ):
                pair_with(Path(folder))

        def ask_for_table() -> None:
            path, _ = QFileDialog.getOpenFileName(
                self._dock, "A table of names and classes", "", "Tables (*.csv *.tsv)"
            )
            if path:
                pair_with(Path(path))

        self.add_menu = menu_button("Add images", {
            "Files…": ask_for_files,
            "A folder…": ask_for_folder,
            "The viewer's layers": add_layers,
        })  # fmt: skip
        self.truth_menu = menu_button("Ground truth", {
            "Of all, from a folder…": ask_for_truths,
            "Of all, from a table of classes…": ask_for_table,
            "Of the chosen image, a file…": ask_for_truth,
        })  # fmt: skip
        self.truth_menu.setToolTip(
            "Files go with the image of the same name, whatever their ending, also with “_gt”, "
            "“_mask”, “_labels” and such after it."
        )

    def ask_for_truth_of(self, name: str) -> Path | None:
        """Ask for the file of an image's ground truth; None where the user thinks better of it."""
        path, _ = QFileDialog.getOpenFileName(self._dock, f"Ground truth of {on_line(name)}")
        return Path(path) if path else None

    def parts(self, progress: QWidget, cancel: QWidget) -> tuple[Part, ...]:
        """Return the rows from the top, with the progress of what is computed among them."""
        return (
            filled_row(self.add_menu, self.truth_menu, self.remove),
            filled_row(PlainLabel("Read as"), self.truth_kind, self.columns),
            self.rim_row,
            self.table,
            self.overall,
            filled_row(self.back, self.next, self.predict_all, cancel, self.save),
            filled_row(PlainLabel("Errors"), self.class_box, self.error_kind, self.show_errors),
            progress,
            self.image_note,
        )

    # --- how ground truth is read ---

    def reading(self) -> dict[str, Any]:
        """Return how ground truth is read, as `score_images` takes it."""
        return {
            "truth_kind": self.truth_kind.currentData(),
            "border_class": self.rim.currentData(),
        }

    def offer_classes(self, names: Sequence[str], *, segments: bool) -> None:
        """Offer the classes of a network, for errors where it segments and for rims."""
        names = [on_line(name) for name in names]
        self._classes = names
        if [self.class_box.itemText(i) for i in range(self.class_box.count())] != names:
            self.class_box.clear()
            self.class_box.addItems(names)
            self.class_box.setCurrentIndex(min(1, len(names) - 1))
        self._offer_rim()
        for field in (self.class_box, self.error_kind, self.show_errors):
            field.setEnabled(bool(names) and segments)

    def take_notes(self, notes: Sequence[str]) -> None:
        """Take what was noted of ground truth that was read: whether it was of instances."""
        self._has_instances = any(note.startswith(_INSTANCES) for note in notes)
        self._offer_rim()

    def _offer_rim(self) -> None:
        """Offer the classes for the rim of instances; one that is called so is taken."""
        names, kind = self._classes, self.truth_kind.currentData()
        # Numbers of classes, and colours, have no rims.
        is_asked = kind == "instances" or (kind == "auto" and self._has_instances)
        self.rim_row.setVisible(is_asked and len(names) > 2)
        if [self.rim.itemText(n) for n in range(1, self.rim.count())] == names:
            return
        with signals_blocked(self.rim):
            self.rim.clear()
            self.rim.addItem("Belongs to the instance", None)
            for number, name in enumerate(names):
                self.rim.addItem(name, number)
            likely = (n + 1 for n, name in enumerate(names) if name.casefold() in _RIM_NAMES)
            self.rim.setCurrentIndex(next(likely, 0))


def filled_row(*widgets: QWidget) -> QHBoxLayout:
    """Return a row whose boxes take the room that is left, or else an empty end."""
    layout = QHBoxLayout()
    for widget in widgets:
        layout.addWidget(widget, 1 if isinstance(widget, QComboBox) else 0)
    if not any(isinstance(widget, QComboBox) for widget in widgets):
        layout.addStretch(1)
    return layout
