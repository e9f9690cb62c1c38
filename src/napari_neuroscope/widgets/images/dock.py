"""The dock “Images”: many images with their ground truth, predicted, measured and sorted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import napari
import numpy as np
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QMenu,
    QProgressBar,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_neuroscope.engine.errors import NeuroscopeError, Progress
from napari_neuroscope.engine.evaluation.confusion_metrics import METRICS, metrics_of
from napari_neuroscope.engine.evaluation.one_image import truth_labels
from napari_neuroscope.engine.evaluation.scoring import ImageScore, Scores
from napari_neuroscope.engine.images.formats.image_file import LazyImage
from napari_neuroscope.engine.images.pairs import Pair, Source
from napari_neuroscope.engine.networks.network import Network, Prediction
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.image.image_pixels import go_to_step
from napari_neuroscope.viewer.image.shown_image import Shown
from napari_neuroscope.viewer.layers.error_layers import PARTS, Comparison, error_data
from napari_neuroscope.viewer.layers.gallery import Gallery, thumbnail
from napari_neuroscope.viewer.layers.layer_data import prediction_data
from napari_neuroscope.viewer.layers.layer_manager import Shower
from napari_neuroscope.viewer.layers.place import Place
from napari_neuroscope.widgets.images.image_list import ImageList
from napari_neuroscope.widgets.images.image_table import ImageTable
from napari_neuroscope.widgets.images.scoring_jobs import ScoringJobs
from napari_neuroscope.widgets.parts.buttons import menu_button
from napari_neuroscope.widgets.parts.dock import Dock
from napari_neuroscope.widgets.parts.jobs.jobs import Jobs
from napari_neuroscope.widgets.parts.labels import PlainLabel, note, on_line, plain_tooltip
from napari_neuroscope.widgets.parts.notices import tell, tell_error
from napari_neuroscope.widgets.parts.sentences import in_a_sentence

_KINDS = {
    "auto": "Found out",
    "classes": "Numbers of classes",
    "colours": "Colours of classes",
    "instances": "Numbers of instances, or masks",
}
_RIMS = ("border", "boundary", "contour", "edge", "outline", "rim")
_FIRST_METRICS = {
    "segmentation": ("mean_iou", "accuracy"),
    "classification": ("accuracy",),
}


class Images(Dock):
    """Lists images with their ground truth, shows one at a time, and measures all.

    Parameters
    ----------
    napari_viewer
        The viewer.
    session
        What is chosen; the viewer's if not given.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        self._pictures, self.measuring = Jobs(), ScoringJobs()
        self.images = ImageList(self.session, self._fail)
        self._shower = Shower(napari_viewer)
        self._gallery = Gallery(napari_viewer, self._shower)
        self._results: dict[str, ImageScore] = {}
        self._metrics: dict[str, tuple[str, ...]] = dict(_FIRST_METRICS)
        self._failure = ""
        self._build()
        self.follow(self.session.events.network, self._take_network)
        self.follow(self.session.events.network_summary, self._take_findings)
        self.follow(self.session.events.wanted, self._go_to)
        self.images.changed.connect(self._take_list)
        for jobs in (self.jobs, self.images.jobs):
            jobs.started.connect(self._show_start)
            jobs.idle.connect(self._show_idle)
        self.measuring.progressed.connect(self._show_progress)
        self.measuring.measured.connect(self._take_result)
        self.measuring.finished.connect(self._take_scores)
        self.measuring.failed.connect(self._fail)
        self.measuring.idle.connect(self._show_idle)
        for part in (self._shower, self.measuring, self.images.jobs, self._pictures):
            self.at_end(part.close)
        self._choose_metrics()
        self._describe()

    @property
    def busy(self) -> bool:
        """Whether images are listed, shown or measured."""
        return self.jobs.busy or self.images.jobs.busy or self.measuring.busy

    # --- what it looks like ---

    def _build(self) -> None:
        self.setObjectName("neuroscope-images")
        self._add = menu_button("Add images", {
            "Files…": self._ask_for_files,
            "A folder…": self._ask_for_folder,
            "The viewer's layers": self.add_layers,
        })  # fmt: skip
        self._truth = menu_button("Ground truth", {
            "Of all, from a folder…": self._ask_for_truths,
            "Of all, from a table of classes…": self._ask_for_table,
            "Of the chosen image, a file…": self._ask_for_truth,
        })  # fmt: skip
        self._truth.setToolTip(
            "Files go with the image of the same name, whatever their ending, also with “_gt”, "
            "“_mask”, “_labels” and such after it."
        )
        self._kind = QComboBox()
        self._kind.setAccessibleName("How ground truth is read")
        self._kind.setToolTip("How ground truth is read.")
        for kind, words in _KINDS.items():
            self._kind.addItem(words, kind)
        self._kind.currentIndexChanged.connect(self._forget_results)
        self._rim = QComboBox()
        self._rim.setAccessibleName("Class of the rim of instances")
        self._rim.setToolTip("The class of the rim, one pixel wide, inside each instance.")
        self._rim.currentIndexChanged.connect(self._forget_results)
        self._rim_part = QWidget()
        rim = _row(PlainLabel("Rim of instances"), self._rim)
        rim.setContentsMargins(0, 0, 0, 0)
        self._rim_part.setLayout(rim)
        self._remove = QPushButton("Remove")
        self._remove.setToolTip("Take the chosen images off this list. Their files stay.")
        self._remove.clicked.connect(self._remove_chosen)

        self._table = ImageTable()
        self._table.chosen.connect(self._go_to)
        self._note = note(selectable=True)
        self._columns = QToolButton()
        self._columns.setText("Figures")
        self._columns.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self._columns.setToolTip("Which figures the table shows. A click on a heading sorts.")

        self._back, self._next = QPushButton("◀"), QPushButton("▶")
        self._back.setAccessibleName("Previous image")
        self._next.setAccessibleName("Next image")
        self._back.clicked.connect(lambda: self._table.step(-1))
        self._next.clicked.connect(lambda: self._table.step(1))
        self._all = QPushButton("Predict all")
        self._all.clicked.connect(self.predict_all)
        self._cancel = QPushButton("Cancel")
        self._cancel.setEnabled(False)
        self._cancel.clicked.connect(self.cancel)
        self._save = QPushButton("Save…")
        self._save.setToolTip("Save the figures of all images as CSV.")
        self._save.clicked.connect(self._ask_where)

        self._class = QComboBox()
        self._class.setAccessibleName("Class of the error layer")
        self._part = QComboBox()
        self._part.setAccessibleName("What the error layer shows")
        for part, words in PARTS.items():
            self._part.addItem(words, part)
        self._errors = QPushButton("Show")
        self._errors.setToolTip("Show where prediction and ground truth agree, and where not.")
        self._errors.clicked.connect(self.show_errors)
        self._progress = QProgressBar()
        self._progress.setVisible(False)
        self._overall, self._message = note(selectable=True), note(selectable=True)

        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        for row in (
            (self._add, self._truth, self._remove),
            (PlainLabel("Read as"), self._kind, self._columns),
        ):
            layout.addLayout(_row(*row))
        layout.addWidget(self._rim_part)
        layout.addWidget(self._table, 1)
        layout.addWidget(self._overall)
        layout.addLayout(_row(self._back, self._next, self._all, self._cancel, self._save))
        layout.addLayout(_row(PlainLabel("Errors"), self._class, self._part, self._errors))
        for line in (self._progress, self._note, self._message):
            layout.addWidget(line)
        self.setMinimumWidth(380)

    # --- which images ---

    def add_files(self, images: Any, truths: Any = None) -> None:
        """List image files, folders or patterns, with their ground truth by name.

        What can't be read is left out and listed.
        """
        self._failure = ""
        self.images.add_files(images, truths)

    def add_layers(self) -> None:
        """List the viewer's images, each with the labels layer of its name or its size."""
        others = [layer for layer in self._viewer.layers if layer is not self._gallery.layer]
        self._tried(lambda: self.images.add_layers(others))

    def pair_with(self, truths: Any) -> None:
        """Pair all images that are files with the ground truth of a folder, files or a table."""
        self._tried(lambda: self.images.pair_with(truths))
        self._forget_results()

    def set_truth(self, name: str, path: Path) -> None:
        """Take a file for the ground truth of an image."""
        self._results.pop(name, None)
        self.images.set_truth(name, path)

    def _tried(self, action: Callable[[], None]) -> None:
        try:
            action()
        except NeuroscopeError as error:
            self._fail(error)

    def _remove_chosen(self) -> None:
        self.images.remove(self._table.selection())

    def _take_list(self) -> None:
        if self.closed:
            return
        pairs = self.images.pairs
        self._table.set_rows([(name, _truth_in_words(pair)) for name, pair in pairs.items()])
        self._fill()
        self._describe()
        self._make_thumbnails(list(pairs))

    def _make_thumbnails(self, names: list[str]) -> None:
        """Read the images one by one, so that what the user asks for comes between."""
        pairs = self.images.pairs
        waiting = [name for name in names if name in pairs and not self._table.has_icon(name)]
        if not waiting or self.closed:
            return
        name, pair = waiting[0], pairs[waiting[0]]

        def done(picture: np.ndarray | None) -> None:
            self._table.set_icon(name, picture)
            self._make_thumbnails(waiting[1:])

        self._pictures.submit(
            "Thumbnails", lambda _: thumbnail(pair.image.read()), done, lambda _: done(None)
        )

    # --- what is asked ---

    def _ask_for_files(self) -> None:
        chosen, _ = QFileDialog.getOpenFileNames(self, "Images")
        if chosen:
            self.add_files([Path(path) for path in chosen])

    def _ask_for_folder(self) -> None:
        if chosen := QFileDialog.getExistingDirectory(self, "A folder of images"):
            self.add_files(Path(chosen))

    def _ask_for_truths(self) -> None:
        if chosen := QFileDialog.getExistingDirectory(self, "The folder of the ground truth"):
            self.pair_with(Path(chosen))

    def _ask_for_table(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(
            self, "A table of names and classes", "", "Tables (*.csv *.tsv)"
        )
        if chosen:
            self.pair_with(Path(chosen))

    def _ask_for_truth(self) -> None:
        name = self._table.current()
        if name is None:
            tell("Choose an image in the list first.")
            return
        chosen, _ = QFileDialog.getOpenFileName(self, f"Ground truth of {on_line(name)}")
        if chosen:
            self.set_truth(name, Path(chosen))

    def _ask_where(self) -> None:
        if self.session.scores is None:
            return
        chosen, _ = QFileDialog.getSaveFileName(self, "Save the figures", "scores.csv", "*.csv")
        if chosen:
            try:
                self.session.scores.to_csv(Path(chosen), overwrite=True)
            except NeuroscopeError as error:
                self._fail(error)

    # --- one image ---

    def _go_to(self, name: str) -> None:
        """Show an image with its ground truth and its prediction."""
        pair, network = self.images.pairs.get(name), self.session.network
        if pair is None or self.closed:
            return
        self._table.mark(name)
        self._failure = ""
        self._say()
        reading = self._reading()

        def work(progress: Progress) -> tuple[Any, Prediction | None, Any]:
            image = pair.image.in_memory()
            if network is None:
                return image, None, None
            network.discover(image, progress)
            prediction = network.predict(image)
            return image, prediction, truth_labels(network, pair, prediction, **reading)

        def done(found: tuple[Any, Prediction | None, Any]) -> None:
            self._show(pair, network, *found)

        self.jobs.submit(f"Showing {name}", work, done, self._fail)

    def _show(
        self,
        pair: Pair,
        network: Network | None,
        image: LazyImage,
        prediction: Prediction | None,
        truth: Any,
    ) -> None:
        layer, plane = self.images.layer_of(pair), pair.image.plane
        if layer is not None and layer in self._viewer.layers:
            for axis, step in enumerate(plane):
                if step is not None:
                    go_to_step(layer, axis, step, self._viewer)
        else:
            layer = self._gallery.show(np.asarray(image.data), pair.name, image.spacing.axes)
            plane = ()
        notes = [] if truth is None else list(truth.notes)
        if network is not None and prediction is not None:
            labels = None if truth is None else truth.labels
            place = self._place(layer, plane, network)
            if prediction.grid is not None:
                self._gallery.show_truth(labels, network, layer, place)
                self._shower.show(
                    prediction_data(network, prediction, layer, place), ("prediction",)
                )
            else:
                likely = network.class_names[int(prediction.labels)]
                share = float(prediction.probabilities[int(prediction.labels)])
                notes.insert(0, f"predicted {likely} ({share:.1%})"
                                + (f", true {pair.truth}" if pair.truth is not None else ""))  # fmt: skip
            self.session.comparison = Comparison(
                pair.name, network, layer, place, prediction, labels
            )
        self._note.setText(f"{pair.name}: {'; '.join(notes)}." if notes else "")
        # The inspector explains what is shown; the same layer may hold another image now.
        self.session.show_layer(layer)

    def _place(self, layer: Any, plane: Sequence[int | None], network: Network) -> Place:
        """Return where on the axes of a layer a plane of it lies, wherever the sliders stand."""
        shown = Shown.of(layer, self._viewer)
        chosen = (*plane, *(None,) * (len(shown.steps) - len(plane)))
        steps = (own if step is None else step
                 for own, step in zip(shown.steps, chosen, strict=False))  # fmt: skip
        return replace(shown, steps=tuple(steps)).place(network)

    def show_errors(self) -> None:
        """Show where prediction and ground truth of the shown image agree about a class."""
        comparison = self.session.comparison
        if comparison is None or comparison.source not in self._viewer.layers:
            self._fail(NeuroscopeError("Choose an image with ground truth in the list first."))
            return
        if comparison.prediction.grid is None:
            self._fail(NeuroscopeError("A classifier says one class for the whole image."))
            return
        part = self._part.currentData()
        slot = ("errors", part)
        try:
            made = error_data(comparison, self._class.currentIndex(), part)
        except NeuroscopeError as error:
            self._fail(error)
            return
        if self._shower.layer((*slot, "0")) is None:
            self._shower.hide_others("prediction", "comparison")
        self._shower.show(made, slot)[0].visible = True

    # --- all images ---

    def predict_all(self) -> None:
        """Predict all images that have ground truth, and measure each; it can be cancelled."""
        network = self.session.network
        pairs = [pair for pair in self.images.pairs.values() if pair.truth is not None]
        if network is None:
            self._fail(NeuroscopeError("Choose a network in the dock “Neuroscope” first."))
            return
        if not pairs:
            self._fail(
                NeuroscopeError("No image in the list has ground truth; add it by the menu above.")
            )
            return
        self._failure = ""
        self._forget_results()
        self._show_start("Looking at the ground truth")
        self.measuring.start(network, pairs, self._reading())

    def cancel(self) -> None:
        """Stop what is computed; what was measured stays to be seen."""
        self.measuring.cancel()
        self.jobs.cancel()

    def _take_scores(self, scores: Scores) -> None:
        for one in scores.failed:
            self._table.set_problem(one.name, one.reason)
        self.images.skipped = scores.failed
        self.session.scores = scores
        self._describe()

    def _reading(self) -> dict[str, Any]:
        """Return how ground truth is read, as `score_images` takes it."""
        rim = self._rim.currentData()
        return {"truth_kind": self._kind.currentData(), "border_class": rim}

    def _take_result(self, result: ImageScore) -> None:
        if not self.closed:
            self._results[result.name] = result
            self._fill_row(result)

    def _forget_results(self, *_: Any) -> None:
        if self.measuring.busy:
            self.measuring.cancel()
        self._results.clear()
        self.session.scores = None
        self._fill()
        self._describe()

    # --- what is shown ---

    def _take_network(self, network: Network | None) -> None:
        if self.closed or network is None:
            return
        self._forget_results()
        self._choose_metrics()
        self.images.refresh()

    def _take_findings(self, *_: Any) -> None:
        if not self.closed:
            self._describe()

    def _task(self) -> str:
        network = self.session.network
        return "segmentation" if network is None else network.spec.task

    def _choose_metrics(self) -> None:
        """Offer the figures of the network's task."""
        menu = QMenu(self._columns)
        shown = self._metrics[self._task()]
        for name, metric in metrics_of(self._task()).items():
            words = f"{metric.title} of each class" if metric.per_class else metric.title
            action = menu.addAction(words)
            if action is None:
                continue
            action.setCheckable(True)
            action.setChecked(name in shown)
            action.toggled.connect(lambda on, name=name: self._toggle_metric(name, on))
        self._columns.setMenu(menu)

    def _toggle_metric(self, name: str, on: bool) -> None:
        offered = metrics_of(self._task())
        shown = {*self._metrics[self._task()], name} if on else (
            set(self._metrics[self._task()]) - {name}
        )  # fmt: skip
        self._metrics[self._task()] = tuple(name for name in offered if name in shown)
        self._fill()

    def show_metrics(self, *names: str) -> None:
        """Show these figures in the table, and no others."""
        self._metrics[self._task()] = names
        self._choose_metrics()
        self._fill()

    def sort_by(self, heading: str, *, descending: bool = False) -> None:
        """Sort the images by a column."""
        self._table.sort_by(heading, descending=descending)

    def go_to_first(self) -> None:
        """Show the first image of the list as it is sorted: the worst, by a rising figure."""
        if names := self._table.names():
            self._go_to(names[0])

    def _figures(self) -> list[tuple[str, str, int | None]]:
        """Return the columns: name of the metric, heading, and class."""
        network = self.session.network
        columns: list[tuple[str, str, int | None]] = []
        for name in self._metrics[self._task()]:
            metric = METRICS[name]
            if not metric.per_class:
                columns.append((name, metric.title, None))
            elif network is not None:
                columns += [(name, f"{metric.title}: {label}", number)
                            for number, label in enumerate(network.class_names)]  # fmt: skip
        return columns

    def _fill(self) -> None:
        self._table.set_columns([heading for _, heading, _ in self._figures()])
        for result in self._results.values():
            self._fill_row(result)

    def _fill_row(self, result: ImageScore) -> None:
        values = [
            float(result.metrics[name] if which is None else result.metrics[name][which])
            for name, _, which in self._figures()
        ]
        self._table.set_values(result.name, values)

    def _describe(self) -> None:
        scores, network = self.session.scores, self.session.network
        self._save.setEnabled(scores is not None)
        self._all.setEnabled(bool(self.images.pairs))
        with_truth = sum(pair.truth is not None for pair in self.images.pairs.values())
        words = [f"{len(self.images.pairs)} images, {with_truth} with ground truth."]
        if scores is not None and scores.results:
            parts = []
            for name, heading, which in self._figures()[:6]:
                value = scores.metrics[name] if which is None else scores.metrics[name][which]
                parts.append(f"{heading} {_in_digits(float(value))}")
            words.append(f"All {len(scores.results)} together: {', '.join(parts)}.")
        self._overall.setText(" ".join(words) if self.images.pairs else
                              "Add images, and their ground truth, to see how good the network is.")  # fmt: skip
        self._say()
        names = [] if network is None or network is not self._known() else network.class_names
        names = [on_line(name) for name in names]
        if [self._class.itemText(i) for i in range(self._class.count())] != names:
            self._class.clear()
            self._class.addItems(names)
            self._class.setCurrentIndex(min(1, len(names) - 1))
        self._offer_rim(names)
        for widget in (self._class, self._part, self._errors):
            widget.setEnabled(bool(names) and self._task() == "segmentation")

    def _say(self) -> None:
        """Say what failed last, and what was left out."""
        left = [one.reason for one in self.images.skipped]
        words = [self._failure] if self._failure else []
        if left:
            more = f" And {len(left) - 3} more." if len(left) > 3 else ""
            words.append(f"Left out: {' '.join(left[:3])}{more}")
        self._message.setText("\n".join(words))
        self._message.setToolTip(plain_tooltip("\n".join(left[:40])))

    def _offer_rim(self, names: list[str]) -> None:
        """Offer the classes for the rim of instances; one that is called so is taken."""
        offered = names if self._kind.currentData() in ("auto", "instances") else []
        self._rim_part.setVisible(len(offered) > 2)
        if [self._rim.itemText(n) for n in range(1, self._rim.count())] == names:
            return
        with signals_blocked(self._rim):
            self._rim.clear()
            self._rim.addItem("Belongs to the instance", None)
            for number, name in enumerate(names):
                self._rim.addItem(name, number)
            likely = (n + 1 for n, name in enumerate(names) if name.casefold() in _RIMS)
            self._rim.setCurrentIndex(next(likely, 0))

    def _known(self) -> Network | None:
        """Return the network whose classes are known, without asking it now."""
        findings = self.session.network_summary
        return None if findings is None else findings.network

    def _show_start(self, what: str) -> None:
        if self.measuring.busy:
            return  # its progress goes on
        self._progress.setRange(0, 0)
        self._progress.setFormat(on_line(what))
        self._progress.setVisible(True)
        self._cancel.setEnabled(True)

    def _show_progress(self, done: int, total: int, what: str) -> None:
        self._progress.setRange(0, total)
        self._progress.setFormat(on_line(f"{what}  %v of %m" if total else what))
        self._progress.setValue(done)

    def _show_idle(self) -> None:
        if self.busy:
            return
        self._progress.setVisible(False)
        self._cancel.setEnabled(False)

    def _fail(self, error: Exception) -> None:
        text = in_a_sentence(error)
        self._failure = text
        self._say()
        tell_error(text)


def _truth_in_words(pair: Pair) -> str:
    truth = pair.truth
    if truth is None:
        return ""
    if isinstance(truth, str | int):
        return str(truth)
    return truth.name if isinstance(truth, Source) else f"{len(truth)} masks"


def _in_digits(value: float) -> str:
    return "n/a" if np.isnan(value) else f"{value:.3f}"


def _row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget, 1 if isinstance(widget, QComboBox) else 0)
    if not any(isinstance(widget, QComboBox) for widget in widgets):
        row.addStretch(1)
    return row
