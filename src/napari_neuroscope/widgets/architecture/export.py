"""The graph as a file: a picture as it is shown, or a table of all layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import QRectF
from qtpy.QtGui import QImage, QPainter
from qtpy.QtSvg import QSvgGenerator

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.graph.diagram import write_table
from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from napari_neuroscope.widgets.architecture.scene import DiagramScene

KINDS = "Pictures (*.svg *.png);;Table of the layers (*.csv)"
"""What is written, as Qt's dialogs take it."""

_PNG_SCALE, _LARGEST_PNG = 2.0, 12_000


def export(path: Path, scene: DiagramScene, graph: LayerGraph, title: str) -> None:
    """Write a graph as it is shown (.svg, .png), or a table of all its layers (.csv).

    Raises
    ------
    NeuroscopeError
        Where the name ends in something else, or can't be written.
    """
    suffix = path.suffix.lower()
    if suffix == ".csv":
        write_table(graph, path)
        return
    if suffix not in (".svg", ".png"):
        raise NeuroscopeError(
            f"“{path.name}” ends in none of .svg, .png and .csv; choose one of these."
        )
    try:
        # Qt writes pictures without saying what went wrong.
        path.open("ab").close()
    except OSError as error:
        raise NeuroscopeError(f"{path} can't be written: {error.strerror}.") from error
    if suffix == ".svg":
        _write_svg(path, scene, title)
    else:
        _write_png(path, scene)


def _write_svg(path: Path, scene: DiagramScene, title: str) -> None:
    size = scene.sceneRect().size().toSize()
    file = QSvgGenerator()
    file.setFileName(str(path))
    file.setSize(size)
    file.setViewBox(QRectF(0, 0, size.width(), size.height()))
    file.setTitle(title)
    _paint(scene, file, QRectF(0, 0, size.width(), size.height()))


def _write_png(path: Path, scene: DiagramScene) -> None:
    box = scene.sceneRect()
    scale = min(_PNG_SCALE, _LARGEST_PNG / max(box.width(), box.height()))
    size = (box.size() * scale).toSize()
    image = QImage(size, QImage.Format.Format_ARGB32)
    _paint(scene, image, QRectF(0, 0, size.width(), size.height()))
    if not image.save(str(path)):
        raise NeuroscopeError(f"{path} can't be written.")


def _paint(scene: DiagramScene, device: Any, area: QRectF) -> None:
    painter = QPainter(device)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.fillRect(area, scene.palette_.back)
    scene.render(painter, area, scene.sceneRect())
    painter.end()
