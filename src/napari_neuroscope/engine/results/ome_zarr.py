"""Explanations as OME-Zarr 0.5: folders of chunks, at several resolutions, written part by part."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explanation.colormaps import coloured, is_background, limits
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.record import Record
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.explanation.record_json import grid_in, spacing_in
from napari_neuroscope.engine.images.pyramid import Part, coarsen, level_shapes
from napari_neuroscope.engine.images.spacing import Spacing
from napari_neuroscope.engine.results.layout import Layout, RearrangedArray, layouts_of
from napari_neuroscope.engine.results.units import unit_of

VERSION = "0.5"
"""Of the OME-NGFF standard."""
_KINDS = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
# Small enough to look at one plane, large enough for a disk.
_CHUNKS = {2: (512, 512), 3: (16, 256, 256)}
_BLOCKS = {2: (4096, 4096), 3: (64, 1024, 1024)}
# A folder of more files than this is slow to copy, so that many chunks share a file.
_MOST_FILES = 1 << 14
_CHUNKS_A_SHARD = 8


def save_ome_zarr(
    explanation: Explanation, image: Any, path: Path, spacing: Spacing | None
) -> None:
    """Write the values on their own grid, with coarser levels, and the label maps as labels."""
    if explanation.is_table:
        raise NeuroscopeError(
            "A table of scores has no place on the image; save it as .npy or .tif."
        )
    record = explanation.full_record(spacing)
    store = Store.create(path, record)
    for part in blocks(store.array.shape, len(record["space"])):
        store.array[part] = np.asarray(explanation.values[part], np.float32)
        store.written(part)
    for name, labels in explanation.companions.items():
        store.add_labels(name, np.asarray(labels))
    store.finish()


def blocks(shape: Sequence[int], space: int) -> Iterator[Part]:
    """Yield the parts of an array that are worked on one after the other, (*leading, *space)."""
    sides = (*(1 for _ in shape[:-space]), *_sides(_BLOCKS, space))
    starts = (range(0, n, side) for n, side in zip(shape, sides, strict=True))
    for place in itertools.product(*starts):
        yield tuple(
            slice(at, min(at + side, n)) for at, side, n in zip(place, sides, shape, strict=True)
        )


class Store:
    """A multiscale OME-Zarr image of a map, which is written part by part.

    Made by `Store.create`. Until it is finished, its record says “growing”.

    Attributes
    ----------
    array
        The map, sliced and written along the axes of the record; NaN where nothing was written.
    levels
        The Zarr arrays, the map first and then its coarser levels, along the axes of the file.
    """

    def __init__(self, group: Any, levels: list[Any], record: dict[str, Any]) -> None:
        self._group, self._record = group, record
        self._layout = layouts_of(record)[0]
        self.levels = levels
        same = self._layout.axes == self._layout.file_axes
        self.array: Any = levels[0] if same else RearrangedArray(levels[0], self._layout)
        self._most = np.zeros(self._channels, np.float32)
        self._labels: list[str] = []

    @classmethod
    def create(
        cls,
        path: str | Path,
        record: Mapping[str, Any],
        *,
        chunk: Sequence[int] | None = None,
    ) -> Store:
        """Make an empty image of the shape that a record tells.

        Parameters
        ----------
        path
            The folder, which is not there yet or empty.
        record
            As `Explanation.full_record` returns it; its spacing is that of the image.
        chunk
            The pixels of a chunk along the axes of space, such as (512, 512).

        Raises
        ------
        FileExistsError
            Where the folder holds a Zarr image already.
        """
        import zarr

        layout = layouts_of(record)[0]
        group = zarr.open_group(str(path), mode="w-", zarr_format=3)
        levels = _arrays(group, layout, np.dtype(np.float32), np.nan, chunk)
        store = cls(group, levels, dict(record))
        store._describe(growing=True)
        return store

    def written(self, part: Part) -> None:
        """Bring all that hangs on a part of `array` up to what was just written there.

        `part` is a slice with ends for each axis of the record.
        """
        values = np.asarray(self.array[part])
        layout = self._layout
        sizes = [layout.shape[n] for n in layout.folded]
        inside = [range(part[n].start, part[n].stop) for n in layout.folded]
        channels = [
            int(np.ravel_multi_index(step, sizes)) if step else 0
            for step in itertools.product(*inside)
        ]
        others = tuple(n for n in range(values.ndim) if n not in layout.folded)
        largest = np.abs(values).max(others, initial=0, where=np.isfinite(values)).reshape(-1)
        self._most[channels] = np.maximum(self._most[channels], largest)
        of_axis = dict(zip(layout.axes, part, strict=True))
        for channel in channels:
            of_axis["c"] = slice(channel, channel + 1)
            done = tuple(of_axis.get(axis, slice(0, 1)) for axis in layout.file_axes)
            for fine, coarse in itertools.pairwise(self.levels):
                done = coarsen(fine, coarse, done, len(done) - _first_of_space(layout))

    def add_labels(self, name: str, labels: np.ndarray) -> None:
        """Add a label map on the map's grid, one of those that the record names."""
        number = list(self._record["companions"]).index(name)
        layout = layouts_of(self._record)[1 + number]
        parent = self._group.require_group("labels")
        group = parent.create_group(name)
        arranged = layout.arranged(labels.astype(np.int32))
        first = _first_of_space(layout)
        for array in _arrays(group, layout, np.dtype(np.int32), 0, None):
            array[...] = arranged
            # The nearest of two along each axis of space.
            arranged = arranged[
                (slice(None),) * first + (slice(None, None, 2),) * (arranged.ndim - first)
            ]
        about: dict[str, Any] = {"version": VERSION, "source": {"image": "../../"}}
        if self._record["companions"][name]["ordered"]:
            about["colors"] = _colours_of_order(labels)
        else:
            classes = self._record["classes"]
            about["colors"] = [
                {"label-value": n, "rgba": [*colour, 0 if is_background(word) else 255]}
                for n, (word, colour) in enumerate(classes)
            ]
            about["properties"] = [
                {"label-value": n, "class": word} for n, (word, _) in enumerate(classes)
            ]
        scales = self._multiscales(layout, name, "nearest")
        group.attrs["ome"] = {"version": VERSION, "multiscales": [scales], "image-label": about}
        self._labels.append(name)
        parent.attrs["ome"] = {"version": VERSION, "labels": self._labels}

    def finish(self, record: Mapping[str, Any] | None = None) -> None:
        """Say that all is written; `record` takes the place of the one that it was made with."""
        if record is not None:
            self._record = dict(record)
        self._describe(growing=False)

    @property
    def _channels(self) -> int:
        return dict(zip(self._layout.file_axes, self._layout.file_shape, strict=True)).get("c", 1)

    def _describe(self, *, growing: bool) -> None:
        record = {**self._record, "most": float(self._most.max())}
        if growing:
            record["growing"] = True
        names = self._layout.channel_names(record["labels"]) or [
            Record.from_json(record).full_title
        ]
        title = Record.from_json(record).full_title
        self._group.attrs.put({
            "ome": {
                "version": VERSION,
                "multiscales": [self._multiscales(self._layout, title, "local mean")],
                "omero": _omero(names, self._most, signed=record["signed"]),
            },
            # Through JSON, so that what is written is what is read.
            KEY: json.loads(json.dumps(record)),
        })  # fmt: skip

    def _multiscales(self, layout: Layout, name: str, how: str) -> dict[str, Any]:
        """Return what is said of the levels; `how` the coarser ones were made of the finer."""
        spacing = _along_file(self._record, layout)
        axes = []
        for axis, unit in zip(layout.file_axes, spacing.units, strict=True):
            said = {"name": axis, "type": _KINDS[axis]}
            if (unit_of_axis := unit_of(unit)) is not None and axis != "c":
                said["unit"] = unit_of_axis.name
            axes.append(said)
        sizes, factors = layout.file_shape, [1] * len(axes)
        first, datasets = _first_of_space(layout), []
        for number in range(len(self.levels)):
            steps = [step * n for step, n in zip(spacing.steps, factors, strict=True)]
            origin = [
                o + step * (n - 1) / 2
                for o, step, n in zip(spacing.origin, spacing.steps, factors, strict=True)
            ]
            datasets.append({
                "path": str(number),
                "coordinateTransformations": [
                    {"type": "scale", "scale": steps},
                    {"type": "translation", "translation": origin},
                ],
            })  # fmt: skip
            factors = [
                n * 2 if at >= first and size > 1 else n
                for at, (n, size) in enumerate(zip(factors, sizes, strict=True))
            ]
            sizes = tuple(-(-n // 2) if at >= first else n for at, n in enumerate(sizes))
        return {"name": name, "axes": axes, "datasets": datasets, "type": how}


def _colours_of_order(labels: np.ndarray) -> list[dict[str, Any]]:
    """Return colours of regions by their order, the first as the largest value of a map."""
    numbers = np.unique(labels)
    numbers = numbers[numbers > 0]
    rank = 1 - np.arange(len(numbers)) / max(len(numbers), 1)
    shades = (coloured(rank, (0.0, 1.0), signed=False)[:, :3] * 255).round().astype(int)
    return [
        {"label-value": int(number), "rgba": [*shade, 255]}
        for number, shade in zip(numbers, shades.tolist(), strict=True)
    ]


def _along_file(record: Mapping[str, Any], layout: Layout) -> Spacing:
    """Return the spacing of a map's cells along the axes of the file."""
    space = record["space"]
    of_image = (spacing_in(record) or Spacing.of_pixels(space)).along(space)
    of_cells = of_image.of_grid(grid_in(record["grid"]))
    # Channels have no place; an axis that only the file has is of one pixel.
    return of_cells.along([axis if axis != "c" else "" for axis in layout.file_axes])


def _first_of_space(layout: Layout) -> int:
    return sum(axis in ("t", "c") for axis in layout.file_axes)


def _sides(of: Mapping[int, tuple[int, ...]], space: int) -> tuple[int, ...]:
    """Return the sides of a block along as many axes; the first of more than three are of one."""
    most = of[min(max(space, 2), 3)]
    return (1,) * (space - len(most)) + most[max(len(most) - space, 0) :]


def _arrays(
    group: Any, layout: Layout, dtype: np.dtype[Any], fill: float, chunk: Sequence[int] | None
) -> list[Any]:
    """Make the arrays of all levels."""
    first = _first_of_space(layout)
    space = len(layout.file_axes) - first
    sides = tuple(chunk) if chunk is not None else _CHUNKS[space]
    made = []
    for number, shape in enumerate(level_shapes(layout.file_shape, space)):
        chunks = (1,) * first + tuple(
            min(side, n) for side, n in zip(sides, shape[first:], strict=True)
        )
        files = np.prod([-(-n // side) for n, side in zip(shape, chunks, strict=True)])
        shards = tuple(
            side * (_CHUNKS_A_SHARD if at >= len(shape) - 2 else 1)
            for at, side in enumerate(chunks)
        )
        made.append(
            group.create_array(
                str(number),
                shape=shape,
                chunks=chunks,
                shards=shards if files > _MOST_FILES else None,
                dtype=dtype,
                fill_value=fill,
                dimension_names=layout.file_axes,
            )
        )
    return made


def _omero(names: Sequence[str], most: np.ndarray, *, signed: bool) -> dict[str, Any]:
    channels: list[dict[str, Any]] = []
    for name, largest in zip(names, most, strict=True):
        low, high = limits(np.array([largest]), signed=signed)
        shade = coloured(np.array(high), (low, high), signed=signed)[:3]
        channels.append({
            "label": name,
            "color": "".join(f"{round(255 * n):02X}" for n in shade),
            "window": {"start": low, "end": high, "min": low, "max": high},
            "active": len(channels) == 0,
        })  # fmt: skip
    return {"channels": channels, "rdefs": {"model": "color"}}
