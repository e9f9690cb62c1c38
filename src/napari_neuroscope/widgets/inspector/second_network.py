"""A second network beside the first: the same asked of both, and what differs."""

from __future__ import annotations

import weakref
from typing import Any

import napari
import numpy as np
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QWidget

from napari_neuroscope.engine.errors import in_digits
from napari_neuroscope.engine.explain.difference import difference
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.overlays.place import Place
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.session.question import Question
from napari_neuroscope.session.session import Session, session_of
from napari_neuroscope.viewer.layers.layer_manager import LayerManager
from napari_neuroscope.viewer.layers.prefixed_layers import PrefixedLayerManager
from napari_neuroscope.widgets.inspector.inspector import Inspector
from napari_neuroscope.widgets.parts.jobs.jobs import Jobs
from napari_neuroscope.widgets.parts.labels import note
from napari_neuroscope.widgets.parts.sentences import in_a_sentence

_SCALES = {"raw": "Values as they are", "largest": "Each up to its own largest"}


class SecondNetwork(Inspector):
    """An inspector with a session of its own, which by default goes along with the first.

    Parameters
    ----------
    napari_viewer
        The viewer.
    session
        What is chosen here; the viewer's second if not given.
    first
        What is chosen in the first inspector; the viewer's if not given.

    Attributes
    ----------
    comparing
        Runs the subtraction.
    """

    def __init__(
        self,
        napari_viewer: napari.viewer.Viewer,
        session: Session | None = None,
        first: Session | None = None,
    ) -> None:
        self.first = first or session_of(napari_viewer)
        self.comparing = Jobs()
        self._place: tuple[Any, Place] | None = None
        self._shown: Any = None
        self._hidden: Any = None
        self._taken: Any = lambda: None
        super().__init__(napari_viewer, session or session_of(napari_viewer, "second"))
        self._differences = LayerManager(napari_viewer)
        self.at_end(self._differences.close)
        self.at_end(self.comparing.close)
        self._catch_up_soon = self.debounced(self._catch_up, 0)
        self._compare_soon = self.debounced(self._compare, 0)
        self._follow_first()
        self._take_all()

    def _make_layer_manager(self) -> LayerManager:
        return PrefixedLayerManager(self._viewer, "Second: ")

    def _build(self) -> None:
        super()._build()
        self.setObjectName("neuroscope-second")
        self._same = QCheckBox("Same choices as the first")
        self._same.setChecked(True)
        self._same.setToolTip(
            "What is chosen in the dock “Neuroscope” is chosen here too, as far as this network has "
            "it, and what is explained there is explained here. What you choose here stays until "
            "you change the same there."
        )
        self._same.toggled.connect(self._take_all)
        self._difference = QCheckBox("Difference")
        self._difference.setChecked(True)
        self._difference.setToolTip(
            "Show this network's map less the first's: orange where this one has more, blue where "
            "the first has."
        )
        self._difference.toggled.connect(self._look_at_both)
        self._scale = QComboBox()
        self._scale.setAccessibleName("Values of the difference")
        for scale, words in _SCALES.items():
            self._scale.addItem(words, scale)
        self._scale.setToolTip(
            "Scores of two networks may be of different sizes, and so are their maps; each may be "
            "divided by its own largest absolute value first."
        )
        self._scale.currentIndexChanged.connect(self._look_at_both)
        self._said = note()
        row = QWidget()
        line = QHBoxLayout(row)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self._difference)
        line.addWidget(self._scale, 1)
        self._column.insertWidget(0, self._same)
        self._column.addWidget(row)
        self._column.addWidget(self._said)
        self.slices.offered = False
        # These docks, questions by clicking and recipes are of the first network.
        for widget in (
            self._options_button,
            self._graph_button,
            self.ask_tool,
            self.recipe_menu,
        ):
            widget.setVisible(False)

    # --- what the first chose ---

    def _follow_first(self) -> None:
        theirs, own = self.first.events, self.session.events
        self.follow(theirs.image, self._take_first_image)
        for signal in (theirs.method, theirs.options):
            self.follow(signal, self._take_method)
        for signal in (theirs.layers, theirs.network_summary):
            self.follow(signal, self._take_first_layers)
        for signal in (theirs.classes, theirs.network_summary):
            self.follow(signal, self._take_first_classes)
        for signal in (theirs.region, theirs.labels, theirs.score, theirs.margin):
            self.follow(signal, self._take_target)
        self.follow(own.network_summary, self._begin_alike)
        self.follow(theirs.explanation, self._first_explained)
        self.follow(own.explanation, self._look_at_both)
        self.jobs.idle.connect(self._look_at_both)

    def follows(self) -> bool:
        """Whether the choices of the first are taken over."""
        return self._same.isChecked() and not self.closed

    def _take_all(self, *_: Any) -> None:
        if self.session.image is not self.first.image:
            self._take_first_image()
        self._take_method()
        self._take_target()
        self._take_first_layers()
        self._take_first_classes()
        self._catch_up_soon()

    def _take_first_image(self, *_: Any) -> None:
        if self.follows() and self.first.image is not None:
            self.session.show_layer(self.first.image)

    def _take_method(self, *_: Any) -> None:
        if not self.follows():
            return
        if self.session.method != self.first.method:
            self.choose_method(self.first.method)
        self.choose_options(self.first.options)

    def _take_target(self, *_: Any) -> None:
        if self.follows():
            self._target_part.take(self.first)

    def _both(self) -> tuple[Network, Network] | None:
        """Return this network and the first's, where the choices of one go to the other."""
        mine, theirs = self.session.network, self.first.network
        if (
            not self.follows()
            or mine is None
            or theirs is None
            or self.session.network_summary is None
        ):
            return None
        return mine, theirs

    def _take_first_layers(self, *_: Any) -> None:
        """Choose the layers of the first by name, where this network has any of them."""
        if (both := self._both()) is not None:
            layers = [name for name in self.first.layers if name in both[0].layers]
            if layers and tuple(layers) != self.session.layers:
                self.choose_layers(layers)

    def _take_first_classes(self, *_: Any) -> None:
        """Choose the classes of the first by name, where this network has any of them."""
        if (both := self._both()) is not None:
            names = [both[1].class_names[index] for index in self.first.classes]
            own = both[0].class_names
            classes = [own.index(name) for name in names if name in own]
            if classes and set(classes) != set(self.session.classes):
                self.choose_classes(classes)

    def _begin_alike(self, findings: Any, *_: Any) -> None:
        """Choose as the first does when another network is there."""
        if findings is None:
            return
        if findings.network is not self._taken():
            self._taken = weakref.ref(findings.network)
            self._take_first_layers()
            self._take_first_classes()
        self._catch_up_soon()

    def _first_explained(self, *_: Any) -> None:
        if not self.closed:
            self._catch_up_soon()

    def _catch_up(self) -> None:
        """Explain what the first has explained, or else look at what there is."""
        if self.follows() and self.first.explanation is not None and self.ready():
            self.explain()
        else:
            self._look_at_both()

    # --- what differs ---

    def _show(self, question: Question, answer: Explanation, words: str = "") -> None:
        self._place = (question.source, question.place())
        super()._show(question, answer, words)

    def _look_at_both(self, *_: Any) -> None:
        if not self.closed:
            self._compare_soon()

    def _compare(self) -> None:
        """Show the difference of both explanations; none where they are no pair."""
        if self.closed or self.jobs.busy:
            # What is computed now is looked at when it is there.
            return
        first, second, place = self.first.explanation, self.session.explanation, self._place
        if not self._difference.isChecked():
            self._show_no_difference("")
        elif first is None or second is None or place is None:
            self._show_no_difference("Explain with both networks to see what differs.")
        else:
            scale = self._scale.currentData()
            self.comparing.submit(
                "Difference",
                lambda _: difference(first, second, scale),
                lambda found: self._show_difference(found, *place),
                self._say_no_difference,
            )

    def _show_difference(self, found: Explanation, source: Any, place: Place) -> None:
        if source not in self._viewer.layers:
            self._show_no_difference("The image was removed.")
            return
        slot = ("difference", str(source.unique_id))
        layers = found.to_layer_data(source, place)
        if self._differences.layer((*slot, "0")) is None:
            # Just what differs is to be seen at first; the user may show the maps again.
            self._differences.hide_others(found.provenance["first"]["method"])
        for layer in self._differences.show(layers, slot):
            if layer is self._hidden:
                layer.visible = True
            self._shown = layer
        self._hidden = None
        self._said.setText(_in_words(found))

    def _say_no_difference(self, error: Exception) -> None:
        self._show_no_difference(in_a_sentence(error))

    def _show_no_difference(self, words: str) -> None:
        """Hide the difference that is shown no longer of what is explained, until there is one."""
        self.comparing.cancel()
        self._said.setText(words)
        layer = self._shown
        if layer is not None and layer in self._viewer.layers and layer.visible:
            layer.visible = False
            self._hidden = layer

    def _keep_maps(self) -> None:
        super()._keep_maps()
        self._differences.release()
        self._shown = self._hidden = None


def _in_words(found: Explanation) -> str:
    size = np.abs(found.values[np.isfinite(found.values)]).max(initial=0.0)
    words = [
        "The two maps are equal." if not size else f"They differ by {in_digits(size)} at most."
    ]
    words += [f"Note: {note}." for note in found.provenance["notes"]]
    return "\n".join(words)
