"""A map that grows in an OME-Zarr folder, tile by tile, with its coarser levels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.files.atomic_write import not_written
from napari_neuroscope.engine.images.spacing import Spacing
from napari_neuroscope.engine.results.canvas import Part
from napari_neuroscope.engine.results.ome_zarr import Store

_CHUNK = (128, 512)
"""The fewest and the most units of a chunk along an axis."""


class GrowingFolder:
    """A folder that a map is written to.

    Parameters
    ----------
    path
        The folder, which is not there yet, or empty.
    spacing
        How far apart the image's pixels are; None: not known.

    Raises
    ------
    NeuroscopeError
        Where it is there, or is not named as such folders are.
    """

    def __init__(self, path: Path, spacing: Spacing | None = None) -> None:
        if path.suffix != ".zarr":
            raise NeuroscopeError(
                f"“{path.name}” is no OME-Zarr folder; choose a name that ends in .ome.zarr."
            )
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise NeuroscopeError(f"{path} is there already; choose another name.")
        self.path, self._spacing = path, spacing
        self._store: Store | None = None

    def open(self, empty: Explanation, core: Sequence[int]) -> Any:
        """Make the folder, and return the array that is written on.

        Parameters
        ----------
        empty
            The explanation, without values.
        core
            How many units a tile writes along each axis of space: chunks are parts of it, so that
            most are written once.

        Raises
        ------
        NeuroscopeError
            Where it can't be made.
        """
        if self._store is None:
            try:
                self._store = Store.create(
                    self.path,
                    empty.full_record(self._spacing, hashed=False),
                    chunk=[chunk_side(n) for n in core],
                )
            except OSError as error:
                raise NeuroscopeError(not_written(self.path, error)) from error
        return self._store.array

    def written(self, part: Part) -> None:
        """Bring the coarser levels up to what was written to a part of the array."""
        assert self._store is not None
        self._store.written(part)

    def finish(self, explanation: Explanation) -> None:
        """Say that all is written."""
        assert self._store is not None
        self._store.finish(explanation.full_record(self._spacing))


def chunk_side(core: int) -> int:
    """Return into how large parts a core is divided evenly, where there are such of a fit size."""
    least, most = _CHUNK
    parts = (core // count for count in range(1, core + 1) if core % count == 0)
    return next((n for n in parts if least <= n <= most), min(core, most))
