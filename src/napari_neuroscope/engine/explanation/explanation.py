"""Explanation: values, where they lie on the image, and how they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from napari_neuroscope.engine.errors import in_digits
from napari_neuroscope.engine.explanation.overlays.kind import LayerData, OverlaySource
from napari_neuroscope.engine.explanation.overlays.place import Place
from napari_neuroscope.engine.explanation.overlays.placement import Placement
from napari_neuroscope.engine.explanation.overlays.registry import layers_of
from napari_neuroscope.engine.explanation.recipe_document import recorded
from napari_neuroscope.engine.explanation.record import Record, Unfinished
from napari_neuroscope.engine.explanation.record_format import FORMAT
from napari_neuroscope.engine.explanation.request import Request
from napari_neuroscope.engine.images.grid import Grid, resample, resample_nearest
from napari_neuroscope.engine.images.spacing import Spacing
from napari_neuroscope.engine.methods.interface.result import INTENSITY

_SPACE = frozenset("zyx")


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a method says about a network and an image.

    Attributes
    ----------
    values
        Raw float32 values, never rescaled, with axes named by `axes`.
    axes
        Such as ("class", "layer", "y", "x"); those of the grid come last, such as ("t", "y", "x")
        where the planes of a stack were explained. A table has none of these.
    labels
        What the steps of the leading axes are called, by axis.
    grid
        Where the cells of the spatial axes lie on the image.
    image
        The grid of the image's own pixels.
    signed
        Whether zero is the middle of the values.
    unit
        What the values are.
    companions
        Label maps beside it, by name: whole numbers on the same grid.
    ordered
        Those of the companions that count regions in their order from 1, and not classes; they
        have the leading axes "class" and "layer" of the values.
    classes
        The names and colours (red, green, blue of 0..255) of the network's classes, which the
        label maps count.
    record
        How it was made: all that is needed to make it again.
    request
        The same as it was given, with regions and images in memory; None where it was not made
        in this session.
    """

    values: np.ndarray
    axes: tuple[str, ...]
    labels: Mapping[str, tuple[str, ...]]
    grid: Grid
    image: Grid
    signed: bool
    unit: str
    record: Record
    companions: Mapping[str, np.ndarray] = field(default_factory=dict)
    ordered: frozenset[str] = frozenset()
    classes: tuple[tuple[str, tuple[int, int, int]], ...] = ()
    request: Request | None = None

    @property
    def method(self) -> str:
        """The name of the method."""
        return self.record.method

    @property
    def is_picture(self) -> bool:
        """Whether its values are a picture's, as of the network's input."""
        return self.unit == INTENSITY

    @property
    def provenance(self) -> dict[str, Any]:
        """All that is needed to make it again, as plain JSON: a copy of its record."""
        return self.record.to_json()

    def with_notes(self, *notes: str) -> Explanation:
        """Return it with more notes in its record."""
        return replace(self, record=self.record.with_notes(*notes))

    def so_far(self, done: int, total: int, of: str | None = None) -> Explanation:
        """Return it as one that came as far as `done` of `total` passes, or what `of` says."""
        return replace(self, record=replace(self.record, unfinished=Unfinished(done, total, of)))

    @property
    def unfinished(self) -> str:
        """How far it came, such as “312 of 2,000 passes”; empty where it is finished."""
        return "" if self.record.unfinished is None else self.record.unfinished.in_words()

    @property
    def is_part(self) -> bool:
        """Whether it is of a part of the image alone."""
        return self.record.is_part

    @property
    def is_table(self) -> bool:
        """Whether the values have no place on the image."""
        # A map's last axis is one that the network looks along.
        return not self.axes or self.axes[-1] not in _SPACE

    @property
    def leading(self) -> tuple[str, ...]:
        """The axes before those of the grid, such as ("class", "layer")."""
        return self.axes if self.is_table else self.axes[: -len(self.grid.shape)]

    @property
    def space(self) -> tuple[str, ...]:
        """The axes of the grid, such as ("y", "x"), after those of a stack; () for a table."""
        return self.axes[len(self.leading) :]

    def table_in_words(self, most: int = 10) -> list[str]:
        """Return what its table says, a line each; nothing where it has none."""
        table = self.record.table or {}
        names = table.get("class", [])
        if "probability" in table:
            rows = sorted(zip(names, table["probability"], strict=True), key=lambda row: -row[1])
            return [f"{name}: {value:.1%}" for name, value in rows[:most]]
        if "similarity" not in table:
            return []
        lines = []
        columns = zip(*table["similarity"], strict=True)
        for region, means in zip(names, columns, strict=True):
            ranked = sorted(
                (row for row in zip(means, names, strict=True) if row[0] is not None),
                key=lambda row: -row[0],
            )
            if ranked:
                best = ", ".join(f"{name} {in_digits(mean)}" for mean, name in ranked[:3])
                lines.append(
                    f"mean {self.unit.replace('_', ' ')} where {region} is predicted: {best}"
                )
        return lines[:most]

    def on_image(self) -> np.ndarray:
        """Return the values resampled linearly to the image's own pixels.

        Returns
        -------
        ndarray
            float32 (*leading axes, *image axes); NaN where the network did not see the image.
        """
        if self.is_table:
            return self.values
        values = np.asarray(self.values)
        fine = resample(torch.from_numpy(values), self.grid, self.image).numpy()
        # Equal grids need no resampling; what is returned is still no part of this.
        return fine.copy() if np.may_share_memory(fine, values) else fine

    def companion_on_image(self, name: str) -> np.ndarray:
        """Return a label map at the image's own pixels, by nearest neighbour; −1 outside."""
        return resample_nearest(
            np.asarray(self.companions[name]), self.grid, self.image, outside=-1
        )

    def full_record(self, spacing: Spacing | None = None, *, hashed: bool = True) -> dict[str, Any]:
        """Return its record with what its values are, as files and layers keep it: plain JSON.

        Parameters
        ----------
        spacing
            How far apart the image's pixels are, where that is known.
        hashed
            Whether the recipe holds the hash of the network's file, which takes time.
        """
        record = {
            **self.record.to_json(),
            "format": FORMAT,
            "axes": list(self.axes),
            "shape": list(self.values.shape),
            "space": list(self.space),
            "labels": {axis: list(names) for axis, names in self.labels.items()},
            "signed": self.signed,
            "unit": self.unit,
            "grid": _plain_grid(self.grid),
            "image_grid": _plain_grid(self.image),
            "classes": [[name, list(colour)] for name, colour in self.classes],
            "companions": {
                name: {"ordered": name in self.ordered, "shape": list(labels.shape)}
                for name, labels in self.companions.items()
            },
        }
        if "recipe" not in record and (self.request is not None or "no_recipe" not in record):
            # What was read from a file has its recipe in its record.
            record.pop("no_recipe", None)
            record |= recorded(self, hashed=hashed)
        if spacing is not None:
            record["spacing"] = {
                name: list(getattr(spacing, name)) for name in ("axes", "steps", "origin", "units")
            }
        return record

    def overlay_source(
        self, source: Any = None, plane: Sequence[int] | Place = ()
    ) -> OverlaySource:
        """Return what its overlays are made of, over an image's layer; not of a table.

        Parameters
        ----------
        source, plane
            As `to_layer_data` takes them.
        """
        stack = len(self.record.stack_axes)
        place = Place.of(plane, len(self.space) - stack, stack)
        return OverlaySource(
            title=self.record.full_title,
            values=self.values,
            leading=self.leading,
            grid=self.grid,
            record=place.turned(self.full_record(hashed=False)),
            placement=Placement.of(source, self.space, place),
            companions=self.companions,
        )

    def to_layer_data(
        self, source: Any = None, plane: Sequence[int] | Place = ()
    ) -> list[LayerData]:
        """Return napari layer data, (data, attributes, type), that lies exactly over the image.

        Parameters
        ----------
        source
            The image's napari layer (or the attributes of one as a mapping), whose transform,
            units and axis labels the new layers take over; None for an image as it is.
        plane
            Where on the source's axes the map lies; or the index on each axis of the source before
            those that the network looks along, and after those of a stack.

        Returns
        -------
        list of (data, attributes, type)
            The first is the topmost. Empty for a table, which has no place on the image.
        """
        return [] if self.is_table else layers_of(self.overlay_source(source, plane))


def _plain_grid(grid: Grid) -> dict[str, Any]:
    return {"shape": list(grid.shape), "scale": list(grid.scale), "offset": list(grid.offset)}
