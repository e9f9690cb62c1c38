"""evaluate(): which of several explanations of an image can be believed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from napari_neuroscope.engine.errors import NeuroscopeError, Progress, nearest_names, no_progress
from napari_neuroscope.engine.evaluation.faithfulness import Curve, Way, curve
from napari_neuroscope.engine.evaluation.localisation import energy_in_mask, pointing_game
from napari_neuroscope.engine.evaluation.measured import ClassMap, measured_maps
from napari_neuroscope.engine.evaluation.robustness import infidelity, max_sensitivity
from napari_neuroscope.engine.evaluation.sanity import Sanity, sanity_check
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.files.atomic_write import write_csv
from napari_neuroscope.engine.images.axes import in_read_order
from napari_neuroscope.engine.images.preprocessing import as_array
from napari_neuroscope.engine.networks.network import Network


@dataclass(frozen=True)
class Measure:
    """What is measured of a map.

    Attributes
    ----------
    title
        What people call it.
    higher
        Whether a higher figure is better.
    needs_truth
        Whether it asks where the class truly is.
    summary
        What it says, in one line.
    """

    title: str
    higher: bool
    needs_truth: bool
    summary: str


measures: Mapping[str, Measure] = {
    "deletion": Measure(
        "Deletion", False, False, "how long the score stays when the best pixels are taken away"
    ),
    "insertion": Measure(
        "Insertion", True, False, "how soon the score comes when the best pixels are put back"
    ),
    "pointing_game": Measure(
        "Pointing game", True, True, "whether the maximum lies where the class truly is"
    ),
    "energy_in_mask": Measure(
        "Energy in mask", True, True, "the share of the map that lies where the class truly is"
    ),
    "sanity_check": Measure(
        "Sanity check", False, False, "how like itself the map stays while weights become random"
    ),
    "max_sensitivity": Measure(
        "Max-sensitivity", False, False, "how far the map moves when the image changes a little"
    ),
    "infidelity": Measure(
        "Infidelity", False, False, "how badly the map foretells what taking a part away does"
    ),
}
"""What can be measured, by name."""


@dataclass(frozen=True, eq=False)
class Row:
    """The figures of one map.

    Attributes
    ----------
    measured
        The map.
    figures
        Its figure by measure; NaN where there is none.
    curves
        The curves of deletion and insertion.
    sanity
        Its maps and figures with random weights, where that was asked for.
    """

    measured: ClassMap
    figures: dict[str, float] = field(default_factory=dict)
    curves: dict[Way, Curve] = field(default_factory=dict)
    sanity: Sanity | None = None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Figures of the maps of one image.

    Attributes
    ----------
    metrics
        What was measured, in the order in which it was asked for.
    rows
        One for each map: each explanation, class and layer.
    notes
        What a reader should know.
    """

    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def best(self, metric: str) -> list[int]:
        """Return which rows are the best by a measure; none where no row has a figure."""
        sign = 1 if measures[metric].higher else -1
        known = {
            number: sign * row.figures[metric]
            for number, row in enumerate(self.rows)
            if not math.isnan(row.figures[metric])
        }
        return [number for number, value in known.items() if value == max(known.values())]

    def table(self) -> list[list[Any]]:
        """Return the figures as a table, its header first; None where there is no figure."""
        header = ["method", "class", "layer", *self.metrics]
        if "sanity_check" in self.metrics:
            header.append("sanity check passed")
        rows: list[list[Any]] = [header]
        for row in self.rows:
            labels = row.measured.labels
            figures = [row.figures[metric] for metric in self.metrics]
            line = [
                row.measured.explanation.method,
                labels.get("class", ""),
                labels.get("layer") or ", ".join(row.measured.explanation.provenance["layers"]),
                *(None if math.isnan(figure) else figure for figure in figures),
            ]
            if "sanity_check" in self.metrics:
                line.append(None if row.sanity is None else row.sanity.passed)
            rows.append(line)
        return rows

    def to_csv(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the table as CSV in UTF-8, whole or not at all."""
        write_csv(path, self.table(), overwrite=overwrite)


def evaluate(
    network: Network,
    image: Any,
    explanation: Explanation | Sequence[Explanation],
    metrics: Sequence[str] = ("deletion", "insertion"),
    *,
    ground_truth: Any = None,
    steps: int = 50,
    baseline: Any = "blur",
    samples: int | None = None,
    stages: int = 8,
    seed: int = 0,
    batch: int = 16,
    progress: Progress = no_progress,
) -> Evaluation:
    """Measure explanations of an image.

    Parameters
    ----------
    network, image
        What was explained.
    explanation
        One explanation, or a list to compare, each made by `explain` in this session. Each of its
        classes and layers is measured as a map of its own.
    metrics
        What is measured: names in `measures`.
    ground_truth
        Classes of the image's pixels, or where the class is (bool), for ``pointing_game`` and
        ``energy_in_mask``.
    steps
        In how many parts deletion and insertion change the image.
    baseline
        What stands for nothing; see `baseline_of`.
    samples
        How many random changes ``max_sensitivity`` and ``infidelity`` try; None: 10 and 200.
    stages
        In how many steps ``sanity_check`` randomises the network.
    seed
        Of all random numbers: the same seed, the same figures.
    batch
        How many inputs go through the network at once.
    progress
        Follows the work, and may stop it.

    Returns
    -------
    Evaluation

    Raises
    ------
    NeuroscopeError
        Where a measure is unknown or lacks its ground truth, or a map can't be measured.
    """
    explanations = [explanation] if isinstance(explanation, Explanation) else list(explanation)
    _check(metrics, ground_truth)
    array = as_array(in_read_order(image, network.spec, network.channels))
    with torch.inference_mode(False), torch.no_grad(), network.undisturbed():
        # No more than is measured: a pass that is kept of the image serves where there is one.
        network.discover(array, progress)
        needed = {
            layer: None
            for one in explanations
            for layer in network.layers.or_last(one.provenance["layers"])
        }
        trace = network.trace(array, list(needed), keep="asked", progress=progress)
        rows: list[Row] = []
        for one in explanations:
            own = [Row(measured) for measured in measured_maps(one, trace)]
            if "sanity_check" in metrics:
                found = sanity_check(
                    network, trace, one, stages=stages, seed=seed, progress=progress
                )
                own = [
                    Row(row.measured, {"sanity_check": sanity.similarity}, sanity=sanity)
                    for row, sanity in zip(own, found, strict=True)
                ]
            rows += own
        options: dict[str, Any] = {"baseline": baseline, "batch": batch, "progress": progress}
        for row in rows:
            for way in (name for name in ("deletion", "insertion") if name in metrics):
                made = curve(trace, row.measured, way, steps=steps, **options)
                row.curves[made.way], row.figures[way] = made, made.auc
            for name, of_truth in _OF_TRUTH.items():
                if name in metrics:
                    row.figures[name] = of_truth(row.measured, ground_truth)
            if "infidelity" in metrics:
                row.figures["infidelity"] = infidelity(
                    trace, row.measured, samples=samples or 200, seed=seed, **options
                )
            if "max_sensitivity" in metrics:
                row.figures["max_sensitivity"] = max_sensitivity(
                    network, trace, row.measured, samples=samples or 10, seed=seed,
                    progress=progress,
                )  # fmt: skip
    notes = dict.fromkeys(note for row in rows for one in row.curves.values() for note in one.notes)
    return Evaluation(tuple(metrics), tuple(rows), tuple(notes))


_OF_TRUTH: dict[str, Callable[[ClassMap, Any], float]] = {
    "pointing_game": pointing_game,
    "energy_in_mask": energy_in_mask,
}


def _check(metrics: Sequence[str], ground_truth: Any) -> None:
    if isinstance(metrics, str) or not metrics:
        raise NeuroscopeError('Give the metrics as a list, such as ["deletion", "insertion"].')
    for name in metrics:
        if name not in measures:
            raise NeuroscopeError(f"There is no metric “{name}”; {nearest_names(name, measures)}")
        if measures[name].needs_truth and ground_truth is None:
            raise NeuroscopeError(
                f"{measures[name].title} asks where the class truly is: give ground_truth=, "
                f"classes of the image's pixels."
            )
