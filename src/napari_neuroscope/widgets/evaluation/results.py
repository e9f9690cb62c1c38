"""What was measured: a table, curves, and what measuring saw as stacks over the image."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QHBoxLayout,
    QMenu,
    QSplitter,
    QWidget,
)

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.evaluation.evaluation import MapResults
from napari_neuroscope.engine.evaluation.partial_evaluation import PartialEvaluation
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.files.atomic_write import write_whole
from napari_neuroscope.viewer.image.image_pixels import go_to_step
from napari_neuroscope.viewer.layers.maps.layer_manager import LayerManager
from napari_neuroscope.viewer.layers.maps.stack_follower import steps_of
from napari_neuroscope.widgets.evaluation.metric_jobs import MetricJobs
from napari_neuroscope.widgets.evaluation.metric_table import MetricTable, titles_of
from napari_neuroscope.widgets.evaluation.plot import colours_of, draw_curves
from napari_neuroscope.widgets.evaluation.result_layers import STACK_SLOTS, ResultLayers
from napari_neuroscope.widgets.parts.dialogs.save_dialog import ask_and_save
from napari_neuroscope.widgets.parts.form import button, column, row
from napari_neuroscope.widgets.parts.jobs.jobs import Jobs
from napari_neuroscope.widgets.parts.plots import canvas, cleared

_PICTURES = (".png", ".svg", ".pdf")
_TABLES = "Table (*.csv)"


class EvaluationResults(QWidget):
    """Shows what is measured so far, and what was seen on the way to it.

    Parameters
    ----------
    viewer
        The viewer.
    metric_jobs
        What measures.
    layer_manager
        Shows layers.
    jobs
        Makes pictures.
    say
        Shows a sentence.
    fail
        Shows what went wrong.

    Attributes
    ----------
    table, figure
        The figures, and the plot of the curves.
    axes, markers
        Of each metric that has curves, where they are drawn, and what marks its slider's step.
    layers
        What is shown over the image.
    buttons
        What shows it, by name.
    """

    def __init__(
        self,
        viewer: Any,
        metric_jobs: MetricJobs,
        layer_manager: LayerManager,
        jobs: Jobs,
        say: Callable[[str], None],
        fail: Callable[[Exception], None],
    ) -> None:
        super().__init__()
        self._viewer, self._metric_jobs, self._layer_manager, self._fail = (
            viewer,
            metric_jobs,
            layer_manager,
            fail,
        )
        self.layers = ResultLayers(viewer, metric_jobs, layer_manager, jobs, say, fail, self.mark)
        self.axes: dict[str, Any] = {}
        self.markers: dict[str, Any] = {}
        self.table = MetricTable()
        self.table.setMinimumHeight(90)
        self.table.chosen.connect(self._choose)
        self.table.opened.connect(self.layers.show_map)
        self.figure, self._canvas = canvas("Curves of the explanations", 240)
        self._canvas.mpl_connect("button_release_event", self._clicked)
        # Laid out once, not at each step of a slider: that takes longer than drawing.
        self._canvas.mpl_connect("draw_event", lambda _: self.figure.set_layout_engine("none"))
        self._canvas.mpl_connect("resize_event", lambda _: self._lay_out())
        parts = QSplitter(Qt.Orientation.Vertical)
        parts.setChildrenCollapsible(False)
        parts.addWidget(self.table)
        parts.addWidget(self._canvas)
        parts.setSizes([140, 460])
        column(self, parts, self._make_buttons(), stretch=parts)
        self.refresh()

    def _make_buttons(self) -> QHBoxLayout:
        layers = self.layers
        self.buttons = {
            "map": button(
                "Map",
                "Show the map of the chosen row over the image.",
                lambda: layers.show_map(self.table.row()),
            ),
            "deletion": button(
                "Removed",
                "Show the image as its pixels are removed, the most important of the chosen row "
                "first: a slider goes along the curve.",
                lambda: layers.show_pictures(self.table.row(), "deletion"),
            ),
            "insertion": button(
                "Restored",
                "Show the image as its pixels are restored, the most important of the chosen row "
                "first.",
                lambda: layers.show_pictures(self.table.row(), "insertion"),
            ),
            "sanity_check": button(
                "Randomised",
                "Show the chosen row's map as more and more layers become random.",
                lambda: layers.show_randomised(self.table.row()),
            ),
        }
        self._save = button("Save…")
        menu = QMenu(self._save)
        pictures = "Pictures (*.png *.svg *.pdf)"
        for words, ask in (
            ("Table as CSV…", ("Save the table", "evaluation.csv", _TABLES, self.save_table)),
            ("Curves as CSV…", ("Save the curves", "curves.csv", _TABLES, self.save_curves)),
            ("Figure as PNG, SVG or PDF…",
             ("Save the figure", "curves.png", pictures, self.save_figure)),
        ):  # fmt: skip
            menu.addAction(words, partial(self._ask, *ask))
        self._save.setMenu(menu)
        return row(*self.buttons.values(), self._save)

    @property
    def evaluation(self) -> PartialEvaluation:
        """What is measured so far."""
        return self._metric_jobs.evaluation

    # --- the table and the curves ---

    def refresh(self) -> None:
        """Show the figures that there are."""
        rows = self.evaluation.rows
        self.table.show_evaluation(self.evaluation, colours_of(len(rows)))
        if rows and self.table.row() < 0:
            self.table.choose(0)
        self._choose()

    def _choose(self) -> None:
        row = self._chosen()
        self.buttons["map"].setEnabled(row is not None)
        self.buttons["deletion"].setEnabled(row is not None and "deletion" in row.curves)
        self.buttons["insertion"].setEnabled(row is not None and "insertion" in row.curves)
        self.buttons["sanity_check"].setEnabled(row is not None and row.sanity is not None)
        self._save.setEnabled(bool(self.evaluation.rows))
        self.draw()

    def _chosen(self) -> MapResults | None:
        number = self.table.row()
        return self.evaluation.rows[number] if number >= 0 else None

    def draw(self) -> None:
        """Draw the curves in the theme's colours."""
        rows = self.evaluation.rows
        self._lay_out()
        self.axes = draw_curves(
            self.figure, self._viewer.theme, rows, titles_of(rows), self.table.row()
        )
        self.markers = {}
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

    def _lay_out(self) -> None:
        """Lay the curves out anew where they are drawn next."""
        self.figure.set_layout_engine("constrained")

    def mark(self) -> None:
        """Mark on the curves where the sliders of the stacks stand."""
        moved = False
        for part, axes in self.axes.items():
            at, marker = self._place_of(part), self.markers.get(part)
            if at == (None if marker is None else marker.get_xdata()[0]):
                continue
            moved = True
            if marker is not None:
                self.markers.pop(part).remove()
            if at is not None:
                ink = axes.xaxis.label.get_color()
                self.markers[part] = axes.axvline(at, color=ink, lw=1.5, alpha=0.7)
        if moved:
            self._canvas.draw_idle()

    def _place_of(self, part: str) -> float | None:
        """Return where on its curve the slider of a stack stands; None where it is not shown."""
        layer = self._layer_manager.layer(("stack", STACK_SLOTS[part], "0"))
        if layer is None or not layer.visible:
            return None
        (step,) = steps_of(self._viewer, layer).values()
        return float(layer.metadata[KEY]["shares"][step]) if part != "sanity_check" else step

    def _clicked(self, event: Any) -> None:
        """Move the slider of a stack to where its curve is clicked."""
        part = next((name for name, axes in self.axes.items() if event.inaxes is axes), None)
        layer = (
            None if part is None else self._layer_manager.layer(("stack", STACK_SLOTS[part], "0"))
        )
        if layer is None:
            return
        count = layer.data.shape[0]
        step = round(event.xdata if part == "sanity_check" else event.xdata * (count - 1))
        go_to_step(layer, 0, min(max(step, 0), count - 1), self._viewer)

    # --- what is kept ---

    def save_table(self, path: Path, *, overwrite: bool = False) -> None:
        """Write the figures as CSV."""
        self.evaluation.evaluation().to_csv(path, overwrite=overwrite)

    def save_curves(self, path: Path, *, overwrite: bool = False) -> None:
        """Write the curves of deletion and insertion as CSV."""
        self.evaluation.curves_to_csv(path, overwrite=overwrite)

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

    def _ask(self, title: str, name: str, kinds: str, save: Callable[..., None]) -> None:
        # The dialog has asked about a file that is there.
        ask_and_save(self, title, name, kinds, partial(save, overwrite=True), self._fail)
