"""How many passes through the network a method takes: declared once, for numbers and for words.

A `Count` says itself both ways, so that the estimate of the time, the card in the dock and the
page in the docs can't disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.graph.layer_graph import LayerGraph


@dataclass(frozen=True)
class Workload:
    """What a number of passes may depend on.

    Attributes
    ----------
    options
        The method's options, all of them.
    graph, layer
        The network's layers, and the one that is asked about, if the method looks at one.
    shape
        The positions of the network's input.
    steps
        How far apart they are along each axis, the closest at 1.
    """

    options: Mapping[str, Any]
    graph: LayerGraph
    layer: str | None
    shape: Sequence[int]
    steps: Sequence[float]

    @property
    def channels(self) -> int:
        """How many channels the layer has.

        Raises
        ------
        NeuroscopeError
            Where that is not known.
        """
        shape = self.graph[self.layer].output_shape if self.layer is not None else ()
        if not shape:
            raise NeuroscopeError(f"It is not known how many channels “{self.layer}” has.")
        return shape[0]


@dataclass(frozen=True)
class Count:
    """A number of passes, as a card says it and as it is counted: can be added and multiplied.

    Attributes
    ----------
    words
        As a card says it, names of options in double backticks.
    number
        Counts it; raises a `NeuroscopeError` where it can't be known.
    """

    words: str
    number: Callable[[Workload], int]

    @classmethod
    def of(cls, value: Count | int) -> Count:
        """Return a count given as one, or as a number."""
        return value if isinstance(value, Count) else cls(str(value), lambda workload: value)

    def __add__(self, addend: Count | int) -> Count:
        right = Count.of(addend)
        return Count(
            f"{self.words} + {right.words}",
            lambda workload: self.number(workload) + right.number(workload),
        )

    def __rmul__(self, factor: int) -> Count:
        words = f"({self.words})" if " + " in self.words else self.words
        return Count(f"{factor} · {words}", lambda workload: factor * self.number(workload))


def count_of_option(name: str) -> Count:
    """Return as many passes as an option says."""
    return Count(f"``{name}``", lambda workload: int(workload.options[name]))


CHANNELS = Count("``channels``", lambda workload: workload.channels)
"""A pass for each channel of the layer."""


class PassNumbers(NamedTuple):
    """Passes forward, forward from the layer on, and backward."""

    forward: int
    behind: int
    backward: int


@dataclass(frozen=True)
class PassCount:
    """What one target of one layer takes beside the pass of the image, which all maps share.

    A pass is one input through the network, alone or in a batch.

    Attributes
    ----------
    forward, backward
        Passes forward, which serve all targets, and backward.
    behind
        Passes forward that begin at the layer.
    """

    forward: Count | int = 0
    backward: Count | int = 0
    behind: Count | int = 0

    def numbers(self, workload: Workload) -> PassNumbers:
        """Return how many there are.

        Raises
        ------
        NeuroscopeError
            Where that can't be known.
        """
        counts = (self.forward, self.behind, self.backward)
        return PassNumbers(*(Count.of(count).number(workload) for count in counts))

    @property
    def words(self) -> dict[str, str]:
        """How many there are of each kind, in words; passes behind the layer where there are any."""
        forward, behind, backward = (
            Count.of(count).words for count in (self.forward, self.behind, self.backward)
        )
        from_layer = {} if behind in ("", "0") else {"Passes behind the layer": behind}
        return {"Forward passes": forward, **from_layer, "Backward passes": backward}

    def __str__(self) -> str:
        return " ".join(f"{kind}: {count}." for kind, count in self.words.items())
