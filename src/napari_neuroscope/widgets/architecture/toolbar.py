"""The row above the diagram: a search, and what is done with all of it."""

from __future__ import annotations

from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLineEdit

from napari_neuroscope.widgets.parts.form import button, row


class Toolbar:
    """The fields and buttons, for the dock to lay out and connect.

    Attributes
    ----------
    search
        What is looked for.
    maps
        Whether the maps of an explanation are shown on its layers.
    fit, open_all, fold_all, save
        Buttons.
    """

    def __init__(self) -> None:
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search layers…")
        self.search.setClearButtonEnabled(True)
        self.search.setAccessibleName("Search layers")
        self.search.setToolTip(
            "A part of a name or an operation. Enter opens the block around what is found, then "
            "goes on to the next."
        )
        self.maps = QCheckBox("Maps")
        self.maps.setChecked(True)
        self.maps.setToolTip(
            "Show on each layer its map of the last explanation of several layers, each coloured "
            "up to its own greatest value."
        )
        self.fit = button("Fit", "Look at all of the network.")
        self.open_all = button("Open all", "Show the layers in all blocks.")
        self.fold_all = button("Fold all", "Show each block as one node.")
        self.save = button(
            "Save…", "The graph as a picture (SVG, PNG), or the layers as a table (CSV)."
        )

    def row(self) -> QHBoxLayout:
        """Return them side by side."""
        return row(
            self.search, self.maps, self.fit, self.open_all, self.fold_all, self.save,
            stretch=self.search,
        )  # fmt: skip

    def enable(self, on: bool) -> None:
        """Offer what needs a network, or don't."""
        for part in (self.search, self.fit, self.open_all, self.fold_all, self.save):
            part.setEnabled(on)
