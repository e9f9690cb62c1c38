"""Image files that are opened without being read: axes, pixel sizes, and values on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError, first_line, shortened
from napari_neuroscope.engine.spacing import Spacing


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

    @property
    def data(self) -> Any:
        """The image in its full size."""
        return self.levels[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """The image's shape."""
        return tuple(int(n) for n in self.data.shape)

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
            found = self.data[which]
            # What is mapped is read here, and not when the file may be another.
            return np.array(found) if isinstance(found, np.memmap) else np.asarray(found)
        except Exception as error:
            raise unreadable(self.name, error) from error

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
    if not path.exists():
        raise NeuroscopeError(f"There is no image {path}.")
    from napari_neuroscope.engine.zarr_files import is_zarr

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
    from napari_neuroscope.engine.zarr_files import levels_of

    levels, spacing = levels_of(path)
    return LazyImage(path.name, levels, spacing)


def _open_file(path: Path) -> LazyImage:
    suffix = path.suffix.lower()
    if suffix in (".tif", ".tiff"):
        from napari_neuroscope.engine.tiff_files import levels_of

        levels, spacing, close = levels_of(path)
        return LazyImage(path.name, levels, spacing, close)
    if suffix == ".npy":
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    else:
        from skimage.io import imread

        values = np.asarray(imread(path))
    return LazyImage(path.name, (values,), Spacing.of_pixels(unnamed_axes(values.shape)))


def unnamed_axes(shape: Sequence[int]) -> tuple[str, ...]:
    """Return what to call the axes of an image that says nothing of them."""
    channels = ("c",) if has_channels_last(shape, 2) else ()
    known = (*("y", "x")[-len(shape) :], *channels) if shape else ()
    return (*(f"axis {n}" for n in range(len(shape) - len(known))), *known)


def has_channels_last(shape: Sequence[int], space: int) -> bool:
    """Whether an image's last axis is likely of channels, behind `space` spatial ones.

    It is where there are as many as of colours, or so few beside so many.
    """
    if len(shape) <= space:
        return False
    count = shape[-1]
    return count in (3, 4) or (count <= 8 and 4 * count <= min(shape[-1 - space : -1]))


def unreadable(what: str | Path, error: Exception) -> NeuroscopeError:
    """Return an error that says in one sentence that an image can't be read, and why."""
    reason = first_line(error)
    return NeuroscopeError(f"The image {what} can't be read: {shortened(reason, 300).rstrip('.')}.")
