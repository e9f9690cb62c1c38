"""Where images are read from: files, stacks and memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files.decoded_size import refuse_large_image
from napari_neuroscope.engine.files.told import reason_of
from napari_neuroscope.engine.lazy_images import (
    LazyImage,
    has_channels_last,
    is_tiff,
    open_image,
    refuse_missing,
    unnamed_axes,
    unreadable,
)
from napari_neuroscope.engine.spacing import Spacing
from napari_neuroscope.engine.zarr_files import container_of

SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".npy", ".zarr")
"""The endings of files that are taken for images; those of ``.zarr`` are folders."""
_LAZY = (".tif", ".tiff", ".npy")
_WITH_PALETTE = (".png", ".gif", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True, eq=False)
class Paletted:
    """A ground truth whose file numbers its colours.

    Attributes
    ----------
    indices
        The number of each pixel's colour, uint8 (y, x).
    palette
        The colours, uint8 (colour, 3).
    """

    indices: np.ndarray
    palette: np.ndarray

    @property
    def colours(self) -> np.ndarray:
        """The colour of each pixel, uint8 (y, x, 3)."""
        return self.palette[self.indices]


def read_image(path: str | Path) -> np.ndarray:
    """Read an image file: TIFF, PNG, JPEG and such, ``.npy``, or a Zarr folder.

    A palette is resolved to its colours; nothing in a file is run.

    Raises
    ------
    NeuroscopeError
        Where the file is missing or can't be read.
    """
    path = Path(path)
    refuse_missing(path)
    try:
        if path.is_dir():
            with open_image(path) as image:
                refuse_large_image(image.dtype.itemsize * math.prod(image.shape), path)
                return image[...]
        return np.asarray(_decoded(path))
    except NeuroscopeError:
        raise
    except Exception as error:
        raise unreadable(path, error) from error


def read_truth(path: str | Path) -> np.ndarray | Paletted:
    """Read a ground truth file as `read_image` does, but keep the numbers of a palette's colours.

    Raises
    ------
    NeuroscopeError
        Where the file is missing or can't be read.
    """
    path = Path(path)
    if path.suffix.lower() not in _WITH_PALETTE:
        return read_image(path)
    refuse_missing(path)
    from napari_neuroscope.engine.pictures import read_palette
    from napari_neuroscope.engine.tiff_files import read_numbered

    try:
        paletted = read_numbered(path) if is_tiff(path) else read_palette(path)
    except NeuroscopeError:
        raise
    except Exception as error:
        raise unreadable(path, error) from error
    return read_image(path) if paletted is None else Paletted(*paletted)


def _decoded(path: Path) -> Any:
    if is_tiff(path):
        from napari_neuroscope.engine.tiff_files import read_tiff

        return read_tiff(path)
    if path.suffix.lower() == ".npy":
        from napari_neuroscope.engine.npy_files import read_npy

        return read_npy(path)
    from napari_neuroscope.engine.pictures import read_picture

    return read_picture(path)


def _shape_of_picture(path: Path) -> tuple[int, ...]:
    if is_tiff(path):
        with open_image(path) as image:
            return image.shape
    from napari_neuroscope.engine.pictures import shape_of_picture

    return shape_of_picture(path)


def is_lazy(path: Path) -> bool:
    """Whether a file is read by parts: pictures such as PNG and JPEG are decoded whole."""
    return path.suffix.lower() in _LAZY or path.is_dir()


def name_of(path: Path) -> str:
    """Return what people call an image file, such as “plate.zarr/A/1/0” one of a plate."""
    outer = container_of(path) if path.is_dir() else path
    return path.relative_to(outer.parent).as_posix()


@dataclass(frozen=True, eq=False)
class Source:
    """An image that is read when it is needed.

    Attributes
    ----------
    name
        What people call it.
    data
        The path of a file, or an array in memory: numpy, dask, zarr, ...
    plane
        The index along the first axes; (): the whole.
    """

    name: str
    data: Any
    plane: tuple[int, ...] = ()

    @classmethod
    def of(cls, data: Any, name: str = "") -> Source:
        """Return the source of a file, an array, or a source itself."""
        if isinstance(data, Source):
            return data
        if isinstance(data, str | Path):
            data = Path(data)
            return cls(name or name_of(data), data)
        return cls(name or "image", data)

    @property
    def path(self) -> Path | None:
        """The file that it is read from."""
        return self.data if isinstance(self.data, Path) else None

    def open(self) -> LazyImage:
        """Return the whole image, its axes and pixel sizes, without reading its values.

        Raises
        ------
        NeuroscopeError
            Where it can't be read.
        """
        if self.path is not None:
            return open_image(self.path)
        if isinstance(self.data, LazyImage):
            return self.data
        data = self.data if hasattr(self.data, "shape") else np.asarray(self.data)
        dims = getattr(self.data, "dims", None) or unnamed_axes(data.shape)
        return LazyImage(self.name, (data,), Spacing.of_pixels([str(axis) for axis in dims]))

    @property
    def shape(self) -> tuple[int, ...]:
        """The image's shape, found without reading its values.

        Raises
        ------
        NeuroscopeError
            Where it can't be read.
        """
        path = self.path
        if path is None or is_lazy(path):
            with _closing(self) as image:
                whole = image.shape
        else:
            refuse_missing(path)
            try:
                whole = _shape_of_picture(path)
            except NeuroscopeError:
                raise
            except Exception as error:
                raise unreadable(path, error) from error
        return tuple(whole[len(self.plane) :])

    @property
    def spacing(self) -> Spacing:
        """The axes of the image, or of its plane, and how far apart its pixels are.

        Raises
        ------
        NeuroscopeError
            Where it can't be read.
        """
        with _closing(self) as image:
            return image.spacing.along(image.spacing.axes[len(self.plane) :])

    def read(self) -> np.ndarray:
        """Return the image, or its plane, as an array; of a stack no more than the plane is read.

        Raises
        ------
        NeuroscopeError
            Where it can't be read, or has no such plane.
        """
        if self.path is None:
            return self._plane_of(self.data)
        if not self.plane or not is_lazy(self.path):
            return self._plane_of(read_image(self.path))
        with open_image(self.path) as image:
            return self._plane_of(image)

    def read_truth(self) -> np.ndarray | Paletted:
        """Return the ground truth, or its plane; see `read_truth`."""
        if self.path is None:
            return self._plane_of(self.data)
        if is_lazy(self.path) and (self.plane or self.path.suffix.lower() not in _WITH_PALETTE):
            return self.read()
        found = read_truth(self.path)
        return found if isinstance(found, Paletted) else self._plane_of(found)

    def _plane_of(self, data: Any) -> np.ndarray:
        try:
            # Lazy arrays read what is indexed, and no more.
            return np.asarray(data[self.plane] if self.plane else data)
        except NeuroscopeError:
            raise
        except Exception as error:
            raise NeuroscopeError(
                f"“{shortened(self.name, 200)}” can't be read: {reason_of(error)}."
            ) from error


@contextmanager
def _closing(source: Source) -> Iterator[LazyImage]:
    """Open a source, and close what was opened for it."""
    image = source.open()
    try:
        yield image
    finally:
        if source.path is not None:
            image.close()


def leading_axes(shape: Sequence[int], space: str, channels: int, axes: str | None = None) -> int:
    """Return how many first axes of an image a network doesn't take: those of a stack.

    Parameters
    ----------
    shape
        The image's.
    space, channels
        The spatial axes and the number of channels that the network takes.
    axes
        The spec's ``image_axes``, where it says.
    """
    behind = len(shape) - (len(axes) if axes else len(space))
    if axes or behind <= 0:
        return max(behind, 0)
    of_channels = channels > 1 and channels in (shape[-1], shape[behind - 1])
    return behind - (of_channels or has_channels_last(shape, len(space)))
