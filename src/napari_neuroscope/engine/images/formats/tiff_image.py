"""TIFF files, read page by page or tile by tile, with the axes and pixel sizes that they tell."""

from __future__ import annotations

import math
import struct
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files.reading.decoded_size import refuse_large_image
from napari_neuroscope.engine.files.reading.plain_data import PlainDataError
from napari_neuroscope.engine.files.reading.plain_xml import parse_xml
from napari_neuroscope.engine.images.axes import unnamed_axes
from napari_neuroscope.engine.images.formats.tiff_checks import bound_tiles, refuse_endless
from napari_neuroscope.engine.images.formats.tiff_codecs import refuse_compression
from napari_neuroscope.engine.images.formats.tiff_colours import TiffColours
from napari_neuroscope.engine.images.formats.tiff_sets import check_neighbours, check_set
from napari_neuroscope.engine.images.spacing import Spacing

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

_UNITS = {
    "µm": "micrometer", "μm": "micrometer", "um": "micrometer", "micron": "micrometer",
    "microns": "micrometer", "micrometer": "micrometer", "nm": "nanometer", "mm": "millimeter",
    "cm": "centimeter", "m": "meter", "pm": "picometer", "å": "angstrom", "in": "inch",
    "inch": "inch", "s": "second", "sec": "second", "ms": "millisecond", "µs": "microsecond",
    "ns": "nanosecond", "min": "minute", "h": "hour", "d": "day",
}  # fmt: skip
_DEFAULT_UNITS = {"t": "s", "z": "µm", "y": "µm", "x": "µm"}
_OME_STEPS = {
    "t": "TimeIncrement", "z": "PhysicalSizeZ", "y": "PhysicalSizeY", "x": "PhysicalSizeX",
}  # fmt: skip

AT_ONCE = ("is_lsm", "is_scanimage", "is_ndpi", "is_eer")
"""Kinds of files that tifffile looks through as soon as it opens them."""
# Those of microscopes, which are laid out in ways of their own.
_RARE = ("lsm", "mmstack", "ndtiff", "fluoview", "stk", "sis", "svs", "scn", "qpi", "ndpi", "bif",
         "avs", "eer", "philips", "scanimage", "nih", "mdgel")  # fmt: skip
# A ground truth's numbers are of one byte.
_MOST_COLOURS = 256

AxisSteps = Mapping[str, tuple[float, str]]
"""The step and unit along each axis of which these are known."""


def levels_of(path: Path) -> tuple[tuple[Any, ...], Spacing, Callable[[], None]]:
    """Return the arrays of a file's first image, the finest first, its spacing, and what closes it.

    Raises
    ------
    NeuroscopeError
        Where it asks for more than is sensible, or for files of other folders.
    """
    file, _ = open_tiff(path)
    # What is cut out of it may outlive the image.
    weakref.finalize(file, file.filehandle.close)
    try:
        series = first_series(file)
        levels, axes = _levels_and_axes(path, file, series)
        axis_steps = _steps_of_ome(file) if file.is_ome else _steps_of_imagej(file)
    except BaseException:
        file.close()
        raise
    return levels, _spacing(axes, axis_steps), file.close


def read_tiff(path: Path) -> np.ndarray:
    """Return the whole first image of a file.

    Raises
    ------
    NeuroscopeError
        Where it asks for more than is sensible, or for files of other folders.
    """
    file, others = open_tiff(path)
    with file:
        series = first_series(file)
        return TiffColours(file, series).seen(read_series(series, path, others), series.axes)[0]


def read_numbered(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the numbers of an image's colours, (y, x), and the colours; None where it has no palette.

    Raises
    ------
    NeuroscopeError
        Where it asks for more than is sensible, or for files of other folders.
    """
    file, others = open_tiff(path)
    with file:
        series = first_series(file)
        colours = TiffColours(file, series)
        palette = colours.palette
        if palette is None or series.axes != "YX" or len(palette) > _MOST_COLOURS:
            return None
        indices, _ = colours.upright(read_series(series, path, others), series.axes)
    whole = np.zeros((_MOST_COLOURS, 3), np.uint8)
    whole[: len(palette)] = palette
    return indices, whole


def read_series(series: TiffPageSeries, path: Path, others: Sequence[Path] = ()) -> np.ndarray:
    """Return all of an image of an open file; `others` are the other files of its set.

    Raises
    ------
    NeuroscopeError
        Where it is too large for its files.
    """
    refuse_compression(series.keyframe, path)
    refuse_large_image(series.nbytes, path, files=others)
    bound_tiles(series, path.name, path.stat().st_size)
    return series.asarray()


def open_tiff(path: Path) -> tuple[TiffFile, tuple[Path, ...]]:
    """Return an open file whose images may be looked at, and the other files of its set.

    Raises
    ------
    NeuroscopeError
        Where its pages never end, or it asks for files of other folders.
    """
    import tifffile

    refuse_endless(path)
    later: dict[str, Any] = dict.fromkeys(AT_ONCE, False)
    file = tifffile.TiffFile(path, **later)
    try:
        others = check_set(file, path)
        rare = _rare_kinds(file)
        if rare:
            check_neighbours(file, path)
            try_rare(path, rare)
            file.close()
            file = tifffile.TiffFile(path)
            others = check_set(file, path)
    except BaseException:
        file.close()
        raise
    return file, others


def _rare_kinds(file: TiffFile) -> tuple[str, ...]:
    first = file.pages.first if file.pages else None
    return tuple(kind for kind in _RARE if getattr(first, f"is_{kind}", False))


def try_rare(path: Path, kinds: Sequence[str]) -> None:
    """Look at a file of a microscope's own kind in another process, which is ended if it takes long.

    There are many such kinds, each of which tells its size in another way.

    Raises
    ------
    NeuroscopeError
        Where it can't be read there.
    """
    from napari_neuroscope.engine.files.code.trial import TrialError, try_in_process

    try:
        try_in_process(f"{__name__}:_shapes_of", str(path))
    except TrialError as error:
        raise NeuroscopeError(
            f"The image {shortened(str(path), 300)} of the kind {', '.join(kinds)} can't be read: "
            f"{error.reason}."
        ) from error


def _shapes_of(path: str) -> list[list[int]]:
    import tifffile

    with tifffile.TiffFile(path) as file:
        return [list(series.shape) for series in file.series]


def first_series(file: TiffFile) -> TiffPageSeries:
    """Return the first image; a file that was cut off is no image of fewer pages.

    Raises
    ------
    NeuroscopeError
        Where it is cut off, or holds none.
    """
    handle, form = file.filehandle, file.tiff
    place = file.pages.next_page_offset
    if place is not None and not file.is_ndpi:
        handle.seek(place)
        held = handle.read(form.offsetsize)
        cut = len(held) < form.offsetsize
        if cut or struct.unpack(form.offsetformat, held)[0] >= handle.size:
            raise NeuroscopeError(f"The image {handle.path} can't be read: it is cut off.")
    if not file.series:
        raise NeuroscopeError(f"The image {handle.path} can't be read: it holds no picture.")
    return file.series[0]


def _levels_and_axes(
    path: Path, file: TiffFile, series: TiffPageSeries
) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    colours = TiffColours(file, series)
    if colours.are_plain:
        size = path.stat().st_size
        levels = tuple(_array(path, file, series, n, size) for n in range(len(series.levels)))
        return levels, _axes(series.axes, series.shape)
    seen, letters = colours.seen(read_series(series, path), series.axes)
    return (seen,), _axes(letters, seen.shape)


def _array(path: Path, file: TiffFile, series: TiffPageSeries, number: int, size: int) -> Any:
    """Return one level: mapped where it lies in the file as in memory, else decoded on demand."""
    level = series.levels[number]
    offset = None if level.is_multifile else level.dataoffset
    if offset is not None and offset + level.nbytes <= size:
        dtype = np.dtype(file.byteorder + level.dtype.char)
        return np.memmap(path, dtype, "r", offset, level.shape)
    import zarr

    refuse_compression(level.keyframe, path)
    bound_tiles(level, path.name, size)
    return zarr.open_array(series.aszarr(level=number), mode="r")


def _axes(letters: str, shape: Sequence[int]) -> tuple[str, ...]:
    """Return the names of a series' axes; those that mean nothing are numbered."""
    unnamed = unnamed_axes(shape)
    names = [
        {"S": "c" if "C" not in letters else "s"}.get(letter, letter.lower())
        if letter in "TCZYXS"
        else unnamed[n]
        for n, letter in enumerate(letters)
    ]
    distinct = len(set(names)) == len(names)
    return tuple(names) if distinct else unnamed


def _steps_of_ome(file: TiffFile) -> AxisSteps:
    """Return the steps of the first image of OME-XML; what can't be read is not known."""
    try:
        root = parse_xml(file.ome_metadata or "")
    except PlainDataError:
        return {}
    pixels = next((e for e in root.iter() if e.tag.rpartition("}")[2] == "Pixels"), None)
    if pixels is None:
        return {}
    return {
        axis: (_number(pixels.get(name)), pixels.get(f"{name}Unit", _DEFAULT_UNITS[axis]))
        for axis, name in _OME_STEPS.items()
        if name in pixels.keys()  # noqa: SIM118  an element is no mapping
    }


def _steps_of_imagej(file: TiffFile) -> AxisSteps:
    """Return the steps that ImageJ wrote; a resolution without its unit says nothing."""
    said = file.imagej_metadata
    if not said:
        return {}
    unit = str(said.get("unit", "")).replace("\\u00B5", "µ")
    axis_steps = {"t": (_number(said.get("finterval")), str(said.get("tunit", "s")))}
    axis_steps["z"] = (_number(said.get("spacing")), unit)
    tags = file.pages.first.tags
    for axis, name in (("y", "YResolution"), ("x", "XResolution")):
        value = tags[name].value if name in tags else None
        if isinstance(value, tuple) and len(value) == 2 and all(value):
            axis_steps[axis] = (value[1] / value[0], unit)
    return axis_steps


def _number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan


def _spacing(axes: Sequence[str], axis_steps: AxisSteps) -> Spacing:
    pixels = Spacing.of_pixels(axes)
    steps, units = list(pixels.steps), list(pixels.units)
    for n, axis in enumerate(axes):
        step, said = axis_steps.get(axis, (math.nan, ""))
        unit = _UNITS.get(said.strip().casefold())
        # Files of microscopes often say 0, or a size without a unit: then it is not known.
        if unit is not None and math.isfinite(step) and step > 0:
            steps[n], units[n] = step, unit
    return Spacing(pixels.axes, tuple(steps), pixels.origin, tuple(units))
