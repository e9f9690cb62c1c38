"""evaluate(): which of several explanations of an image can be believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from napari_neuroscope.engine.errors import NeuroscopeError, Progress, no_progress
from napari_neuroscope.engine.evaluation.class_maps import ClassMap, class_maps
from napari_neuroscope.engine.evaluation.evaluation import Evaluation, MapResults
from napari_neuroscope.engine.evaluation.map_metric import MetricInput, MetricResult
from napari_neuroscope.engine.evaluation.metric_registry import metrics as installed
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.images.axes import in_read_order
from napari_neuroscope.engine.images.preprocessing import as_array
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.trace import Trace


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
        One or a list to compare, each made by `explain` in this session. Each of its classes and
        layers is measured as a map of its own.
    metrics
        What is measured: names in `napari_neuroscope.metrics`.
    ground_truth
        Classes of the image's pixels, or where the class is (bool), for metrics that need it.
    steps
        In how many parts deletion and insertion change the image.
    baseline
        What stands for nothing; see `baseline_of`.
    samples
        How many random changes ``max_sensitivity`` and ``infidelity`` try; None: 10 and 200.
    stages
        In how many steps ``sanity_check`` randomises the network.
    seed
        Of all random numbers: the same seed, the same values.
    batch
        How many inputs go through the network at once.
    progress
        Follows the work, and may stop it.

    Raises
    ------
    NeuroscopeError
        Where a metric is unknown or lacks its ground truth, or a map can't be measured.
    """
    explanations = [explanation] if isinstance(explanation, Explanation) else list(explanation)
    _check(metrics, ground_truth)
    options: dict[str, Any] = {
        "steps": steps, "baseline": baseline, "stages": stages, "seed": seed, "batch": batch,
        **({"samples": samples} if samples else {}),
    }  # fmt: skip
    with torch.inference_mode(False), torch.no_grad(), network.frozen():
        trace = _trace(network, image, explanations, progress)
        given = MetricInput(network, trace, ground_truth, progress)
        return Evaluation(tuple(metrics), tuple(_rows(explanations, metrics, given, options)))


def _trace(
    network: Network, image: Any, explanations: Sequence[Explanation], progress: Progress
) -> Trace:
    """Return a pass of the image that keeps no more than is measured; one that is kept serves."""
    array = as_array(in_read_order(image, network.spec, network.channels))
    network.discover(array, progress)
    needed = {
        layer: None
        for explanation in explanations
        for layer in network.layers.or_last(explanation.record.layers)
    }
    return network.trace(array, list(needed), keep="asked", progress=progress)


def _rows(
    explanations: Sequence[Explanation],
    names: Sequence[str],
    given: MetricInput,
    options: dict[str, Any],
) -> list[MapResults]:
    # What takes all maps of an explanation comes first: it refuses what can't be made again.
    at_once = [name for name in installed if name in names and installed[name].of_all_maps]
    each = [name for name in installed if name in names and not installed[name].of_all_maps]
    rows: list[MapResults] = []
    for explanation in explanations:
        maps = list(class_maps(explanation, given.trace))
        rows += map(MapResults, maps, _results(at_once, maps, given, options))
    return [
        replace(row, results={**row.results, **more})
        for row in rows
        for more in _results(each, [row.class_map], given, options)
    ]


def _results(
    names: Sequence[str],
    maps: Sequence[ClassMap],
    given: MetricInput,
    options: dict[str, Any],
) -> list[dict[str, MetricResult]]:
    """Return what each metric says of each map, by the metric's name."""
    by_metric = {name: installed[name].results(maps, given, options) for name in names}
    return [{name: by_metric[name][number] for name in names} for number in range(len(maps))]


def _check(names: Sequence[str], ground_truth: Any) -> None:
    if isinstance(names, str) or not names:
        raise NeuroscopeError('Give the metrics as a list, such as ["deletion", "insertion"].')
    for name in names:
        if installed[name].needs_truth and ground_truth is None:
            raise NeuroscopeError(
                f"{installed[name].title} asks where the class truly is: give ground_truth=, "
                f"classes of the image's pixels."
            )
