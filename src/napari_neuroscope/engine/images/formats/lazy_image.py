"""An image that is read as it is indexed, with its axes and pixel sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.reading.decoded_size import refuse_without_memory
from napari_neuroscope.engine.files.told import reason_of
from napari_neuroscope.engine.images.spacing import Spacing


@dataclass(frozen=True, eq=False)
class LazyImage:
    """An image file; to index it reads what is asked for, and no more.

    Attributes
    ----------
    name
        What people call it.
    levels
        Arrays that are read when they are indexed: the image itself, then coarser ones, where the
        file holds such.
    spacing
        The image's axes, and how far apart its pixels are.
    """

    name: str
    levels: tuple[Any, ...]
    spacing: Spacing
    _close: Callable[[], None] = lambda: None
    _chunks_are_files: bool = False

    @property
    def data(self) -> Any:
        """The image in its full size."""
        return self.levels[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """The image's shape.

        Raises
        ------
        NeuroscopeError
            Where it isn't known before all is computed, as of some dask arrays.
        """
        try:
            return tuple(int(n) for n in self.data.shape)
        except (TypeError, ValueError) as error:
            raise NeuroscopeError(
                f"The shape {self.data.shape} of “{shortened(self.name, 200)}” is not known; compute "
                f"it first, of a dask array with compute_chunk_sizes()."
            ) from error

    @property
    def ndim(self) -> int:
        """The number of its axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its values."""
        dtype: np.dtype[Any] = np.dtype(self.data.dtype)
        return dtype

    def __getitem__(self, which: Any) -> np.ndarray:
        """Read a part of the image.

        Raises
        ------
        NeuroscopeError
            Where it can't be read, or is not there.
        """
        try:
            if type(self.data) is not np.ndarray:
                self._refuse_many(which)
            part = self.data[which]
            # What is mapped is read here, and not when the file may be another.
            return np.array(part) if isinstance(part, np.memmap) else np.asarray(part)
        except NeuroscopeError:
            raise
        except Exception as error:
            raise unreadable(f"“{self.name}”", error) from error

    def _refuse_many(self, which: Any) -> None:
        """Refuse to read what takes too much memory, or lies in too many files."""
        parts = which if isinstance(which, tuple) else (which,)
        if not all(isinstance(n, int | slice | np.integer) or n is Ellipsis for n in parts):
            return
        # A single value that is seen many times takes no memory.
        stand_in = np.broadcast_to(np.zeros((), self.dtype), self.shape)
        refuse_without_memory(int(stand_in[which].nbytes), self.name)
        if not self._chunks_are_files:
            return
        count = _chunks_of(parts, self.shape, self.data.chunks)
        if count > limits.MOST_CHUNKS:
            raise NeuroscopeError(
                f"What is read of “{shortened(self.name, 200)}” lies in {count:,} chunks, too many "
                f"to look for; read a smaller part, or store it anew in larger chunks."
            )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read the whole."""
        return self[...] if dtype is None else self[...].astype(dtype)

    def close(self) -> None:
        """Let go of the file."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _chunks_of(which: tuple[Any, ...], shape: Sequence[int], sides: Sequence[int]) -> int:
    """Return how many chunks of an array a part of it lies in, at most."""
    if Ellipsis in which:
        at = which.index(Ellipsis)
        rest = (slice(None),) * (len(shape) - len(which) + 1)
        which = (*which[:at], *rest, *which[at + 1 :])
    which = (*which, *(slice(None),) * (len(shape) - len(which)))
    count = 1
    for index, size, side in zip(which, shape, sides, strict=True):
        steps = range(size)[index] if isinstance(index, slice) else range(1)
        spanned = abs(steps[-1] - steps[0]) // side + 2 if steps else 0
        count *= min(len(steps), spanned, -(-size // side))
    return count


def unreadable(what: str | Path, error: Exception) -> NeuroscopeError:
    """Return an error that says in one sentence that an image can't be read, and why."""
    return NeuroscopeError(
        f"The image {shortened(str(what), 300)} can't be read: {reason_of(error)}."
    )
