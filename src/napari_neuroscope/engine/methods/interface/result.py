"""What a method returns: a map, or the steps of one that takes many passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from napari_neuroscope.engine.images.grid import Grid

INTENSITY = "intensity"
"""The unit of values that are a picture's, which is shown as one."""
ATTENTION = "attention"
"""The unit of shares of attention: no token gets none, so zero is no value of note."""


@dataclass
class Map:
    """What a method returns where a tensor alone does not say enough.

    Attributes
    ----------
    values
        (*leading axes, *space), or a table without spatial axes.
    axes
        The names of the leading axes.
    labels
        What the steps of a leading axis are called.
    signed
        Whether zero is the middle; None: as the method is declared.
    unit
        What the values are.
    companions
        Label maps beside it, on the same grid: name to whole numbers (*space).
    ordered
        Those of the companions that count regions in their order from 1, and not classes: each
        class and layer has its own.
    table
        Numbers beside it: name to one entry a class, a number or a list of them.
    notes
        What a reader should know.
    grid
        Where it lies; None: it divides the network's input evenly.
    """

    values: Tensor
    axes: tuple[str, ...] = ()
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    signed: bool | None = None
    unit: str = ""
    companions: dict[str, Tensor] = field(default_factory=dict)
    ordered: frozenset[str] = frozenset()
    table: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    grid: Grid | None = None

    def lies_on(self, prepared: Grid) -> Grid:
        """Return where its cells lie on the image, from the grid of the network's input."""
        if self.grid is not None:
            return self.grid
        space = len(prepared.shape)
        return prepared.divided(self.values.shape[self.values.ndim - space :])


@dataclass(frozen=True)
class Step:
    """How far a method of many passes has come.

    Attributes
    ----------
    done, total
        How many of its passes are over.
    maps
        Makes the map of each target from the passes so far; of the last step, the result.
    """

    done: int
    total: int
    maps: Callable[[], Sequence[Tensor | Map]]
