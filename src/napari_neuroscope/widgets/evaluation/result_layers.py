"""What measuring saw, over the image: maps, and stacks that a slider goes along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari_neuroscope.engine.evaluation.evaluation import MapResults
from napari_neuroscope.engine.evaluation.metrics.deletion_and_insertion import Way
from napari_neuroscope.engine.explanation.overlays.kind import LayerData
from napari_neuroscope.viewer.layers.evaluation_layers import CurvePictures, randomised
from napari_neuroscope.viewer.layers.maps.layer_manager import LayerManager
from napari_neuroscope.viewer.state.layer_origin import LayerOrigin, explained_by, remember
from napari_neuroscope.viewer.state.randomisation_warnings import FailedChecks, with_warning
from napari_neuroscope.viewer.state.viewer_state import state_of
from napari_neuroscope.widgets.evaluation.case import Case
from napari_neuroscope.widgets.evaluation.metric_jobs import MetricJobs
from napari_neuroscope.widgets.evaluation.metric_table import titles_of
from napari_neuroscope.widgets.parts.jobs.jobs import Jobs

STACK_SLOTS = {"deletion": "deletion", "insertion": "insertion", "sanity_check": "randomised"}
"""The metrics that have a stack, and the slots in which the layer_manager shows these."""


class ResultLayers:
    """Shows the map of a row, or the stack that belongs to one of its curves.

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
    say, fail
        Show a sentence, and what went wrong.
    shown
        Is called when there is a stack.
    """

    def __init__(
        self,
        viewer: Any,
        metric_jobs: MetricJobs,
        layer_manager: LayerManager,
        jobs: Jobs,
        say: Callable[[str], None],
        fail: Callable[[Exception], None],
        shown: Callable[[], None],
    ) -> None:
        self._viewer, self._metric_jobs, self._layer_manager, self._jobs = (
            viewer,
            metric_jobs,
            layer_manager,
            jobs,
        )
        self._say, self._fail, self._shown = say, fail, shown
        self._doubts = state_of(viewer, FailedChecks)

    def _row(self, number: int) -> MapResults | None:
        rows = self._metric_jobs.evaluation.rows
        return rows[number] if number in range(len(rows)) else None

    def _is_there(self, case: Case) -> bool:
        if case.source in self._viewer.layers:
            return True
        self._say("The image was removed, so nothing can be shown over it.")
        return False

    def show_map(self, number: int) -> None:
        """Show the map of a row over the image, or the layer that shows it already."""
        case = self._metric_jobs.case
        if case is None or number not in range(len(self._metric_jobs.evaluation.rows)):
            return
        explanation = self._metric_jobs.evaluation.rows[number].class_map.explanation
        for shown in self._viewer.layers:
            origin = explained_by(shown)
            if origin is not None and origin.explanation is explanation:
                shown.visible = True
                self._viewer.layers.selection.active = shown
                return
        if self._is_there(case):
            layers_data = explanation.to_layer_data(case.source, case.place)
            layers_data = with_warning(layers_data, self._doubts.about(explanation.record))
            layers = self._layer_manager.show(
                layers_data, ("map", titles_of(self._metric_jobs.evaluation.rows)[number])
            )
            origin = LayerOrigin(explanation, case.network, case.shown, case.source, case.place)
            remember(layers[:1], origin)

    def show_pictures(self, number: int, way: Way) -> None:
        """Show the image along a curve of the chosen row."""
        case, row = self._metric_jobs.case, self._row(number)
        if case is None or row is None or way not in row.curves:
            return
        baseline = case.options.get("baseline", "blur")
        self._jobs.submit(
            "Making the pictures",
            lambda progress: CurvePictures(
                case.network, case.image(), row, way, baseline=baseline, progress=progress
            ),
            lambda pictures: self._show_stack(
                case, pictures.layer_data(case.source, case.place), way
            ),
            self._fail,
        )

    def show_randomised(self, number: int) -> None:
        """Show the maps of the chosen row as the network becomes random."""
        case, row = self._metric_jobs.case, self._row(number)
        if case is not None and row is not None and row.sanity is not None:
            layers_data = randomised(row, row.sanity).to_layer_data(case.source, case.place)
            self._show_stack(case, layers_data, "randomised")

    def _show_stack(self, case: Case, layers_data: list[LayerData], what: str) -> None:
        if self._is_there(case):
            (layer,) = self._layer_manager.show(layers_data[:1], ("stack", what))
            layer.visible = True
            self._shown()
