"""The kinds of layers that a network has, each with its look; a click on one dims its layers."""

from __future__ import annotations

from collections.abc import Iterable

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import QToolButton, QWidget
from superqt import QFlowLayout

from napari_neuroscope.widgets.architecture.palette import COLOURS, Palette, icon


class Legend(QWidget):
    """A button a kind.

    Attributes
    ----------
    changed
        Other kinds are dimmed now.
    entries
        The buttons, by kind.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._layout = QFlowLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self.entries: dict[str, QToolButton] = {}

    def dimmed(self) -> frozenset[str]:
        """Return the kinds whose layers are dimmed."""
        return frozenset(kind for kind, entry in self.entries.items() if not entry.isChecked())

    def list_kinds(self, kinds: Iterable[str], palette: Palette) -> None:
        """Have a button for each of some kinds; those that are dimmed stay so."""
        dimmed, wanted = self.dimmed(), set(kinds)
        while self._layout.count():
            item = self._layout.takeAt(0)
            if item is not None and (entry := item.widget()) is not None:
                entry.hide()
                entry.deleteLater()
        self.entries = {}
        for kind in (kind for kind in COLOURS if kind in wanted):
            button = QToolButton()
            button.setText(kind)
            button.setIcon(icon(kind, palette))
            button.setIconSize(QSize(24, 14))
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            button.setAutoRaise(True)
            button.setCheckable(True)
            button.setChecked(kind not in dimmed)
            button.setToolTip("A click dims these layers, another brings them back.")
            button.toggled.connect(lambda _: self.changed.emit())
            self.entries[kind] = button
            self._layout.addWidget(button)
