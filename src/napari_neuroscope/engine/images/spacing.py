"""How far apart an image's pixels are, in the units of the world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.images.grid import Grid


@dataclass(frozen=True)
class Spacing:
    """The named axes of an image, and where along them its pixels lie.

    The centre of pixel i of an axis lies at ``step * i + origin`` of its unit.

    Attributes
    ----------
    axes
        Such as ("t", "c", "z", "y", "x"), one an axis of the image.
    steps, origin
        One number an axis.
    units
        As pint and OME-Zarr write them, such as "micrometer" and "second"; "pixel": not known.
    """

    axes: tuple[str, ...]
    steps: tuple[float, ...]
    origin: tuple[float, ...]
    units: tuple[str, ...]

    @classmethod
    def of_pixels(cls, axes: Sequence[str]) -> Self:
        """Return the spacing of an image of which no more is known than its axes."""
        count = len(axes)
        return cls(tuple(axes), (1.0,) * count, (0.0,) * count, ("pixel",) * count)

    @classmethod
    def of(cls, axes: Sequence[str], steps: Sequence[float], units: Sequence[str] | str) -> Self:
        """Return the spacing of an image that begins at zero."""
        units = (units,) * len(axes) if isinstance(units, str) else tuple(units)
        return cls(tuple(axes), tuple(map(float, steps)), (0.0,) * len(axes), units)

    def __post_init__(self) -> None:
        if not len(self.axes) == len(self.steps) == len(self.origin) == len(self.units):
            raise NeuroscopeError(
                f"The axes {', '.join(self.axes)} need a step, an origin and a unit each."
            )

    def along(self, axes: Sequence[str]) -> Self:
        """Return the spacing along some of the axes, in their order; unknown ones are of pixels."""
        position_of = {axis: n for n, axis in enumerate(self.axes)}
        positions = [position_of.get(axis) for axis in axes]
        return type(self)(
            tuple(axes),
            tuple(1.0 if n is None else self.steps[n] for n in positions),
            tuple(0.0 if n is None else self.origin[n] for n in positions),
            tuple("pixel" if n is None else self.units[n] for n in positions),
        )

    def of_grid(self, grid: Grid) -> Self:
        """Return the spacing of a grid's cells, whose axes are these in this order."""
        return type(self)(
            self.axes,
            tuple(step * s for step, s in zip(self.steps, grid.scale, strict=True)),
            tuple(
                o + step * offset
                for o, step, offset in zip(self.origin, self.steps, grid.offset, strict=True)
            ),
            self.units,
        )
