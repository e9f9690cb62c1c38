"""How a diagram of a network looks: a shape and a colour for each kind of layer, in any theme."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari.utils.theme import get_theme
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPainterPath, QPen, QPixmap, QPolygonF

# The colours of Okabe and Ito, which stay apart for colour-blind readers; what shares one differs
# in shape.
COLOURS = {
    "convolution": "#E69F00",
    "transposed convolution": "#D55E00",
    "dense": "#0072B2",
    "pooling": "#56B4E9",
    "upsampling": "#D55E00",
    "normalisation": "#009E73",
    "activation": "#F0E442",
    "attention": "#CC79A7",
    "add": "#999999",
    "concatenate": "#999999",
    "reshape": "#999999",
    "dropout": "#009E73",
    "block": "#0072B2",
    "other": "#999999",
    "input": "#999999",
    "output": "#999999",
}


@dataclass(frozen=True)
class Palette:
    """The colours of a napari theme that a diagram needs."""

    back: QColor
    ink: QColor
    line: QColor
    chosen: QColor

    @classmethod
    def of(cls, theme: str) -> Palette:
        """Return the colours of a theme by its name."""
        colours: Any = get_theme(theme)
        back, ink = QColor(colours.background.as_hex()), QColor(colours.text.as_hex())
        return cls(back, ink, mixed(ink, back, 0.55), QColor(ink))

    def fill(self, kind: str) -> QColor:
        """Return a kind's colour, faint enough to be written on."""
        return mixed(QColor(COLOURS[kind]), self.back, 0.35)


def mixed(first: QColor, second: QColor, share: float) -> QColor:
    """Return a colour between two, with a share of the first."""
    parts = zip(first.getRgb()[:3], second.getRgb()[:3], strict=True)
    return QColor(*(round(share * a + (1 - share) * b) for a, b in parts))


def outline(kind: str, box: QRectF) -> QPainterPath:
    """Return the shape of a kind of layer, in a box."""
    path = QPainterPath()
    if kind in ("input", "output", "activation"):
        path.addRoundedRect(box, box.height() / 2, box.height() / 2)
    elif kind == "convolution":
        path.addRoundedRect(box, 7, 7)
    elif kind in ("add", "concatenate"):
        path.addRoundedRect(box, box.height() / 2.6, box.height() / 2)
    else:
        path.addPolygon(QPolygonF([box.topLeft() + QPointF(x, y) for x, y in _corners(kind, box)]))
        path.closeSubpath()
    return path


def _corners(kind: str, box: QRectF) -> list[tuple[float, float]]:
    width, height = box.width(), box.height()
    cut = height * 0.28
    if kind == "pooling":
        return [(0, 0), (width, 0), (width - cut, height), (cut, height)]
    if kind in ("upsampling", "transposed convolution"):
        return [(cut, 0), (width - cut, 0), (width, height), (0, height)]
    if kind == "attention":
        middle = height / 2
        return [(cut, 0), (width - cut, 0), (width, middle), (width - cut, height), (cut, height),
                (0, middle)]  # fmt: skip
    if kind == "normalisation":
        return [(cut, 0), (width - cut, 0), (width, cut), (width, height - cut),
                (width - cut, height), (cut, height), (0, height - cut), (0, cut)]  # fmt: skip
    if kind == "reshape":
        return [(cut, 0), (width, 0), (width - cut, height), (0, height)]
    if kind == "dropout":
        return [(cut, 0), (width, 0), (width, height - cut), (width - cut, height), (0, height),
                (0, cut)]  # fmt: skip
    return [(0, 0), (width, 0), (width, height), (0, height)]


def icon(kind: str, palette: Palette) -> QIcon:
    """Return the shape and colour of a kind, for a legend."""
    picture = QPixmap(48, 28)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(QColor(COLOURS[kind]), 3))
    painter.setBrush(palette.fill(kind))
    painter.drawPath(outline(kind, QRectF(3, 3, 42, 22)))
    if kind == "block":
        # As in the diagram, and unlike a dense layer: there is more inside.
        painter.setPen(QPen(QColor(COLOURS[kind]), 2))
        painter.drawRect(QRectF(9, 9, 30, 10))
    painter.end()
    return QIcon(picture)
