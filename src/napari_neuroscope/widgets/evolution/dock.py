"""The evolution of a map through the layers, as a plot whose marker is the slider."""

from __future__ import annotations

from typing import Any

import napari
from qtpy.QtWidgets import QCheckBox, QFormLayout
from superqt.utils import signals_blocked

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.evaluation.evolution import Evolution
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.layers.side_by_side import SideBySide
from napari_neuroscope.viewer.state.stack_contrast import StackContrast
from napari_neuroscope.viewer.state.viewer_state import state_of
from napari_neuroscope.widgets.evolution.plot import EvolutionFigure
from napari_neuroscope.widgets.evolution.shown_stack import Region, ShownStack, regions_of
from napari_neuroscope.widgets.parts.dock import Dock
from napari_neuroscope.widgets.parts.form import button, choice, row
from napari_neuroscope.widgets.parts.labels import on_line
from napari_neuroscope.widgets.parts.notices import tell, tell_error
from napari_neuroscope.widgets.parts.sentences import in_a_sentence

_DELAY_MS = 150


class EvolutionPlot(Dock):
    """Plots where each layer's map lies and how it changes, for the topmost visible stack of layers.

    A click on a layer moves the slider there; from where on the map misses the region is marked.

    Parameters
    ----------
    napari_viewer
        The viewer.
    session
        What is chosen; the viewer's if not given.

    Attributes
    ----------
    evolution
        What is plotted; None where nothing is.
    stack
        The layer that is looked at.
    plot
        The figure.
    region_box, common_box, maximum_box, beside_button
        In which region the maps are to lie; whether all layers have one contrast, and whether it ends
        at the greatest value; shows all.
    """

    name = "evolution"

    def __init__(self, napari_viewer: napari.viewer.Viewer, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        self.evolution: Evolution | None = None
        self._shown: ShownStack | None = None
        self._state: tuple[Any, ...] = ()
        self._contrast = state_of(napari_viewer, StackContrast)
        self._tiles = SideBySide(napari_viewer)
        self._build()
        self._measure_soon = self.debounced(self._measure, _DELAY_MS)
        layers = self._viewer.layers.events
        self.follow_each((layers.inserted, layers.removed), self._list_regions)
        self.follow_each((layers.reordered, self._viewer.dims.events.current_step), self._look)
        self.follow(self._viewer.events.theme, self._draw)
        self.follow(self._contrast.changed, self._take_contrast)
        self._list_regions()
        self._draw()

    def _build(self) -> None:
        self.region_box = choice(
            "Region", {}, "The share of each map that lies inside this is plotted."
        )
        self.region_box.currentIndexChanged.connect(self._look_anew)
        self.plot = EvolutionFigure(self._go_to)
        self.common_box = QCheckBox("One contrast for all layers")
        self.common_box.setToolTip(
            "Off: each layer has a contrast of its own. On: colours mean the same in all layers, also "
            "side by side."
        )
        self.common_box.toggled.connect(lambda on: setattr(self._contrast, "common", on))
        self.maximum_box = QCheckBox("Up to the greatest value")
        self.maximum_box.setToolTip(
            "Off: colours end at the 99.5th percentile of the values, so that a few extreme ones don't "
            "hide the others. On: they end at the greatest value. Both hold for all maps."
        )
        self.maximum_box.toggled.connect(lambda on: setattr(self._contrast, "to_maximum", on))
        self._take_contrast()
        self.beside_button = button(
            "Side by side",
            "Show all layers of the stack next to each other, beside the image.",
            self.show_side_by_side,
        )
        form = QFormLayout()
        form.addRow("Inside of", self.region_box)
        self.lay_out(
            form,
            row(self.common_box, self.beside_button, stretch=self.common_box),
            self.maximum_box,
            self.plot.canvas,
            self.message,
            stretch=self.plot.canvas,
        )

    @property
    def stack(self) -> Any:
        """The layer that is looked at; None where there is none."""
        return None if self._shown is None else self._shown.layer

    # --- which stack and region ---

    def _list_regions(self) -> None:
        chosen = self.region_box.currentText()
        with signals_blocked(self.region_box):
            self.region_box.clear()
            for region in regions_of(self._viewer.layers):
                self.region_box.addItem(on_line(region.title), region)
            self.region_box.setCurrentIndex(max(self.region_box.findText(chosen), 0))
        for layer in self._viewer.layers:
            self.follow(layer.events.visible, self._look)
            if KEY in layer.metadata:
                self.follow(layer.events.set_data, self._look)
        self._look()

    def _look_anew(self) -> None:
        self._state = ()
        self._look()

    def _look(self) -> None:
        """Follow the slider, and measure anew where another stack, class or plane is shown."""
        self._shown = shown = ShownStack.of(self._viewer)
        if shown is None:
            self._show(
                None, "Explain several layers: their maps are then a stack, and plotted here."
            )
            return
        state = (*shown.state(), self.region_box.currentText())
        if state == self._state:
            self._mark()
        else:
            self._state = state
            self._measure_soon()

    def _measure(self) -> None:
        shown = self._shown
        region: Region | None = self.region_box.currentData()
        if shown is None or shown.layer not in self._viewer.layers:
            return
        if region is None:
            self._show(None, "Add a Labels or Shapes layer, such as the ground truth: the plot shows "
                             "how much of each map lies inside of it.")  # fmt: skip
            return
        values, names = shown.maps()
        network = self.session.network
        try:
            classes = None if network is None else network.class_names
            void = None if network is None else network.spec.ignore_label
            mask = shown.mask(region, classes, void)
        except NeuroscopeError as error:
            self._show(None, str(error))
            return
        self.jobs.submit(
            "Measuring the evolution",
            lambda _: Evolution.of(values, names, mask.values),
            lambda evolution: self._show(evolution, _in_words(evolution)),
            lambda error: self._show(None, in_a_sentence(error)),
        )

    # --- contrast, and side by side ---

    def _take_contrast(self) -> None:
        with signals_blocked(self.common_box), signals_blocked(self.maximum_box):
            self.common_box.setChecked(self._contrast.common)
            self.maximum_box.setChecked(self._contrast.to_maximum)

    def show_side_by_side(self) -> None:
        """Show all layers of the stack in tiles beside the image."""
        shown, image, layers = self._shown, self.session.image, self._viewer.layers
        if shown is None or shown.layer not in layers or image not in layers:
            tell_error("Explain several layers first: their maps are then laid side by side.")
            return
        values, names = shown.maps()
        is_first = not any(layer.name.startswith("Side by side") for layer in layers)
        try:
            count = self._tiles.show(shown.layer, values, names, image, self._contrast)
        except NeuroscopeError as error:
            tell_error(str(error))
            return
        if is_first:
            self._viewer.reset_view()
        if count < len(names):
            tell(f"{count} of {len(names)} layers are shown, evenly chosen: more are too small.")

    # --- what is shown ---

    def _show(self, evolution: Evolution | None, words: str) -> None:
        self.evolution = evolution
        self.message.setText(words)
        self._draw()

    def _draw(self) -> None:
        self.plot.draw(self.evolution, self._viewer.theme)
        self._mark()

    def _mark(self) -> None:
        """Move the marker to the slider's step."""
        self.plot.mark(0 if self._shown is None else self._shown.step("layer"))

    def _go_to(self, step: int) -> None:
        if self._shown is not None:
            self._shown.go_to(step)


def _in_words(evolution: Evolution) -> str:
    wrong = evolution.wrong_from
    if wrong is None:
        return (
            f"At the end {evolution.share[-1]:.0%} of the map lies inside; "
            f"{evolution.by_chance:.0%} would by chance."
        )
    return (
        f"From “{evolution.layers[wrong]}” on little of the map lies inside: below half "
        f"of the best before, or no more than by chance ({evolution.by_chance:.1%})."
    )
