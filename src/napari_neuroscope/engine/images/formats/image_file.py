"""Image files that are opened without being read: axes, pixel sizes, and values on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.reading.bounded_file import open_regular, refuse_irregular
from napari_neuroscope.engine.files.reading.decoded_size import refuse_without_memory
from napari_neuroscope.engine.files.told import reason_of
from napari_neuroscope.engine.images.axes import unnamed_axes
from napari_neuroscope.engine.images.spacing import Spacing

_TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


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
        return np.dtype(self.data.dtype)

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
            found = self.data[which]
            # What is mapped is read here, and not when the file may be another.
            return np.array(found) if isinstance(found, np.memmap) else np.asarray(found)
        except NeuroscopeError:
            raise
        except Exception as error:
            raise unreadable(f"“{self.name}”", error) from error

    def _refuse_many(self, which: Any) -> None:
        """Refuse to read what takes too much memory, or lies in too many files."""
        parts = which if isinstance(which, tuple) else (which,)
        if not all(isinstance(one, int | slice | np.integer) or one is Ellipsis for one in parts):
            return
        # A single value that is seen many times takes no memory.
        seen = np.broadcast_to(np.zeros((), self.dtype), self.shape)
        refuse_without_memory(int(seen[which].nbytes), self.name)
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


def open_image(path: str | Path) -> LazyImage:
    """Open an image file without reading its values.

    Parameters
    ----------
    path
        TIFF, OME-TIFF, an OME-Zarr or another Zarr folder, ``.npy``, or PNG, JPEG and such, which
        are read at once. Of a file of several images, the first.

    Raises
    ------
    NeuroscopeError
        Where there is no such file, or it holds no image that can be read.
    """
    path = Path(path)
    refuse_missing(path)
    from napari_neuroscope.engine.images.formats.zarr_image import is_zarr

    folder = path.is_dir()
    if folder and not is_zarr(path):
        raise NeuroscopeError(f"{path} is a folder, and no Zarr; choose one of its images.")
    try:
        opened = _open_zarr(path) if folder else _open_file(path)
    except NeuroscopeError:
        raise
    except Exception as error:
        raise unreadable(path, error) from error
    if opened.dtype.kind not in "buif":
        opened.close()
        raise NeuroscopeError(
            f"The image {path} holds values of the type {opened.dtype}; real numbers are needed."
        )
    return opened


def _open_zarr(path: Path) -> LazyImage:
    from napari_neuroscope.engine.images.formats.zarr_image import levels_of

    levels, spacing = levels_of(path)
    return LazyImage(path.name, levels, spacing, _chunks_are_files=True)


def _open_file(path: Path) -> LazyImage:
    if is_tiff(path):
        from napari_neuroscope.engine.images.formats.tiff_image import levels_of

        levels, spacing, close = levels_of(path)
        return LazyImage(path.name, levels, spacing, close)
    if path.suffix.lower() == ".npy":
        from napari_neuroscope.engine.images.formats.npy_image import map_npy

        values = map_npy(path)
    else:
        from napari_neuroscope.engine.images.formats.picture import (
            read_picture,
            shape_and_axes_of_picture,
        )

        values, (_, axes) = read_picture(path), shape_and_axes_of_picture(path)
        if len(axes) == values.ndim:
            return LazyImage(path.name, (values,), Spacing.of_pixels(axes))
    return LazyImage(path.name, (values,), Spacing.of_pixels(unnamed_axes(values.shape)))


def refuse_missing(path: Path) -> None:
    """Refuse a path that is not there, or is a pipe or a device.

    Raises
    ------
    NeuroscopeError
        Where it is one.
    """
    try:
        there = path.exists()
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if not there:
        raise NeuroscopeError(f"There is no image {shortened(str(path), 300)}.")
    refuse_irregular(path)


def is_tiff(path: Path) -> bool:
    """Whether a file is read as TIFF: by its ending, or by its first bytes whatever its ending."""
    if path.suffix.lower() in (".tif", ".tiff"):
        return True
    with open_regular(path) as file:
        return file.read(4) in _TIFF_MARKS


def _chunks_of(which: tuple[Any, ...], shape: Sequence[int], sides: Sequence[int]) -> int:
    """Return how many chunks of an array a part of it lies in, at most."""
    if Ellipsis in which:
        at = which.index(Ellipsis)
        rest = (slice(None),) * (len(shape) - len(which) + 1)
        which = (*which[:at], *rest, *which[at + 1 :])
    which = (*which, *(slice(None),) * (len(shape) - len(which)))
    count = 1
    for one, size, side in zip(which, shape, sides, strict=True):
        steps = range(size)[one] if isinstance(one, slice) else range(1)
        spanned = abs(steps[-1] - steps[0]) // side + 2 if steps else 0
        count *= min(len(steps), spanned, -(-size // side))
    return count


def unreadable(what: str | Path, error: Exception) -> NeuroscopeError:
    """Return an error that says in one sentence that an image can't be read, and why."""
    return NeuroscopeError(
        f"The image {shortened(str(what), 300)} can't be read: {reason_of(error)}."
    )
