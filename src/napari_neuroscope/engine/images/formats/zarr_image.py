"""Zarr folders: OME-Zarr images and plates of the versions 0.4 and 0.5, and plain arrays."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.reading.inside_folder import is_plain_name, refuse_outside
from napari_neuroscope.engine.images.axes import unnamed_axes
from napari_neuroscope.engine.images.formats.lazy_image import unreadable
from napari_neuroscope.engine.images.spacing import Spacing

SUFFIX = ".zarr"
_MARKS = ("zarr.json", ".zgroup", ".zarray")
_MOST_LEVELS = 100
# Images of the first versions named no axes.
_OLD_AXES = ("t", "c", "z", "y", "x")


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr array or group, or a part of one."""
    return path.is_dir() and any((path / mark).is_file() for mark in _MARKS)


def container_of(path: Path) -> Path:
    """Return the outermost Zarr folder that holds an image: the path itself where there is none."""
    outermost = path
    for parent in path.parents:
        if not is_zarr(parent):
            break
        outermost = parent
    return outermost


def images_of(path: Path) -> list[Path]:
    """Return the images of a Zarr folder: the fields of a plate, the images of a set, or itself.

    Raises
    ------
    NeuroscopeError
        Where it says of itself what can't be.
    """
    try:
        said = _said(path)
        if "plate" in said:
            return _fields_of_plate(path, said["plate"])
        if "bioformats2raw.layout" in said and "multiscales" not in said:
            return _series(path)
    except NeuroscopeError:
        raise
    except Exception as error:
        raise unreadable(path, error) from error
    return [path]


def levels_of(path: Path) -> tuple[tuple[Any, ...], Spacing]:
    """Return the arrays of an image, the finest first, and its spacing.

    Raises
    ------
    NeuroscopeError
        Where it holds no image, or says of itself what can't be.
    """
    import zarr

    from napari_neuroscope.engine.images.formats.zarr_store import open_zarr

    node = open_zarr(path)
    if isinstance(node, zarr.Array):
        return (node,), Spacing.of_pixels(_axes_of(node))
    said = _ome(dict(node.attrs))
    if "multiscales" not in said:
        images = images_of(path)
        if images and images != [path]:
            names = ", ".join(str(inner.relative_to(path)) for inner in images[:3])
            raise NeuroscopeError(f"{path} holds several images; choose one, such as {names}.")
        # There may be very many.
        arrays = sorted(name for name, _ in itertools.islice(node.arrays(), 1000))
        choose = f"one of its arrays, {', '.join(arrays[:3])}" if arrays else "another"
        raise NeuroscopeError(f"The Zarr folder {path} holds no OME-Zarr image; choose {choose}.")
    image = _first(said["multiscales"], "multiscales", path)
    datasets = _list(image, "datasets", path)
    if len(datasets) > _MOST_LEVELS:
        raise _wrong(path, f"it names {len(datasets):,} resolutions")
    paths = [str(_of(dataset, "path", path)) for dataset in datasets]
    levels = tuple(level_of(node, name, path) for name in paths)
    return levels, _spacing(image, len(levels[0].shape), path)


# --- what the metadata says -----------------------------------------------------------------------


def _said(path: Path) -> dict[str, Any]:
    from napari_neuroscope.engine.images.formats.zarr_store import open_zarr

    if not is_zarr(path):
        raise NeuroscopeError(f"There is no image {path}.")
    return _ome(dict(open_zarr(path).attrs))


def _ome(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return what a group says as OME-Zarr, which from 0.5 on stands under “ome”."""
    ome = attributes.get("ome")
    return ome if isinstance(ome, dict) else attributes


def _wrong(path: Path, what: str) -> NeuroscopeError:
    return NeuroscopeError(f"The OME-Zarr metadata of {path} is damaged: {what}.")


def _list(held: Any, name: str, path: Path) -> list[Any]:
    value = _of(held, name, path)
    if not isinstance(value, list) or not value:
        raise _wrong(path, f"“{name}” is no list, or an empty one")
    return value


def _of(held: Any, name: str, path: Path) -> Any:
    if not isinstance(held, Mapping) or name not in held:
        raise _wrong(path, f"“{name}” is missing")
    return held[name]


def _first(held: Any, name: str, path: Path) -> Any:
    return _list({name: held}, name, path)[0]


def _fields_of_plate(path: Path, plate: Any) -> list[Path]:
    named = _list(plate, "wells", path)
    if len(named) > limits.MOST_SET:
        raise _wrong(path, f"it names {len(named):,} wells")
    # One that is named twice is looked at once.
    wells = dict.fromkeys(within(path, _of(well, "path", path)) for well in named)
    fields: dict[Path, None] = {}
    for well in wells:
        fields.update(dict.fromkeys(_fields(path, well)))
        if len(fields) > limits.MOST_SET:
            raise _wrong(path, f"it names more than {limits.MOST_SET:,} images")
    return list(fields)


def _fields(plate: Path, well: Path) -> list[Path]:
    if not is_zarr(well):
        raise _wrong(plate, f"it names the well {well.relative_to(plate)}, which is not there")
    images = _list(_of(_said(well), "well", well), "images", well)
    if len(images) > limits.MOST_SET:
        raise _wrong(well, f"it names {len(images):,} images")
    return [within(well, _of(image, "path", well)) for image in images]


def _series(path: Path) -> list[Path]:
    """Return the images that bioformats2raw wrote side by side."""
    if is_zarr(path / "OME") and isinstance(named := _said(path / "OME").get("series"), list):
        if len(named) > limits.MOST_SET:
            raise _wrong(path, f"it names {len(named):,} images")
        return [within(path, name) for name in named]
    numbered = (p for p in path.iterdir() if p.name.isdecimal() and len(p.name) < 20)
    return [within(path, p.name) for p in sorted(numbered, key=lambda p: int(p.name))]


def within(path: Path, name: Any) -> Path:
    """Return a folder below another; a name or a link that leads out of it is refused.

    Raises
    ------
    NeuroscopeError
        Where it is one.
    """
    text = str(name)
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if not parts or len(text) > 1000 or text.startswith("/") or not all(map(is_plain_name, parts)):
        raise _wrong(path, f"“{shortened(text, 100)}” is no folder in it")
    inner = path.joinpath(*parts)
    refuse_outside(inner, path)
    return inner


def _spacing(image: Any, ndim: int, path: Path) -> Spacing:
    said = image.get("axes")
    axes = _OLD_AXES[-ndim:] if said is None else tuple(_axis_name(axis, path) for axis in said)
    if len(axes) != ndim or len(set(axes)) != ndim:
        raise _wrong(path, f"it names the axes {', '.join(axes)} of an image of {ndim}")
    units = [axis.get("unit") if isinstance(axis, Mapping) else None for axis in said or axes]
    steps, origin = [1.0] * ndim, [0.0] * ndim
    first = _list(image, "datasets", path)[0]
    # What holds for all levels comes after what holds for one.
    for holder in (first, image):
        for change in holder.get("coordinateTransformations", ()):
            kind = change.get("type") if isinstance(change, Mapping) else None
            if kind not in ("scale", "translation"):
                continue
            numbers = _numbers(change.get(kind), ndim, f"its {kind}", path)
            if kind == "scale":
                if not all(n > 0 for n in numbers):
                    raise _wrong(path, "its scale is not above zero")
                steps = [a * b for a, b in zip(steps, numbers, strict=True)]
                origin = [a * b for a, b in zip(origin, numbers, strict=True)]
            else:
                origin = [a + b for a, b in zip(origin, numbers, strict=True)]
    return Spacing(axes, tuple(steps), tuple(origin), tuple(str(unit or "pixel") for unit in units))


def _axis_name(said: Any, path: Path) -> str:
    name = said if isinstance(said, str) else _of(said, "name", path)
    if not isinstance(name, str) or not name:
        raise _wrong(path, f"an axis is named {name!r:.60}")
    return name


def _numbers(values: Any, count: int, what: str, path: Path) -> list[float]:
    numbers = values if isinstance(values, list) else []
    if len(numbers) != count or not all(
        isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n) for n in numbers
    ):
        raise _wrong(path, f"{what} has not {count} numbers")
    return [float(n) for n in numbers]


# --- arrays ---------------------------------------------------------------------------------------


def level_of(group: Any, name: str, path: Path) -> Any:
    """Return an array of a group that `open_zarr` opened.

    Raises
    ------
    NeuroscopeError
        Where it is not there, lies in another folder, or is packed in a way that is not read.
    """
    import zarr

    from napari_neuroscope.engine.images.formats.zarr_store import bounded_array

    within(path, name)
    array = group.get(name)
    if not isinstance(array, zarr.Array):
        raise _wrong(path, f"it names the array “{shortened(name, 100)}”, which is not there")
    return bounded_array(array, path)


def _axes_of(array: Any) -> Sequence[str]:
    """Return the names of the axes of a plain array, where it tells them."""
    said = getattr(array.metadata, "dimension_names", None)
    said = said or array.attrs.get("_ARRAY_DIMENSIONS")
    good = isinstance(said, list | tuple) and all(isinstance(name, str) and name for name in said)
    if good and len(said) == len(set(said)) == array.ndim:
        return tuple(said)
    return unnamed_axes(array.shape)
