"""The activation browser: the channels of a layer, their figures, and how they look."""

from __future__ import annotations

import napari
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QSplitter

from napari_neuroscope.engine.errors import NeuroscopeError, Progress, shortened
from napari_neuroscope.engine.evaluation.channel_statistics import (
    ChannelStatistics,
    channel_statistics,
)
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.engine.passes.target import Target
from napari_neuroscope.session.question import Question, request_for
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.image.shown_image import ShownImage
from napari_neuroscope.viewer.layers.maps.layer_manager import LayerManager
from napari_neuroscope.viewer.layers.mosaic import Mosaic
from napari_neuroscope.widgets.activations.channel_table import ChannelTable
from napari_neuroscope.widgets.activations.tiles import ChannelTiles, mosaic_of
from napari_neuroscope.widgets.parts.dock import Dock
from napari_neuroscope.widgets.parts.form import button, number_box, row
from napari_neuroscope.widgets.parts.jobs.jobs import Jobs
from napari_neuroscope.widgets.parts.labels import note
from napari_neuroscope.widgets.parts.plots import canvas, draw_histogram
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

    Attributes
    ----------
    statistics
        What was measured of the channels; None before that.
    table, tiles
        The channels, as a table and side by side.
    title, measured_note
        What is said of the layer, and of what was measured.
    tiling, adding
        What makes the mosaic, and what adds channels over the image.
    """

    name = "activations"

    def __init__(self, napari_viewer: napari.viewer.Viewer, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        self.statistics: ChannelStatistics | None = None
        # Measuring anew must not stop what is being added, nor the mosaic the measuring.
        self.tiling, self.adding = self.owned(Jobs()), self.owned(Jobs())
        self._layer_manager = self.owned(LayerManager(napari_viewer))
        self._asked: Question | None = None
        self._measured: Question | None = None
        self._tiled_depth: tuple[int, ...] = ()
        self._build()
        self._connect()
        self._measure()

    def _build(self) -> None:
        self.title, self.measured_note = note(selectable=True), note()
        self.figure, self._histogram = canvas("Histogram of the activation", 110)
        self._histogram.setMaximumHeight(170)
        self.tiles = ChannelTiles(self._click_tile)
        self.table = ChannelTable()
        self.table.setMinimumHeight(110)
        self.add_button = button(
            "Add as layer",
            "Show the selected channels over the image, as one stack.",
            lambda: self.add(self.table.selection()),
        )
        self.tiles_button = button(
            "Mosaic",
            "Show the first channels of the table side by side, each with its own contrast.",
        )
        self.tiles_button.setCheckable(True)
        self.count_box = number_box("Channels in the mosaic", 1, 64, 16)
        parts = QSplitter(Qt.Orientation.Vertical)
        parts.setChildrenCollapsible(False)
        parts.addWidget(self.table)
        parts.addWidget(self.tiles.canvas)
        self.lay_out(
            self.title,
            self._histogram,
            self.measured_note,
            row(self.add_button, self.tiles_button, self.count_box, stretch=self.add_button),
            parts,
            self.message,
            stretch=parts,
        )

    def _connect(self) -> None:
        self._measure_soon = self.debounced(self._measure, _DELAY_MS)
        self._tile_soon = self.debounced(self._tile, _DELAY_MS)
        self.table.opened.connect(lambda channel: self.add([channel]))
        self.table.selected.connect(self._enable)
        self.table.sorted.connect(self._tile_soon)
        self.count_box.valueChanged.connect(lambda _: self._tile_soon())
        self.tiles_button.toggled.connect(self._toggle_tiles)
        events = self.session.events
        self.follow_each(
            (events.network, events.image, events.layers, events.classes, events.region,
             events.labels, events.score, self._viewer.layers.events.removed),
            self._changed,
        )  # fmt: skip
        self.follow(self._viewer.dims.events.current_step, self._plane_changed)
        self.follow(self._viewer.events.theme, self._draw)

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
        return Question(
            session.network, shown, session.image, request_for("activation", {}, layers)
        )

    def _changed(self) -> None:
        self._measure_soon()

    def _plane_changed(self) -> None:
        asked = self._asked
        if asked is None or asked.source not in self._viewer.layers:
            return
        shown, network = ShownImage.of(asked.source, self._viewer), asked.network
        try:
            is_other_plane = shown.plane(network) != asked.plane()
            is_other_depth = shown.depth(network) != self._tiled_depth
        except NeuroscopeError:
            # It has just been given other axes, of which the next look tells.
            return
        if is_other_plane:
            self._measure_soon()
        elif is_other_depth:
            self._tile_soon()

    def _measure(self) -> None:
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
        self.jobs.submit(
            "Measuring the channels",
            lambda progress: _statistics_of(question, target, trouble, progress),
            lambda answer: self._show(question, *answer),
            lambda error: self._show(None, None, in_a_sentence(error)),
        )

    def _show(
        self, question: Question | None, statistics: ChannelStatistics | None, words: str
    ) -> None:
        self._measured, self.statistics = question, statistics
        self.title.setText(_layer_in_words(question))
        if statistics is not None:
            dead = int(statistics.dead.sum())
            words = (
                f"{dead} of {len(statistics)} channels are dead ({statistics.dead_share:.0%}): "
                f"never above zero, or the same everywhere. {words}"
            ).strip()
        self.measured_note.setText(words)
        self.message.clear()
        self.table.show_statistics(statistics)
        self._enable()
        self._draw_histogram()
        self._tile()

    def _has_positions(self) -> bool:
        measured = self._measured
        return measured is not None and measured.network.layers.has_positions(measured.layers[0])

    def _enable(self) -> None:
        has_positions = self._has_positions()
        self.add_button.setEnabled(has_positions and bool(self.table.selection()))
        self.tiles_button.setEnabled(has_positions)
        self.count_box.setEnabled(has_positions)

    # --- what is drawn ---

    def _draw(self) -> None:
        self._draw_histogram()
        self._show_mosaic(self.tiles.mosaic)

    def _draw_histogram(self) -> None:
        draw_histogram(self.figure, self._viewer.theme, self.statistics)
        self._histogram.draw_idle()

    def _show_mosaic(self, mosaic: Mosaic | None) -> None:
        self.tiles.show(mosaic, self._viewer.theme)

    # --- what is shown of the channels ---

    def _toggle_tiles(self) -> None:
        self.tiles.canvas.setVisible(self.tiles_button.isChecked())
        self._tile()

    def _tile(self) -> None:
        """Make the mosaic of the first channels anew, where it is asked for."""
        measured = self._measured
        depth: tuple[int, ...] = ()
        if measured is not None:
            # Where in a volume the sliders stand, on its axes before the last two.
            depth = ShownImage.of(measured.source, self._viewer).depth(measured.network)
        self._tiled_depth = depth
        if measured is None or not self.tiles_button.isChecked() or not self._has_positions():
            self.tiling.cancel()
            self._show_mosaic(None)
            return
        channels = self.table.channels()[: self.count_box.value()]
        question = measured.with_options(only=tuple(channels))
        self.tiling.submit(
            "Making the mosaic",
            lambda progress: mosaic_of(question.answer(progress), depth),
            self._show_mosaic,
            self.fail,
        )

    def _click_tile(self, channel: int, is_double: bool) -> None:
        """Select the channel of a tile; add it at a double click."""
        self.table.select([channel])
        if is_double:
            self.add([channel])

    def add(self, channels: list[int]) -> None:
        """Show channels over the image as one stack, in place of those shown before."""
        measured = self._measured
        if not channels or measured is None or not self._has_positions():
            return
        question = measured.with_options(only=tuple(channels))
        self.adding.submit(
            "Adding channels",
            question.answer,
            lambda answer: self._show_layer(question, answer),
            self.fail,
        )

    def _show_layer(self, question: Question, answer: Explanation) -> None:
        if question.source not in self._viewer.layers:
            self.message.setText("The image was removed while its channels were computed.")
            return
        slot = (question.network.name, str(question.source.unique_id), "channels")
        self._layer_manager.show(answer.to_layer_data(question.source, question.place()), slot)
        self.message.clear()


def _statistics_of(
    question: Question, target: Target | None, trouble: str, progress: Progress
) -> tuple[ChannelStatistics, str]:
    """Return the figures of a layer's channels, and what is to be said of them.

    Without its region there is no relevance for a target, but all the rest; `trouble` says why
    there is no target.
    """
    resolved, why = None, trouble
    try:
        if target is not None:
            _, resolved, _ = question.with_targets(target).arguments()
    except NeuroscopeError as error:
        why = str(error)
    image, layer = question.shown.image(question.network), question.layers[0]
    statistics = channel_statistics(question.network, image, layer, resolved, progress)
    return statistics, why or statistics.note


def _layer_in_words(question: Question | None) -> str:
    """Return the configuration of the layer that is asked about."""
    if question is None:
        return ""
    layer = question.network.layers[question.layers[0]]
    shape = " × ".join(str(size) for size in layer.output_shape)
    configuration = shortened(" ".join((layer.description or layer.operation).split()), 200)
    words = f"{layer.name}\n{configuration}\n{layer.kind}, output {shape}"
    return f"{words}, {layer.parameters:,} parameters" if layer.parameters else words
