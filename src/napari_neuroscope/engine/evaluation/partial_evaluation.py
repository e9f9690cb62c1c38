"""Metric by metric, so that a map or a metric that can't be measured stops nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from napari_neuroscope.engine.errors import NeuroscopeError, Progress, no_progress
from napari_neuroscope.engine.evaluation.class_maps import class_maps
from napari_neuroscope.engine.evaluation.evaluate import evaluate
from napari_neuroscope.engine.evaluation.evaluation import Evaluation, MapResults
from napari_neuroscope.engine.evaluation.map_metric import MetricResult
from napari_neuroscope.engine.evaluation.metric_registry import metrics as installed
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.files.csv_table import write_csv
from napari_neuroscope.engine.networks.network import Network


@dataclass(eq=False)
class PartialEvaluation:
    """What is known so far of the maps of one image.

    Attributes
    ----------
    metrics
        What is measured, in order.
    rows
        One for each map, with the results that are there.
    reasons
        Why a row has no value of a metric, by both.
    left_out
        Why an explanation has no rows at all, a sentence each.
    """

    metrics: tuple[str, ...]
    rows: list[MapResults] = field(default_factory=list)
    reasons: dict[tuple[int, str], str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def add(self, rows: Sequence[MapResults]) -> range:
        """Add the rows of an explanation; return their numbers."""
        first = len(self.rows)
        self.rows.extend(rows)
        return range(first, len(self.rows))

    def take(
        self, numbers: Sequence[int], metric: str, outcome: Sequence[MapResults] | str
    ) -> None:
        """Take what a metric says of some rows, or why it says nothing."""
        if isinstance(outcome, str):
            self.reasons.update({(number, metric): outcome for number in numbers})
            return
        for number, new in zip(numbers, outcome, strict=True):
            row = self.rows[number]
            self.rows[number] = replace(row, results={**row.results, **new.results})
            if math.isnan(new.values[metric]):
                self.reasons[number, metric] = f"N/a: {installed[metric].undefined}."

    def evaluation(self) -> Evaluation:
        """Return what is known as `evaluate` does; NaN where there is no value, or none yet."""
        unknown = dict.fromkeys(self.metrics, MetricResult(math.nan))
        rows = [replace(row, results={**unknown, **row.results}) for row in self.rows]
        return Evaluation(self.metrics, tuple(rows))

    def curves_to_csv(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the curves of deletion and insertion as CSV, a line for each of their steps."""
        table: list[list[Any]] = [
            ["method", "class", "layer", "curve", "share changed", "score", "relative score"]
        ]
        for row, cells in zip(self.rows, self.evaluation().table()[1:], strict=True):
            for way, curve in row.curves.items():
                steps = zip(curve.share, curve.score, curve.relative, strict=True)
                table += [
                    [*cells[:3], way, *(None if math.isnan(n) else float(n) for n in step)]
                    for step in steps
                ]
        write_csv(path, table, overwrite=overwrite)


def unmeasured(network: Network, image: Any, explanation: Explanation) -> list[MapResults]:
    """Return a row without results for each map of an explanation.

    Raises
    ------
    NeuroscopeError
        Where it can't be measured at all.
    """
    with torch.inference_mode(False), torch.no_grad(), network.frozen():
        return [
            MapResults(class_map) for class_map in class_maps(explanation, network.trace(image))
        ]


def results_or_reason(
    network: Network,
    image: Any,
    explanation: Explanation,
    metric: str,
    *,
    ground_truth: Any = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress = no_progress,
) -> list[MapResults] | str:
    """Measure the maps of an explanation by one metric; or return why that can't be done.

    Parameters
    ----------
    network, image, explanation, metric, ground_truth
        As `evaluate` takes them.
    options
        More of its parameters, by name.
    """
    if installed[metric].needs_truth and ground_truth is None:
        title = installed[metric].title
        return f"N/a: {title} asks where the class truly is; choose the ground truth."
    try:
        evaluation = evaluate(
            network, image, explanation, [metric], ground_truth=ground_truth, progress=progress,
            **(options or {}),
        )  # fmt: skip
    except NeuroscopeError as error:
        return f"N/a: {error}"
    return list(evaluation.rows)
