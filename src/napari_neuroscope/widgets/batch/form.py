"""What a batch is asked by: a recipe, images, ground truth, a folder, kinds of file, workers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QFileDialog, QLineEdit, QWidget

from napari_neuroscope.engine.explanation.recipe_document import SUFFIX
from napari_neuroscope.widgets.parts.boxes import narrow
from napari_neuroscope.widgets.parts.form import button, choice, form, number_box, row, section
from napari_neuroscope.widgets.parts.labels import note, on_line, plain_tooltip
from napari_neuroscope.widgets.parts.path_list import PathLine, PathList

_KINDS = {
    ".tif": "OME-TIFF: values on the image's own pixels, for ImageJ, Fiji, QuPath and others.",
    ".zarr": "OME-Zarr: values on the map's own grid, with axes and units; good for large maps.",
    ".npy": "NumPy: values on the map's own grid, and the record beside them as JSON.",
    ".png": "A picture of the map over the image.",
}


class BatchForm(QWidget):
    """The fields that are filled in before a batch is run.

    Attributes
    ----------
    places_changed
        Another recipe, other images, ground truth or another folder are named: what lies there is
        to be looked at.
    kinds_changed
        Other kinds of file are to be written.
    images, truth, out
        Where the images and their ground truth lie, and what is written into.
    recipe_note, images_note
        What the recipe says, and how many images there are.
    anew
        Whether what was written into the folder before is replaced.
    """

    places_changed = Signal()
    kinds_changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._recipe = narrow(choice("Recipe", {None: "As in the dock “Neuroscope”"}))
        open_button = button(
            "Open…",
            "Take a recipe from its file. Nothing of it runs unasked.",
            self._ask_for_recipe,
        )
        self.recipe_note, self.images_note = note(), note()
        self.images = PathList("images")
        self.truth = PathLine(
            "Ground truth",
            "none",
            "A folder, a pattern or a table of classes (CSV): how good the network is on each image "
            "is then measured, too. Files go with the image of the same name.",
        )
        self.out = PathLine("Write into", "a folder", "What a batch has done there is kept.")
        self._kinds = {kind: QCheckBox(kind) for kind in _KINDS}
        for kind, box in self._kinds.items():
            box.setToolTip(_KINDS[kind])
        self._kinds[".tif"].setChecked(True)
        self._workers = number_box(
            "Workers", 1, os.cpu_count() or 1, 1,
            "How many processes work, each on an image at a time. Each holds the network.",
        )  # fmt: skip
        form(self, {
            "Recipe": row(self._recipe, open_button, stretch=self._recipe),
            " recipe": self.recipe_note,
            "Images": self.images,
            " images": self.images_note,
            "Ground truth": self.truth,
            "Write into": self.out,
            "Write": row(*self._kinds.values()),
            "Workers": self._workers,
            "": section("More", self._more_fields()),
        })  # fmt: skip
        self._recipe.currentIndexChanged.connect(self.places_changed)
        for place in (self.images, self.truth, self.out):
            place.changed.connect(self.places_changed)
        for box in self._kinds.values():
            box.toggled.connect(self.kinds_changed)

    def _more_fields(self) -> QWidget:
        self._scheduler = QLineEdit()
        self._scheduler.setAccessibleName("Dask scheduler")
        self._scheduler.setPlaceholderText("none: this machine")
        self._scheduler.setToolTip(
            "The address of a Dask cluster, such as tcp://10.0.0.1:8786, whose workers see the same "
            "folders."
        )
        self.anew = QCheckBox("Begin anew")
        self.anew.setToolTip("Replace what a batch has written into the folder before.")
        inside = QWidget()
        form(inside, {"Dask scheduler": self._scheduler, " anew": self.anew})
        return inside

    # --- what is chosen ---

    def recipe_file(self) -> str | None:
        """Return the file of the recipe; None: what is chosen in the dock “Neuroscope”."""
        path: str | None = self._recipe.currentData()
        return path

    def choose_recipe(self, path: str | Path | None) -> None:
        """Take the recipe of a file; None: what is chosen in the dock “Neuroscope”."""
        if path is not None and self._recipe.findData(str(path)) < 0:
            self._recipe.addItem(on_line(Path(path).name.removesuffix(SUFFIX)), str(path))
            last = self._recipe.count() - 1
            tip = plain_tooltip(str(path))
            self._recipe.setItemData(last, tip, Qt.ItemDataRole.ToolTipRole)
        self._recipe.setCurrentIndex(0 if path is None else self._recipe.findData(str(path)))

    def _ask_for_recipe(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Open recipe", "", f"Recipes (*{SUFFIX})")
        if name:
            self.choose_recipe(name)

    def kinds(self) -> list[str]:
        """Return the endings of the kinds of file that are written."""
        return [kind for kind, box in self._kinds.items() if box.isChecked()]

    def choose_kinds(self, *kinds: str) -> None:
        """Write these kinds of file, by their endings, and no others."""
        for kind, box in self._kinds.items():
            box.setChecked(kind in kinds)

    def choose_workers(self, count: int) -> None:
        """Have so many processes work."""
        self._workers.setValue(count)

    def folder(self) -> Path:
        """Return the folder that is written into."""
        return Path(os.path.abspath(self.out.path()))

    def asked(self) -> dict[str, Any]:
        """Return what is filled in, as `napari_neuroscope.engine.batch.process` reads it."""
        return {
            "images": self.images.paths(),
            "out": self.out.path(),
            "truths": self.truth.path() or None,
            "outputs": self.kinds(),
            "workers": self._workers.value(),
            "scheduler": self._scheduler.text().strip() or None,
            "force": self.anew.isChecked(),
        }
