"""The dock “Batch”: a recipe over many images, in processes of their own."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import napari
from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices

from napari_neuroscope.engine.batch.folder import MAPS, REPORT
from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explain.recipe import Recipe
from napari_neuroscope.engine.explanation.overlays.kind import LayerData
from napari_neuroscope.session.session import Session
from napari_neuroscope.session.settings import configured
from napari_neuroscope.viewer.io.batch_layers import results_data
from napari_neuroscope.viewer.layers.plain_names import named
from napari_neuroscope.widgets.batch.batch_table import BatchTable
from napari_neuroscope.widgets.batch.form import BatchForm
from napari_neuroscope.widgets.batch.inputs import BatchInputs
from napari_neuroscope.widgets.batch.process import BatchProcess
from napari_neuroscope.widgets.batch.questions import answered, error_of
from napari_neuroscope.widgets.batch.recipe_choice import RecipeChoice, recipe_in_words
from napari_neuroscope.widgets.batch.words import images_over, progress_in_words, result_in_words
from napari_neuroscope.widgets.parts.dock import Dock
from napari_neuroscope.widgets.parts.form import button, row
from napari_neuroscope.widgets.parts.jobs.jobs import Jobs
from napari_neuroscope.widgets.parts.jobs.long_work import TimeLeft
from napari_neuroscope.widgets.parts.jobs.work_thread import WorkThread
from napari_neuroscope.widgets.parts.labels import LinkLabel, note, plain_tooltip
from napari_neuroscope.widgets.parts.notices import tell_error
from napari_neuroscope.widgets.parts.progress import JobProgress

_DELAY_MS = 300


class Batch(Dock):
    """Asks for a recipe, images and a folder, has the batch run, and shows what becomes of it.

    Parameters
    ----------
    napari_viewer
        The viewer.
    session
        What is chosen; the viewer's if not given.

    Attributes
    ----------
    form
        What is filled in.
    table
        The images, with what has become of each.
    maps
        The files of the maps that there are, by the path of their image.
    process
        The batch that runs.
    files
        Looks at folders and files, beside what is computed.
    """

    name = "batch"

    def __init__(self, napari_viewer: napari.viewer.Viewer, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        self.files = self.owned(Jobs(WorkThread("neuroscope batch")))
        self.process: BatchProcess | None = None
        self.maps: dict[str, tuple[str, ...]] = {}
        self._inputs: BatchInputs | None = None
        self._recipe_of_kinds: Recipe | None = None
        self._layers: dict[str, list[Any]] = {}
        self._starting = self._stopped = False
        # What the user has allowed, for this recipe and these places alone.
        self._allowed: dict[str, Any] = {}
        self._time_left = TimeLeft()
        self._build()
        self._connect()
        self._changed()

    # --- what it looks like ---

    def _build(self) -> None:
        self.form = BatchForm()
        self.run_button = button("Run", clicked=self.run)
        self.run_button.setDefault(True)
        self.stop_button = button(
            "Stop", "Stop at the next step. What is done is kept, and Resume goes on.", self.stop
        )
        self.report_button = button(
            "Report", "Open the page that shows what was made of each image.", self._open_report
        )
        self.reason = note()
        self.progress = JobProgress(lambda: self.running, self.stop_button)
        self._dashboard = LinkLabel()
        self._dashboard.setVisible(False)
        self.table = BatchTable()
        self.lay_out(
            self.form,
            row(self.run_button, self.stop_button, self.report_button),
            self.reason,
            self.progress,
            self._dashboard,
            self.message,
            self.table,
            stretch=self.table,
            width=360,
        )

    def _connect(self) -> None:
        self._look_soon = self.debounced(self._look, _DELAY_MS)
        self.form.places_changed.connect(self._take_places)
        self.form.kinds_changed.connect(self._changed)
        self.table.opened.connect(self.show_image)
        events = self.session.events
        self.follow_each(
            (events.network, events.network_summary, events.method, events.options, events.layers,
             events.classes, events.region, events.score, events.image),
            self._changed,
        )  # fmt: skip
        self.at_end(weakref.WeakMethod(self._end_process))

    def _end_process(self) -> None:
        if self.process is not None:
            self.process.close_work()

    # --- what is chosen ---

    def choose_recipe(self, path: str | Path | None) -> None:
        """Take the recipe of a file; None: what is chosen in the dock “Neuroscope”."""
        self.form.choose_recipe(path)

    def add_images(self, *paths: str | Path) -> None:
        """Add files, folders or patterns."""
        self.form.images.add([str(path) for path in paths])

    def choose_out(self, path: str | Path) -> None:
        """Write into a folder."""
        self.form.out.set_path(str(path))

    def choose_kinds(self, *kinds: str) -> None:
        """Write these kinds of file, by their endings, and no others."""
        self.form.choose_kinds(*kinds)

    def ready(self) -> bool:
        """Whether everything is chosen that a batch needs."""
        return self.run_button.isEnabled()

    @property
    def running(self) -> bool:
        """Whether a batch runs, or is just begun."""
        return self.process is not None or self._starting

    def _take_places(self) -> None:
        """Look at what is there, soon: whoever types has not ended yet."""
        self._inputs, self._allowed = None, {}
        self._look_soon()
        self._changed()

    def _look(self) -> None:
        if self.closed or self.running:
            return
        form = self.form
        file, images = form.recipe_file(), form.images.paths()
        truth, out = form.truth.path(), form.out.path()
        self.files.submit(
            "Looking for the images",
            lambda _: BatchInputs.at(file, images, truth, out),
            self._take_inputs,
            self.fail,
        )

    def _take_inputs(self, inputs: BatchInputs) -> None:
        self._inputs = inputs
        self.maps = {}
        self.table.set_paths(inputs.paths)
        for record in inputs.records:
            outputs = tuple(str(self.form.folder() / output) for output in record.outputs)
            self._take_image(record.path, record.problem, outputs, before=True)
        if inputs.recipe is not None and inputs.recipe != self._recipe_of_kinds:
            # What a recipe says is taken the first time that it is seen.
            self._recipe_of_kinds = inputs.recipe
            self.choose_kinds(*inputs.recipe.outputs)
        self._changed()

    def problem(self) -> str | None:
        """Return why no batch can be run yet, as a sentence; None where all is well."""
        form, inputs = self.form, self._inputs
        try:
            needs_truth = self._needs_truth()
        except NeuroscopeError as error:
            return str(error)
        if not form.images.paths():
            return "Add images: files, a folder or a pattern."
        if inputs is None:
            return "Looking for the images …"
        if inputs.recipe_problem or inputs.images_problem:
            return inputs.recipe_problem or inputs.images_problem
        if needs_truth and not form.truth.path():
            return "The recipe asks where its class truly is: say where the ground truth lies."
        if not form.out.path():
            return "Choose a folder to write into."
        if not form.kinds():
            return "Choose at least one kind of file to write."
        return None

    def _needs_truth(self) -> bool:
        if self.form.recipe_file() is None:
            targets = RecipeChoice.of(self.session, self._viewer).targets
            return any(target.region == "ground_truth" for target in targets)
        recipe = self._inputs.recipe if self._inputs is not None else None
        return recipe is not None and recipe.needs_ground_truth

    def _changed(self) -> None:
        """Show what can be done now, and why what can't be."""
        if self.closed:
            return
        problem = self.problem()
        self._describe()
        self.form.setEnabled(not self.running)
        self.run_button.setEnabled(problem is None and not self.running)
        self.run_button.setText("Resume" if self._has_begun() else "Run")
        self.stop_button.setEnabled(self.process is not None)
        self.stop_button.setText("Stop now" if self.running and self._stopped else "Stop")
        self.report_button.setEnabled(bool(self.form.out.path()) and self._has_begun())
        _show_or_hide(self.reason, "" if self.running else problem or "")

    def _has_begun(self) -> bool:
        """Whether the folder holds what a batch has done."""
        return bool(self.maps) and not self.form.anew.isChecked()

    def _describe(self) -> None:
        inputs, words = self._inputs, ""
        try:
            if self.form.recipe_file() is None:
                words = RecipeChoice.of(self.session, self._viewer).in_words()
            elif inputs is not None and inputs.recipe is not None:
                words = recipe_in_words(inputs.recipe)
        except NeuroscopeError:
            pass
        _show_or_hide(self.form.recipe_note, words)
        if inputs is None:
            words = ""
        else:
            words = inputs.in_words(with_truth=bool(self.form.truth.path()))
            self.form.images_note.setToolTip(plain_tooltip("\n".join(inputs.skipped[:20])))
        _show_or_hide(self.form.images_note, words)

    # --- what is done ---

    def run(self) -> None:
        """Run the batch, or go on where it was left off."""
        if (problem := self.problem()) is not None or self.running or self._inputs is None:
            self.fail(NeuroscopeError(problem or "A batch runs already."))
            return
        if self.form.recipe_file() is not None:
            assert self._inputs.recipe is not None
            self._begin(self._inputs.recipe)
            return
        choice = RecipeChoice.of(self.session, self._viewer)
        self._starting = True
        self._changed()
        self.files.submit("Writing the recipe", lambda _: choice.recipe(), self._begin, self.fail)

    def _begin(self, recipe: Recipe) -> None:
        self._starting = self._stopped = False
        process = self.process = BatchProcess()
        process.told.connect(self._take)
        process.ended.connect(lambda event: self._take_end(recipe, event))
        self.progress.begin("")
        self.message.setText("The images are looked through, and the network is opened …")
        process.begin(
            {
                "recipe": recipe.plain(),
                "network_is_given": not recipe.network.is_elsewhere,
                "device": configured().device,
                "allow_changed": False,
                **self._allowed,
                **self.form.asked(),
            }
        )
        self._changed()

    def stop(self) -> None:
        """Stop the batch at its next step, or at once where that is asked again.

        What is done is kept.
        """
        if self.process is None:
            return
        if self._stopped:
            self.process.kill()
        self.process.stop()
        self._stopped = True
        self.progress.setFormat("Stopping …")
        self._changed()

    def _take(self, events: list[dict[str, Any]]) -> None:
        """Show what a batch has told; of many images at once only the last is scrolled to."""
        if self.closed:
            return
        images = [event for event in events if event["kind"] == "image"]
        for event in events:
            if event["kind"] == "started":
                self._show_start(event)
        for event in images:
            self._take_image(event["image"], event["problem"], tuple(event["outputs"]))
        if images:
            self.table.show_row(images[-1]["image"])
        self._show_progress(events[-1])

    def _show_start(self, event: dict[str, Any]) -> None:
        self.message.clear()
        if link := event["dashboard"]:
            self._dashboard.show_link("Dask shows its work at", link)
            self._dashboard.setVisible(True)
        if self.form.anew.isChecked() and self._inputs is not None:
            self.maps = {}
            self.table.set_paths(self._inputs.paths)

    def _take_end(self, recipe: Recipe, event: dict[str, Any]) -> None:
        if self.closed:
            return
        self._end()
        if event["kind"] == "result":
            self.message.setText(result_in_words(event))
        elif self._stopped and not event["type"]:
            self.message.setText("Stopped. What is done is kept, and Resume goes on.")
        elif (answer := answered(self, recipe, event)) is not None:
            recipe, allowed = answer
            self._allowed |= allowed
            self._begin(recipe)
        else:
            self.fail(error_of(event))
        self._changed()

    def _take_image(
        self, path: str, problem: str, outputs: tuple[str, ...], *, before: bool = False
    ) -> None:
        if not problem:
            folder = self.form.folder() / MAPS
            self.maps[path] = tuple(file for file in outputs if Path(file).is_relative_to(folder))
        self.table.set_state(path, "done before" if before else "done", problem)

    def _show_progress(self, event: dict[str, Any]) -> None:
        over, total = images_over(event), event["total"]
        words = progress_in_words(event, self._time_left(over, total, "batch"))
        self.progress.advance(over, total, "Stopping …" if self._stopped else words)

    def _end(self) -> None:
        self.process = None
        self.progress.rest()
        self._dashboard.setVisible(False)
        # What is there now is this batch's own.
        self.form.anew.setChecked(False)

    # --- what is shown ---

    def show_image(self, path: str) -> None:
        """Show an image and its maps in the viewer."""
        maps = self.maps.get(path)
        if maps is None:
            self.message.setText(self.table.states().get(path) or "It is not done yet.")
            return
        layers = [layer for layer in self._layers.get(path, []) if layer in self._viewer.layers]
        if layers:
            self._viewer.layers.selection.active = layers[-1]
            return
        self.message.setText(f"Opening {Path(path).name} …")
        self.jobs.submit(
            "Opening the image",
            lambda _: results_data(path, maps),
            lambda layers: self._add(path, layers),
            self.fail,
        )

    def _add(self, path: str, layers: list[LayerData]) -> None:
        self._layers[path] = [
            getattr(self._viewer, f"add_{kind}")(values, **named(attributes))
            for values, attributes, kind in layers
        ]
        self.message.setText(f"{Path(path).name} and its maps are open.")

    def _open_report(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.form.folder() / REPORT)))

    def fail(self, error: Exception) -> None:
        """Say what went wrong, also at the window's edge."""
        self._starting = False
        self._changed()
        super().fail(error)
        tell_error(self.message.text())


def _show_or_hide(label: Any, words: str) -> None:
    label.setText(words)
    label.setVisible(bool(words))
