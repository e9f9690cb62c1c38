"""A second network beside the first: the same asked of both, and what differs."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import napari
from qtpy.QtWidgets import QCheckBox

from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.overlays.place import Place
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.session.network_summary import NetworkSummary
from napari_neuroscope.session.question import Question
from napari_neuroscope.session.session import Session, session_of
from napari_neuroscope.viewer.layers.maps.prefixed_layers import PrefixedLayerManager
from napari_neuroscope.widgets.inspector.inspector import Inspector
from napari_neuroscope.widgets.inspector.network_difference import NetworkDifference
from napari_neuroscope.widgets.parts.dock import Dock
from napari_neuroscope.widgets.parts.form import row


class SecondNetwork(Dock):
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
    inspector
        The second network's.
    same_choices
        Whether the choices of the first are taken over.
    difference
        Shows what differs.
    """

    name = "second"

    def __init__(
        self,
        napari_viewer: napari.viewer.Viewer,
        session: Session | None = None,
        first: Session | None = None,
    ) -> None:
        super().__init__(napari_viewer, session or session_of(napari_viewer, "second"))
        self.first = first or session_of(napari_viewer)
        # Where the last map lies, and of which network the choices were taken over last.
        self._map_place: tuple[Any, Place] | None = None
        self._followed_network: Callable[[], Network | None] = lambda: None
        self.inspector = Inspector(
            napari_viewer, self.session, PrefixedLayerManager(napari_viewer, "Second: ")
        )
        self.difference = NetworkDifference(napari_viewer, self.jobs, self._look_at_both)
        self.same_choices = QCheckBox("Same choices as the first")
        self.same_choices.setChecked(True)
        self.same_choices.setToolTip(
            "What is chosen in the dock “Neuroscope” is chosen here too, as far as this network has "
            "it, and what is explained there is explained here. What you choose here stays until "
            "you change the same there."
        )
        self.same_choices.toggled.connect(self._take_all)
        self._lay_out()
        self.at_end(weakref.WeakMethod(self.difference.close_work))
        self.at_end(weakref.WeakMethod(self.inspector.close_work))
        self._catch_up_soon = self.debounced(self._catch_up, 0)
        self._compare_soon = self.debounced(self._compare, 0)
        self._follow_both()
        self._take_all()

    def _lay_out(self) -> None:
        form = self.inspector.form
        form_layout = form.layout()
        if form_layout is not None:
            form_layout.setContentsMargins(0, 0, 0, 0)
        switch, scale = self.difference.switch, self.difference.scale
        self.lay_out(
            self.same_choices,
            self.inspector,
            row(switch, scale, stretch=scale),
            self.difference.words,
            stretch=self.inspector,
            width=form.least_width,
        )
        # It is within the margins of this dock.
        self.inspector.setMinimumWidth(0)
        form.planes.offered = False
        # These docks, questions by clicking and recipes are of the first network.
        for widget in (
            form.networks.options_button,
            form.layers.graph_button,
            self.inspector.ask_tool,
            self.inspector.map_actions,
        ):
            widget.setVisible(False)

    # --- what the first chose ---

    def _follow_both(self) -> None:
        first, second = self.first.events, self.session.events
        self.follow(first.image, self._take_image)
        for signal in (first.method, first.options):
            self.follow(signal, self._take_method)
        for signal in (first.layers, first.network_summary):
            self.follow(signal, self._take_layers)
        for signal in (first.classes, first.network_summary):
            self.follow(signal, self._take_classes)
        for signal in (first.region, first.labels, first.score, first.margin, first.all_classes):
            self.follow(signal, self._take_target)
        self.follow(second.network_summary, self._begin_alike)
        self.follow(first.explanation, self._first_explained)
        self.follow(second.explanation, self._look_at_both)
        self.inspector.jobs.idle.connect(self._look_at_both)
        self.inspector.explained.connect(self._take_place)
        self.inspector.kept.connect(self.difference.keep)

    def follows(self) -> bool:
        """Whether the choices of the first are taken over."""
        return self.same_choices.isChecked() and not self.closed

    def _take_all(self, *_: Any) -> None:
        if self.session.image is not self.first.image:
            self._take_image()
        self._take_method()
        self._take_target()
        self._take_layers()
        self._take_classes()
        self._catch_up_soon()

    def _take_image(self, *_: Any) -> None:
        if self.follows() and self.first.image is not None:
            self.session.show_layer(self.first.image)

    def _take_method(self, *_: Any) -> None:
        if not self.follows():
            return
        if self.session.method != self.first.method:
            self.inspector.choose_method(self.first.method)
        self.inspector.choose_options(self.first.options)

    def _take_target(self, *_: Any) -> None:
        if self.follows():
            self.inspector.form.target.take(self.first)
            self.inspector.form.classes.every.setChecked(self.first.all_classes)

    def _networks(self) -> tuple[Network, Network] | None:
        """Return the first network and this, where the choices of one go to the other."""
        first, second = self.first.network, self.session.network
        looked_at = self.session.network_summary is not None
        if not self.follows() or first is None or second is None or not looked_at:
            return None
        return first, second

    def _take_layers(self, *_: Any) -> None:
        """Choose the layers of the first by name, where this network has any of them."""
        if (networks := self._networks()) is not None:
            layers = [name for name in self.first.layers if name in networks[1].layers]
            if layers and tuple(layers) != self.session.layers:
                self.inspector.choose_layers(layers)

    def _take_classes(self, *_: Any) -> None:
        """Choose the classes of the first by name, where this network has any of them."""
        if (networks := self._networks()) is not None:
            names, own_names = (network.class_names for network in networks)
            chosen = [names[index] for index in self.first.classes]
            classes = [own_names.index(name) for name in chosen if name in own_names]
            if classes and set(classes) != set(self.session.classes):
                self.inspector.choose_classes(classes)

    def _begin_alike(self, summary: NetworkSummary | None, *_: Any) -> None:
        """Choose as the first does when another network is there."""
        if summary is None:
            return
        if summary.network is not self._followed_network():
            self._followed_network = weakref.ref(summary.network)
            self._take_layers()
            self._take_classes()
        self._catch_up_soon()

    def _first_explained(self, *_: Any) -> None:
        if not self.closed:
            self._catch_up_soon()

    def _catch_up(self) -> None:
        """Explain what the first has explained, or else look at what there is."""
        if self.follows() and self.first.explanation is not None and self.inspector.ready():
            self.inspector.explain()
        else:
            self._look_at_both()

    # --- what differs ---

    def _take_place(self, question: Question, _: Explanation) -> None:
        self._map_place = (question.source, question.place())

    def _look_at_both(self, *_: Any) -> None:
        if not self.closed:
            self._compare_soon()

    def _compare(self) -> None:
        """Show the difference of both maps, once nothing is computed that takes their place."""
        if not self.closed and not self.inspector.jobs.busy:
            self.difference.compare(
                self.first.explanation, self.session.explanation, self._map_place
            )
