"""What is to be measured, and about how many passes that takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from napari_neuroscope.engine.errors import Progress
from napari_neuroscope.engine.evaluation.metric_registry import metrics
from napari_neuroscope.engine.explain.cost import cost_of
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.overlays.place import Place
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.session.question import Question
from napari_neuroscope.viewer.image.shown_image import ShownImage

TruthOf = Callable[[Explanation], Any]
"""Returns where the classes of an explanation truly are, as `evaluate` takes it."""


@dataclass(frozen=True, eq=False)
class Case:
    """What is to be measured, taken at one moment.

    Attributes
    ----------
    network, shown
        The network, and the image that it looks at.
    source, place
        The image's layer, and where on its axes maps lie.
    candidates
        Explanations that are there, and questions whose answers are to be measured.
    metrics
        What is measured.
    truth
        Where the classes truly are; None where that is not known.
    options
        More of the parameters of `evaluate`.
    shape
        The positions of the network's input.
    """

    network: Network
    shown: ShownImage
    source: Any
    place: Place
    candidates: tuple[Explanation | Question, ...]
    metrics: tuple[str, ...] = ()
    truth: TruthOf | None = None
    options: dict[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] = ()

    def image(self) -> Any:
        """Return the plane of the image that is looked at."""
        return self.shown.image(self.network)

    def explanations(self, progress: Progress) -> list[Explanation]:
        """Return all explanations, computing those that are not there yet."""
        return [answered(candidate, progress) for candidate in self.candidates]


def answered(candidate: Explanation | Question, progress: Progress) -> Explanation:
    """Return an explanation, computing it where it is a question yet."""
    return candidate if isinstance(candidate, Explanation) else candidate.answer(progress)


def title_of(candidate: Explanation | Question) -> str:
    """Return what people call it."""
    if isinstance(candidate, Explanation):
        return candidate.record.title
    return methods[candidate.method].title


def weights_of(case: Case) -> list[float]:
    """Return about how many passes each step takes: an explanation, and each of its metrics."""
    weights: list[float] = []
    for candidate in case.candidates:
        passes = _passes_of_map(case, candidate)
        weights.append(1 if isinstance(candidate, Explanation) else passes)
        weights += [metrics[metric].count_passes(case.options, passes) for metric in case.metrics]
    return weights


def _passes_of_map(case: Case, candidate: Explanation | Question) -> float:
    """Return about how many passes a map takes, that of the image among them."""
    if isinstance(candidate, Explanation):
        record = candidate.record
        name, layers, count = record.method, record.layers, len(record.targets)
        options = dict(record.options or {})
    else:
        name, layers, count = candidate.method, candidate.layers, len(candidate.targets)
        options = dict(candidate.options)
    method = methods[name]
    options = {key: option.default for key, option in method.options.items()} | options
    cost = cost_of(
        method, options, case.network.layers, case.shape,
        steps=case.network.spec.steps, layers=layers, targets=count,
    )  # fmt: skip
    return 1 + (cost.work if cost is not None else 1)
