"""The diagram of a network as a graphics scene: nodes, edges and frames that can be marked."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPainterPath, QPen, QPolygonF
from qtpy.QtWidgets import QGraphicsItem, QGraphicsScene

from napari_neuroscope.engine.graph.diagram import HEIGHT, WIDTH, Diagram, Edge, Frame, Node
from napari_neuroscope.engine.graph.layer_graph import Layer, LayerGraph
from napari_neuroscope.widgets.architecture.palette import COLOURS, Palette, outline
from napari_neuroscope.widgets.parts.labels import headed_tooltip, on_line, plain_tooltip

_DIM = 0.3
_BORDER = 6.0
_SIGN = 16.0
_INSET = 14.0
_LEAST_TO_READ = 0.28


@dataclass(frozen=True)
class Marks:
    """What is marked in a diagram.

    Attributes
    ----------
    chosen
        The layers that are chosen.
    holding
        The folded blocks with chosen layers in them.
    current
        Where the keyboard is; "" for nowhere.
    unusable
        The layers that the method can't use, and why.
    dimmed
        The kinds of layers that are dimmed.
    """

    chosen: Set[str] = frozenset()
    holding: Set[str] = frozenset()
    current: str = ""
    unusable: Mapping[str, str] = field(default_factory=dict)
    dimmed: Set[str] = frozenset()


class NodeItem(QGraphicsItem):
    """One layer, folded block, input or output."""

    def __init__(self, node: Node, layer: Layer | None, scene: DiagramScene) -> None:
        super().__init__()
        self.node, self.layer, self._look = node, layer, scene
        self.setPos(node.x, node.y)
        self._box = QRectF(-WIDTH / 2, -HEIGHT / 2, WIDTH, HEIGHT)
        self._outline = outline(node.kind, self._box)
        self.folded = node.kind == "block"

    def boundingRect(self) -> QRectF:
        return self._box.adjusted(-_BORDER, -_BORDER, _BORDER, _BORDER)

    def shape(self) -> QPainterPath:
        return self._outline

    def on_sign(self, at: QPointF) -> bool:
        """Whether a point of the scene lies on the + of a folded block."""
        return self.folded and self._sign().contains(at - self.pos())

    def _sign(self) -> QRectF:
        return QRectF(self._box.right() - _SIGN - 7, self._box.top() + 6, _SIGN, _SIGN)

    def tell(self, reason: str) -> None:
        """Say all that is known of the layer where the pointer rests on it."""
        layer = self.layer
        if layer is None:
            self.setToolTip(plain_tooltip(f"The network's {self.node.kind}"))
            return
        lines = [layer.description or layer.operation, f"output {_shape(layer)}"]
        lines.append(f"{layer.parameters:,} parameters")
        if reason:
            lines.append(reason)
        if self.folded:
            lines.append("Double-click opens it.")
        self.setToolTip(headed_tooltip(layer.name, layer.kind, lines))

    def paint(self, painter: QPainter | None, option: Any, widget: Any = None) -> None:
        assert painter is not None
        look, name, kind = self._look, self.node.name, self.node.kind
        chosen = name in look.marks.chosen
        pen, fill = look.colours_of(kind)
        painter.setBrush(fill)
        painter.setPen(pen)
        painter.drawPath(self._outline)
        if self.folded:
            # Twice drawn: there is more inside.
            painter.drawRect(self._box.adjusted(4, 4, -4, -4))
        if chosen or name in look.marks.holding:
            pen = QPen(look.palette_.chosen, 3)
            if not chosen:
                pen.setStyle(Qt.PenStyle.DashLine)
            painter.setPen(pen)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawPath(self._outline)
        if name == look.marks.current:
            painter.setPen(QPen(look.palette_.ink, 1, Qt.PenStyle.DotLine))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(self._box.adjusted(-5, -5, 5, 5))
        if painter.worldTransform().m11() >= _LEAST_TO_READ:
            self._write(painter)

    def _write(self, painter: QPainter) -> None:
        inside = self._box.adjusted(_INSET, 3, -_INSET, -3)
        picture = self._look.pictures.get(self.node.name)
        if picture is not None:
            side = HEIGHT - 10
            place = QRectF(self._box.left() + 8, self._box.top() + 5, side, side)
            size = picture.size().scaled(int(side), int(side), Qt.AspectRatioMode.KeepAspectRatio)
            shown = QRectF(0, 0, size.width(), size.height())
            shown.moveCenter(place.center())
            painter.fillRect(shown, QColor("black"))
            painter.drawPixmap(shown, picture, QRectF(picture.rect()))
            inside.setLeft(place.right() + 6)
        painter.setPen(self._look.palette_.ink)
        if self.layer is None:
            painter.setFont(self._look.bold)
            painter.drawText(inside, Qt.AlignmentFlag.AlignCenter, self.node.kind.capitalize())
            return
        upper = QRectF(inside.left(), inside.top(), inside.width(), inside.height() / 2)
        lower = upper.translated(0, upper.height())
        if self.folded:
            painter.setFont(self._look.bold)
            painter.drawText(self._sign(), Qt.AlignmentFlag.AlignCenter, "+")
            upper.setRight(self._sign().left() - 2)
        count = _count(self.layer.parameters)
        self._line(painter, upper, on_line(short(self.layer.name)), count, self._look.bold)
        self._line(
            painter, lower, on_line(self.layer.operation), _shape(self.layer), self._look.plain
        )

    def _line(self, painter: QPainter, box: QRectF, left: str, right: str, font: QFont) -> None:
        """Write two words on a line, the left one cut off where there is not room for both."""
        room = QFontMetricsF(self._look.plain)
        width = min(room.horizontalAdvance(right) + 6 if right else 0.0, box.width())
        painter.setFont(self._look.plain)
        sides = Qt.AlignmentFlag.AlignVCenter
        painter.drawText(box, sides | Qt.AlignmentFlag.AlignRight, right)
        painter.setFont(font)
        words = QFontMetricsF(font).elidedText(
            left, Qt.TextElideMode.ElideRight, box.width() - width
        )
        painter.drawText(box, sides | Qt.AlignmentFlag.AlignLeft, words)


class EdgeItem(QGraphicsItem):
    """A line with an arrow head."""

    def __init__(self, edge: Edge, scene: DiagramScene) -> None:
        super().__init__()
        self.edge, self._look = edge, scene
        points = [QPointF(x, y) for x, y in edge.points]
        self._path = QPainterPath(points[0])
        for start, end in pairwise(points):
            middle = (start.y() + end.y()) / 2
            self._path.cubicTo(QPointF(start.x(), middle), QPointF(end.x(), middle), end)
        tip = points[-1]
        self._head = QPolygonF([tip, tip + QPointF(-4, -8), tip + QPointF(4, -8)])
        self.setZValue(-1)

    def boundingRect(self) -> QRectF:
        return self._path.boundingRect().adjusted(-5, -5, 5, 5)

    def shape(self) -> QPainterPath:
        # What lies under a line is clicked, not the line.
        return QPainterPath()

    def paint(self, painter: QPainter | None, option: Any, widget: Any = None) -> None:
        assert painter is not None
        ends = {self.edge.source, self.edge.target}
        near = bool(ends & (self._look.marks.chosen | {self._look.marks.current}))
        colour = self._look.palette_.ink if near else self._look.palette_.line
        painter.setPen(QPen(colour, 2.2 if near else 1.3))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPath(self._path)
        painter.setBrush(colour)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.drawPolygon(self._head)


class FrameItem(QGraphicsItem):
    """An open block: a frame with its name, which folds it."""

    def __init__(self, frame: Frame, depth: int, scene: DiagramScene) -> None:
        super().__init__()
        self.name, self._look = frame.name, scene
        self._box = QRectF(QPointF(frame.left, frame.top), QPointF(frame.right, frame.bottom))
        self.setZValue(-10 + min(depth, 7))
        self.setToolTip("A click chooses the block, a double-click folds it.")

    def boundingRect(self) -> QRectF:
        return self._box.adjusted(-2, -2, 2, 2)

    def _title(self) -> QRectF:
        return QRectF(self._box.left(), self._box.top(), self._box.width(), 17)

    def shape(self) -> QPainterPath:
        path = QPainterPath()
        path.addRect(self._title())
        return path

    def on_sign(self, at: QPointF) -> bool:
        """Whether a point of the scene lies on the − of the frame."""
        return self._title().contains(at) and at.x() > self._box.right() - _SIGN - 6

    def paint(self, painter: QPainter | None, option: Any, widget: Any = None) -> None:
        assert painter is not None
        look, chosen = self._look, self.name in self._look.marks.chosen
        faint = QColor(COLOURS["block"])
        faint.setAlphaF(0.10)
        painter.setBrush(faint)
        colour = look.palette_.chosen if chosen else QColor(COLOURS["block"])
        painter.setPen(QPen(colour, 3 if chosen else 1))
        painter.drawRoundedRect(self._box, 5, 5)
        if self.name == look.marks.current:
            painter.setPen(QPen(look.palette_.ink, 1, Qt.PenStyle.DotLine))
            painter.drawRect(self._title())
        if painter.worldTransform().m11() < _LEAST_TO_READ:
            return
        painter.setPen(look.palette_.ink)
        painter.setFont(look.plain)
        title = self._title().adjusted(7, 0, -8, 0)
        painter.drawText(title, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, "−")
        picture = look.pictures.get(self.name)
        if picture is not None:
            size = picture.size().scaled(15, 15, Qt.AspectRatioMode.KeepAspectRatio)
            shown = QRectF(title.left() - 4, title.top() + 1, size.width(), size.height())
            painter.fillRect(shown, QColor("black"))
            painter.drawPixmap(shown, picture, QRectF(picture.rect()))
            title.setLeft(shown.right() + 5)
        painter.drawText(title, Qt.AlignmentFlag.AlignVCenter, on_line(short(self.name)))


class DiagramScene(QGraphicsScene):
    """Draws a diagram, and what is marked in it.

    Parameters
    ----------
    palette
        The colours of the theme.
    """

    def __init__(self, palette: Palette) -> None:
        super().__init__()
        self.palette_ = palette
        self._colours: dict[str, tuple[QPen, QColor]] = {}
        self.marks = Marks()
        self.pictures: dict[str, Any] = {}
        self.nodes: dict[str, NodeItem] = {}
        self.frames: dict[str, FrameItem] = {}
        self.plain, self.bold = QFont(), QFont()
        for font in (self.plain, self.bold):
            font.setPixelSize(12)
        self.bold.setBold(True)

    def draw(self, diagram: Diagram | None, graph: LayerGraph | None) -> None:
        """Draw a diagram in place of the last."""
        self.clear()
        self.nodes, self.frames = {}, {}
        if diagram is None or graph is None:
            self.setSceneRect(QRectF())
            return
        for depth, frame in enumerate(diagram.frames):
            self.frames[frame.name] = FrameItem(frame, depth, self)
        for node in diagram.nodes.values():
            # A graph has no silent get: it names the nearest layers.
            layer = graph[node.name] if node.name in graph else None  # noqa: SIM401
            self.nodes[node.name] = NodeItem(node, layer, self)
        for item in (
            *self.frames.values(),
            *(EdgeItem(edge, self) for edge in diagram.edges),
            *self.nodes.values(),
        ):
            self.addItem(item)
        self.setSceneRect(self.itemsBoundingRect().adjusted(-20, -20, 20, 20))
        self.mark(self.marks)

    def mark(self, marks: Marks) -> None:
        """Show what is chosen, and dim what is not looked for or can't be used."""
        self.marks = marks
        for name, item in self.nodes.items():
            reason = marks.unusable.get(name, "")
            dim = bool(reason) or item.node.kind in marks.dimmed
            item.setOpacity(_DIM if dim else 1.0)
            item.tell(reason)
        self.update()

    def paint_with(self, palette: Palette) -> None:
        """Go on with the colours of another theme."""
        self.palette_ = palette
        self._colours.clear()
        self.update()

    def colours_of(self, kind: str) -> tuple[QPen, QColor]:
        """Return the line and the filling of a kind of node, made once: each frame asks often."""
        if kind not in self._colours:
            self._colours[kind] = QPen(QColor(COLOURS[kind]), 1.6), self.palette_.fill(kind)
        return self._colours[kind]

    def item_of(self, name: str) -> NodeItem | FrameItem | None:
        """Return the node or frame of a layer or block."""
        return self.nodes.get(name) or self.frames.get(name)


def short(name: str) -> str:
    """Return the last part of a dotted name, with the one before where it is a number."""
    parts = name.split(".")
    last = parts[-1]
    return ".".join(parts[-2:]) if last.partition(":")[0].isdigit() else last


def _count(parameters: int) -> str:
    for scale, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if parameters >= scale:
            return f"{parameters / scale:.3g}{unit}"
    return f"{parameters}" if parameters else ""


def _shape(layer: Layer) -> str:
    return "×".join(str(n) for n in layer.output_shape)
