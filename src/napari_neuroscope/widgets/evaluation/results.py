"""What was measured: a table, curves, and what measuring saw as stacks over the image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QMenu,
    QPushButton,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.evaluation.evaluation import MapResults
from napari_neuroscope.engine.evaluation.metrics.deletion_and_insertion import Way
from napari_neuroscope.engine.evaluation.partial_evaluation import PartialEvaluation
from napari_neuroscope.engine.explanation.overlays.kind import LayerData
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.files.atomic_write import write_whole
from napari_neuroscope.viewer.image.image_pixels import go_to_step
from napari_neuroscope.viewer.layers.evaluation_layers import CurvePictures, randomised
from napari_neuroscope.viewer.layers.layer_manager import LayerManager
from napari_neuroscope.viewer.layers.stack_follower import steps_of
from napari_neuroscope.viewer.state.layer_origin import LayerOrigin, explained_by, remember
from napari_neuroscope.viewer.state.randomisation_warnings import FailedChecks, with_warning
from napari_neuroscope.viewer.state.viewer_state import state_of
from napari_neuroscope.widgets.evaluation.metric_jobs import Case, MetricJobs
from napari_neuroscope.widgets.evaluation.metric_table import FigureTable, titles_of
from napari_neuroscope.widgets.evaluation.plot import colours_of, draw_curves
from napari_neuroscope.widgets.parts.jobs.jobs import Jobs
from napari_neuroscope.widgets.parts.plots import canvas, cleared

_PICTURES = (".png", ".svg", ".pdf")
# The parts of the plot, and the slots of the stacks that belong to them.
_STACKS = {"deletion": "deletion", "insertion": "insertion", "sanity_check": "randomised"}


class EvaluationResults(QWidget):
    """Shows a judgement, and what was seen on the way to it.

    Parameters
    ----------
    viewer
        The viewer.
    judging
        What is measured.
    layer_manager
        Shows layers.
    jobs
        Makes pictures.
    say
        Shows a sentence.
    fail
        Shows what went wrong.
    """

    def __init__(
        self,
        viewer: Any,
        judging: MetricJobs,
        layer_manager: LayerManager,
        jobs: Jobs,
        say: Callable[[str], None],
        fail: Callable[[Exception], None],
    ) -> None:
        super().__init__()
        self._viewer, self._judging, self._layer_manager, self._jobs = (
            viewer,
            judging,
            layer_manager,
            jobs,
        )
        self._say, self._fail = say, fail
        self._doubts = state_of(viewer, FailedChecks)
        self.axes: dict[str, Any] = {}
        self._markers: dict[str, Any] = {}
        self.table = FigureTable()
        self.table.setMinimumHeight(90)
        self.table.chosen.connect(self._choose)
        self.table.opened.connect(self.show_map)
        self.figure, self._canvas = canvas("Curves of the explanations", 240)
        self._canvas.mpl_connect("button_release_event", self._clicked)
        # Laid out once, not at each step of a slider: that takes longer than drawing.
        self._canvas.mpl_connect("draw_event", lambda _: self.figure.set_layout_engine("none"))
        self._canvas.mpl_connect("resize_event", self._lay_out)
        parts = QSplitter(Qt.Orientation.Vertical)
        parts.setChildrenCollapsible(False)
        parts.addWidget(self.table)
        parts.addWidget(self._canvas)
        parts.setSizes([140, 460])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(parts, 1)
        layout.addLayout(self._make_buttons())
        self.refresh()

    def _make_buttons(self) -> QHBoxLayout:
        self.buttons: dict[str, QPushButton] = {}
        row = QHBoxLayout()
        for name, words, tip in (
            ("map", "Map", "Show the map of the chosen row over the image."),
            ("deletion", "Removed", "Show the image as its pixels are removed, the most important "
                                    "of the chosen row first: a slider goes along the curve."),
            ("insertion", "Restored", "Show the image as its pixels are restored, the most "
                                      "important of the chosen row first."),
            ("sanity_check", "Randomised", "Show the chosen row's map as more and more layers "
                                           "become random."),
        ):  # fmt: skip
            button = self.buttons[name] = QPushButton(words)
            button.setToolTip(tip)
            row.addWidget(button)
        self.buttons["map"].clicked.connect(lambda: self.show_map(self.table.row()))
        self.buttons["deletion"].clicked.connect(lambda: self.show_pictures("deletion"))
        self.buttons["insertion"].clicked.connect(lambda: self.show_pictures("insertion"))
        self.buttons["sanity_check"].clicked.connect(self.show_randomised)
        self._save = QPushButton("Save…")
        menu = QMenu(self._save)
        menu.addAction("Table as CSV…", self._ask_for_table)
        menu.addAction("Curves as CSV…", self._ask_for_curves)
        menu.addAction("Figure as PNG, SVG or PDF…", self._ask_for_figure)
        self._save.setMenu(menu)
        row.addWidget(self._save)
        return row

    @property
    def judgement(self) -> PartialEvaluation:
        """What is measured so far."""
        return self._judging.judgement

    # --- the table and the curves ---

    def refresh(self) -> None:
        """Show the figures that there are."""
        rows = self.judgement.rows
        self.table.show_judgement(self.judgement, colours_of(len(rows)))
        if rows and self.table.row() < 0:
            self.table.choose(0)
        self._choose()

    def _choose(self, *_: Any) -> None:
        row = self._chosen()
        self.buttons["map"].setEnabled(row is not None)
        self.buttons["deletion"].setEnabled(row is not None and "deletion" in row.curves)
        self.buttons["insertion"].setEnabled(row is not None and "insertion" in row.curves)
        self.buttons["sanity_check"].setEnabled(row is not None and row.sanity is not None)
        self._save.setEnabled(bool(self.judgement.rows))
        self.draw()

    def _chosen(self) -> MapResults | None:
        number = self.table.row()
        return self.judgement.rows[number] if number >= 0 else None

    def draw(self, *_: Any) -> None:
        """Draw the curves in the theme's colours."""
        rows = self.judgement.rows
        self._lay_out()
        self.axes = draw_curves(
            self.figure, self._viewer.theme, rows, titles_of(rows), self.table.row()
        )
        self._markers = {}
        if not self.axes:
            ink = cleared(self.figure, self._viewer.theme)[1]
            words = (
                "Curves are drawn here when they are measured."
                if len(rows)
                else "Choose what is to be judged,\nthen press “Measure”."
            )
            self.figure.text(0.5, 0.5, words, ha="center", va="center", color=ink)
        self.mark()
        self._canvas.draw_idle()

    def _lay_out(self, *_: Any) -> None:
        """Lay the curves out anew where they are drawn next."""
        self.figure.set_layout_engine("constrained")

    def mark(self, *_: Any) -> None:
        """Mark on the curves where the sliders of the stacks stand."""
        moved = False
        for part, axes in self.axes.items():
            at, marker = self._place_of(part), self._markers.get(part)
            if at == (None if marker is None else marker.get_xdata()[0]):
                continue
            moved = True
            if marker is not None:
                self._markers.pop(part).remove()
            if at is not None:
                ink = axes.xaxis.label.get_color()
                self._markers[part] = axes.axvline(at, color=ink, lw=1.5, alpha=0.7)
        if moved:
            self._canvas.draw_idle()

    def _place_of(self, part: str) -> float | None:
        """Return where on its curve the slider of a stack stands; None where it is not shown."""
        layer = self._layer_manager.layer(("stack", _STACKS[part], "0"))
        if layer is None or not layer.visible:
            return None
        (step,) = steps_of(self._viewer, layer).values()
        return float(layer.metadata[KEY]["shares"][step]) if part != "sanity_check" else step

    def _clicked(self, event: Any) -> None:
        """Move the slider of a stack to where its curve is clicked."""
        part = next((name for name, axes in self.axes.items() if event.inaxes is axes), None)
        layer = None if part is None else self._layer_manager.layer(("stack", _STACKS[part], "0"))
        if layer is None:
            return
        count = layer.data.shape[0]
        step = round(event.xdata if part == "sanity_check" else event.xdata * (count - 1))
        go_to_step(layer, 0, min(max(step, 0), count - 1), self._viewer)

    # --- over the image ---

    def _is_there(self, case: Case) -> bool:
        if case.source in self._viewer.layers:
            return True
        self._say("The image was removed, so nothing can be shown over it.")
        return False

    def show_map(self, number: int) -> None:
        """Show the map of a row over the image, or the layer that shows it already."""
        case = self._judging.case
        if case is None or number not in range(len(self.judgement.rows)):
            return
        explanation = self.judgement.rows[number].class_map.explanation
        for shown in self._viewer.layers:
            found = explained_by(shown)
            if found is not None and found.explanation is explanation:
                shown.visible = True
                self._viewer.layers.selection.active = shown
                return
        if self._is_there(case):
            data = explanation.to_layer_data(case.source, case.place)
            data = with_warning(data, self._doubts.about(explanation.provenance))
            layers = self._layer_manager.show(data, ("map", titles_of(self.judgement.rows)[number]))
            of = LayerOrigin(explanation, case.network, case.shown, case.source, case.place)
            remember(layers[:1], of)

    def show_pictures(self, way: Way) -> None:
        """Show the image along a curve of the chosen row."""
        case, row = self._judging.case, self._chosen()
        if case is None or row is None or way not in row.curves:
            return
        baseline = case.options.get("baseline", "blur")
        self._jobs.submit(
            "Making the pictures",
            lambda progress: CurvePictures(
                case.network, case.image(), row, way, baseline=baseline, progress=progress
            ),
            lambda found: self._show_stack(case, found.layer_data(case.source, case.place), way),
            self._fail,
        )

    def show_randomised(self) -> None:
        """Show the maps of the chosen row as the network becomes random."""
        case, row = self._judging.case, self._chosen()
        if case is not None and row is not None and row.sanity is not None:
            data = randomised(row, row.sanity).to_layer_data(case.source, case.place)
            self._show_stack(case, data, "randomised")

    def _show_stack(self, case: Case, data: list[LayerData], what: str) -> None:
        if self._is_there(case):
            (layer,) = self._layer_manager.show(data[:1], ("stack", what))
            layer.visible = True
            self.mark()

    # --- what is kept ---

    def save_table(self, path: Path, *, overwrite: bool = False) -> None:
        """Write the figures as CSV."""
        self.judgement.evaluation().to_csv(path, overwrite=overwrite)

    def save_curves(self, path: Path, *, overwrite: bool = False) -> None:
        """Write the curves of deletion and insertion as CSV."""
        self.judgement.curves_to_csv(path, overwrite=overwrite)

    def save_figure(self, path: Path, *, overwrite: bool = False) -> None:
        """Write the curves as they are drawn, as .png, .svg or .pdf.

        Raises
        ------
        NeuroscopeError
            Where the name ends in something else, is there already, or can't be written.
        """
        if path.suffix.lower() not in _PICTURES:
            raise NeuroscopeError(
                f"“{path.name}” ends in none of {', '.join(_PICTURES)}; choose one of these."
            )
        if path.exists() and not overwrite:
            raise NeuroscopeError(f"{path} is there already; choose another name, or overwrite it.")
        back = self.figure.get_facecolor()
        write_whole(path, lambda part: self.figure.savefig(part, dpi=200, facecolor=back))

    def _ask_for_table(self) -> None:
        self._ask("Save the table", "evaluation.csv", "Table (*.csv)", self.save_table)

    def _ask_for_curves(self) -> None:
        self._ask("Save the curves", "curves.csv", "Table (*.csv)", self.save_curves)

    def _ask_for_figure(self) -> None:
        pictures = "Pictures (*.png *.svg *.pdf)"
        self._ask("Save the figure", "curves.png", pictures, self.save_figure)

    def _ask(self, title: str, name: str, kinds: str, save: Callable[..., None]) -> None:
        chosen, _ = QFileDialog.getSaveFileName(self, title, name, kinds)
        if chosen:
            try:
                # The dialog has asked about a file that is there.
                save(Path(chosen), overwrite=True)
            except NeuroscopeError as error:
                self._fail(error)
