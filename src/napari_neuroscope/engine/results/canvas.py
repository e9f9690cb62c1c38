"""Where the map of a whole image is written, part by part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explanation.map_notes import count_not_finite

Part = tuple[slice, ...]
"""A part of the map, a slice an axis."""


class Writable(Protocol):
    """An array that can be written by parts: of NumPy, zarr or h5py."""

    @property
    def shape(self) -> Any:
        """How many values it has along each axis."""

    def __setitem__(self, part: Any, values: Any) -> None: ...


Out = Writable | Callable[[tuple[int, ...]], Writable] | None
"""Where a map is written: an array of its shape, what makes one, or None: into memory."""


class Canvas:
    """The map of an image, and the label maps beside it, as they are written.

    Parameters
    ----------
    out
        Where the map is written.
    written
        Called with each part of the map that was written.

    Attributes
    ----------
    values
        The map; None where nothing was written yet.
    companions
        The label maps, by name, int32: in memory, and none where `out` is given.
    nonzero
        Which of the maps along the first axes have a value that is not zero.
    not_finite
        How many values are infinite or no numbers.
    """

    def __init__(self, out: Out, written: Callable[[Part], None] | None = None) -> None:
        self._out, self._written = out, written
        self._folder: Callable[[Part], None] | None = None
        self.begin()

    def begin(self) -> None:
        """Begin anew."""
        self.values: Any = None
        self.companions: dict[str, np.ndarray] = {}
        self.nonzero: Any = None
        self.not_finite = 0

    @property
    def in_memory(self) -> bool:
        """Whether it is an array in memory, and label maps are kept beside it."""
        return self._out is None

    def open(self, array: Writable, written: Callable[[Part], None]) -> None:
        """Take the array that is written on, and who is told of it before all others."""
        self._out, self._folder = array, written

    def write(
        self,
        shape: Sequence[int],
        part: Part,
        values: np.ndarray,
        companions: dict[str, np.ndarray],
        *,
        own_axes: int = 0,
    ) -> None:
        """Write a part.

        Parameters
        ----------
        shape
            The map's, equal each time.
        part
            Which part it is.
        values
            Its values.
        companions
            Its label maps (*space).
        own_axes
            How many first axes count maps of their own, of classes and layers.

        Raises
        ------
        NeuroscopeError
            Where it can't be written.
        """
        if self.values is None:
            self.values = self._array(tuple(shape))
            self.nonzero = np.zeros(tuple(shape)[:own_axes], bool)
        try:
            self.values[part] = values
            if self._folder is not None:
                self._folder(part)
        except OSError as error:
            raise NeuroscopeError(
                f"The map can't be written: {error.strerror or error}; make room, or choose another "
                f"folder."
            ) from error
        self.not_finite += count_not_finite(values)
        self.nonzero |= values.reshape(*values.shape[:own_axes], -1).any(-1)
        for name, labels in companions.items() if self.in_memory else ():
            space = labels.ndim
            if name not in self.companions:
                self.companions[name] = np.zeros(tuple(shape)[-space:], np.int32)
            self.companions[name][part[-space:]] = labels
        if self._written is not None:
            self._written(part)

    def _array(self, shape: tuple[int, ...]) -> Any:
        if self._out is None:
            return np.empty(shape, np.float32)
        array: Any = self._out(shape) if callable(self._out) else self._out
        if tuple(array.shape) != shape:
            raise NeuroscopeError(
                f"The map has the shape {shape}, but the array to write it to {tuple(array.shape)}."
            )
        return array
