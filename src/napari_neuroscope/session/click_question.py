"""What is asked besides the inspector's form: a click on the image, and all instances at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError, Progress
from napari_neuroscope.engine.explain.instances import InstanceAnswer, explain_instances
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.record import TargetRecord
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.engine.passes.target import Score, Target
from napari_neuroscope.engine.tiles.tiling import by_tiles
from napari_neuroscope.session.question import Offer, Question
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.image.image_pixels import Pixels
from napari_neuroscope.viewer.image.layer_regions import COMPARISON, regions_of, shows
from napari_neuroscope.viewer.image.painted_labels import PaintedRegions


@dataclass(frozen=True, eq=False)
class ClickQuestion:
    """A question asked by a click: why the network says what it says there.

    Attributes
    ----------
    question
        All but the target.
    pixels, pixel
        The image's, and which of them.
    score
        The score that is explained.
    instances
        The labels among which an instance may be met.
    true_class
        The number of the class that is true there, where the click was on an error: it is asked
        about beside the predicted one.
    """

    question: Question
    pixels: Pixels
    pixel: tuple[int, ...]
    score: Score
    instances: PaintedRegions | None = None
    true_class: int | None = None

    def answer(
        self, progress: Progress, offer: Offer | None = None
    ) -> tuple[Explanation, dict[str, Any]]:
        """Compute it, offering what is found so far; also return its row among the questions."""
        question, network = self.question, self.question.network
        image = question.shown.image(network)
        network.discover(image, progress)
        needed = network.layers.or_last(question.layers)
        if not by_tiles(network, image):
            # The prediction comes from the pass that the explanation then uses.
            network.trace(image, needed, keep="fit", progress=progress)
        predicted = network.predict(image).labels
        region, note = self._region()
        seen = predicted[self.pixel] if isinstance(region, tuple) else predicted[region.values]
        seen = np.atleast_1d(seen)
        seen = seen[seen >= 0]
        if not seen.size:
            raise NeuroscopeError(
                "The network does not see this place: it is cut off before; choose another one, or "
                "another “Resize” under Options…."
            )
        index = int(np.bincount(seen).argmax())
        classes = [index]
        if self.true_class is not None and self.true_class != index:
            classes.append(self.true_class)
        asked = question.with_targets(*(Target(n, region, self.score) for n in classes))
        explanation = asked.answer(progress, offer)
        if note:
            explanation = explanation.with_notes(note)
        told = next(iter(explanation.record.targets), TargetRecord())
        return explanation, {
            "class": ", truly ".join(map(network.spec.class_name, classes)),
            "probability": math.nan if told.probability is None else told.probability,
            "score": math.nan if told.mean_score is None else told.mean_score,
            "layer": ", ".join(question.layers),
            "method": methods[question.method].title,
            "time": datetime.now().astimezone().isoformat(timespec="seconds"),
        }

    def _region(self) -> tuple[Any, str]:
        """Return the instance at the pixel, or else the pixel, and why it is that."""
        if self.instances is None:
            return self.pixel, ""
        label = int(self.instances.numbers[self.pixel])
        if label:
            return self.instances.chosen(label).mask, ""
        name = self.instances.name
        return self.pixel, f"“{name}” has no instance at the click, so its pixel is explained"


def true_class_of_error(
    session: Session, pixels: Pixels, pixel: tuple[int, ...], viewer: Any
) -> int | None:
    """Return the class that is true at a pixel where an error is shown; None where none is.

    Parameters
    ----------
    session
        Knows the prediction and the truth of the shown image.
    pixels, pixel
        The chosen image's, and which of them.
    viewer
        Where layers of errors are shown.
    """
    comparison, image = session.comparison, session.image
    if comparison is None or comparison.truth is None or image is None:
        return None
    is_shown = comparison.source.unique_id == image.unique_id
    if not is_shown or comparison.network is not session.network:
        return None
    if comparison.truth.shape != pixels.shape:
        return None
    true, predicted = int(comparison.truth[pixel]), int(comparison.prediction.labels[pixel])
    if true < 0 or true == predicted:
        return None
    for layer in viewer.layers:
        if not (layer.visible and shows(layer, COMPARISON)):
            continue
        label = int(PaintedRegions.of(layer, pixels, viewer).numbers[pixel])
        if any(region.extent == label for region in regions_of(layer)):
            return true
    return None


@dataclass(frozen=True, eq=False)
class AllInstances:
    """Every instance of a layer of labels asked about.

    Attributes
    ----------
    question
        All but the target.
    instances
        The labels.
    score, margin
        As `explain_instances` takes them.
    """

    question: Question
    instances: PaintedRegions
    score: Score
    margin: float

    def answer(self, progress: Progress) -> Sequence[InstanceAnswer]:
        """Compute it."""
        question = self.question
        if not self.instances.numbers.any():
            raise NeuroscopeError(
                f"“{self.instances.name}” has no instance on the image's plane that is shown; paint "
                f"some, or move the sliders."
            )
        return explain_instances(
            question.network,
            question.shown.image(question.network),
            self.instances.numbers,
            question.method,
            next(iter(question.layers), None),
            score=self.score,
            margin=self.margin,
            progress=progress,
            **question.options,
        )
