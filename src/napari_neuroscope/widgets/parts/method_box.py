"""A box of the methods by family, each with its family's colour, with good first ones on top."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import QComboBox

from napari_neuroscope.engine.methods.interface import FAMILIES, Family, Method
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.widgets.parts.boxes import narrow
from napari_neuroscope.widgets.parts.method_tips import method_tip

FAVOURITES = ("hires_cam", "grad_cam", "guided_grad_cam", "integrated_gradients", "score_map")
"""The methods to begin with: one or two of each family that answers in a moment or two."""

# Okabe and Ito's, which stay apart for colour-blind readers.
_COLOURS: dict[Family, str] = {
    "cam": "#D55E00",
    "gradient": "#0072B2",
    "score": "#009E73",
    "region": "#CC79A7",
    "perturbation": "#E69F00",
    "attention": "#56B4E9",
    "activation": "#F0E442",
    "other": "#999999",
}
_ICON_PIXELS = 12


def method_groups(offered: Mapping[str, Method]) -> dict[str, list[Method]]:
    """Return methods by the heading that they stand below: favourites first, then by family.

    Parameters
    ----------
    offered
        The methods by name.

    Returns
    -------
    dict[str, list[Method]]
        Each method once; no heading without a method.
    """
    groups = {"To begin with": [offered[name] for name in FAVOURITES if name in offered]}
    for family, title in FAMILIES.items():
        groups[title] = [
            method
            for name, method in offered.items()
            if method.family == family and name not in FAVOURITES
        ]
    return {title: group for title, group in groups.items() if group}


def family_icon(family: Family) -> QIcon:
    """Return a dot of a family's colour."""
    picture = QPixmap(_ICON_PIXELS, _ICON_PIXELS)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(_COLOURS[family]))
    painter.drawEllipse(1, 1, _ICON_PIXELS - 2, _ICON_PIXELS - 2)
    painter.end()
    return QIcon(picture)


class MethodBox(QComboBox):
    """Offers the methods below the headings of their families; its data are their names."""

    def __init__(self) -> None:
        super().__init__()
        narrow(self)
        self.setAccessibleName("Method")
        self.setMaxVisibleItems(len(methods))
        for title, group in method_groups(methods).items():
            self._add_heading(title)
            for method in group:
                self.addItem(family_icon(method.family), method.title, method.name)

    def _add_heading(self, title: str) -> None:
        self.addItem(title)
        heading: Any = self.model()
        item = heading.item(self.count() - 1)
        item.setFlags(Qt.ItemFlag.NoItemFlags)
        font = item.font()
        font.setBold(True)
        item.setFont(font)

    def names(self) -> Sequence[str]:
        """Return the names of the methods, in the order in which they are offered."""
        rows = (self.itemData(row) for row in range(self.count()))
        return [name for name in rows if name]

    def choose(self, name: str) -> None:
        """Choose a method by its name."""
        self.setCurrentIndex(self.findData(methods[name].name))

    def mark(
        self, reason_against: Callable[[Method], str | None], doubt_of: Callable[[Method], str]
    ) -> None:
        """Grey out methods, and warn of some.

        Parameters
        ----------
        reason_against
            Returns why a method can't be used; None where it can.
        doubt_of
            Returns why its maps may say little; "" where they don't.
        """
        model: Any = self.model()
        for row in range(self.count()):
            if not (name := self.itemData(row)):
                continue
            method = methods[name]
            reason, doubt = reason_against(method), doubt_of(method)
            warning = f"⚠ {doubt}" if doubt else None
            self.setItemText(row, f"⚠ {method.title}" if doubt else method.title)
            self.setItemData(
                row, method_tip(method, reason or warning), Qt.ItemDataRole.ToolTipRole
            )
            model.item(row).setEnabled(not reason)
        self.tell_tip()

    def tell_tip(self) -> None:
        """Show the chosen method's card as the box's own tooltip."""
        self.setToolTip(self.itemData(self.currentIndex(), Qt.ItemDataRole.ToolTipRole) or "")
