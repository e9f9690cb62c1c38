"""Judging maps measure by measure, so that what can't be measured stops nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from napari_neuroscope.engine.errors import NeuroscopeError, Progress, no_progress
from napari_neuroscope.engine.evaluation.evaluate import Evaluation, Row, evaluate, measures
from napari_neuroscope.engine.evaluation.measured import measured_maps
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.files.atomic_write import write_csv
from napari_neuroscope.engine.networks.network import Network

_NO_FIGURE = {
    "deletion": "the image and what stands for nothing have the same score, or one that is no number",
    "insertion": "the image and what stands for nothing have the same score, or one that is no "
    "number",
    "pointing_game": "no value of the map is above zero",
    "energy_in_mask": "no value of the map is above zero",
    "sanity_check": "the map, or each with random weights, is the same everywhere",
    "max_sensitivity": "the map is zero everywhere, or not finite where the image has changed",
    "infidelity": "no part that was taken away changed the score",
}


@dataclass(eq=False)
class Judgement:
    """What is known so far of the maps of one image.

    Attributes
    ----------
    metrics
        What is measured, in order.
    rows
        One for each map, with the figures that are there.
    reasons
        Why a row has no figure of a metric, by both.
    left_out
        Why an explanation has no rows at all, a sentence each.
    """

    metrics: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)
    reasons: dict[tuple[int, str], str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def add(self, rows: Sequence[Row]) -> range:
        """Add the rows of an explanation; return their numbers."""
        first = len(self.rows)
        self.rows.extend(rows)
        return range(first, len(self.rows))

    def take(self, numbers: Sequence[int], metric: str, found: Sequence[Row] | str) -> None:
        """Take the figures of some rows, or why there are none."""
        if isinstance(found, str):
            self.reasons.update({(number, metric): found for number in numbers})
            return
        for number, new in zip(numbers, found, strict=True):
            row = self.rows[number]
            figures, curves = {**row.figures, **new.figures}, {**row.curves, **new.curves}
            self.rows[number] = replace(
                row, figures=figures, curves=curves, sanity=new.sanity or row.sanity
            )
            if math.isnan(figures[metric]):
                self.reasons[number, metric] = f"N/a: {_NO_FIGURE[metric]}."

    def evaluation(self) -> Evaluation:
        """Return the figures as `evaluate` does; NaN where there is none, or none yet."""
        unknown = dict.fromkeys(self.metrics, math.nan)
        rows = [replace(row, figures={**unknown, **row.figures}) for row in self.rows]
        notes = dict.fromkeys(n for row in rows for one in row.curves.values() for n in one.notes)
        return Evaluation(self.metrics, tuple(rows), tuple(notes))

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


def rows_of(network: Network, image: Any, explanation: Explanation) -> list[Row]:
    """Return a row without figures for each map of an explanation.

    Raises
    ------
    NeuroscopeError
        Where it can't be measured at all.
    """
    with torch.inference_mode(False), torch.no_grad(), network.undisturbed():
        trace = network.trace(image)
        return [Row(measured) for measured in measured_maps(explanation, trace)]


def judge(
    network: Network,
    image: Any,
    explanation: Explanation,
    metric: str,
    *,
    ground_truth: Any = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress = no_progress,
) -> list[Row] | str:
    """Measure the maps of an explanation by one metric; or return why that can't be done.

    Parameters
    ----------
    network, image, explanation, metric, ground_truth
        As `evaluate` takes them.
    options
        More of its parameters, by name.
    """
    if measures[metric].needs_truth and ground_truth is None:
        return (
            f"N/a: {measures[metric].title} asks where the class truly is; choose the ground truth."
        )
    try:
        found = evaluate(
            network, image, explanation, [metric], ground_truth=ground_truth, progress=progress,
            **(options or {}),
        )  # fmt: skip
    except NeuroscopeError as error:
        return f"N/a: {error}"
    return list(found.rows)


def why_not_comparable(explanations: Sequence[Explanation]) -> str | None:
    """Return why explanations can't be judged together, as a sentence; None where they can."""
    for other in explanations[1:]:
        a, b = explanations[0].provenance, other.provenance
        differs = next(
            (
                words
                for words, equal in (
                    ("another image", a["image"]["digest"] == b["image"]["digest"]),
                    ("another network", a["network"]["digest"] == b["network"]["digest"]),
                    ("another class, region or score", _same_targets(a, b)),
                )
                if not equal
            ),
            None,
        )
        if differs:
            return (
                f"“{b['title']}” is of {differs} than “{a['title']}”; only maps of one question can "
                f"be compared."
            )
    return None


def _same_targets(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    ones, others = a["targets"], b["targets"]
    return len(ones) == len(others) and all(
        all(one[name] == other[name] for name in ("class", "region", "score", "reduce"))
        # Regions of one name may have been drawn anew.
        and math.isclose(one["value"] or 0, other["value"] or 0, rel_tol=1e-3, abs_tol=1e-6)
        for one, other in zip(ones, others, strict=True)
    )


def passes_of(metric: str, options: Mapping[str, Any], passes_of_map: float) -> float:
    """Return about how many passes of the network a metric takes for one map.

    Parameters
    ----------
    metric
        What is measured.
    options
        More of the parameters of `evaluate`, as far as they are not its defaults.
    passes_of_map
        How many the map takes.
    """
    steps, stages = options.get("steps", 50), options.get("stages", 8)
    counts = {
        "deletion": steps + 1,
        "insertion": steps + 1,
        "sanity_check": (stages + 1) * passes_of_map,
        "max_sensitivity": ((options.get("samples") or 10) + 1) * passes_of_map,
        "infidelity": (options.get("samples") or 200) + 1,
    }
    return counts.get(metric, 0)
