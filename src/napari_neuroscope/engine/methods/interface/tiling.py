"""How a method's maps are made tile by tile, as it declares with ``tiles=``.

Most maps are `Local`. A class activation map weighs channels by the whole image, so it declares
how (`ChannelWeights`), and its function is given the weights: of a whole image from its one pass,
of tiles from sums over all of them. The map is written once for both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from napari_neuroscope.engine.methods.interface.needs import Needs

Positions = Literal["layer", "input", "output"]
"""Where the positions of a map lie: those of its layer, of the network's input or its output."""


@dataclass(frozen=True)
class Local:
    """Each position of the map hangs on what is seen from there alone.

    A tile is then explained as an image of its own, and the map put together of their cores.

    Attributes
    ----------
    positions
        Where the map's positions lie; None: the layer's, or the input's where it looks at none.
    why_not
        Takes the options; returns why they can't be used tile by tile, in a sentence, or None.
    """

    positions: Positions | None = None
    why_not: Callable[[Mapping[str, Any]], str | None] = lambda options: None


@dataclass(frozen=True)
class Sums:
    """What is added up over a layer's positions.

    Attributes
    ----------
    of
        Takes a part of the activations (channel, position), their gradients alike or None, and what
        the sums before came to, or None; returns what adds up over the parts.
    gradients
        Whether it takes the target's gradients.
    """

    of: Callable[[Tensor, Tensor | None, Tensor | None], Tensor]
    gradients: bool = True


@dataclass(frozen=True)
class ChannelWeights:
    """The map is of a layer's channels, each with a weight that hangs on the whole image.

    The method's function takes the weights, (channel,), as a fourth argument. On tiles its trace
    tells the layer's activation alone.

    Attributes
    ----------
    sums
        What is added up in each way over the image, one after the other.
    weights
        Takes what each of them came to, and the number of positions; returns the weights.
    linear
        Whether a target of twice the size has twice the weights.
    positions
        As of `Local`.
    also
        What the map asks of its trace besides activations, such as `Needs.GUIDED`.
    of_whole
        Whether the weights of a whole image are found so too. Else the function gets None, and
        finds the map of a whole image by itself.
    notes
        What is to be said of the weights of a whole image: takes trace, target and layer.
    """

    sums: tuple[Sums, ...]
    weights: Callable[[Sequence[Tensor], int], Tensor]
    linear: bool = True
    positions: Positions | None = None
    also: Needs = Needs.NOTHING
    of_whole: bool = True
    notes: Callable[[Any, Any, str], tuple[str, ...]] = lambda trace, target, layer: ()

    def of(self, trace: Any, target: Any, layer: str) -> Tensor | None:
        """Return the weights of a whole image, from its pass; None where the method doesn't ask."""
        if not self.of_whole:
            return None
        activation, totals = trace.activation(layer).flatten(1), list[Tensor]()
        for sums in self.sums:
            gradient = trace.gradient(target, layer).flatten(1) if sums.gradients else None
            totals.append(sums.of(activation, gradient, totals[-1] if totals else None))
        return self.weights(totals, activation.shape[1])

    def why_not(self, options: Mapping[str, Any]) -> str | None:
        """Return None: all options can be used tile by tile."""
        return None
