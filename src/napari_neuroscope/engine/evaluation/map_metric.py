"""A metric of maps: one function with a decorator, which also says how people see the metric."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from napari_neuroscope.engine.errors import Progress, no_progress
from napari_neuroscope.engine.evaluation.class_maps import ClassMap
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.trace import Trace


@dataclass(frozen=True, eq=False)
class MetricInput:
    """What a metric is given beside the maps.

    Attributes
    ----------
    network, trace
        The network, and a pass of the image.
    ground_truth
        Classes of the image's pixels, or where the class is (bool), (*space); None: not known.
    progress
        Follows the work, and may stop it.
    """

    network: Network
    trace: Trace
    ground_truth: Any = None
    progress: Progress = no_progress


@dataclass(frozen=True, eq=False)
class MetricResult:
    """What a metric says of one map.

    Attributes
    ----------
    value
        The metric's value; NaN where it has none.
    detail
        What it was made of, such as a `Curve`.
    passed
        Whether the map passes, of a metric with a verdict; None where that can't be told.
    notes
        What a reader should know.
    """

    value: float
    detail: Any = None
    passed: bool | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class MetricPlot:
    """How the detail of a metric is drawn, as a line a map.

    Attributes
    ----------
    across, along
        What the two axes say.
    line
        From the detail of a result to x and y.
    levels
        Values along y that are marked.
    points
        From the detail to what each x, 0, 1, 2, …, is called; None: x is a share of 0..1.
    """

    across: str
    along: str
    line: Callable[[Any], tuple[np.ndarray, np.ndarray]]
    levels: tuple[float, ...] = ()
    points: Callable[[Any], Sequence[str]] | None = None


@dataclass(frozen=True)
class MapMetric:
    """What can be measured of the maps of an explanation; made by `metric`.

    Attributes
    ----------
    name, title, short
        What code calls it, people, and the head of a narrow column.
    better
        Which values are better.
    summary
        What it says, in one line.
    undefined
        When a map has no value, as the end of a sentence.
    needs_truth
        Whether it asks where the class truly is.
    options
        Its options with their defaults.
    of_all_maps
        Whether it takes all maps of an explanation at once.
    passes
        See `metric`.
    plot
        How its detail is drawn; None: it is not.
    verdict
        What is said of a map that fails, as a sentence; "": it passes no verdict.
    """

    name: str
    title: str
    short: str
    better: Literal["higher", "lower"]
    summary: str
    undefined: str
    function: Callable[..., Any]
    needs_truth: bool
    options: Mapping[str, Any]
    of_all_maps: bool
    passes: Callable[[Mapping[str, Any], float], float]
    plot: MetricPlot | None
    verdict: str

    def results(
        self, class_maps: Sequence[ClassMap], given: MetricInput, options: Mapping[str, Any]
    ) -> list[MetricResult]:
        """Return what it says of each map of an explanation; it takes the options that it knows."""
        chosen = {name: options[name] for name in self.options if name in options}
        if self.of_all_maps:
            answers = self.function(class_maps, given, **chosen)
        else:
            answers = [self.function(class_map, given, **chosen) for class_map in class_maps]
        return [
            answer if isinstance(answer, MetricResult) else MetricResult(float(answer))
            for answer in answers
        ]

    def count_passes(self, options: Mapping[str, Any], passes_of_map: float) -> float:
        """Return about how many passes of the network it takes for a map.

        Parameters
        ----------
        options
            As `evaluate` takes them, as far as they are not its defaults.
        passes_of_map
            How many the map itself takes.
        """
        chosen = {name: options.get(name, default) for name, default in self.options.items()}
        return self.passes(chosen, passes_of_map)


def metric(
    title: str,
    *,
    better: Literal["higher", "lower"],
    undefined: str,
    short: str = "",
    needs_truth: bool = False,
    of_all_maps: bool = False,
    passes: Callable[[Mapping[str, Any], float], float] = lambda options, passes_of_map: 0,
    plot: MetricPlot | None = None,
    verdict: str = "",
) -> Callable[[Callable[..., Any]], MapMetric]:
    """Make a function a metric of maps.

    The function takes ``(class_map, given)``, a `ClassMap` and a `MetricInput`, and as keywords with
    defaults what it needs of the options of `evaluate`: steps, baseline, samples, stages, seed,
    batch. It returns a number, or a `MetricResult`. The first line of its docstring, after
    “Return”, is what people read of it.

    Parameters
    ----------
    title, short
        What people call it, and what heads a narrow column; "": the title.
    better
        Which values are better.
    undefined
        When a map has no value, as the end of a sentence, such as “no value is above zero”.
    needs_truth
        Whether it asks where the class truly is.
    of_all_maps
        Whether the function takes the maps of all classes and layers of an explanation at once, a
        sequence, and returns a sequence: so that they share what is costly.
    passes
        From its options and the number of passes that the map takes to about how many passes of the
        network it takes for a map.
    plot
        How the detail of its results is drawn.
    verdict
        Of a metric that maps pass or fail: what is said of one that fails.
    """

    def decorate(function: Callable[..., Any]) -> MapMetric:
        first_line = (inspect.getdoc(function) or "").partition("\n")[0]
        options = {
            name: parameter.default
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY
        }
        return MapMetric(
            function.__name__, title, short or title, better,
            first_line.removeprefix("Return ").removesuffix("."),
            undefined, function, needs_truth, options, of_all_maps, passes, plot, verdict,
        )  # fmt: skip

    return decorate
