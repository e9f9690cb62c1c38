"""The architecture of the chosen network: a graph to look at and to choose layers from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import napari
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QImage, QPainter
from qtpy.QtSvg import QSvgGenerator
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QSplitter,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QFlowLayout

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.graph.diagram import (
    Diagram,
    around,
    holder,
    lay_out,
    opened,
    write_table,
)
from napari_neuroscope.engine.graph.layer_graph import WITHOUT_GRADIENT, LayerGraph
from napari_neuroscope.engine.methods.interface import Needs
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.layers.thumbnails import layer_maps
from napari_neuroscope.widgets.architecture.layer_properties import LayerProperties
from napari_neuroscope.widgets.architecture.palette import COLOURS, Palette, icon
from napari_neuroscope.widgets.architecture.scene import DiagramScene, Marks
from napari_neuroscope.widgets.architecture.view import DiagramView
from napari_neuroscope.widgets.parts.dock import Dock
from napari_neuroscope.widgets.parts.labels import note, pixmap
from napari_neuroscope.widgets.parts.notices import tell_error
from napari_neuroscope.widgets.parts.sentences import in_a_sentence

_PNG_SCALE, _LARGEST_PNG = 2.0, 12_000


class Architecture(Dock):
    """The network as a graph; what is chosen in it is chosen in the inspector, and the reverse.

    Parameters
    ----------
    napari_viewer
        The viewer.
    session
        What is chosen; the viewer's if not given.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        self._graph: LayerGraph | None = None
        self._diagram: Diagram | None = None
        self._unfolded: frozenset[str] = frozenset()
        self._current = ""
        self._found: list[str] = []
        self._search_at = 0
        self._entries: dict[str, QToolButton] = {}
        self._scene = DiagramScene(Palette.of(napari_viewer.theme))
        self._build()
        events = self.session.events
        for signal, slot in (
            (events.network, self._take_network),
            (events.network_summary, self._take_network),
            (events.layers, self._mark),
            (events.method, self._mark),
            (events.options, self._mark),
            (events.explanation, self._show_maps),
            (events.image, self._properties.forget),
            (self._viewer.events.theme, self._take_theme),
        ):
            self.follow(signal, slot)
        self.at_end(self._properties.close_work)
        self._take_network()

    def _build(self) -> None:
        self.setObjectName("neuroscope-architecture")
        self._search = QLineEdit()
        self._search.setPlaceholderText("Search layers…")
        self._search.setClearButtonEnabled(True)
        self._search.setAccessibleName("Search layers")
        self._search.setToolTip(
            "A part of a name or an operation. Enter opens the block around what is found, then "
            "goes on to the next."
        )
        self._search.textChanged.connect(self._find)
        self._search.returnPressed.connect(self._find_next)
        self._fit = self._button("Fit", "Look at all of the network.")
        self._open_all = self._button("Open all", "Show the layers in all blocks.")
        self._fold_all = self._button("Fold all", "Show each block as one node.")
        self._save = self._button(
            "Save…", "The graph as a picture (SVG, PNG), or the layers as a table (CSV)."
        )
        self._maps = QCheckBox("Maps")
        self._maps.setChecked(True)
        self._maps.setToolTip(
            "Show on each layer its map of the last explanation of several layers, each coloured "
            "up to its own greatest value."
        )
        self._maps.toggled.connect(self._show_maps)
        self._legend = QWidget()
        self._legend_layout = QFlowLayout(self._legend)
        self._legend_layout.setContentsMargins(0, 0, 0, 0)
        self._view = DiagramView(self._scene)
        self._view.picked.connect(self._pick)
        self._view.swept.connect(self._sweep)
        self._view.toggled.connect(self.toggle)
        self._view.walked.connect(self._walk)
        self._properties = LayerProperties(self._viewer, self.session)
        self._note = note()
        self._fit.clicked.connect(self._view.fit)
        self._open_all.clicked.connect(lambda: self.unfold("all"))
        self._fold_all.clicked.connect(lambda: self.unfold(()))
        self._save.clicked.connect(self._ask_where)
        row = QHBoxLayout()
        row.addWidget(self._search, 1)
        for widget in (self._maps, self._fit, self._open_all, self._fold_all, self._save):
            row.addWidget(widget)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addLayout(row)
        layout.addWidget(self._legend)
        split = QSplitter(Qt.Orientation.Vertical)
        split.addWidget(self._view)
        split.addWidget(self._properties)
        split.setStretchFactor(0, 1)
        split.setStretchFactor(1, 0)
        split.setCollapsible(0, False)
        layout.addWidget(split, 1)
        layout.addWidget(self._note)
        self.setMinimumWidth(360)
        self._view.setBackgroundBrush(self._scene.palette_.back)

    def _button(self, words: str, tip: str) -> QPushButton:
        button = QPushButton(words)
        button.setToolTip(tip)
        return button

    # --- what is shown ---

    def _take_network(self, *_: Any) -> None:
        """Lay the chosen network out anew, once it was looked at."""
        if self.closed:
            return
        network, findings = self.session.network, self.session.network_summary
        if network is None or findings is None:
            # Looking at another image finds the same layers again: they stay in sight meanwhile.
            if network is None:
                self._graph = self._diagram = None
                self._current = ""
                self._draw()
            return
        graph = findings.network.layers
        if graph is self._graph:
            return
        known = self._graph is not None and list(self._graph) == list(graph)
        self._graph = graph
        self._lay_out(self._unfolded if known else opened(graph), begin=not known)

    def _lay_out(self, unfolded: frozenset[str], keep: str = "", *, begin: bool = False) -> None:
        graph = self._graph
        if graph is None:
            return

        def done(diagram: Diagram) -> None:
            if self.closed or graph is not self._graph:
                return
            self._unfolded, self._diagram = unfolded, diagram
            if keep:
                self._current = keep
            elif self._scene_name(self._current) != self._current:
                self._current = ""
            self._draw()
            if begin:
                self._view.begin()
            elif keep:
                self._view.go_to(self._scene_name(keep))

        self.jobs.submit(
            "Laying the network out", lambda _: lay_out(graph, unfolded), done, self._fail
        )

    def _draw(self) -> None:
        self._scene.draw(self._diagram, self._graph)
        self._list_kinds()
        for widget in (self._search, self._fit, self._open_all, self._fold_all, self._save):
            widget.setEnabled(self._diagram is not None)
        self._show_maps()
        self._mark()

    def _list_kinds(self) -> None:
        """Make the legend: the kinds of layers that the network has."""
        graph = self._graph
        there = {layer.kind for layer in graph.values()} if graph is not None else set()
        dimmed = self._dimmed()
        while self._legend_layout.count():
            item = self._legend_layout.takeAt(0)
            if item is not None and (old := item.widget()) is not None:
                old.hide()
                old.deleteLater()
        self._entries = {}
        for kind in (kind for kind in COLOURS if kind in there):
            entry = QToolButton()
            entry.setText(kind)
            entry.setIcon(icon(kind, self._scene.palette_))
            entry.setIconSize(QSize(24, 14))
            entry.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            entry.setAutoRaise(True)
            entry.setCheckable(True)
            entry.setChecked(kind not in dimmed)
            entry.setToolTip("A click dims these layers, another brings them back.")
            entry.toggled.connect(self._mark)
            self._entries[kind] = entry
            self._legend_layout.addWidget(entry)

    def _dimmed(self) -> frozenset[str]:
        return frozenset(kind for kind, entry in self._entries.items() if not entry.isChecked())

    def _mark(self, *_: Any) -> None:
        """Show what is chosen and what can't be."""
        if self.closed:
            return
        graph = self._graph
        self._properties.show_layer(graph, self._looked_at())
        if graph is None:
            self._scene.mark(Marks())
            self._note.setText("Choose a network in the dock “Neuroscope” to see its layers.")
            return
        chosen = frozenset(name for name in self.session.layers if name in graph)
        holding = {self._scene_name(name) for name in chosen} - chosen
        self._scene.mark(
            Marks(chosen, frozenset(holding), self._current, self._unusable(), self._dimmed())
        )
        self._note.setText(self._in_words(graph, chosen))

    def _looked_at(self) -> str:
        """Return the layer whose properties are shown: the last clicked, or the last chosen."""
        chosen = self.session.layers
        return chosen[-1] if chosen and self._current not in chosen else self._current

    def _in_words(self, graph: LayerGraph, chosen: frozenset[str]) -> str:
        if not graph:
            return (
                "The network has no layers that can be seen: it is one piece, as a function or a "
                "scripted network is."
            )
        count = sum(layer.kind != "block" for layer in graph.values())
        words = f"{count} layers, {len(chosen)} chosen"
        method = self.session.chosen_method()
        if Needs.LAYER not in method.needs_with(self.session.options):
            words += f"; {method.title} looks at no layer"
        return words + "."

    def _unusable(self) -> dict[str, str]:
        """Return the layers that the chosen method can't use, with the reason."""
        graph, needs = self._graph, self.session.chosen_method().needs_with(self.session.options)
        if graph is None or Needs.LAYER not in needs:
            return {}
        reasons = {}
        for name in graph:
            if Needs.POSITIONS in needs and not graph.has_positions(name):
                reasons[name] = "It has no positions, so there is no map of it."
            elif Needs.GRADIENTS in needs and not graph[name].differentiable:
                reasons[name] = f"It {WITHOUT_GRADIENT}."
        return reasons

    def _show_maps(self, *_: Any) -> None:
        if self.closed:
            return
        explanation = self.session.explanation
        self._maps.setEnabled(explanation is not None)
        maps = {}
        if explanation is not None and self._maps.isChecked():
            maps = layer_maps(explanation)
        self._scene.pictures = {name: pixmap(colours) for name, colours in maps.items()}
        self._scene.update()

    def _take_theme(self, *_: Any) -> None:
        if self.closed:
            return
        self._scene.paint_with(Palette.of(self._viewer.theme))
        self._view.setBackgroundBrush(self._scene.palette_.back)
        self._properties.draw()
        self._list_kinds()

    def _fail(self, error: Exception) -> None:
        if not self.closed:
            self._note.setText(in_a_sentence(error))

    # --- folding ---

    def toggle(self, name: str) -> None:
        """Open a folded block, or fold an open one."""
        graph = self._graph
        if graph is None or name not in graph or graph[name].kind != "block":
            return
        self._lay_out(self._unfolded ^ {name}, name)

    def unfold(self, blocks: Sequence[str]) -> None:
        """Open these blocks and fold the others; ``"all"`` opens all."""
        if self._graph is None:
            return
        wanted = self._graph.of_kind("block") if blocks == "all" else blocks
        self._lay_out(frozenset(wanted), begin=True)

    def _scene_name(self, name: str) -> str:
        """Return the node or frame in which a layer is seen."""
        if self._graph is None or name not in self._graph:
            return name
        if name in self._scene.frames:
            return name
        return holder(self._graph, name, self._unfolded)

    # --- what is chosen ---

    def _pick(self, name: str, add: bool) -> None:
        """Choose a layer, or add it to what is chosen; a second time takes it away."""
        self._current = name
        graph = self._graph
        reason = self._unusable().get(name, "")
        if graph is None or name not in graph or reason:
            self._mark()
            if reason:
                self._note.setText(f"“{name}” can't be chosen. {reason}")
            return
        before = set(self.session.layers)
        self._choose(before ^ {name} if add else {name})

    def _sweep(self, names: list[str]) -> None:
        unusable = self._unusable()
        self._choose(set(self.session.layers) | {n for n in names if n not in unusable})

    def _choose(self, names: set[str]) -> None:
        if self._graph is not None:
            self.session.layers = tuple(name for name in self._graph if name in names)
        self._mark()

    def _walk(self, direction: Any, add: bool) -> None:
        if self._diagram is None:
            return
        nodes = self._diagram.nodes
        start = self._scene_name(self._current)
        if start not in nodes:
            chosen = [self._scene_name(name) for name in self.session.layers]
            start = next((name for name in chosen if name in nodes), next(iter(nodes)))
        name = self._diagram.step(start, direction)
        if add:
            self._current = name
            if name not in self.session.layers:
                self._pick(name, True)
            self._mark()
        else:
            self._pick(name, False)
        self._view.keep_in_sight(name)

    # --- what is looked for ---

    def _find(self, text: str) -> None:
        """Go to the first layer with a text in its name or operation."""
        graph, wanted = self._graph, text.strip().casefold()
        self._found = []
        if graph is None or not wanted:
            self._mark()
            return
        self._found = [
            name
            for name, layer in graph.items()
            if wanted in name.casefold() or wanted in layer.operation.casefold()
        ]
        self._search_at = 0
        self._go_to_found()

    def _find_next(self) -> None:
        """Open the block around what was found, or go on to the next."""
        if not self._found or self._graph is None:
            return
        name = self._found[self._search_at]
        if self._scene_name(name) != name:
            self._lay_out(self._unfolded | set(around(self._graph, name)), name)
            return
        self._search_at = (self._search_at + 1) % len(self._found)
        self._go_to_found()

    def _go_to_found(self) -> None:
        if not self._found:
            self._note.setText("No layer is called like that.")
            return
        name = self._found[self._search_at]
        self._current = self._scene_name(name)
        self._view.go_to(self._current)
        self._mark()
        inside = f", inside {self._current}: Enter opens it" if self._current != name else ""
        self._note.setText(f"{self._search_at + 1} of {len(self._found)}: {name}{inside}")

    # --- what is kept ---

    def _ask_where(self) -> None:
        chosen, _ = QFileDialog.getSaveFileName(
            self, "Save the architecture", "architecture.svg",
            "Pictures (*.svg *.png);;Table of the layers (*.csv)",
        )  # fmt: skip
        if chosen:
            try:
                self.save(Path(chosen))
            except NeuroscopeError as error:
                tell_error(str(error))

    def save(self, path: Path) -> None:
        """Save the graph as it is shown (.svg, .png), or a table of all layers (.csv).

        An existing file is replaced; the dialog has asked.

        Raises
        ------
        NeuroscopeError
            Where the name ends in something else, or can't be written.
        """
        if self._graph is None or self._diagram is None:
            raise NeuroscopeError("There is no network to save; choose one first.")
        suffix = path.suffix.lower()
        if suffix == ".csv":
            write_table(self._graph, path)
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
        (self._save_svg if suffix == ".svg" else self._save_png)(path)

    def _save_svg(self, path: Path) -> None:
        size = self._scene.sceneRect().size().toSize()
        file = QSvgGenerator()
        file.setFileName(str(path))
        file.setSize(size)
        file.setViewBox(QRectF(0, 0, size.width(), size.height()))
        file.setTitle(f"Architecture of {self.session.title()}")
        self._render(file, QRectF(0, 0, size.width(), size.height()))

    def _save_png(self, path: Path) -> None:
        box = self._scene.sceneRect()
        scale = min(_PNG_SCALE, _LARGEST_PNG / max(box.width(), box.height()))
        size = (box.size() * scale).toSize()
        image = QImage(size, QImage.Format.Format_ARGB32)
        self._render(image, QRectF(0, 0, size.width(), size.height()))
        if not image.save(str(path)):
            raise NeuroscopeError(f"{path} can't be written.")

    def _render(self, where: Any, area: QRectF) -> None:
        painter = QPainter(where)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(area, self._scene.palette_.back)
        self._scene.render(painter, area, self._scene.sceneRect())
        painter.end()
