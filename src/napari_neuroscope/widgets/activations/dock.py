"""The activation browser: the channels of a layer, their figures, and how they look."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import napari
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QHBoxLayout,
    QPushButton,
    QSpinBox,
    QSplitter,
    QVBoxLayout,
)

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.evaluation.channel_statistics import (
    ChannelStatistics,
    channel_statistics,
)
from napari_neuroscope.engine.explanation.colormaps import stops
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.session.question import Question
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.image.shown_image import ShownImage
from napari_neuroscope.viewer.layers.layer_manager import LayerManager
from napari_neuroscope.viewer.layers.mosaic import Mosaic
from napari_neuroscope.widgets.activations.channel_table import ChannelTable
from napari_neuroscope.widgets.parts.dock import Dock
from napari_neuroscope.widgets.parts.jobs.jobs import Jobs
from napari_neuroscope.widgets.parts.labels import note
from napari_neuroscope.widgets.parts.plots import canvas, cleared, draw_histogram, on_plot
from napari_neuroscope.widgets.parts.sentences import in_a_sentence

_DELAY_MS = 150


class ActivationBrowser(Dock):
    """Lists the channels of the first chosen layer for the chosen image, and shows those wanted.

    Parameters
    ----------
    napari_viewer
        The viewer.
    session
        What is chosen; the viewer's if not given.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        self.statistics: ChannelStatistics | None = None
        self.mosaic: Mosaic | None = None
        # Measuring anew must not stop what is being added, nor the mosaic the measuring.
        self.tiling, self.adding = Jobs(), Jobs()
        self._layer_manager = LayerManager(napari_viewer)
        self._asked: Question | None = None
        self._measured: Question | None = None
        self._tiled: tuple[int, ...] = ()
        self._build()
        self._soon = self.debounced(self._measure, _DELAY_MS)
        self._tile_soon = self.debounced(self._tile, _DELAY_MS)
        self._table.sorted.connect(self._tile_soon)
        self._count.valueChanged.connect(lambda *_: self._tile_soon())
        events = self.session.events
        for signal in (events.network, events.image, events.layers, events.classes,
                       events.region, events.labels, events.score,
                       self._viewer.layers.events.removed):  # fmt: skip
            self.follow(signal, self._changed)
        self.follow(self._viewer.dims.events.current_step, self._plane_changed)
        self.follow(self._viewer.events.theme, self._draw)
        for part in (self._layer_manager, self.tiling, self.adding):
            self.at_end(part.close)
        self._measure()

    def _build(self) -> None:
        self.setObjectName("neuroscope-activations")
        self._title, self._note, self._answer = note(), note(), note()
        self._title.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._figure, self._histogram = canvas("Histogram of the activation", 110)
        self._histogram.setMaximumHeight(170)
        self._picture, self._tiles = canvas("Mosaic of channels", 200, None)
        self._tiles.setToolTip("A click selects the channel; a double click adds it as a layer.")
        self._tiles.mpl_connect("button_press_event", self._clicked)
        self._tiles.hide()
        self._table = ChannelTable()
        self._table.setMinimumHeight(110)
        self._table.opened.connect(lambda channel: self.add([channel]))
        self._table.selected.connect(self._enable)
        self._add = QPushButton("Add as layer")
        self._add.setToolTip("Show the selected channels over the image, as one stack.")
        self._add.clicked.connect(lambda: self.add(self._table.selection()))
        self._show_tiles = QPushButton("Mosaic")
        self._show_tiles.setCheckable(True)
        self._show_tiles.setToolTip(
            "Show the first channels of the table side by side, each with its own contrast."
        )
        self._show_tiles.toggled.connect(self._toggle_tiles)
        self._count = QSpinBox()
        self._count.setRange(1, 64)
        self._count.setValue(16)
        self._count.setAccessibleName("Channels in the mosaic")
        row = QHBoxLayout()
        row.addWidget(self._add, 1)
        row.addWidget(self._show_tiles)
        row.addWidget(self._count)
        parts = QSplitter(Qt.Orientation.Vertical)
        parts.setChildrenCollapsible(False)
        parts.addWidget(self._table)
        parts.addWidget(self._tiles)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(self._title)
        layout.addWidget(self._histogram)
        layout.addWidget(self._note)
        layout.addLayout(row)
        layout.addWidget(parts, 1)
        layout.addWidget(self._answer)
        self.setMinimumWidth(320)

    # --- what is measured ---

    def _problem(self) -> str | None:
        """Return what is still to be chosen, as a sentence; None where nothing is."""
        session = self.session
        if session.network is None:
            return "Choose a network in the dock “Neuroscope”."
        if session.image is None or session.image not in self._viewer.layers:
            return "Choose an image layer; File > Open Sample has some."
        if reason := session.network.why_not(methods["activation"]):
            return reason
        if not session.layers or session.layers[0] not in session.network.layers:
            return "Choose a layer in the dock “Neuroscope”, or in “Architecture”."
        return None

    @property
    def busy(self) -> bool:
        """Whether something is computed."""
        return any(jobs.busy for jobs in (self.jobs, self.tiling, self.adding))

    def _question(self) -> Question:
        """Return the question for the layer's activation, of the plane that is shown now."""
        if problem := self._problem():
            raise NeuroscopeError(problem)
        session = self.session
        assert session.network is not None
        shown = ShownImage.of(session.image, self._viewer)
        layers = session.layers[:1]
        return Question(session.network, shown, session.image, "activation", {}, layers, ())

    def _changed(self, *_: Any) -> None:
        if not self.closed:
            self._soon()

    def _plane_changed(self, *_: Any) -> None:
        asked = self._asked
        if self.closed or asked is None or asked.source not in self._viewer.layers:
            return
        shown, network = ShownImage.of(asked.source, self._viewer), asked.network
        try:
            other = shown.plane(network) != asked.plane()
            deeper = shown.depth(network) != self._tiled
        except NeuroscopeError:
            # It has just been given other axes, of which the next look tells.
            return
        if other:
            self._soon()
        elif deeper:
            self._tile_soon()

    def _seen_plane(self, question: Question) -> tuple[int, ...]:
        """Return where in a volume the sliders stand, on its axes before the last two."""
        return ShownImage.of(question.source, self._viewer).depth(question.network)

    def _measure(self) -> None:
        if self.closed:
            return
        try:
            question = self._question()
            question.plane()
        except NeuroscopeError as error:
            self.jobs.cancel()
            self._asked = None
            self._show(None, None, str(error))
            return
        self._asked = question
        target, trouble = None, ""
        try:
            target = next(iter(self.session.targets(question.network, self._viewer)), None)
        except NeuroscopeError as error:
            trouble = str(error)

        def work(progress: Any) -> tuple[ChannelStatistics, str]:
            resolved, why = None, trouble
            try:
                resolved = None if target is None else question.resolved(target)
            except NeuroscopeError as error:
                # Without its region there is no relevance, but all the rest.
                why = str(error)
            image = question.shown.image(question.network)
            layer = question.layers[0]
            found = channel_statistics(question.network, image, layer, resolved, progress)
            return found, why or found.note

        self.jobs.submit(
            "Measuring the channels",
            work,
            lambda answer: self._show(question, *answer),
            lambda error: self._show(None, None, in_a_sentence(error)),
        )

    def _show(
        self, question: Question | None, statistics: ChannelStatistics | None, words: str
    ) -> None:
        if self.closed:
            return
        self._measured, self.statistics = question, statistics
        self._title.setText(self._describe())
        if statistics is not None:
            dead = int(statistics.dead.sum())
            words = (
                f"{dead} of {len(statistics)} channels are dead ({statistics.dead_share:.0%}): "
                f"never above zero, or the same everywhere. {words}"
            ).strip()
        self._note.setText(words)
        self._answer.clear()
        self._table.show_statistics(statistics)
        self._enable()
        self._draw_histogram()
        self._tile()

    def _describe(self) -> str:
        """Return the layer's configuration in words."""
        if self._measured is None:
            return ""
        layer = self._measured.network.layers[self._measured.layers[0]]
        shape = " × ".join(str(n) for n in layer.output_shape)
        configuration = shortened(" ".join((layer.description or layer.operation).split()), 200)
        words = f"{layer.name}\n{configuration}\n{layer.kind}, output {shape}"
        return f"{words}, {layer.parameters:,} parameters" if layer.parameters else words

    def _has_positions(self) -> bool:
        measured = self._measured
        return measured is not None and measured.network.layers.has_positions(measured.layers[0])

    def _enable(self) -> None:
        placed = self._has_positions()
        self._add.setEnabled(placed and bool(self._table.selection()))
        self._show_tiles.setEnabled(placed)
        self._count.setEnabled(placed)

    # --- what is drawn ---

    def _draw(self, *_: Any) -> None:
        if not self.closed:
            self._draw_histogram()
            self._draw_mosaic()

    def _draw_histogram(self) -> None:
        draw_histogram(self._figure, self._viewer.theme, self.statistics)
        self._histogram.draw_idle()

    def _draw_mosaic(self) -> None:
        cleared(self._picture, self._viewer.theme)
        if (mosaic := self.mosaic) is not None:
            axes = self._picture.add_axes((0, 0, 1, 1))
            axes.set_axis_off()
            # The maps' colours are clear at zero, for images; here black lies behind.
            black = np.isfinite(mosaic.values).astype(float)
            axes.imshow(np.zeros((*black.shape, 3)), alpha=black, interpolation="nearest")
            # As napari keeps them, so that tiles and layers have the same colours.
            colours = np.float32(stops(signed=mosaic.signed))
            look = LinearSegmentedColormap.from_list("", colours).with_extremes(bad=(0, 0, 0, 0))
            low = -1 if mosaic.signed else 0
            axes.imshow(mosaic.values, look, vmin=low, vmax=1, interpolation="nearest")
            for name, (y, x) in zip(mosaic.names, mosaic.corners, strict=True):
                axes.annotate(on_plot(name), (x - 0.5, y - 0.5), xytext=(2, -2), va="top",
                              textcoords="offset points", color="white", fontsize=7)  # fmt: skip
        self._tiles.draw_idle()

    # --- what is shown of the channels ---

    def _toggle_tiles(self, *_: Any) -> None:
        self._tiles.setVisible(self._show_tiles.isChecked())
        self._tile()

    def _tile(self) -> None:
        """Make the mosaic of the first channels anew, where it is asked for."""
        if self.closed:
            return
        measured = self._measured
        self._tiled = seen = () if measured is None else self._seen_plane(measured)
        if measured is None or not self._show_tiles.isChecked() or not self._has_positions():
            self.tiling.cancel()
            self.mosaic = None
            self._draw_mosaic()
            return
        channels = self._table.channels()[: self._count.value()]
        question = replace(measured, options={"only": tuple(channels)})

        def work(progress: Any) -> Mosaic:
            answer = question.answer(progress)
            pixel = np.zeros(len(answer.grid.shape))
            pixel[: len(seen)] = seen
            cells = np.floor(answer.grid.to_cells(pixel) + 0.5).astype(int)
            plane = cells.clip(0, np.array(answer.grid.shape) - 1)[: len(seen)]
            return Mosaic.of(answer.values, answer.labels["channel"], plane.tolist())

        def done(mosaic: Mosaic) -> None:
            self.mosaic = mosaic
            self._draw_mosaic()

        self.tiling.submit("Making the mosaic", work, done, self._fail)

    def _clicked(self, event: Any) -> None:
        """Select the channel of a tile; add it at a double click."""
        if self.mosaic is None or event.xdata is None:
            return
        tile = self.mosaic.at(event.ydata + 0.5, event.xdata + 0.5)
        if tile is None:
            return
        channel = int(self.mosaic.names[tile])
        self._table.select([channel])
        if event.dblclick:
            self.add([channel])

    def add(self, channels: list[int]) -> None:
        """Show channels over the image as one stack, in place of those shown before."""
        measured = self._measured
        if self.closed or not channels or measured is None or not self._has_positions():
            return
        question = replace(measured, options={"only": tuple(channels)})
        self.adding.submit(
            "Adding channels",
            question.answer,
            lambda answer: self._show_layer(question, answer),
            self._fail,
        )

    def _show_layer(self, question: Question, answer: Explanation) -> None:
        if self.closed:
            return
        if question.source not in self._viewer.layers:
            self._answer.setText("The image was removed while its channels were computed.")
            return
        slot = (question.network.name, str(question.source.unique_id), "channels")
        self._layer_manager.show(answer.to_layer_data(question.source, question.place()), slot)
        self._answer.clear()

    def _fail(self, error: Exception) -> None:
        if not self.closed:
            self._answer.setText(in_a_sentence(error))
