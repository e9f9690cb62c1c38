"""Which axes of an image's layer those of a map are, and where on the others it lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

ONE_STEP = "one_step_axes"
"""Under what name a layer's record keeps which of its axes, behind the leading ones, have one step."""


@dataclass(frozen=True)
class Place:
    """Which axes of an image's layer those of a map are, and where on the others it lies.

    Attributes
    ----------
    space
        The layer's axis of each axis that the network looks along, in the map's order.
    stack
        The layer's axis of each of the map's axes that are those of a stack; they come before.
    others
        Of each other axis of the layer its position, and the first of the image's steps that the
        map lies over with its one, and how many.
    """

    space: tuple[int, ...] = ()
    stack: tuple[int, ...] = ()
    others: tuple[tuple[int, int, int], ...] = ()

    @classmethod
    def behind(cls, plane: Sequence[int], space: int, stack: int = 0) -> Place:
        """Return that of a map of `space` last axes, at an index on those between stack and space."""
        first = stack + len(plane)
        others = tuple((stack + n, int(step), 1) for n, step in enumerate(plane))
        return cls(tuple(range(first, first + space)), tuple(range(stack)), others)

    @classmethod
    def of(cls, plane: Sequence[int] | Place, space: int, stack: int = 0) -> Place:
        """Return a place, or that of an index on the axes before the spatial ones."""
        return plane if isinstance(plane, Place) else cls.behind(plane, space, stack)

    @property
    def ndim(self) -> int:
        """How many axes the layer has."""
        return len(self.space) + len(self.stack) + len(self.others)

    @property
    def one_step(self) -> tuple[int, ...]:
        """The axes of the layer that the map has one step of."""
        return tuple(sorted(axis for axis, _, _ in self.others))

    @property
    def order(self) -> tuple[int, ...]:
        """The map's axes (*stack, *space), by their number, as they come in the layer."""
        axes = (*self.stack, *self.space)
        return tuple(int(n) for n in np.argsort(axes))

    def along(self, stack: Sequence[int]) -> Place:
        """Return the place of a map of several steps of some of the other axes."""
        others = tuple(axis for axis in self.others if axis[0] not in stack)
        return replace(self, stack=tuple(stack), others=others)

    def laid(self, values: Any, leading: int = 0) -> Any:
        """Return values (*leading, *stack, *space, ...) along the axes of the layer."""
        order = self.order
        if order != tuple(range(len(order))):
            behind = range(leading + len(order), values.ndim)
            values = values.transpose((*range(leading), *(leading + n for n in order), *behind))
        if not self.others:
            return values
        sizes = list(values.shape)
        for axis in self.one_step:
            sizes.insert(leading + axis, 1)
        return values.reshape(sizes)

    def turned(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return the record of a map with its axes in the order of the layer's."""
        return in_order(record, self.order)


def in_order(record: dict[str, Any], order: Sequence[int]) -> dict[str, Any]:
    """Return the record of a map with the axes of its grid in an order, given by their numbers."""
    if tuple(order) == tuple(range(len(order))):
        return record

    def moved(of_axes: Sequence[Any]) -> list[Any]:
        before = len(of_axes) - len(order)
        return [*of_axes[:before], *(of_axes[before + n] for n in order)]

    return {
        **record,
        "axes": moved(record["axes"]),
        "shape": moved(record["shape"]),
        "space": moved(record["space"]),
        **{which: {name: moved(companion) for name, companion in record[which].items()}
           for which in ("grid", "image_grid")},
        "companions": {name: {**companion, "shape": moved(companion["shape"])}
                       for name, companion in record["companions"].items()},
    }  # fmt: skip


def one_step_axes(record: Mapping[str, Any], ndim: int) -> tuple[int, ...]:
    """Return which axes of a map's layer of `ndim` axes have one step, counted behind the leading ones.

    Parameters
    ----------
    record
        What the layer's metadata say of the map.
    ndim
        How many axes the map's values have in the layer.
    """
    if ONE_STEP in record:
        return tuple(record[ONE_STEP])
    first = len(record.get("planes", {}).get("axes", ()))
    return tuple(range(first, first + ndim - len(record["axes"])))


def spatial_axes(record: Mapping[str, Any], ndim: int) -> tuple[int, ...]:
    """Return along which axes of a map's layer of `ndim` axes the network looks."""
    leading = len(record["axes"]) - len(record["space"])
    single = one_step_axes(record, ndim)
    positions = (n for n in range(ndim - leading) if n not in single)
    stack = record.get("planes", {}).get("axes", ())
    named = zip(positions, record["space"], strict=True)
    return tuple(leading + n for n, axis in named if axis not in stack)
