"""The inspector: a network, a layer, a class and a method become layers over the image.

Longer than other files: each choice sets off the same few steps, which are read here side by side.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import napari
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QSizePolicy

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.session.choices import NO_PLANE, Scene
from napari_neuroscope.session.chosen_question import chosen_question
from napari_neuroscope.session.network_summary import NetworkSummary
from napari_neuroscope.session.question import Question
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.image.camera import camera_of
from napari_neuroscope.viewer.image.layer_regions import LayerRegion
from napari_neuroscope.viewer.layers.maps.layer_manager import LayerManager
from napari_neuroscope.widgets.inspector.answer_view import AnswerView
from napari_neuroscope.widgets.inspector.ask_tool import AskTool
from napari_neuroscope.widgets.inspector.cell_reason import CellReason
from napari_neuroscope.widgets.inspector.form import InspectorForm
from napari_neuroscope.widgets.inspector.freshness import Freshness
from napari_neuroscope.widgets.inspector.maps.map_actions import MapActions
from napari_neuroscope.widgets.inspector.network_look import NetworkLook
from napari_neuroscope.widgets.inspector.replay import Replay
from napari_neuroscope.widgets.parts.dock import Dock
from napari_neuroscope.widgets.parts.form import column
from napari_neuroscope.widgets.parts.jobs.progressive_answer import Answer, ProgressiveAnswer
from napari_neuroscope.widgets.parts.jobs.soon import Soon
from napari_neuroscope.widgets.parts.window.open_dock import open_dock

_PATIENCE_MS = 200
_SETTLED_MS = 250


class Inspector(Dock):
    """Asks what to explain, has it computed, and shows it over the image.

    Parameters
    ----------
    napari_viewer
        The viewer whose images are explained.
    session
        What is chosen; the viewer's, which its other docks share, if not given.
    layer_manager
        Adds the layers of answers.

    Attributes
    ----------
    form
        What can be chosen.
    answers
        Shows what came of it.
    ask_tool, map_actions
        What can be asked, and done with a map.
    explained, kept
        An answer is shown; the maps shown so far are left as they are.
    """

    name = "inspector"
    explained = Signal(object, object)
    kept = Signal()

    def __init__(
        self,
        napari_viewer: napari.viewer.Viewer,
        session: Session | None = None,
        layer_manager: LayerManager | None = None,
    ) -> None:
        super().__init__(napari_viewer, session)
        self._layer_manager = layer_manager or LayerManager(self._viewer)
        self._progressive = ProgressiveAnswer(
            self._viewer, self.jobs, self._layer_manager, self.cancel
        )
        # Why the network can't be looked at, and of what was last asked: network, image and plane.
        self._failure = ""
        self._last_asked: tuple[Any, ...] = ()
        self.answers = AnswerView(self._viewer, self._layer_manager, self.message)
        self.ask_tool = AskTool(
            self._viewer, self.session, self.jobs, self.answers, self._progressive,
            lambda: self.question(with_target=False),
        )  # fmt: skip
        self.map_actions = MapActions(
            self._viewer, self.session, self.open_recipe, self.answers.say, self.answers.fail
        )
        self.form = InspectorForm(
            self, self._viewer, ask_tool=self.ask_tool, map_actions=self.map_actions,
            answers=self.answers,
        )  # fmt: skip
        column(self, self.form, stretch=self.form, margin=0)
        self.be_wide(self.form.least_width + 60)
        # Below what does not grow, napari and other docks leave room.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self._replay = Replay(
            self, self._viewer, self.form, self.answers,
            show_network=self._show_network, have_answered=self.have_answered,
            show=self._show, look_again=self._look_again,
        )  # fmt: skip
        self.freshness = Freshness(self._viewer, self.session, self.form, self.answers)
        self._network_look = NetworkLook(
            self._viewer, self.session, self.jobs, self.form.networks, self._look_failed
        )
        self._connect()
        self._reason = CellReason(self, self._viewer, self.form, self.answers, self.explain)
        self.form.networks.list_networks()
        self.form.image.list_layers()
        self.form.method.mark()
        self.form.method.take_method()
        self._take_summary(self.session.network_summary)

    def _connect(self) -> None:
        form = self.form
        form.networks.changed.connect(self._network_chosen)
        form.networks.options_button.clicked.connect(
            lambda: open_dock(self._viewer, "Model options")
        )
        form.layers.graph_button.clicked.connect(lambda: open_dock(self._viewer, "Architecture"))
        form.image.layer_chosen.connect(self._changed)
        form.method.changed.connect(self._method_chosen)
        form.target.edited.connect(self._region_edited)
        form.planes.changed.connect(self._changed)
        form.explain_button.clicked.connect(self.explain)
        form.cancel_button.clicked.connect(self.cancel)
        self.map_actions.asked_anew.connect(self._replay.anew)
        form.keep_button.clicked.connect(self._keep_maps)
        self.explained.connect(form.prediction_button.give_way)
        self._soon = Soon(self._explain_if_live, self.jobs, _PATIENCE_MS)
        self._follow_session()
        self._follow_viewer()
        for end in (self._soon.cancel, self.answers.close, form.target.close_work,
                    self.ask_tool.close_work, self.map_actions.close_work):  # fmt: skip
            self.at_end(weakref.WeakMethod(end))
        self.at_end(self._layer_manager.close)

    def _follow_session(self) -> None:
        events, form = self.session.events, self.form
        self.follow(events.networks, form.networks.list_networks)
        self.follow(events.network_summary, self._take_summary)
        self.follow(events.image, self._take_image)
        self.follow(events.network, form.method.mark)
        self.follow(form.method.doubts.changed, form.method.mark)
        self.follow(events.layers, self._take_layers)
        for signal in (events.network, events.method, events.options, events.layers,
                       events.classes, events.all_classes, events.region, events.labels,
                       events.score, events.extent, events.live):  # fmt: skip
            self.follow(signal, self._changed)

    def _follow_viewer(self) -> None:
        layers = self._viewer.layers.events
        changes = (layers.inserted, layers.removed, layers.reordered)
        self.follow_each(changes, self.form.image.list_layers)
        self.follow(layers.removed, self._progressive.stop_if_removed)
        self.follow(self._viewer.dims.events.current_step, self._plane_changed)
        # A move of the camera is many events, and what is in view is explained where it ends.
        self._view_settled = self.debounced(self._view_changed, _SETTLED_MS)
        camera = camera_of(self._viewer).events
        self.follow_each((camera.center, camera.zoom), self._view_changes)

    # --- what is chosen ---

    def add_network(self, network: Network) -> None:
        """Offer a network that exists in memory, such as one made in the console, and choose it."""
        self.form.networks.add_network(network)

    def open_file(
        self, path: Path, factory: str | None = None, arguments: dict[str, Any] | None = None
    ) -> None:
        """Offer the network of a file, and choose it."""
        self.form.networks.open_file(path, factory, arguments)

    def open_recipe(self, path: Path) -> None:
        """Explain the current image as the recipe in a file says, and choose what it says."""
        self._replay.open(path)

    def choose_network(self, title: str) -> None:
        """Choose one of the networks that are offered."""
        self.form.networks.choose(title)

    def choose_layers(self, names: Sequence[str]) -> None:
        """Choose these layers of the network, and no others."""
        self.form.layers.choose(names)

    def choose_classes(self, indices: Sequence[int]) -> None:
        """Choose these classes of the network, and no others."""
        self.form.classes.choose(indices)

    def choose_region(self, region: str | LayerRegion) -> None:
        """Choose where: "everywhere", "predicted", "ground_truth", or what a layer holds."""
        self.form.target.choose_region(region)

    def choose_score(self, score: str) -> None:
        """Choose the score that is explained, by its name."""
        self.form.target.choose_score(score)

    def choose_labels(self, layer: Any) -> None:
        """Choose the labels that say the ground truth or the instances; None for none."""
        self.form.target.choose_labels(layer)

    def choose_method(self, name: str) -> None:
        """Choose a method by its name."""
        self.form.method.choose(name)

    def choose_options(self, options: Mapping[str, Any]) -> None:
        """Choose these of the method's own options, as far as they can be chosen here."""
        self.form.method.choose_options(options)

    def image_layer(self) -> Any:
        """Return the image layer that is chosen; None where there is none."""
        return self.form.image.layer()

    def ready(self) -> bool:
        """Whether everything is chosen that an explanation needs."""
        return self.form.explain_button.isEnabled()

    def _network_chosen(self) -> None:
        self._failure, self._last_asked = "", ()
        self.message.clear()
        self.session.network = self.session.network_summary = self.session.explanation = None
        self.form.clear()
        if self.form.networks.title:
            self._look()
        self._changed()

    def _method_chosen(self) -> None:
        self.form.list_layers()
        self._changed()

    def _take_layers(self, layers: tuple[str, ...], *_: Any) -> None:
        """Choose the layers that were chosen in another dock."""
        if self.session.network_summary is not None and layers != self.form.layers.chosen():
            self.form.layers.choose(layers)

    def _take_image(self, layer: Any, *_: Any) -> None:
        """Look at the image that was chosen, here or in another dock."""
        if layer is not None and layer is not self.image_layer():
            self.form.image.choose_silently(layer)
        if self.form.networks.title:
            self._look()
        self._changed()

    def _changed(self, *_: Any) -> None:
        """Say whether what is chosen can be explained, and explain it where that is live."""
        if self.closed:
            return
        self.form.follow_options()
        several = self.form.planes.refresh()
        self.freshness.refresh()
        problem = self._failure or self._problem()
        self.ask_tool.refresh()
        long = self.form.tell(problem) or several
        if problem is None and self.session.live and not long:
            self._soon()

    def _problem(self) -> str | None:
        problem = self.session.problem(self.image_layer()) or self.form.planes.problem()
        if self.form.networks.title and self.session.network is None:
            return f"“{self.form.networks.title}” is being opened."
        if not problem and self.session.network_summary is None:
            return "The network looks at the image."
        return problem or None

    def _plane_changed(self, *_: Any) -> None:
        layer = self.image_layer()
        if layer is None or self.session.network is None:
            return
        self.freshness.refresh()
        if not self.session.live:
            return
        plane = Scene.of(self.session.network, layer, self._viewer).plane
        # Where it has just been given other axes, the next look tells of these.
        if plane not in (NO_PLANE, self._last_asked[2:]):
            self._changed()

    def _region_edited(self) -> None:
        self.freshness.count_edit()
        self._changed()

    def _view_changes(self, *_: Any) -> None:
        if self.form.extent.follows_camera():
            self._view_settled()

    def _view_changed(self) -> None:
        if self.form.extent.follows_camera():
            self._changed()

    # --- the network is looked at ---

    def _look(self) -> None:
        """Load the network and look at the image with it, in the compute thread."""
        self._failure = ""
        self._network_look.begin(self.image_layer())

    def _look_failed(self, error: Exception) -> None:
        self.answers.fail(error)
        self._failure = self.message.text()
        self.message.clear()
        self._changed()

    def _take_summary(self, summary: NetworkSummary | None) -> None:
        """Offer the layers and classes of the network that was looked at."""
        if summary is not None and not self.closed:
            self.form.show_network(summary)
            self._changed()

    def _show_network(self, title: str, summary: NetworkSummary, layer: Any) -> None:
        """Choose a network that is offered and an image, that were looked at together already."""
        # The image is not looked at once more.
        self.form.networks.choose_silently("")
        self.form.image.choose(layer)
        self.form.networks.choose_silently(title)
        self._failure, self._last_asked = "", ()
        self.session.explanation = None
        self.session.network = summary.network
        self.session.network_summary = summary

    def _look_again(self) -> None:
        """Look at what is chosen, where something else was done before that had ended."""
        if self.session.network_summary is None and self.form.networks.title:
            self._look()
        self._changed()

    # --- a question is answered ---

    def question(self, *, with_target: bool = True) -> Question:
        """Return what would be explained now, or all of it but the target.

        Raises
        ------
        NeuroscopeError
            Where something is still to be chosen.
        """
        layer = self.image_layer()
        question = chosen_question(self.session, layer, self._viewer, with_target=with_target)
        # A click asks about the whole image.
        if not with_target:
            return question
        question = replace(question, choices=self.freshness.choices())
        if self.form.planes.asks_several():
            return self.form.planes.question(question)
        return self.form.extent.question(question)

    def explain(self) -> None:
        """Compute what is chosen, and show it when it is there."""
        try:
            question = self.question()
        except NeuroscopeError as error:
            self.answers.fail(error)
            return
        self.have_answered(question, question.answer, lambda answer: self._show(question, answer))

    def have_answered(
        self, question: Question, answer: Answer, done: Callable[[Explanation], None]
    ) -> None:
        """Have a question answered, in a way of its own, in the place of what is computed.

        Parameters
        ----------
        question
            What is asked.
        answer
            Called in the compute thread with the progress, and with what takes maps so far.
        done
            Called with the answer.
        """
        self._last_asked = (question.network, question.source, *question.plane())
        title = methods[question.method].title
        self._progressive.submit(title, question, answer, question.slot, done, self.answers.fail)
        # Nothing that was chosen before is asked anew.
        self._soon.cancel()

    def cancel(self) -> None:
        """Stop what is computed, at its next step."""
        self.jobs.cancel()
        if words := self._progressive.stopped():
            self.answers.say(words)
        if self.session.network_summary is None and self.form.networks.title:
            self._failure = "Stopped. Choose the network or the image again to go on."
        self._changed()
        # Not what was stopped anew.
        self._soon.cancel()

    def _explain_if_live(self) -> None:
        if not self.closed and self.session.live and self.ready():
            self.explain()

    def _show(self, question: Question, explanation: Explanation, words: str = "") -> None:
        if not self.answers.show(question, explanation, question.slot):
            return
        record = explanation.record
        self.freshness.refresh()
        self.form.method.mark_for((record.network_digest or "", record.image_digest or ""))
        if question.network is self.session.network and question.extent.is_shown_plane:
            self.session.explanation = explanation
        self.answers.say_answer(explanation, words)
        self.explained.emit(question, explanation)

    def show_prediction(self) -> None:
        """Show the network's predicted classes over the image, or say those of a classifier."""
        self.form.prediction_button.show_prediction()

    def _keep_maps(self) -> None:
        kept = self._layer_manager.release()
        self._progressive.forget()
        self.freshness.refresh()
        self.answers.say_kept(kept)
        self.kept.emit()
