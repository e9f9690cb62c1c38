"""Questions about several planes of a stack."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError, Progress
from napari_neuroscope.engine.explain.stacked_planes import explain_stack
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.images.stack import Stack
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.session.session import Offer, Question, one_or_many
from napari_neuroscope.viewer.image.shown_image import Shown, is_named, labels_of
from napari_neuroscope.viewer.layers.layer_data import LayerData
from napari_neuroscope.viewer.layers.place import Place

# So often the map that grows is drawn anew.
_OFFER_EVERY_S = 0.3
# Larger maps than this are not for the memory of a viewer.
_MOST_BYTES = 4 << 30


@dataclass(frozen=True, eq=False)
class StackQuestion(Question):
    """A question about several planes of a stack; its map grows in its layer, plane by plane.

    Attributes
    ----------
    chosen
        Which steps of each of the stack's axes.
    """

    chosen: tuple[range, ...] = ()

    @classmethod
    def about(cls, question: Question, chosen: Sequence[range]) -> StackQuestion:
        """Return a question about the shown plane as one about several."""
        values = {name: getattr(question, name) for name in Question.__dataclass_fields__}
        return cls(**values, chosen=tuple(chosen))

    def place(self) -> Place:
        """Return where the map lies, whose stack's axes are the image's."""
        return super().place().along(self.shown.axes(self.network).stack)

    def answer(self, progress: Progress, offer: Offer | None = None) -> Explanation:
        """Compute it, offering the map while it grows."""

        def explained(stack: Stack, **how: Any) -> Explanation:
            return explain_stack(
                self.network,
                stack,
                self.method,
                one_or_many(tuple(self.resolved(target) for target in self.targets)),
                one_or_many(self.layers),
                **how,
                **self.options,
            )

        return self.answered(explained, progress, offer)

    def answered(
        self,
        explained: Callable[..., Explanation],
        progress: Progress,
        offer: Offer | None = None,
    ) -> Explanation:
        """Compute it by a call that takes the stack, and what `explain_stack` takes by name."""
        stack = stack_of(self.shown, self.source, self.network)
        count, offered = math.prod(map(len, self.chosen)), -math.inf

        def by_plane(done: int, total: int, what: str) -> None:
            number = min(done * count // max(total, 1) + 1, count)
            progress(done, total, f"{what} · {number:,} of {count:,} slices")

        def partly(found: Explanation) -> None:
            nonlocal offered
            if offer is not None and time.monotonic() - offered > _OFFER_EVERY_S:
                offer(found)
                offered = time.monotonic()

        return explained(
            stack,
            planes=dict(zip(stack.axes, self.chosen, strict=True)),
            out=_room,
            progress=by_plane,
            partial=partly,
        )

    def layer_data(self, found: Explanation) -> list[LayerData]:
        """Return what was found, perhaps not yet all, as layer data."""
        layers = super().layer_data(found)
        # One that is not finished says itself how many slices it has.
        for _, attributes, _ in layers if not found.unfinished else ():
            attributes["name"] += f" · {math.prod(map(len, self.chosen)):,} slices"
        return layers

    @property
    def slot(self) -> tuple[str, ...]:
        """Where it is shown: in a layer of its own, beside that of the shown plane."""
        return (*super().slot, "slices")

    @property
    def covered(self) -> tuple[str, ...]:
        """The slot of the shown plane's map."""
        return super().slot


def stack_of(shown: Shown, layer: Any, network: Network) -> Stack:
    """Return an image layer as a stack along the axes that a network does not take.

    Raises
    ------
    NeuroscopeError
        Where the image has too few axes, or others than the network's spec says.
    """
    axes = shown.axes(network)
    numbers = [f"axis {n}" for n in range(shown.data.ndim)]
    labels = labels_of(layer)
    names = [labels[n] if n < len(labels) and is_named(labels[n : n + 1]) else numbers[n]
             for n in range(shown.data.ndim)]  # fmt: skip
    distinct = len({names[n] for n in axes.stack}) == len(axes.stack)
    return Stack.of_axes(shown.data, names if distinct else numbers, axes)


def _room(shape: tuple[int, ...]) -> np.ndarray:
    size = 4 * math.prod(shape)
    if size > _MOST_BYTES:
        raise NeuroscopeError(
            f"The maps of so many slices take {size / (1 << 30):.1f} GB; choose a range of them."
        )
    return np.full(shape, np.nan, np.float32)
