"""Several channels side by side in one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_LONGEST = 128


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Tiles of channels, row by row, each with its own contrast.

    Attributes
    ----------
    values
        (y, x): in each tile zero is zero, and the strongest value is 1 (or −1); NaN between tiles
        and where nothing was seen.
    corners
        The (y, x) of each tile's first pixel.
    tile
        The (y, x) size of one.
    names
        The name of each tile.
    signed
        Whether some value is below zero.
    """

    values: np.ndarray
    corners: tuple[tuple[int, int], ...]
    tile: tuple[int, int]
    names: tuple[str, ...]
    signed: bool

    @classmethod
    def of(cls, channels: np.ndarray, names: tuple[str, ...], plane: Sequence[int] = ()) -> Mosaic:
        """Arrange channels (channel, *space), at most as large as a tile needs; not none.

        Of a volume a plane is shown: that of an index on each axis before the last two, or the
        middle one.
        """
        for step in range(channels.ndim - 3):
            at = plane[step] if step < len(plane) else channels.shape[1] // 2
            channels = channels[:, at]
        step = max(1, -(-max(channels.shape[1:]) // _LONGEST))
        channels = channels[:, ::step, ::step].astype(np.float32)
        values, corners = arranged(np.stack([_scaled(channel) for channel in channels]))
        signed = bool((channels < 0).any())
        return cls(values, corners, (channels.shape[1], channels.shape[2]), names, signed)

    def at(self, y: float, x: float) -> int | None:
        """Return the number of the tile at a position of the picture; None between tiles."""
        for number, (top, left) in enumerate(self.corners):
            if 0 <= y - top < self.tile[0] and 0 <= x - left < self.tile[1]:
                return number
        return None


def _scaled(channel: np.ndarray) -> np.ndarray:
    finite = channel[np.isfinite(channel)]
    most = float(np.abs(finite).max()) if finite.size else 0.0
    return channel / np.float32(most or 1.0)


def arranged(tiles: np.ndarray) -> tuple[np.ndarray, tuple[tuple[int, int], ...]]:
    """Lay tiles (tile, y, x), or with colours (tile, y, x, colour), out row by row.

    Returns
    -------
    tuple
        The picture, with NaN (of whole numbers, 0) between tiles, and the (y, x) of each tile's
        first pixel.
    """
    count, height, width = tiles.shape[:3]
    # As nearly square as the tiles allow.
    across = min(count, max(1, round(math.sqrt(count * height / width))))
    down = -(-count // across)
    gap = max(1, max(height, width) // 24)
    tall, wide = height + gap, width + gap
    between = np.nan if tiles.dtype.kind == "f" else 0
    shape = (down * tall - gap, across * wide - gap, *tiles.shape[3:])
    picture = np.full(shape, between, tiles.dtype)
    corners = tuple((n // across * tall, n % across * wide) for n in range(count))
    for tile, (y, x) in zip(tiles, corners, strict=True):
        picture[y : y + height, x : x + width] = tile
    return picture, corners
