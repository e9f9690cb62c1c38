"""How an image is to be cut into tiles, as people say it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.images.axes import image_axes_of
from napari_neuroscope.engine.passes.model import Model
from napari_neuroscope.engine.spec.model_spec import ModelSpec
from napari_neuroscope.engine.tiles.geometry import Geometry, Margins

DEFAULT_TILE = {1: 1 << 20, 2: 1024, 3: 128}
"""The most pixels of a tile along each axis, by how many axes there are."""


@dataclass(frozen=True)
class Tiling:
    """How an image is to be cut into tiles, as `explain_tiled` takes it.

    Attributes
    ----------
    tile
        The most pixels of a tile, one number or one an axis; None: the only size that the network
        takes, or `DEFAULT_TILE`.
    overlap
        How many pixels are thrown away on each side; ``"receptive field"``: as many as make the
        result that of the whole; None: the spec's halo, or these.
    weights
        Whether channels are weighed by the whole image or by each tile.

    Raises
    ------
    NeuroscopeError
        Where one of them is none of these.
    """

    tile: int | tuple[int, ...] | None = None
    overlap: int | Literal["receptive field"] | None = None
    weights: Literal["global", "tile"] = "global"

    def __post_init__(self) -> None:
        if self.weights not in ("global", "tile"):
            raise NeuroscopeError(f"Weights are “global” or “tile”, not “{self.weights!s:.60}”.")
        stated = isinstance(self.overlap, int) and self.overlap >= 0
        if not stated and self.overlap not in ("receptive field", None):
            raise NeuroscopeError(
                f"The overlap is a number of pixels or “receptive field”, not {self.overlap!r:.60}."
            )

    def sizes(self, spec: ModelSpec) -> tuple[int, ...]:
        """Return the most pixels of a tile, one number an axis.

        Raises
        ------
        NeuroscopeError
            Where they are no sizes, or the network takes another alone.
        """
        space, fixed = len(spec.input.space), spec.input.size
        one_size = fixed if isinstance(fixed, tuple) else None
        if self.tile is None:
            return one_size or (DEFAULT_TILE[space],) * space
        sizes = (self.tile,) * space if isinstance(self.tile, int) else self.tile
        if len(sizes) != space or any(n < 1 for n in sizes):
            raise NeuroscopeError(f"A tile has {space} sizes of 1 pixel at least, not {self.tile}.")
        if one_size and sizes != one_size:
            raise NeuroscopeError(
                f"The network takes images of {' × '.join(map(str, one_size))} pixels alone, so "
                f"tiles have that size; leave tile out."
            )
        return tuple(sizes)

    def margins(
        self, geometry: Geometry, spec: ModelSpec, pulled: Iterable[str] = (), *, more: int = 0
    ) -> Margins:
        """Return what is thrown away of tiles; see `Geometry.margins`."""
        axes = len(geometry.sees)
        if isinstance(self.overlap, int):
            return ((self.overlap, self.overlap),) * axes
        if self.overlap is None and spec.input.halo is not None:
            halo = spec.input.halo
            geometry = replace(geometry, sees=((halo, halo),) * axes)
        return geometry.margins(pulled, more=more)


def by_tiles(network: Model, image: Any) -> bool:
    """Whether a network is to be run tile by tile on an image: its spec says so, and it is larger."""
    spec = network.spec
    if spec.input.resize != "tile" or spec.task != "segmentation":
        return False
    shape, space = np.shape(image), spec.input.space
    axes = image_axes_of(shape, spec, network.channels)
    sizes = dict(zip(axes, shape, strict=True))
    return any(sizes[axis] > most for axis, most in zip(space, Tiling().sizes(spec), strict=True))


def overlap_notes(
    how: Tiling, geometry: Geometry, spec: ModelSpec, pulled: Iterable[str] = ()
) -> list[str]:
    """Say where tiles overlap by less than makes the result that of the whole image."""
    pulled = list(pulled)
    stated, needed = how.margins(geometry, spec, pulled), geometry.margins(pulled)
    overlap, most = (max(n for axis in margins for n in axis) for margins in (stated, needed))
    if stated == needed or overlap >= most:
        return []
    said = "the spec's halo says" if how.overlap is None else "was asked"
    return [
        f"tiles overlap by {overlap} pixels, as {said}; {most} make the result that of the "
        f"whole image"
    ]
