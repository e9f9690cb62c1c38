"""The dock “Batch”: a recipe over many images, in processes of their own."""

from __future__ import annotations

import os
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import napari
from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_neuroscope.engine.batch.folder import MAPS, REPORT, Record, records_in
from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explain.recipe import SUFFIX, Recipe
from napari_neuroscope.engine.files.code.trust import UntrustedError
from napari_neuroscope.engine.images.pairs import pairs_of
from napari_neuroscope.session.session import Session
from napari_neuroscope.session.settings import configured
from napari_neuroscope.viewer.layers.batch_layers import results_data
from napari_neuroscope.viewer.layers.layer_data import LayerData
from napari_neuroscope.viewer.plain_names import named
from napari_neuroscope.widgets.batch.batch_table import BatchTable
from napari_neuroscope.widgets.batch.process import BatchProcess
from napari_neuroscope.widgets.batch.recipe_choice import Choice, recipe_in_words
from napari_neuroscope.widgets.parts.dialogs import agrees
from napari_neuroscope.widgets.parts.dock import Dock
from napari_neuroscope.widgets.parts.jobs.jobs import Jobs
from napari_neuroscope.widgets.parts.jobs.long_work import TimeLeft
from napari_neuroscope.widgets.parts.jobs.work_thread import WorkThread
from napari_neuroscope.widgets.parts.labels import LinkLabel, note, on_line, plain_tooltip
from napari_neuroscope.widgets.parts.notices import tell_error
from napari_neuroscope.widgets.parts.open_network import ask_for_file, ask_for_trust
from napari_neuroscope.widgets.parts.path_list import PathLine, PathList
from napari_neuroscope.widgets.parts.sentences import in_a_sentence

_DELAY_MS = 300
_KINDS = {
    ".tif": "OME-TIFF: values on the image's own pixels, for ImageJ, Fiji, QuPath and others.",
    ".zarr": "OME-Zarr: values on the map's own grid, with axes and units; good for large maps.",
    ".npy": "NumPy: values on the map's own grid, and the record beside them as JSON.",
    ".png": "A picture of the map over the image.",
}


@dataclass(frozen=True, eq=False)
class _Seen:
    """What was found where the dock says."""

    recipe: Recipe | None
    recipe_problem: str
    paths: tuple[str, ...]
    skipped: tuple[str, ...]
    problem: str
    without_truth: int
    records: tuple[Record, ...]


class Batch(Dock):
    """Asks for a recipe, images and a folder, has the batch run, and shows what becomes of it.

    Parameters
    ----------
    napari_viewer
        The viewer.
    session
        What is chosen; the viewer's if not given.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        # Folders are looked through beside what is computed.
        self._files = Jobs(WorkThread("neuroscope batch"))
        self._process: BatchProcess | None = None
        self._seen: _Seen | None = None
        self._taken: Recipe | None = None
        self._records: dict[str, tuple[str, ...]] = {}
        self._shown: dict[str, list[Any]] = {}
        self._starting = self._stopped = self._allow_changed = False
        self._time_left = TimeLeft()
        self._build()
        self._connect()
        self._changed()

    # --- what it looks like -----------------------------------------------------------------------

    def _build(self) -> None:
        self.setObjectName("neuroscope-batch")
        self._recipe_box = QComboBox()
        self._recipe_box.setAccessibleName("Recipe")
        self._recipe_box.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self._recipe_box.setMinimumContentsLength(12)
        self._recipe_box.addItem("As in the dock “Neuroscope”", None)
        self._open_button = QPushButton("Open…")
        self._open_button.setToolTip("Take a recipe from its file. Nothing of it runs unasked.")
        self._recipe_note = note()
        self._images = PathList("images")
        self._images_note = note()
        self._truth = PathLine(
            "Ground truth",
            "none",
            "A folder, a pattern or a table of classes (CSV): how good the network is on each image "
            "is then measured, too. Files go with the image of the same name.",
        )
        self._out = PathLine("Write into", "a folder", "What a batch has done there is kept.")
        self._kinds = {kind: QCheckBox(kind) for kind in _KINDS}
        kinds = QHBoxLayout()
        for kind, box in self._kinds.items():
            box.setToolTip(_KINDS[kind])
            kinds.addWidget(box)
        self._kinds[".tif"].setChecked(True)
        self._workers = QSpinBox()
        self._workers.setRange(1, os.cpu_count() or 1)
        self._workers.setAccessibleName("Workers")
        self._workers.setToolTip(
            "How many processes work, each on an image at a time. Each holds the network."
        )
        self._scheduler = QLineEdit()
        self._scheduler.setAccessibleName("Dask scheduler")
        self._scheduler.setPlaceholderText("none: this machine")
        self._scheduler.setToolTip(
            "The address of a Dask cluster, such as tcp://10.0.0.1:8786, whose workers see the same "
            "folders."
        )
        self._anew = QCheckBox("Begin anew")
        self._anew.setToolTip("Replace what a batch has written into the folder before.")

        self._form = QWidget()
        form = QFormLayout(self._form)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        recipe = QHBoxLayout()
        recipe.addWidget(self._recipe_box, 1)
        recipe.addWidget(self._open_button)
        form.addRow("Recipe", recipe)
        form.addRow("", self._recipe_note)
        form.addRow("Images", self._images)
        form.addRow("", self._images_note)
        form.addRow("Ground truth", self._truth)
        form.addRow("Write into", self._out)
        form.addRow("Write", kinds)
        form.addRow("Workers", self._workers)
        more = QCollapsible("More")
        inside = QWidget()
        inner = QFormLayout(inside)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        inner.addRow("Dask scheduler", self._scheduler)
        inner.addRow("", self._anew)
        more.addWidget(inside)
        form.addRow(more)

        self._run = QPushButton("Run")
        self._run.setDefault(True)
        self._stop = QPushButton("Stop")
        self._stop.setToolTip("Stop at the next step. What is done is kept, and Resume goes on.")
        self._report = QPushButton("Report")
        self._report.setToolTip("Open the page that shows what was made of each image.")
        self._reason = note()
        self._progress = QProgressBar()
        self._progress.setVisible(False)
        self._dashboard = LinkLabel()
        self._dashboard.setVisible(False)
        self._answer = note(selectable=True)
        self._table = BatchTable()
        buttons = QHBoxLayout()
        for button in (self._run, self._stop, self._report):
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(self._form)
        layout.addLayout(buttons)
        for line in (self._reason, self._progress, self._dashboard, self._answer):
            layout.addWidget(line)
        layout.addWidget(self._table, 1)
        self.setMinimumWidth(360)

    def _connect(self) -> None:
        self._look_soon = self.debounced(self._look, _DELAY_MS)
        self._recipe_box.currentIndexChanged.connect(self._take_place)
        self._open_button.clicked.connect(self._ask_for_recipe)
        for part in (self._images, self._truth, self._out):
            part.changed.connect(self._take_place)
        for box in self._kinds.values():
            box.toggled.connect(self._changed)
        self._run.clicked.connect(self.run)
        self._stop.clicked.connect(self.stop)
        self._report.clicked.connect(self._open_report)
        self._table.opened.connect(self.show_image)
        events = self.session.events
        for signal in (events.network, events.network_summary, events.method, events.options,
                       events.layers, events.classes, events.region, events.score,
                       events.image):  # fmt: skip
            self.follow(signal, self._changed)
        self.at_end(self._files.close)
        self.at_end(weakref.WeakMethod(self._end_process))

    def _end_process(self) -> None:
        if self._process is not None:
            self._process.close_work()

    # --- what is chosen ---------------------------------------------------------------------------

    def choose_recipe(self, path: str | Path | None) -> None:
        """Take the recipe of a file; None: what is chosen in the dock “Neuroscope”."""
        if path is not None and self._recipe_box.findData(str(path)) < 0:
            self._recipe_box.addItem(on_line(Path(path).name.removesuffix(SUFFIX)), str(path))
            row = self._recipe_box.count() - 1
            tip = plain_tooltip(str(path))
            self._recipe_box.setItemData(row, tip, Qt.ItemDataRole.ToolTipRole)
        row = 0 if path is None else self._recipe_box.findData(str(path))
        self._recipe_box.setCurrentIndex(row)

    def add_images(self, *paths: str | Path) -> None:
        """Add files, folders or patterns."""
        self._images.add([str(path) for path in paths])

    def choose_truth(self, path: str | Path) -> None:
        """Take the ground truth of a folder, a pattern or a table."""
        self._truth.set_path(str(path))

    def choose_out(self, path: str | Path) -> None:
        """Write into a folder."""
        self._out.set_path(str(path))

    def choose_kinds(self, *kinds: str) -> None:
        """Write these kinds of file, by their endings, and no others."""
        for kind, box in self._kinds.items():
            box.setChecked(kind in kinds)

    def choose_workers(self, count: int) -> None:
        """Have so many processes work."""
        self._workers.setValue(count)

    def ready(self) -> bool:
        """Whether everything is chosen that a batch needs."""
        return self._run.isEnabled()

    @property
    def running(self) -> bool:
        """Whether a batch runs, or is just begun."""
        return self._process is not None or self._starting

    def _ask_for_recipe(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Open recipe", "", f"Recipes (*{SUFFIX})")
        if name:
            self.choose_recipe(name)

    def _take_place(self, *_: Any) -> None:
        """Look at what is there, soon: whoever types has not ended yet."""
        self._seen, self._allow_changed = None, False
        self._look_soon()
        self._changed()

    def _look(self) -> None:
        if self.closed or self.running:
            return
        file = self._recipe_box.currentData()
        images, truth, out = self._images.paths(), self._truth.path(), self._out.path()
        self._files.submit(
            "Looking for the images",
            lambda _: _see(file, images, truth, out),
            self._take_seen,
            self._fail,
        )

    def _take_seen(self, seen: _Seen) -> None:
        self._seen = seen
        self._records = {}
        self._table.set_paths(seen.paths)
        for record in seen.records:
            self._take_image(record.path, record.problem, self._places(record), before=True)
        if seen.recipe is not None:
            self._take_kinds(seen.recipe)
        self._changed()

    def _take_kinds(self, recipe: Recipe) -> None:
        """Write what a recipe says, the first time that it is seen."""
        if recipe != self._taken:
            self._taken = recipe
            self.choose_kinds(*recipe.outputs)

    def _places(self, record: Record) -> tuple[str, ...]:
        return tuple(str(self._folder() / place) for place in record.outputs)

    def _folder(self) -> Path:
        return Path(os.path.abspath(self._out.path()))

    def problem(self) -> str | None:
        """Return why no batch can be run yet, as a sentence; None where all is well."""
        seen = self._seen
        try:
            truly = self._needs_truth()
        except NeuroscopeError as error:
            return str(error)
        if not self._images.paths():
            return "Add images: files, a folder or a pattern."
        if seen is None:
            return "Looking for the images …"
        if seen.recipe_problem or seen.problem:
            return seen.recipe_problem or seen.problem
        if truly and not self._truth.path():
            return "The recipe asks where its class truly is: say where the ground truth lies."
        if not self._out.path():
            return "Choose a folder to write into."
        if not any(box.isChecked() for box in self._kinds.values()):
            return "Choose at least one kind of file to write."
        return None

    def _needs_truth(self) -> bool:
        if self._recipe_box.currentData() is None:
            return any(
                t.region == "ground_truth" for t in Choice.of(self.session, self._viewer).targets
            )
        recipe = self._seen.recipe if self._seen is not None else None
        return recipe is not None and recipe.needs_ground_truth

    def _changed(self, *_: Any) -> None:
        if self.closed:
            return
        problem = self.problem()
        self._describe()
        self._form.setEnabled(not self.running)
        self._run.setEnabled(problem is None and not self.running)
        self._run.setText("Resume" if self._has_begun() else "Run")
        self._stop.setEnabled(self._process is not None)
        self._stop.setText("Stop now" if self.running and self._stopped else "Stop")
        self._report.setEnabled(bool(self._out.path()) and self._has_begun())
        self._reason.setText("" if self.running else problem or "")
        self._reason.setVisible(bool(self._reason.text()))

    def _has_begun(self) -> bool:
        """Whether the folder holds what a batch has done."""
        return bool(self._records) and not self._anew.isChecked()

    def _describe(self) -> None:
        words = ""
        try:
            if self._recipe_box.currentData() is None:
                words = Choice.of(self.session, self._viewer).in_words()
            elif self._seen is not None and self._seen.recipe is not None:
                words = recipe_in_words(self._seen.recipe)
        except NeuroscopeError:
            pass
        self._recipe_note.setText(words)
        self._recipe_note.setVisible(bool(words))
        seen, words = self._seen, ""
        if seen is not None and seen.paths:
            words = f"{len(seen.paths):,} images"
            if self._truth.path() and seen.without_truth:
                words += f", {seen.without_truth:,} without ground truth"
            if seen.skipped:
                words += f"; {len(seen.skipped):,} files are none"
            self._images_note.setToolTip("\n".join(seen.skipped[:20]))
        self._images_note.setText(words)
        self._images_note.setVisible(bool(words))

    # --- what is done -----------------------------------------------------------------------------

    def run(self) -> None:
        """Run the batch, or go on where it was left off."""
        if (problem := self.problem()) is not None or self.running or self._seen is None:
            self._fail(NeuroscopeError(problem or "A batch runs already."))
            return
        if self._recipe_box.currentData() is not None:
            assert self._seen.recipe is not None
            self._begin(self._seen.recipe)
            return
        choice = Choice.of(self.session, self._viewer)
        self._starting = True
        self._changed()
        self._files.submit("Writing the recipe", lambda _: choice.recipe(), self._begin, self._fail)

    def _begin(self, recipe: Recipe) -> None:
        self._starting = False
        process = self._process = BatchProcess()
        process.told.connect(self._take)
        process.ended.connect(lambda event: self._take_end(recipe, event))
        self._stopped = False
        self._progress.setRange(0, 0)
        self._progress.setVisible(True)
        self._answer.setText("The images are looked through, and the network is opened …")
        process.begin(
            {
                "recipe": recipe.plain(),
                "network_is_given": not recipe.network.is_elsewhere,
                "images": self._images.paths(),
                "out": self._out.path(),
                "truths": self._truth.path() or None,
                "outputs": [kind for kind, box in self._kinds.items() if box.isChecked()],
                "workers": self._workers.value(),
                "scheduler": self._scheduler.text().strip() or None,
                "device": configured().device,
                "allow_changed": self._allow_changed,
                "force": self._anew.isChecked(),
            }
        )
        self._changed()

    def stop(self) -> None:
        """Stop the batch at its next step, or at once where that is asked again.

        What is done is kept.
        """
        if self._process is None:
            return
        if self._stopped:
            self._process.kill()
        self._process.stop()
        self._stopped = True
        self._progress.setFormat("Stopping …")
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
            self._table.show_row(images[-1]["image"])
        self._show_progress(events[-1])

    def _show_start(self, event: dict[str, Any]) -> None:
        self._answer.clear()
        if link := event["dashboard"]:
            self._dashboard.show_link("Dask shows its work at", link)
            self._dashboard.setVisible(True)
        if self._anew.isChecked() and self._seen is not None:
            self._records = {}
            self._table.set_paths(self._seen.paths)

    def _take_end(self, recipe: Recipe, event: dict[str, Any]) -> None:
        if self.closed:
            return
        self._end()
        if event["kind"] == "result":
            self._say_result(event)
        elif self._stopped and not event["type"]:
            self._answer.setText("Stopped. What is done is kept, and Resume goes on.")
        elif not self._ask_on(recipe, event):
            self._fail(_error_of(event))
        self._changed()

    def _take_image(
        self, path: str, problem: str, outputs: tuple[str, ...], *, before: bool = False
    ) -> None:
        if not problem:
            maps = self._folder() / MAPS
            self._records[path] = tuple(o for o in outputs if Path(o).is_relative_to(maps))
        self._table.set_state(path, "done before" if before else "done", problem)

    def _show_progress(self, event: dict[str, Any]) -> None:
        total, failed = event["total"], event["failed"]
        over = event["kept"] + event["done"] + failed
        words = f"{over:,} of {total:,}"
        if failed:
            words += f" · {failed:,} with a problem"
        if left := self._time_left(over, total, "batch"):
            words += f" · {left} left"
        if self._stopped:
            words = "Stopping …"
        self._progress.setRange(0, total)
        self._progress.setFormat(words)
        self._progress.setValue(over)

    def _end(self) -> None:
        self._process = None
        self._progress.setVisible(False)
        self._dashboard.setVisible(False)
        if self._anew.isChecked():
            # What is there now is this batch's own.
            self._anew.setChecked(False)

    def _say_result(self, event: dict[str, Any]) -> None:
        done = event["kept"] + event["done"]
        words = f"{done:,} of {event['total']:,} images are done"
        if event["kept"]:
            words += f", {event['kept']:,} of them before"
        if failed := event["failed"]:
            have, are = ("has", "is") if failed == 1 else ("have", "are")
            words += f"; {failed:,} {have} a problem, and {are} tried again with Resume"
        if event["left"]:
            words += f". Stopped: Resume does the other {event['left']:,}"
        self._answer.setText(f"{words}.")

    def _ask_on(self, recipe: Recipe, event: dict[str, Any]) -> bool:
        """Ask what a batch needs to begin, and begin again; whether that was done."""
        kind = event["type"]
        if kind == "UntrustedError":
            refusal = _error_of(event)
            # A yes is remembered, where the other process finds it.
            if not (isinstance(refusal, UntrustedError) and ask_for_trust(self, refusal)):
                return False
        elif kind == "MissingNetworkError":
            path = ask_for_file(self)
            if path is None:
                return False
            network = recipe.network.with_source(path)
            recipe = recipe.model_copy(update={"network": network})
        elif kind == "ChangedNetworkError":
            self._allow_changed = agrees(
                self,
                "Another network",
                f"The network “{recipe.network.name}” has other weights than the one that the recipe "
                f"was made with. Run the batch with it?",
                "Run with it",
            )
            if not self._allow_changed:
                return False
        else:
            return False
        self._begin(recipe)
        return True

    # --- what is shown ----------------------------------------------------------------------------

    def show_image(self, path: str) -> None:
        """Show an image and its maps in the viewer."""
        outputs = self._records.get(path)
        if outputs is None:
            state = self._table.states().get(path) or "It is not done yet."
            self._answer.setText(state)
            return
        known = [layer for layer in self._shown.get(path, []) if layer in self._viewer.layers]
        if known:
            self._viewer.layers.selection.active = known[-1]
            return
        self._answer.setText(f"Opening {Path(path).name} …")
        self.jobs.submit(
            "Opening the image",
            lambda _: results_data(path, outputs),
            lambda layers: self._add(path, layers),
            self._fail,
        )

    def _add(self, path: str, layers: list[LayerData]) -> None:
        self._shown[path] = [
            getattr(self._viewer, f"add_{kind}")(data, **named(attributes))
            for data, attributes, kind in layers
        ]
        self._answer.setText(f"{Path(path).name} and its maps are open.")

    def _open_report(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._folder() / REPORT)))

    def _fail(self, error: Exception) -> None:
        if self.closed:
            return
        text, self._starting = in_a_sentence(error), False
        self._changed()
        self._answer.setText(text)
        tell_error(text)


def _error_of(event: dict[str, Any]) -> NeuroscopeError:
    """Return what has ended a batch."""
    if event["type"] == "UntrustedError":
        return UntrustedError(Path(event["path"]), event["sha256"], event["would_run"])
    return NeuroscopeError(event["message"])


def _see(file: str | None, images: list[str], truth: str, out: str) -> _Seen:
    """Look at a recipe's file, for images and their ground truth, and what is done already."""
    recipe, recipe_problem, problem = None, "", ""
    try:
        recipe = None if file is None else Recipe.load(file)
    except NeuroscopeError as error:
        recipe_problem = str(error)
    paths: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    without = 0
    if images:
        try:
            pairs = pairs_of(images, truth or None)
            paths = tuple(os.path.abspath(str(pair.image.path)) for pair in pairs)
            skipped = tuple(f"{one.name}: {one.reason}" for one in pairs.skipped)
            without = len(pairs.without_truth)
        except NeuroscopeError as error:
            problem = str(error)
    records = tuple(records_in(Path(out))) if out else ()
    return _Seen(recipe, recipe_problem, paths, skipped, problem, without, records)
