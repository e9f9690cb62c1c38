"""The extent of several planes of a stack."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError, Progress
from napari_neuroscope.engine.explain.stacked_planes import explain_stack
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.overlays.kind import LayerData
from napari_neuroscope.engine.explanation.overlays.place import Place
from napari_neuroscope.engine.images.stack import Stack
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.session.question import Extent, Offer, Question
from napari_neuroscope.viewer.image.shown_image import ShownImage, is_named, labels_of

# So often the map that grows is drawn anew.
_OFFER_EVERY_S = 0.3
# Larger maps than this are not for the memory of a viewer.
_MOST_BYTES = 4 << 30


@dataclass(frozen=True, eq=False)
class Planes(Extent):
    """Several planes of a stack; the map grows in its layer, plane by plane.

    Attributes
    ----------
    chosen
        Which steps of each of the stack's axes.
    """

    is_shown_plane: ClassVar[bool] = False

    chosen: tuple[range, ...]

    @property
    def slot(self) -> tuple[str, ...]:
        """It is shown in a layer of its own, beside that of the shown plane."""
        return ("slices",)

    def place(self, question: Question) -> Place:
        """Return where the map lies, whose stack's axes are the image's."""
        return super().place(question).along(question.shown.axes(question.network).stack)

    def answer(self, question: Question, progress: Progress, offer: Offer | None) -> Explanation:
        """Compute the map, offering it while it grows."""
        method, target, layer = question.arguments()

        def explain_planes(stack: Stack, **how: Any) -> Explanation:
            return explain_stack(
                question.network, stack, method, target, layer, **how, **question.options
            )

        return self.answer_by(explain_planes, question, progress, offer)

    def answer_by(
        self,
        explain_planes: Callable[..., Explanation],
        question: Question,
        progress: Progress,
        offer: Offer | None = None,
    ) -> Explanation:
        """Compute the map by a call of the stack and of what `explain_stack` takes by name."""
        stack = stack_of(question.shown, question.source, question.network)
        count, offered_at = math.prod(map(len, self.chosen)), -math.inf

        def by_plane(done: int, total: int, what: str) -> None:
            number = min(done * count // max(total, 1) + 1, count)
            progress(done, total, f"{what} · {number:,} of {count:,} slices")

        def partly(explanation: Explanation) -> None:
            nonlocal offered_at
            if offer is not None and time.monotonic() - offered_at > _OFFER_EVERY_S:
                offer(explanation)
                offered_at = time.monotonic()

        return explain_planes(
            stack,
            planes=dict(zip(stack.axes, self.chosen, strict=True)),
            out=_room,
            progress=by_plane,
            partial=partly,
        )

    def layer_data(self, question: Question, explanation: Explanation) -> list[LayerData]:
        """Return the map, perhaps not yet all of it, as layer data."""
        layers = super().layer_data(question, explanation)
        # One that is not finished says itself how many slices it has.
        for _, attributes, _ in layers if not explanation.unfinished else ():
            attributes["name"] += f" · {math.prod(map(len, self.chosen)):,} slices"
        return layers


def stack_of(shown: ShownImage, layer: Any, network: Network) -> Stack:
    """Return an image layer as a stack along the axes that a network does not take.

    Raises
    ------
    NeuroscopeError
        Where the image has too few axes, or others than the network's spec says.
    """
    axes = shown.axes(network)
    numbers = [f"axis {n}" for n in range(shown.array.ndim)]
    labels = labels_of(layer)
    names = [labels[n] if n < len(labels) and is_named(labels[n : n + 1]) else numbers[n]
             for n in range(shown.array.ndim)]  # fmt: skip
    distinct = len({names[n] for n in axes.stack}) == len(axes.stack)
    return Stack.of_axes(shown.array, names if distinct else numbers, axes)


def _room(shape: tuple[int, ...]) -> np.ndarray:
    size = 4 * math.prod(shape)
    if size > _MOST_BYTES:
        raise NeuroscopeError(
            f"The maps of so many slices take {size / (1 << 30):.1f} GB; choose a range of them."
        )
    return np.full(shape, np.nan, np.float32)
