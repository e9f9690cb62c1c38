"""The dock “Images”: many images with their ground truth, predicted, scored and sorted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.evaluation.scoring import ImageScore, Scores
from napari_neuroscope.engine.images.pairing.pair import Pair
from napari_neuroscope.engine.images.source import Source
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.layers.gallery import thumbnail
from napari_neuroscope.widgets.images.form import ImagesForm
from napari_neuroscope.widgets.images.image_list import ImageList
from napari_neuroscope.widgets.images.metric_columns import MetricColumns
from napari_neuroscope.widgets.images.pair_layers import PairLayers, answer_to
from napari_neuroscope.widgets.images.scoring_jobs import ScoringJobs
from napari_neuroscope.widgets.parts.dialogs.save_dialog import ask_and_save
from napari_neuroscope.widgets.parts.dock import Dock
from napari_neuroscope.widgets.parts.form import button
from napari_neuroscope.widgets.parts.jobs.jobs import Jobs
from napari_neuroscope.widgets.parts.labels import plain_tooltip
from napari_neuroscope.widgets.parts.notices import tell, tell_error
from napari_neuroscope.widgets.parts.progress import JobProgress
from napari_neuroscope.widgets.parts.sentences import in_a_sentence


class Images(Dock):
    """Lists images with their ground truth, shows one at a time, and scores all.

    Parameters
    ----------
    napari_viewer
        The viewer.
    session
        What is chosen; the viewer's if not given.

    Attributes
    ----------
    form
        What is seen.
    images
        Which images there are.
    scores
        What is known of each image so far, by name.
    scoring, thumbnails
        What scores all images, and what makes their small pictures.
    """

    name = "images"

    def __init__(self, napari_viewer: napari.viewer.Viewer, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        self.thumbnails, self.scoring = self.owned(Jobs()), self.owned(ScoringJobs())
        self.images = ImageList(self.session, self.fail)
        self.owned(self.images.jobs)
        self._layers = self.owned(PairLayers(napari_viewer, self.session))
        self.scores: dict[str, ImageScore] = {}
        self._failure = ""
        self.form = ImagesForm(self)
        self._columns = MetricColumns(self.session, self.form.columns, self._fill)
        self.progress = JobProgress(
            lambda: self.busy, button("Cancel", clicked=self.cancel), _progress_words
        )
        self._connect()
        self.lay_out(
            *self.form.parts(self.progress, self.progress.stop_button),
            self.message,
            stretch=self.form.table,
            width=380,
        )
        self._columns.offer()
        self._describe()

    def _connect(self) -> None:
        form = self.form
        form.add_menus(self.add_files, self.add_layers, self.pair_with, self._ask_for_truth)
        form.truth_kind.currentIndexChanged.connect(self._forget_scores)
        form.rim.currentIndexChanged.connect(self._forget_scores)
        form.remove.clicked.connect(lambda: self.images.remove(form.table.selection()))
        form.predict_all.clicked.connect(self.predict_all)
        form.save.clicked.connect(self._ask_where)
        form.show_errors.clicked.connect(self.show_errors)
        form.table.chosen.connect(self.go_to)
        events = self.session.events
        self.follow(events.network, self._take_network)
        self.follow(events.network_summary, self._describe)
        self.follow(events.wanted, self.go_to)
        self.images.changed.connect(self._take_list)
        for jobs in (self.jobs, self.images.jobs):
            jobs.started.connect(self._show_start)
            jobs.idle.connect(self.progress.rest_if_idle)
        self.progress.follow(self.scoring)
        self.scoring.measured.connect(self._take_score)
        self.scoring.finished.connect(self._take_scores)
        self.scoring.failed.connect(self.fail)

    @property
    def busy(self) -> bool:
        """Whether images are listed, shown or scored."""
        return self.jobs.busy or self.images.jobs.busy or self.scoring.busy

    # --- which images ---

    def add_files(self, images: Any, truths: Any = None) -> None:
        """List image files, folders or patterns, with their ground truth by name.

        What can't be read is left out and listed.
        """
        self._failure = ""
        self.images.add_files(images, truths)

    def add_layers(self) -> None:
        """List the viewer's images, each with the labels layer of its name or its size."""
        shown = self._layers.gallery.layer
        layers = [layer for layer in self._viewer.layers if layer is not shown]
        self._try(lambda: self.images.add_layers(layers))

    def pair_with(self, truths: Any) -> None:
        """Pair all images that are files with the ground truth of a folder, files or a table."""
        self._try(lambda: self.images.pair_with(truths))
        self._forget_scores()

    def set_truth(self, name: str, path: Path) -> None:
        """Take a file for the ground truth of an image."""
        self.scores.pop(name, None)
        self.images.set_truth(name, path)

    def _ask_for_truth(self) -> None:
        name = self.form.table.current()
        if name is None:
            tell("Choose an image in the list first.")
        elif (path := self.form.ask_for_truth_of(name)) is not None:
            self.set_truth(name, path)

    def _try(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except NeuroscopeError as error:
            self.fail(error)

    def _take_list(self) -> None:
        if self.closed:
            return
        pairs = self.images.pairs
        self.form.table.set_rows([(name, _truth_in_words(pair)) for name, pair in pairs.items()])
        self._fill()
        self._describe()
        self._make_thumbnails(list(pairs))

    def _make_thumbnails(self, names: list[str]) -> None:
        """Read the images one by one, so that what the user asks for comes between."""
        pairs, table = self.images.pairs, self.form.table
        waiting = [name for name in names if name in pairs and not table.has_icon(name)]
        if not waiting or self.closed:
            return
        name, pair = waiting[0], pairs[waiting[0]]

        def done(picture: np.ndarray | None) -> None:
            table.set_icon(name, picture)
            self._make_thumbnails(waiting[1:])

        self.thumbnails.submit(
            "Thumbnails", lambda _: thumbnail(pair.image.read()), done, lambda _: done(None)
        )

    # --- one image ---

    def go_to(self, name: str) -> None:
        """Show an image with its ground truth and its prediction."""
        pair, network = self.images.pairs.get(name), self.session.network
        if pair is None or self.closed:
            return
        self.form.table.mark(name)
        self._failure = ""
        self._say()
        reading, layer = self.form.reading(), self.images.layer_of(pair)
        self.jobs.submit(
            f"Showing {name}",
            lambda progress: answer_to(pair, network, reading, progress),
            lambda answer: self._show(pair, layer, network, answer),
            self.fail,
        )

    def _show(self, pair: Pair, layer: Any, network: Network | None, answer: Any) -> None:
        *_, truth = answer
        if truth is not None:
            self.form.take_notes(truth.notes)
        self.form.image_note.setText(self._layers.show(pair, layer, network, answer))

    def go_to_first(self) -> None:
        """Show the first image of the list as it is sorted: the worst, by a rising figure."""
        if names := self.form.table.names():
            self.go_to(names[0])

    def show_errors(self) -> None:
        """Show where prediction and ground truth of the shown image agree about a class."""
        form = self.form
        self._try(
            lambda: self._layers.show_errors(
                form.class_box.currentIndex(), form.error_kind.currentData()
            )
        )

    # --- all images ---

    def predict_all(self) -> None:
        """Predict all images that have ground truth, and score each; it can be cancelled."""
        network = self.session.network
        pairs = [pair for pair in self.images.pairs.values() if pair.truth is not None]
        if network is None:
            self.fail(NeuroscopeError("Choose a network in the dock “Neuroscope” first."))
        elif not pairs:
            self.fail(
                NeuroscopeError("No image in the list has ground truth; add it by the menu above.")
            )
        else:
            self._failure = ""
            self._forget_scores()
            self._show_start("Looking at the ground truth")
            self.scoring.start(network, pairs, self.form.reading())

    def cancel(self) -> None:
        """Stop what is computed; what was measured stays to be seen."""
        self.scoring.cancel()
        self.jobs.cancel()

    def _take_score(self, score: ImageScore) -> None:
        self.scores[score.name] = score
        self.form.take_notes(score.notes)
        self._fill_row(score)

    def _take_scores(self, scores: Scores) -> None:
        for skipped in scores.failed:
            self.form.table.set_problem(skipped.name, skipped.reason)
        self.images.skipped = scores.failed
        self._sort_worst_first()
        self.session.scores = scores
        self._describe()

    def _sort_worst_first(self) -> None:
        """Sort by the first figure, unless the images are sorted by something already."""
        columns = self._columns.columns()
        if columns and not self.form.table.is_sorted():
            self.form.table.sort_by(columns[0].heading)

    def _forget_scores(self) -> None:
        if self.scoring.busy:
            self.scoring.cancel()
        self.scores.clear()
        self.session.scores = None
        self._fill()
        self._describe()

    def _ask_where(self) -> None:
        scores = self.session.scores
        if scores is not None:
            ask_and_save(
                self, "Save the figures", "scores.csv", "*.csv",
                lambda path: scores.to_csv(path, overwrite=True), self.fail,
            )  # fmt: skip

    # --- what is shown ---

    def _take_network(self, network: Network | None) -> None:
        if network is not None:
            self._forget_scores()
            self._columns.offer()
            self.images.refresh()

    def show_metrics(self, *names: str) -> None:
        """Show these metrics in the table, and no others."""
        self._columns.choose(*names)
        self._fill()

    def sort_by(self, heading: str, *, descending: bool = False) -> None:
        """Sort the images by a column."""
        self.form.table.sort_by(heading, descending=descending)

    def _fill(self) -> None:
        self.form.table.set_columns([column.heading for column in self._columns.columns()])
        for score in self.scores.values():
            self._fill_row(score)

    def _fill_row(self, score: ImageScore) -> None:
        values = [column.value(score.metrics) for column in self._columns.columns()]
        self.form.table.set_values(score.name, values)

    def _describe(self) -> None:
        """Say how many images there are and how good the network is on them; offer its classes."""
        scores, summary, pairs = (
            self.session.scores,
            self.session.network_summary,
            self.images.pairs,
        )
        self.form.save.setEnabled(scores is not None)
        self.form.predict_all.setEnabled(bool(pairs))
        with_truth = sum(pair.truth is not None for pair in pairs.values())
        words = f"{len(pairs)} images, {with_truth} with ground truth."
        if scores is not None and scores.results:
            figures = self._columns.in_words(scores.metrics)
            words += f" All {len(scores.results)} together: {figures}."
        if not pairs:
            words = "Add images, and their ground truth, to see how good the network is."
        self.form.overall.setText(words)
        self._say()
        network = self.session.network
        # To ask a network for its classes that was not looked at yet would take a pass.
        is_known = summary is not None and summary.network is network
        names = network.class_names if network is not None and is_known else []
        self.form.offer_classes(names, segments=self._columns.task == "segmentation")

    def _say(self) -> None:
        """Say what failed last, and what was left out."""
        reasons = [skipped.reason for skipped in self.images.skipped]
        words = [self._failure] if self._failure else []
        if reasons:
            more = f" And {len(reasons) - 2} more." if len(reasons) > 2 else ""
            words.append(f"Left out: {' '.join(reasons[:2])}{more}")
        if self.images.unused:
            words.append(
                f"{self.images.unused} files of ground truth go with no image of the list."
            )
        self.message.setText("\n".join(words))
        self.message.setToolTip(plain_tooltip("\n".join(reasons[:40])))

    def _show_start(self, what: str) -> None:
        # The progress of what scores goes on.
        if not self.scoring.busy:
            self.progress.begin(what)

    def fail(self, error: Exception) -> None:
        """Say what went wrong, also at the window's edge."""
        self._failure = in_a_sentence(error)
        self._say()
        tell_error(self._failure)


def _progress_words(_: int, total: int, what: str) -> str:
    return f"{what}  %v of %m" if total else what


def _truth_in_words(pair: Pair) -> str:
    truth = pair.truth
    if truth is None:
        return ""
    if isinstance(truth, str | int):
        return str(truth)
    return truth.name if isinstance(truth, Source) else f"{len(truth)} masks"
