"""The inspector's lists of a network's layers and classes."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QWidget

from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from napari_neuroscope.engine.methods.interface import Needs
from napari_neuroscope.session.network_summary import NetworkSummary
from napari_neuroscope.session.session import Session
from napari_neuroscope.widgets.parts.form import button
from napari_neuroscope.widgets.parts.labels import PlainLabel, plain_tooltip
from napari_neuroscope.widgets.parts.pickers import PickList


class LayerList(PickList):
    """Chooses a session's layers.

    Attributes
    ----------
    title
        To be placed above, with a button for the network's graph.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(
            "layers",
            {
                "All": lambda names: names,
                "Blocks": self._blocks,
                "Last": lambda names: names[-1:],
            },
        )
        self._session = session
        self.graph_button = button("Graph…", "See the network as a graph, and choose layers there.")
        self.title = QWidget()
        row = QHBoxLayout(self.title)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(PlainLabel("Layers"), 1)
        row.addWidget(self.graph_button)
        self.changed.connect(self._take_names)

    def _take_names(self, names: tuple[str, ...]) -> None:
        self._session.layers = names

    def _blocks(self, names: list[Any]) -> list[Any]:
        """Return the outermost of the layers: whole blocks, and layers that are in none."""
        if self._session.network is None:
            return []
        graph = self._session.network.layers
        return [
            name
            for name in names
            if not graph[name].block and graph[name].kind in ("block", "convolution")
        ]

    def list_layers(self, graph: LayerGraph, needs: Needs) -> None:
        """Offer the layers of a network; those that a method of these needs can't use, greyed."""
        rows = []
        for layer in graph.values():
            shape = " × ".join(str(n) for n in layer.output_shape)
            usable = Needs.POSITIONS not in needs or graph.has_positions(layer.name)
            tip = layer.description or layer.operation
            if not usable:
                tip += "\nIt has no positions, so there is no map of it."
            elif layer.parameters:
                tip += f"\n{layer.parameters:,} parameters"
            words = f"{layer.name}   {layer.kind}, {shape}"
            rows.append((layer.name, words, plain_tooltip(tip), usable))
        self.set_rows(rows)

    def choose_first(self, graph: LayerGraph) -> None:
        """Choose what was chosen before, as far as it is there; else the last with positions."""
        before = [name for name in self._session.layers if name in graph]
        last = graph.last_with_positions()
        self.choose(before or ([last] if last else []))


class ClassList(PickList):
    """Chooses a session's classes.

    Attributes
    ----------
    title
        To be placed above.
    every
        Whether a method that joins classes takes all of them; to be placed below the title.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(
            "classes", {"All": lambda classes: classes, "First": lambda classes: classes[:1]}
        )
        self._session = session
        self.title = PlainLabel("Classes")
        self.every = QCheckBox("All classes together")
        self.every.setToolTip("Of each pixel the most probable class counts; else of those chosen.")
        self.every.setChecked(session.all_classes)
        self.every.toggled.connect(self._take_every)
        self.changed.connect(self._take_classes)

    def join(self, joins: bool) -> None:
        """Offer all classes at once, for a method that makes one map of several."""
        self.every.setVisible(joins)
        self.setEnabled(not (joins and self._session.all_classes))

    def _take_every(self, every: bool) -> None:
        self._session.all_classes = every
        self.setEnabled(not every)

    def _take_classes(self, classes: tuple[int, ...]) -> None:
        self._session.classes = classes

    def list_classes(self, summary: NetworkSummary) -> None:
        """Offer a network's classes, the likeliest first; the first is chosen, or as before."""
        segments = summary.network.spec.task == "segmentation"
        what = "of the pixels" if segments else "probable"
        ranked = sorted(summary.classes, key=lambda row: -row[2])
        before = [index for index in self._session.classes if index < len(ranked)]
        self.set_rows(
            [
                (
                    index,
                    name if summary.prediction is None else f"{name}   {share:.1%} {what}",
                    f"Class {index}",
                    True,
                )
                for index, name, share in ranked
            ]
        )
        likely = [i for i, name, _ in ranked if not (segments and name == "background")]
        self.choose(before or (likely or [index for index, _, _ in ranked])[:1])
