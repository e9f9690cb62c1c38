"""A recipe made again in the inspector: its network opened, its choices made, its map shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtWidgets import QMessageBox

from napari_neuroscope.engine.errors import FactoryNeededError, NeuroscopeError, Progress, shortened
from napari_neuroscope.engine.explain.recipe import ChangedNetworkError, MissingNetworkError, Recipe
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.recipe_document import SUFFIX
from napari_neuroscope.engine.files.code.trust import UntrustedError
from napari_neuroscope.engine.methods.interface import Needs
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.target import DEFAULT_REGION
from napari_neuroscope.engine.tiles.tiling import Tiling
from napari_neuroscope.session.choices import Choices
from napari_neuroscope.session.network_summary import NetworkSummary
from napari_neuroscope.session.question import Offer, Question, request_for
from napari_neuroscope.session.session import Session
from napari_neuroscope.session.settings import configured
from napari_neuroscope.session.stack_extent import Planes, stack_of
from napari_neuroscope.session.tiled_extent import Tiles
from napari_neuroscope.viewer.image.painted_labels import TrueClassLabels
from napari_neuroscope.viewer.image.shown_image import ShownImage
from napari_neuroscope.viewer.state.latest_explanation import ChosenExplanation
from napari_neuroscope.viewer.state.layer_origin import explained_by
from napari_neuroscope.widgets.inspector.answer_view import AnswerView
from napari_neuroscope.widgets.inspector.form import InspectorForm
from napari_neuroscope.widgets.parts.dialogs.question_box import agrees, question_box
from napari_neuroscope.widgets.parts.dock import Dock
from napari_neuroscope.widgets.parts.jobs.progressive_answer import Answer
from napari_neuroscope.widgets.parts.labels import on_button
from napari_neuroscope.widgets.parts.open_network import (
    ask_for_factory,
    ask_for_file,
    ask_for_trust,
)


@dataclass
class _Attempt:
    """A recipe that is to be made again of an image, and what is known of it so far."""

    recipe: Recipe
    name: str
    layer: Any
    shown: ShownImage
    network: Network | None = None
    allow_changed: bool = False
    notes: list[str] = field(default_factory=list)


class Replay:
    """Explains the current image as a recipe says, with what has to be asked before.

    Parameters
    ----------
    dock, viewer, form, answers
        The inspector, its viewer, its choices, which become the recipe's, and where answers go.
    show_network
        Chooses a network by its title and an image, which were looked at together already.
    have_answered
        Has a question answered in a way of its own.
    show
        Shows an answer, and some words with it.
    look_again
        Goes on with what was chosen before, where there is no recipe to be made again.
    """

    def __init__(
        self,
        dock: Dock,
        viewer: Any,
        form: InspectorForm,
        answers: AnswerView,
        *,
        show_network: Callable[[str, NetworkSummary, Any], None],
        have_answered: Callable[[Question, Answer, Callable[[Explanation], None]], None],
        show: Callable[[Question, Explanation, str], None],
        look_again: Callable[[], None],
    ) -> None:
        self._dock, self._viewer, self._form, self._answers = dock, viewer, form, answers
        self._session, self._jobs = dock.session, dock.jobs
        self._show_network, self._have_answered = show_network, have_answered
        self._show, self._look_again = show, look_again

    def open(self, path: Path) -> None:
        """Read a recipe's file, and make it again of the current image."""
        name = path.name.removesuffix(SUFFIX)
        self._jobs.submit(
            "Reading the recipe",
            lambda _: Recipe.load(path),
            lambda recipe: self.run(recipe, name),
            self._failed,
        )

    def anew(self, layer: Any) -> None:
        """Explain again what a layer shows, of the image that it is of, and choose what it says."""
        try:
            recipe = ChosenExplanation.of_layer(layer).recipe(hashed=False)
        except NeuroscopeError as error:
            self._failed(error)
            return
        shown = explained_by(layer)
        self.run(recipe, layer.name, None if shown is None else shown.network)

    def run(self, recipe: Recipe, name: str, network: Network | None = None) -> None:
        """Make a recipe, of some name, again of the current image, with its network if given."""
        layer = self._current_image()
        if layer is None:
            self._failed(
                NeuroscopeError(
                    f"There is no image to explain as the recipe “{name}” says; open one, then "
                    f"open the recipe again."
                )
            )
            return
        self._try(_Attempt(recipe, name, layer, ShownImage.of(layer, self._viewer), network))

    def _current_image(self) -> Any:
        """Return the image layer that is selected, or that the selected map is of, or is chosen."""
        active = self._viewer.layers.selection.active
        images = self._form.image.layers()
        if active in images:
            return active
        shown = None if active is None else explained_by(active)
        if shown is not None and shown.source in images:
            return shown.source
        return self._form.image.layer()

    # --- the network ------------------------------------------------------------------------------

    def _try(self, attempt: _Attempt) -> None:
        def work(progress: Progress) -> NetworkSummary:
            recipe = attempt.recipe
            # What can't be asked is refused before anything is opened.
            methods[recipe.method].check_options(recipe.options)
            settings = configured()
            already_open = attempt.network or _open_already(recipe, self._session)
            network, attempt.notes = recipe.fitted(
                already_open, device=settings.device, allow_changed=attempt.allow_changed
            )
            if already_open is None:
                network.traces.limit = settings.cache_bytes
            image, window = attempt.shown.glance(network)
            return NetworkSummary.of(network, image, progress, window)

        self._jobs.submit(
            "Opening the recipe's network",
            work,
            lambda summary: self._explain(attempt, summary),
            lambda error: self._ask_on(attempt, error),
        )

    def _ask_on(self, attempt: _Attempt, error: Exception) -> None:
        """Ask what the network needs to be opened, and try again; or say what went wrong."""
        if isinstance(error, UntrustedError):
            agreed = ask_for_trust(self._dock, error)
        elif isinstance(error, MissingNetworkError):
            agreed = self._ask_for_network(attempt, error)
        elif isinstance(error, ChangedNetworkError):
            agreed = self._ask_about_change(attempt)
        elif isinstance(error, FactoryNeededError):
            agreed = self._ask_for_factory(attempt)
        else:
            agreed = False
        if agreed:
            self._try(attempt)
        else:
            self._failed(error)

    def _ask_for_network(self, attempt: _Attempt, error: MissingNetworkError) -> bool:
        made, chosen = attempt.recipe.network, self._session.network
        where = f"in {made.source}, which is not there" if made.source else "in memory"
        words = f"The recipe “{attempt.name}” is of the network “{made.name}”, {where}."
        box = question_box(self._dock, "Where is the network?", words)
        file = box.addButton("Choose its file…", QMessageBox.ButtonRole.AcceptRole)
        use = None
        if chosen is not None:
            use = box.addButton(
                on_button(f"Use “{shortened(chosen.name)}”"), QMessageBox.ButtonRole.AcceptRole
            )
        box.exec()
        if box.clickedButton() is file and (path := ask_for_file(self._dock)) is not None:
            attempt.recipe = attempt.recipe.model_copy(update={"network": made.with_source(path)})
            return True
        if use is not None and box.clickedButton() is use:
            attempt.network = chosen
            return True
        return False

    def _ask_about_change(self, attempt: _Attempt) -> bool:
        name = (attempt.network or attempt.recipe.network).name
        attempt.allow_changed = agrees(
            self._dock,
            "Another network",
            f"The network “{name}” has other weights than the one that the recipe "
            f"“{attempt.name}” was made with. The map will be another, and its record will say why.",
            "Explain with it",
        )
        return attempt.allow_changed

    def _ask_for_factory(self, attempt: _Attempt) -> bool:
        made = attempt.recipe.network
        try:
            answer = ask_for_factory(self._dock, made.path or Path(made.name))
        except NeuroscopeError as mistake:
            self._answers.fail(mistake)
            return False
        if answer is None:
            return False
        factory, arguments = answer
        network = made.model_copy(update={"factory": factory, "arguments": arguments})
        attempt.recipe = attempt.recipe.model_copy(update={"network": network})
        return True

    def _failed(self, error: Exception) -> None:
        self._answers.fail(error)
        self._look_again()

    # --- the map ----------------------------------------------------------------------------------

    def _explain(self, attempt: _Attempt, summary: NetworkSummary) -> None:
        recipe, layer, network = attempt.recipe, attempt.layer, summary.network
        if layer not in self._viewer.layers:
            self._failed(NeuroscopeError("The image was removed before it was explained."))
            return
        session = self._session
        title = session.catalog.title_of(network) or session.add_network(
            network, f"{network.name}, as in {attempt.name}"
        )
        self._show_network(title, summary, layer)
        try:
            left_out = self._choose(recipe, network)
            question = self._question(attempt, network, left_out)
            truth = self._ground_truth(recipe, network)
        except NeuroscopeError as error:
            self._answers.fail(error)
            return

        def answer(progress: Progress, offer: Offer) -> Explanation:
            explained = partial(recipe.explained, network, notes=attempt.notes, ground_truth=truth)
            if isinstance(question.extent, Planes):
                return question.extent.answer_by(explained, question, progress, offer)
            if isinstance(question.extent, Tiles):
                return recipe.noted(question.answer(progress, offer), attempt.notes)
            return explained(question.shown.image(network), progress=progress, partial=offer)

        words = f"Made as the recipe “{attempt.name}” says."
        if left_out:
            words += f" The choices above can't show its {', '.join(left_out)}."
        self._have_answered(
            question, answer, lambda explanation: self._show(question, explanation, words)
        )

    def _question(self, attempt: _Attempt, network: Network, left_out: list[str]) -> Question:
        """Return what a recipe asks: of the shown plane, of several, or of a large one in tiles."""
        recipe, form = attempt.recipe, self._form
        request = request_for(
            recipe.method,
            recipe.options,
            self._session.layers if recipe.layer is not None else (),
            [target.target() for target in recipe.targets],
        )
        choices = Choices.of_scene(self._session, attempt.layer, self._viewer)
        question = Question(network, attempt.shown, attempt.layer, request, choices=choices)
        form.extent.choose("whole")
        if recipe.planes is not None:
            stack = stack_of(attempt.shown, attempt.layer, network)
            chosen = stack.chosen(recipe.planes)
            if not form.planes.choose_ranges(chosen):
                left_out.append(f"planes {recipe.planes}")
            return question.about(Planes(tuple(chosen)))
        form.planes.choose("this")
        if recipe.tiling not in (None, Tiling()) or recipe.needs_ground_truth:
            return question
        return form.extent.question(question)

    def _choose(self, recipe: Recipe, network: Network) -> list[str]:
        """Choose what a recipe says; return what of it the form has no place for."""
        form = self._form
        method = methods[recipe.method]
        form.method.choose(recipe.method)
        form.method.choose_options(recipe.options)
        options = method.check_options(recipe.options)
        asked = method.check_options(self._session.options)
        left_out = [
            f"{name.replace('_', ' ')} {value}"
            for name, value in options.items()
            if name != "classes" and asked[name] != value
        ]
        if Needs.LAYER in method.needs_with(options) and recipe.layer is not None:
            which = list(recipe.layer) if isinstance(recipe.layer, tuple) else recipe.layer
            form.layers.choose(network.layers.select(which, positions=False))
        classes = options.get("classes") or [target.class_ for target in recipe.targets]
        count = len(network.class_names)
        indices = [network.spec.class_index(name, count) for name in classes if name is not None]
        if indices:
            form.classes.choose(indices)
        if "classes" in method.options:
            form.classes.every.setChecked(not indices)
        if recipe.targets:
            left_out += self._choose_target(recipe)
        return left_out

    def _choose_target(self, recipe: Recipe) -> list[str]:
        left_out = []
        segments = recipe.spec.task == "segmentation"
        # Where it is predicted, which the form goes on to ask for without an error.
        regions = {
            "predicted" if region == DEFAULT_REGION else region
            for region in (target.region for target in recipe.targets)
            if segments
        }
        scores = {target.score for target in recipe.targets}
        named = [region for region in regions if isinstance(region, str)]
        if len(regions) == 1 and named:
            self._form.target.choose_region(named[0])
        elif regions:
            points = [r for r in regions if not isinstance(r, str)]
            left_out.append("regions" if len(regions) > 1 else f"point {points[0]}")
        if len(scores) == 1:
            self._form.target.choose_score(*scores)
        else:
            left_out.append("scores")
        if any(target.reduce != "sum" for target in recipe.targets):
            left_out.append("mean over the region")
        return left_out

    def _ground_truth(self, recipe: Recipe, network: Network) -> np.ndarray | None:
        """Return the classes of the image's pixels, as far as the recipe asks for them."""
        session = self._session
        if not recipe.needs_ground_truth:
            return None
        if session.labels is None:
            raise NeuroscopeError(
                "The recipe asks where its class truly is: choose the labels that say so, under "
                "Target, and open the recipe again."
            )
        truth = TrueClassLabels.of(
            session.labels,
            session.pixels(network, self._viewer),
            self._viewer,
            network.spec.ignore_label,
        )
        names = network.class_names
        indices = {network.spec.class_index(target.class_, len(names))
                   for target in recipe.targets
                   if target.region == "ground_truth" and target.class_ is not None}  # fmt: skip
        masks = {index: truth.mask(index, names).values for index in sorted(indices)}
        classes = np.full(next(iter(masks.values())).shape, -1, np.int32)
        for index, mask in masks.items():
            classes[mask] = index
        return classes


def _open_already(recipe: Recipe, session: Session) -> Network | None:
    """Return a recipe's network where it is offered in the session; may take a while."""
    made = recipe.network
    if made.digest is not None:
        # That with the recipe's options first.
        networks = sorted(session.catalog.loaded(), key=lambda network: network.spec != recipe.spec)
        for network in networks:
            if recipe.is_of(network):
                return network
    if (title := session.catalog.title_for(made.source)) and made.factory is None:
        network = session.catalog.open(title)
        if recipe.is_of(network):
            return network
    return None
