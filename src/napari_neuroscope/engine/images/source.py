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
from napari_neuroscope.engine.files.reading.decoded_size import refuse_large_image
from napari_neuroscope.engine.files.told import reason_of
from napari_neuroscope.engine.images.axes import ImageAxes, axes_of, names_of, unnamed_axes
from napari_neuroscope.engine.images.formats.image_file import is_tiff, open_image, refuse_missing
from napari_neuroscope.engine.images.formats.lazy_image import LazyImage, unreadable
from napari_neuroscope.engine.images.formats.npy_image import read_npy
from napari_neuroscope.engine.images.formats.picture import (
    read_palette,
    read_picture,
    shape_and_axes_of_picture,
)
from napari_neuroscope.engine.images.formats.tiff_image import read_numbered, read_tiff
from napari_neuroscope.engine.images.formats.zarr_image import container_of
from napari_neuroscope.engine.images.spacing import Spacing
from napari_neuroscope.engine.spec.specified_network import SpecifiedNetwork

SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".npy", ".zarr")
"""The endings of files that are taken for images; those of ``.zarr`` are folders."""
_LAZY = (".tif", ".tiff", ".npy")
_WITH_PALETTE = (".png", ".gif", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True, eq=False)
class PaletteImage:
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
        colours: np.ndarray = self.palette[self.indices]
        return colours


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
        return _decoded(path)
    except NeuroscopeError:
        raise
    except Exception as error:
        raise unreadable(path, error) from error


def read_truth(path: str | Path) -> np.ndarray | PaletteImage:
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
    try:
        paletted = read_numbered(path) if is_tiff(path) else read_palette(path)
    except NeuroscopeError:
        raise
    except Exception as error:
        raise unreadable(path, error) from error
    return read_image(path) if paletted is None else PaletteImage(*paletted)


def _decoded(path: Path) -> np.ndarray:
    if is_tiff(path):
        return read_tiff(path)
    return read_npy(path) if path.suffix.lower() == ".npy" else read_picture(path)


def _of_picture(path: Path) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the shape and the axes of a picture, which is not decoded for it."""
    if is_tiff(path):
        with open_image(path) as image:
            return image.shape, image.spacing.axes
    return shape_and_axes_of_picture(path)


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
    origin
        The path of a file, or an array in memory: numpy, dask, zarr, ...
    plane
        The index along the first axes, None where all of one is taken; (): the whole.
    names
        What the axes of an array in memory are called; (): what it says itself.
    """

    name: str
    origin: Any
    plane: tuple[int | None, ...] = ()
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, image: Any, name: str = "") -> Source:
        """Return the source of a file, an array, or a source itself."""
        if isinstance(image, Source):
            return image
        if isinstance(image, str | Path):
            path = Path(image)
            return cls(name or name_of(path), path)
        return cls(name or "image", image)

    @property
    def path(self) -> Path | None:
        """The file that it is read from."""
        return self.origin if isinstance(self.origin, Path) else None

    def open(self) -> LazyImage:
        """Return the whole image, its axes and pixel sizes, without reading its values.

        Raises
        ------
        NeuroscopeError
            Where it can't be read.
        """
        if self.path is not None:
            return open_image(self.path)
        if isinstance(self.origin, LazyImage):
            return self.origin
        values = self.origin if hasattr(self.origin, "shape") else np.asarray(self.origin)
        names = self.names or names_of(self.origin) or unnamed_axes(values.shape)
        return LazyImage(self.name, (values,), Spacing.of_pixels(names))

    @property
    def shape(self) -> tuple[int, ...]:
        """The image's shape, found without reading its values.

        Raises
        ------
        NeuroscopeError
            Where it can't be read.
        """
        return self.shape_and_axes[0]

    @property
    def shape_and_axes(self) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """The shape of the image, or of its plane, and the names of its axes; no value is read.

        Raises
        ------
        NeuroscopeError
            Where it can't be read.
        """
        path = self.path
        if path is None or is_lazy(path):
            with _closing(self) as image:
                shape, axes = image.shape, image.spacing.axes
        else:
            refuse_missing(path)
            try:
                shape, axes = _of_picture(path)
            except NeuroscopeError:
                raise
            except Exception as error:
                raise unreadable(path, error) from error
        return tuple(self._left(shape)), tuple(self._left(axes))

    @property
    def spacing(self) -> Spacing:
        """The axes of the image, or of its plane, and how far apart its pixels are.

        Raises
        ------
        NeuroscopeError
            Where it can't be read.
        """
        with _closing(self) as image:
            return image.spacing.along(self._left(image.spacing.axes))

    def axes(self, network: SpecifiedNetwork) -> tuple[tuple[int, ...], ImageAxes]:
        """Return the shape of the image, or of its plane, and which axis is which to a network.

        Raises
        ------
        NeuroscopeError
            Where it can't be read, or not by this network.
        """
        shape, names = self.shape_and_axes
        return shape, axes_of(shape, network.spec, network.channels, names)

    def at(self, positions: Sequence[int], index: Sequence[int], name: str) -> Source:
        """Return its plane at an index on some of its axes, given by their positions."""
        plane = list(self.plane)
        free = [n for n, step in enumerate(plane) if step is None]
        for position, step in zip(positions, index, strict=True):
            behind = len(self.plane) + position - len(free)
            place = free[position] if position < len(free) else behind
            plane += [None] * (place + 1 - len(plane))
            plane[place] = step
        return Source(name, self.origin, tuple(plane), self.names)

    def in_memory(self) -> LazyImage:
        """Return the image, or its plane, with the names of its axes; its values are read.

        Raises
        ------
        NeuroscopeError
            Where it can't be read, or has no such plane.
        """
        values = self.read()
        if self.path is None or is_lazy(self.path):
            return LazyImage(self.name, (values,), self.spacing)
        axes = self.shape_and_axes[1]
        # Of a moving picture its head may say more frames than there are.
        names = axes if len(axes) == values.ndim else unnamed_axes(values.shape)
        return LazyImage(self.name, (values,), Spacing.of_pixels(names))

    def _left(self, of_axes: Sequence[Any]) -> list[Any]:
        """Return of something an axis that of the axes that are taken whole."""
        taken = (*self.plane, *(None,) * (len(of_axes) - len(self.plane)))
        return [of_axis for of_axis, step in zip(of_axes, taken, strict=False) if step is None]

    def read(self) -> np.ndarray:
        """Return the image, or its plane, as an array; of a stack no more than the plane is read.

        Raises
        ------
        NeuroscopeError
            Where it can't be read, or has no such plane.
        """
        if self.path is None:
            return self._plane_of(self.origin)
        if not self.plane or not is_lazy(self.path):
            return self._plane_of(read_image(self.path))
        with open_image(self.path) as image:
            return self._plane_of(image)

    def read_truth(self) -> np.ndarray | PaletteImage:
        """Return the ground truth, or its plane; see `read_truth`."""
        if self.path is None:
            return self._plane_of(self.origin)
        if is_lazy(self.path) and (self.plane or self.path.suffix.lower() not in _WITH_PALETTE):
            return self.read()
        truth = read_truth(self.path)
        return truth if isinstance(truth, PaletteImage) else self._plane_of(truth)

    def _plane_of(self, image: Any) -> np.ndarray:
        try:
            # Lazy arrays read what is indexed, and no more.
            cut = tuple(slice(None) if step is None else step for step in self.plane)
            return np.asarray(image[cut] if cut else image)
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
