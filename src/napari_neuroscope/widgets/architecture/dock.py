"""The architecture of the chosen network: a graph to look at and to choose layers from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import napari
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QSplitter

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.graph.diagram import Diagram, around, holder, lay_out, opened
from napari_neuroscope.engine.graph.layer_graph import WITHOUT_GRADIENT, LayerGraph
from napari_neuroscope.engine.methods.interface import Needs
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.layers.thumbnails import layer_maps
from napari_neuroscope.widgets.architecture.export import KINDS, export
from napari_neuroscope.widgets.architecture.layer_properties import LayerProperties
from napari_neuroscope.widgets.architecture.legend import Legend
from napari_neuroscope.widgets.architecture.palette import Palette
from napari_neuroscope.widgets.architecture.scene import DiagramScene, Marks
from napari_neuroscope.widgets.architecture.search import LayerSearch
from napari_neuroscope.widgets.architecture.toolbar import Toolbar
from napari_neuroscope.widgets.architecture.view import DiagramView
from napari_neuroscope.widgets.parts.dialogs.save_dialog import ask_and_save
from napari_neuroscope.widgets.parts.dock import Dock
from napari_neuroscope.widgets.parts.labels import pixmap


class Architecture(Dock):
    """The network as a graph; what is chosen in it is chosen in the inspector, and the reverse.

    Parameters
    ----------
    napari_viewer
        The viewer.
    session
        What is chosen; the viewer's if not given.

    Attributes
    ----------
    toolbar, legend, view, properties
        What stands above the diagram, the diagram, and the layer that is looked at.
    scene
        What the diagram shows.
    """

    name = "architecture"

    def __init__(self, napari_viewer: napari.viewer.Viewer, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        self._graph: LayerGraph | None = None
        self._diagram: Diagram | None = None
        self._unfolded: frozenset[str] = frozenset()
        self._current = ""
        self._search = LayerSearch()
        self.scene = DiagramScene(Palette.of(napari_viewer.theme))
        self._build()
        self._connect()
        self._take_network()

    def _build(self) -> None:
        self.toolbar, self.legend = Toolbar(), Legend()
        self.view = DiagramView(self.scene)
        self.view.setBackgroundBrush(self.scene.palette_.back)
        self.properties = LayerProperties(self._viewer, self.session)
        split = QSplitter(Qt.Orientation.Vertical)
        split.addWidget(self.view)
        split.addWidget(self.properties)
        split.setStretchFactor(0, 1)
        split.setStretchFactor(1, 0)
        split.setCollapsible(0, False)
        self.lay_out(self.toolbar.row(), self.legend, split, self.message, stretch=split, width=360)

    def _connect(self) -> None:
        toolbar, view = self.toolbar, self.view
        toolbar.search.textChanged.connect(self._find)
        toolbar.search.returnPressed.connect(self._find_next)
        toolbar.maps.toggled.connect(self._show_maps)
        toolbar.fit.clicked.connect(view.fit)
        toolbar.open_all.clicked.connect(lambda: self.unfold("all"))
        toolbar.fold_all.clicked.connect(lambda: self.unfold(()))
        toolbar.save.clicked.connect(self._ask_where)
        self.legend.changed.connect(self._mark)
        view.picked.connect(self.pick)
        view.swept.connect(self._sweep)
        view.toggled.connect(self.toggle)
        view.walked.connect(self._walk)
        events = self.session.events
        self.follow_each((events.network, events.network_summary), self._take_network)
        self.follow_each((events.layers, events.method, events.options), self._mark)
        self.follow(events.explanation, self._show_maps)
        self.follow(events.image, self.properties.forget)
        self.follow(self._viewer.events.theme, self._take_theme)
        self.at_end(self.properties.close_work)

    # --- what is shown ---

    def _take_network(self) -> None:
        """Lay the chosen network out anew, once it was looked at."""
        network, summary = self.session.network, self.session.network_summary
        if network is None or summary is None:
            # Looking at another image finds the same layers again: they stay in sight meanwhile.
            if network is None:
                self._graph = self._diagram = None
                self._current = ""
                self._draw()
            return
        graph = summary.network.layers
        if graph is self._graph:
            return
        has_same_layers = self._graph is not None and list(self._graph) == list(graph)
        self._graph = graph
        unfolded = self._unfolded if has_same_layers else opened(graph)
        self._lay_out(unfolded, begin=not has_same_layers)

    def _lay_out(self, unfolded: frozenset[str], keep: str = "", *, begin: bool = False) -> None:
        """Lay the network out with some blocks open.

        Parameters
        ----------
        unfolded
            The blocks.
        keep
            A layer that stays in sight.
        begin
            Whether to look at the start of the network then.
        """
        graph = self._graph
        if graph is None:
            return

        def done(diagram: Diagram) -> None:
            if graph is not self._graph:
                return
            self._unfolded, self._diagram = unfolded, diagram
            if keep:
                self._current = keep
            elif self._scene_name(self._current) != self._current:
                self._current = ""
            self._draw()
            if begin:
                self.view.begin()
            elif keep:
                self.view.go_to(self._scene_name(keep))

        self.jobs.submit(
            "Laying the network out", lambda _: lay_out(graph, unfolded), done, self.fail
        )

    def _draw(self) -> None:
        self.scene.draw(self._diagram, self._graph)
        self._list_kinds()
        self.toolbar.enable(self._diagram is not None)
        self._show_maps()
        self._mark()

    def _list_kinds(self) -> None:
        layers = () if self._graph is None else self._graph.values()
        self.legend.list_kinds((layer.kind for layer in layers), self.scene.palette_)

    def _mark(self) -> None:
        """Show what is chosen and what can't be."""
        graph = self._graph
        self.properties.show_layer(graph, self._looked_at())
        if graph is None:
            self.scene.mark(Marks())
            self.message.setText("Choose a network in the dock “Neuroscope” to see its layers.")
            return
        chosen = frozenset(name for name in self.session.layers if name in graph)
        holding = frozenset(self._scene_name(name) for name in chosen) - chosen
        self.scene.mark(
            Marks(chosen, holding, self._current, self._unusable(), self.legend.dimmed())
        )
        self.message.setText(self._in_words(graph, chosen))

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

    def _show_maps(self) -> None:
        explanation = self.session.explanation
        self.toolbar.maps.setEnabled(explanation is not None)
        maps = {}
        if explanation is not None and self.toolbar.maps.isChecked():
            maps = layer_maps(explanation)
        self.scene.pictures = {name: pixmap(colours) for name, colours in maps.items()}
        self.scene.update()

    def _take_theme(self) -> None:
        self.scene.paint_with(Palette.of(self._viewer.theme))
        self.view.setBackgroundBrush(self.scene.palette_.back)
        self.properties.draw()
        self._list_kinds()

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
        if self._graph is None or name not in self._graph or name in self.scene.frames:
            return name
        return holder(self._graph, name, self._unfolded)

    # --- what is chosen ---

    def pick(self, name: str, add: bool = False) -> None:
        """Choose a layer, or add it to what is chosen; a second time takes it away."""
        self._current = name
        graph = self._graph
        reason = self._unusable().get(name, "")
        if graph is None or name not in graph or reason:
            self._mark()
            if reason:
                self.message.setText(f"“{name}” can't be chosen. {reason}")
            return
        before = set(self.session.layers)
        self._choose(before ^ {name} if add else {name})

    def _sweep(self, names: list[str]) -> None:
        unusable = self._unusable()
        usable = {name for name in names if name not in unusable}
        self._choose(set(self.session.layers) | usable)

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
                self.pick(name, True)
            self._mark()
        else:
            self.pick(name)
        self.view.keep_in_sight(name)

    # --- what is looked for ---

    def _find(self, text: str) -> None:
        """Go to the first layer with a text in its name or operation."""
        if self._search.look_for(text, self._graph):
            self._go_to_match()
        else:
            self._mark()

    def _find_next(self) -> None:
        """Open the block around what was found, or go on to the next."""
        name = self._search.current
        if name is None or self._graph is None:
            return
        if self._scene_name(name) != name:
            self._lay_out(self._unfolded | set(around(self._graph, name)), name)
            return
        self._search.go_on()
        self._go_to_match()

    def _go_to_match(self) -> None:
        name = self._search.current
        seen_in = "" if name is None else self._scene_name(name)
        if name is not None:
            self._current = seen_in
            self.view.go_to(seen_in)
            self._mark()
        self.message.setText(self._search.in_words(seen_in))

    # --- what is kept ---

    def _ask_where(self) -> None:
        ask_and_save(self, "Save the architecture", "architecture.svg", KINDS, self.save)

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
        export(path, self.scene, self._graph, f"Architecture of {self.session.title()}")
