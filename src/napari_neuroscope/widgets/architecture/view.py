"""A view of a diagram: zoomed by the wheel, panned by dragging, clicked, walked by the keyboard."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QPoint, QRectF, Qt, Signal
from qtpy.QtGui import QPainter
from qtpy.QtWidgets import QApplication, QGraphicsView

from napari_neuroscope.widgets.architecture.scene import DiagramScene, FrameItem, NodeItem

_LEAST, _MOST = 0.05, 4.0
_READABLE = 0.65
_DIRECTIONS = {
    Qt.Key.Key_Up: "up",
    Qt.Key.Key_Down: "down",
    Qt.Key.Key_Left: "left",
    Qt.Key.Key_Right: "right",
}
_FOLDS = (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space, Qt.Key.Key_Plus, Qt.Key.Key_Minus)


class DiagramView(QGraphicsView):
    """Shows a scene, and says what is clicked in it.

    Parameters
    ----------
    scene
        The diagram.
    """

    picked = Signal(str, bool)
    """A node or block was clicked; whether it is to be added to what is chosen, or taken away."""
    swept = Signal(list)
    """Nodes were swept over with shift held."""
    toggled = Signal(str)
    """A block is to be folded or opened."""
    walked = Signal(str, bool)
    """An arrow key was pressed; whether what is come to is added."""

    def __init__(self, scene: DiagramScene) -> None:
        super().__init__(scene)
        self._diagram = scene
        self._pressed: QPoint | None = None
        self._adjusted = False
        self.setRenderHint(QPainter.RenderHint.Antialiasing)
        self.setTransformationAnchor(QGraphicsView.ViewportAnchor.AnchorUnderMouse)
        self.setDragMode(QGraphicsView.DragMode.ScrollHandDrag)
        self.setMinimumHeight(240)
        self.setAccessibleName("Diagram of the network")
        self._plain_cursor()

    def _plain_cursor(self) -> None:
        if (inside := self.viewport()) is not None:
            inside.setCursor(Qt.CursorShape.ArrowCursor)

    # --- where one looks ---

    def begin(self) -> None:
        """Look at the start of the network, as large as it can be read."""
        self._adjusted = False
        self._begin()

    def _begin(self) -> None:
        box, inside = self.sceneRect(), self.viewport()
        if box.isEmpty() or inside is None:
            return
        across, down = inside.width() / box.width(), inside.height() / box.height()
        scale = min(1.0, max(min(across, down), _READABLE))
        self.resetTransform()
        self.scale(scale, scale)
        self.centerOn(box.center().x(), box.top() + inside.height() / scale / 2)

    def fit(self) -> None:
        """Look at all of the network."""
        self._adjusted = True
        if not self.sceneRect().isEmpty():
            self.fitInView(self.sceneRect(), Qt.AspectRatioMode.KeepAspectRatio)
            if self.transform().m11() > 1:
                self.resetTransform()

    def go_to(self, name: str) -> None:
        """Look at a node or frame, at a scale at which it can be read."""
        item = self._diagram.item_of(name)
        if item is None:
            return
        self._adjusted = True
        if self.transform().m11() < _READABLE:
            self.resetTransform()
            self.scale(_READABLE, _READABLE)
        self.centerOn(item.sceneBoundingRect().center() if isinstance(item, NodeItem)
                      else item.sceneBoundingRect().topLeft())  # fmt: skip

    def keep_in_sight(self, name: str) -> None:
        """Move as little as is needed to see a node."""
        item = self._diagram.item_of(name)
        if item is not None:
            self._adjusted = True
            self.ensureVisible(item, 30, 30)

    def resizeEvent(self, event: Any) -> None:
        super().resizeEvent(event)
        if not self._adjusted:
            self._begin()

    def wheelEvent(self, event: Any) -> None:
        factor = 1.0015 ** event.angleDelta().y()
        scale = min(max(self.transform().m11() * factor, _LEAST), _MOST)
        factor = scale / self.transform().m11()
        self._adjusted = True
        self.scale(factor, factor)
        event.accept()

    # --- what is clicked ---

    def _at(self, at: QPoint) -> NodeItem | FrameItem | None:
        for item in self.items(at):
            if isinstance(item, NodeItem | FrameItem):
                return item
        return None

    def mousePressEvent(self, event: Any) -> None:
        self._pressed = event.pos()
        shifted = event.modifiers() & Qt.KeyboardModifier.ShiftModifier
        mode = QGraphicsView.DragMode
        self.setDragMode(mode.RubberBandDrag if shifted else mode.ScrollHandDrag)
        super().mousePressEvent(event)

    def mouseReleaseEvent(self, event: Any) -> None:
        super().mouseReleaseEvent(event)
        self._plain_cursor()
        pressed, self._pressed = self._pressed, None
        if event.button() != Qt.MouseButton.LeftButton or pressed is None:
            return
        far = (event.pos() - pressed).manhattanLength() >= QApplication.startDragDistance()
        if far:
            self._adjusted = True
            if self.dragMode() == QGraphicsView.DragMode.RubberBandDrag:
                self._sweep(pressed, event.pos())
            return
        item = self._at(event.pos())
        if item is None:
            return
        if item.on_sign(self.mapToScene(event.pos())):
            self.toggled.emit(_name(item))
            return
        more = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
        self.picked.emit(_name(item), bool(event.modifiers() & more))

    def mouseDoubleClickEvent(self, event: Any) -> None:
        item = self._at(event.pos())
        if item is not None and not item.on_sign(self.mapToScene(event.pos())):
            self.toggled.emit(_name(item))

    def _sweep(self, start: QPoint, end: QPoint) -> None:
        band = QRectF(self.mapToScene(start), self.mapToScene(end)).normalized()
        items = self._diagram.items(band, Qt.ItemSelectionMode.IntersectsItemShape)
        names = {item.node.name for item in items if isinstance(item, NodeItem)}
        self.swept.emit([name for name in self._diagram.nodes if name in names])

    # --- the keyboard ---

    def keyPressEvent(self, event: Any) -> None:
        key = Qt.Key(event.key())
        if key in _DIRECTIONS:
            more = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
            self.walked.emit(_DIRECTIONS[key], bool(event.modifiers() & more))
        elif key in _FOLDS and self._diagram.marks.current:
            self.toggled.emit(self._diagram.marks.current)
        else:
            super().keyPressEvent(event)


def _name(item: NodeItem | FrameItem) -> str:
    return item.node.name if isinstance(item, NodeItem) else item.name
