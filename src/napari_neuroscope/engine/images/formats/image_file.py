"""Image files that are opened without being read: axes, pixel sizes, and values on demand."""

from __future__ import annotations

from pathlib import Path

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files.reading.bounded_file import open_regular, refuse_irregular
from napari_neuroscope.engine.images.axes import unnamed_axes
from napari_neuroscope.engine.images.formats import tiff_image, zarr_image
from napari_neuroscope.engine.images.formats.lazy_image import LazyImage, unreadable
from napari_neuroscope.engine.images.formats.npy_image import map_npy
from napari_neuroscope.engine.images.formats.picture import read_picture, shape_and_axes_of_picture
from napari_neuroscope.engine.images.formats.zarr_image import is_zarr
from napari_neuroscope.engine.images.spacing import Spacing

_TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


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
    levels, spacing = zarr_image.levels_of(path)
    return LazyImage(path.name, levels, spacing, _chunks_are_files=True)


def _open_file(path: Path) -> LazyImage:
    if is_tiff(path):
        levels, spacing, close = tiff_image.levels_of(path)
        return LazyImage(path.name, levels, spacing, close)
    if path.suffix.lower() == ".npy":
        values = map_npy(path)
    else:
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
