"""Explanations in OME-Zarr folders, read piece by piece."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.files.limits import MOST_TEXT
from napari_neuroscope.engine.files.reading.bounded_file import read_text
from napari_neuroscope.engine.files.reading.inside_folder import refuse_outside
from napari_neuroscope.engine.files.reading.plain_data import parse_json
from napari_neuroscope.engine.images.formats.lazy_image import LazyImage
from napari_neuroscope.engine.images.formats.zarr_image import level_of
from napari_neuroscope.engine.images.spacing import Spacing
from napari_neuroscope.engine.results.layout import Layout, layouts_of

_MOST_LEVELS, _MOST_CHUNKS = 100, 4_000_000


def record_in_zarr(path: Path) -> dict[str, Any] | None:
    """Return the record of a folder; None where it is none of ours. No values are read."""
    attributes = _attributes(path)
    record, ome = attributes.get(KEY), attributes.get("ome")
    ours = isinstance(record, dict) and isinstance(ome, dict) and "multiscales" in ome
    return record if ours else None


def _attributes(path: Path) -> dict[str, Any]:
    described = path / "zarr.json"
    if not described.is_file():
        return {}
    refuse_outside(described, path)
    said = parse_json(read_text(described, MOST_TEXT))
    attributes = said.get("attributes") if isinstance(said, dict) else None
    return attributes if isinstance(attributes, dict) else {}


def arrays_in_zarr(path: Path, record: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the values and the label maps, as dask arrays."""
    from napari_neuroscope.engine.images.formats.zarr_store import open_zarr

    group, layouts = open_zarr(path), layouts_of(record)
    companions = {}
    for name, layout in zip(record["companions"], layouts[1:], strict=True):
        stored = _lazy(group, f"labels/{name}/0", path)
        _refuse_other_shape(stored, layout)
        companions[name] = layout.restored(stored)
    return levels_in_zarr(path, record)[0], companions


def levels_in_zarr(path: Path, record: Mapping[str, Any]) -> list[Any]:
    """Return the map and its coarser levels, as dask arrays along the axes of the record."""
    from napari_neuroscope.engine.images.formats.zarr_store import open_zarr

    layout, group = layouts_of(record)[0], open_zarr(path)
    levels: list[Any] = []
    datasets = _attributes(path)["ome"]["multiscales"][0]["datasets"]
    if not isinstance(datasets, list) or not 0 < len(datasets) <= _MOST_LEVELS:
        raise ValueError("its levels are no list, or too many")
    for level in datasets:
        stored = _lazy(group, str(level["path"]), path)
        if not levels:
            _refuse_other_shape(stored, layout)
        sizes = dict(zip(layout.file_axes, stored.shape, strict=True))
        level_shape = tuple(
            sizes[axis] if axis in ("z", "y", "x") else n
            for axis, n in zip(layout.axes, layout.shape, strict=True)
        )
        levels.append(Layout(layout.axes, level_shape).restored(stored))
    return levels


def _refuse_other_shape(stored: Any, layout: Layout) -> None:
    if tuple(stored.shape) != layout.file_shape or stored.dtype.kind not in "fiu":
        raise ValueError(f"it holds {stored.dtype} {stored.shape}, not {layout.file_shape}")


def _lazy(group: Any, name: str, path: Path) -> Any:
    import dask.array as da

    array = level_of(group, name, path)
    # dask keeps a list of them.
    if (
        math.prod(-(-n // side) for n, side in zip(array.shape, array.chunks, strict=True))
        > _MOST_CHUNKS
    ):
        raise ValueError(f"its array “{name}” is of more than {_MOST_CHUNKS:,} chunks")
    # What is damaged in it shows when it is read; it is told in a sentence then.
    told = LazyImage(path.name, (array,), Spacing.of_pixels([str(n) for n in range(array.ndim)]))
    return da.from_array(told, chunks=array.chunks, name=False)
