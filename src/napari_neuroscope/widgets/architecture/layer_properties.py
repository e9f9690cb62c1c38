"""What is known of one layer: its configuration, its receptive field, its activation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import napari
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

from napari_neuroscope.engine.errors import NeuroscopeError, Progress
from napari_neuroscope.engine.evaluation.channel_statistics import ChannelStatistics
from napari_neuroscope.engine.graph.layer_graph import Layer, LayerGraph
from napari_neuroscope.engine.graph.receptive_field import in_words, receptive_field
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.image.clicks import Clicks
from napari_neuroscope.viewer.image.shown_image import ShownImage
from napari_neuroscope.viewer.layers.receptive_field_box import ReceptiveFieldBox
from napari_neuroscope.widgets.parts.form import button, column, row
from napari_neuroscope.widgets.parts.jobs.jobs import Jobs
from napari_neuroscope.widgets.parts.labels import HeadedLabel, note
from napari_neuroscope.widgets.parts.plots import canvas, draw_histogram
from napari_neuroscope.widgets.parts.sentences import in_a_sentence


@dataclass(frozen=True, eq=False)
class LayerActivation:
    """A layer's answer to the image that is shown: its figures, and where its positions lie."""

    layer: str
    statistics: ChannelStatistics
    grid: Grid
    units: tuple[int, ...]


class LayerProperties(QWidget):
    """Shows one layer of the chosen network, and its receptive field where the image is clicked.

    Parameters
    ----------
    viewer
        The viewer.
    session
        The network and the image.

    Attributes
    ----------
    activation
        What the layer makes of the image, once it was looked at.
    text, histogram, note
        What is said of the layer, the values of its activation, and what is said of a click.
    field
        Whether clicks on the image draw what the layer's units see.
    """

    def __init__(self, viewer: napari.viewer.Viewer, session: Session) -> None:
        super().__init__()
        self._viewer, self._session = viewer, session
        self.jobs = Jobs()
        self.box = ReceptiveFieldBox(viewer)
        self.activation: LayerActivation | None = None
        self._graph: LayerGraph | None = None
        self._name = ""
        self._position: tuple[float, ...] | None = None
        self._is_drawn = False
        self._clicks = Clicks(viewer, self.show_field)
        self.text = HeadedLabel()
        self.field = button(
            "Show field",
            "While this is on, a click on the image draws what the layer's unit there can see.",
        )
        self.field.setCheckable(True)
        self.field.toggled.connect(self._switch)
        self.note = note()
        self._figure, self.histogram = canvas("Histogram of the layer's activation", 90)
        self.histogram.setFixedWidth(190)
        self.histogram.setMaximumHeight(130)
        above = row(self.text, stretch=self.text)
        above.addWidget(self.histogram, 0, Qt.AlignmentFlag.AlignTop)
        column(self, above, row(self.field, self.note, stretch=self.note), margin=0)
        self.show_layer(None, "")

    def show_layer(self, graph: LayerGraph | None, name: str) -> None:
        """Show a layer of a network; none where there is no such layer."""
        layer = None if graph is None or name not in graph else graph[name]
        same = graph is self._graph and name == self._name
        self._graph, self._name = graph, name if layer is not None else ""
        self.setVisible(layer is not None)
        if layer is None or graph is None:
            self.field.setChecked(False)
            return
        if same and self.activation is not None:
            return
        self.activation = None
        self.text.show_lines(layer.name, self._in_words(graph, layer))
        self.draw()
        self.measure()

    def _in_words(self, graph: LayerGraph, layer: Layer) -> list[str]:
        def shape(name: str) -> str:
            return " × ".join(map(str, graph[name].output_shape)) or "one number"

        rows = [("", layer.description or layer.operation)]
        given = ", ".join(f"{shape(name)} of {name}" for name in layer.inputs)
        rows.append(("Takes", given or "the image"))
        rows.append(("Answers", shape(layer.name)))
        rows.append(("Parameters", f"{layer.parameters:,}"))
        self.field.setEnabled(False)
        try:
            field = receptive_field(graph, layer.name)
        except NeuroscopeError as error:
            rows.append(("Receptive field", str(error)))
        else:
            rows.append(("Receptive field", in_words(field)))
            self.field.setEnabled(True)
        if self.activation is not None:
            statistics = self.activation.statistics
            dead = f"{statistics.dead.sum()} of {len(statistics)} channels dead"
            dead += f" ({statistics.dead_share:.0%})"
            rows.append(("On this image", dead))
        return [f"{title}: {words}" if title else words for title, words in rows]

    def measure(self) -> None:
        """Look at the layer's activation of the image that is shown, beside the window."""
        network, image, name = self._session.network, self._session.image, self._name
        graph = self._graph
        if network is None or image is None or graph is None or not graph.has_positions(name):
            return
        try:
            shown = ShownImage.of(image, self._viewer)
        except NeuroscopeError:
            return
        self.jobs.submit(
            "Looking at the layer",
            lambda progress: _look(network, shown.image(network), name, progress),
            self._take,
            lambda error: self.note.setText(in_a_sentence(error)),
        )

    def _take(self, activation: LayerActivation) -> None:
        graph = self._graph
        if graph is None or activation.layer != self._name:
            return
        self.activation = activation
        self.text.show_lines(self._name, self._in_words(graph, graph[self._name]))
        self.draw()
        if self.field.isChecked() and self._position is not None:
            self.show_field(self._position)

    def draw(self) -> None:
        """Draw the histogram in the theme's colours, once it is seen."""
        statistics = None if self.activation is None else self.activation.statistics
        self.histogram.setVisible(statistics is not None)
        self._is_drawn = False
        if self.isVisible():
            self._draw_histogram()

    def showEvent(self, event: Any) -> None:
        """Draw what changed while nobody saw it, such as behind another tab."""
        super().showEvent(event)
        if not self._is_drawn:
            self._draw_histogram()

    def _draw_histogram(self) -> None:
        statistics = None if self.activation is None else self.activation.statistics
        self._is_drawn = True
        draw_histogram(self._figure, self._viewer.theme, statistics)
        self.histogram.draw_idle()

    def _switch(self, on: bool) -> None:
        self._clicks.switch(on)
        self.note.setText("Click on the image." if on else "")
        if not on:
            self.box.remove()
            self._position = None

    def show_field(self, position: tuple[float, ...], flat: bool = True) -> None:
        """Draw what the layer's unit at a position of the world can see."""
        network, graph, activation = self._session.network, self._graph, self.activation
        if network is None or graph is None:
            return
        if not flat:
            self.note.setText("A click in 3D meets no single pixel; switch to the 2D view.")
            return
        self._position = position
        if activation is None:
            # It is drawn when the layer's answer is there.
            self.note.setText("The network looks at the image.")
            self.measure()
            return
        try:
            pixels = self._session.pixels(network, self._viewer)
        except NeuroscopeError as error:
            self.note.setText(str(error))
            return
        pixel = pixels.at(position)
        if pixel is None:
            self.note.setText(f"That is outside of the image “{pixels.name}”.")
            return
        try:
            words = self.box.show(
                graph, self._name, activation.units, activation.grid, pixels, pixel
            )
        except NeuroscopeError as error:
            words = str(error)
        self.note.setText(words)

    def forget(self) -> None:
        """Measure anew, as another image is shown."""
        self.activation = None
        if self._graph is not None and self._name:
            self.draw()
            self.measure()

    def close_work(self) -> None:
        """Stop what is computed and follow clicks no longer."""
        self._clicks.switch(False)
        self.jobs.close()


def _look(network: Network, image: Any, layer: str, progress: Progress) -> LayerActivation:
    trace = network.trace(image, [layer], progress=progress)
    activation = trace.activation(layer)
    return LayerActivation(
        layer,
        ChannelStatistics.of(activation),
        trace.prepared.grid,
        tuple(activation.shape[1:]),
    )
