"""What a kind of overlay declares: what it shows, as which layers, and what is kept of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from napari_neuroscope.engine.explanation.overlays.place import ONE_STEP
from napari_neuroscope.engine.explanation.overlays.placement import Placement
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.methods.interface.result import INTENSITY

LayerData = tuple[Any, dict[str, Any], str]
"""The data of a layer, its attributes, and its type, such as "image"."""
LayerType = Literal["image", "labels", "points", "shapes", "surface", "tracks", "vectors"]
OVERLAY = "overlay"
"""Under what name a layer's record keeps which kind of overlay it is."""


@dataclass(frozen=True, eq=False)
class OverlaySource:
    """What overlays are made of: the arrays of an explanation, their record, and where they lie.

    Attributes
    ----------
    title
        What is shown of which class and layer.
    values
        Raw values (*leading, *space), in the order of the explanation.
    leading
        The axes before those of the grid, such as ("class", "layer").
    grid
        Where the cells of the spatial axes lie on the image.
    record
        How the values were made, as plain JSON, with its axes in the order of the layer's.
    placement
        Where on the image's layer they lie.
    companions
        Label maps beside the values, by name.
    """

    title: str
    values: Any
    leading: tuple[str, ...]
    grid: Grid
    record: dict[str, Any]
    placement: Placement
    companions: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """The name of the method."""
        return str(self.record["method"])

    @property
    def is_picture(self) -> bool:
        """Whether the values are a picture's, and no map of what speaks for something."""
        return bool(self.record["unit"] == INTENSITY)

    @property
    def signed(self) -> bool:
        """Whether zero is the middle of the values."""
        return bool(self.record["signed"])

    @property
    def laid_values(self) -> Any:
        """The values along the axes of the layer: (*leading, *axes of the image's layer)."""
        return self.placement.place.laid(self.values, len(self.leading))

    def attributes(
        self, kind: OverlayKind, name: str, leading: Sequence[str] | None = None, **said: Any
    ) -> dict[str, Any]:
        """Return the attributes of a layer: its name, its record, and where it lies.

        Parameters
        ----------
        kind, name
            What the layer is, and what it is called.
        leading
            The axes that its data have before those of the image's layer; those of the values
            where they are not told.
        said
            What its record says beside.
        """
        axes, place = self.leading if leading is None else leading, self.placement.place
        one_step = {ONE_STEP: list(place.one_step)} if place.others else {}
        return {
            "name": name,
            "metadata": {KEY: {**self.record, **one_step, OVERLAY: kind.name, **said}},
            **self.placement.attributes(self.grid, axes),
        }


class OverlayKind(ABC):
    """A kind of layers that an explanation becomes.

    Attributes
    ----------
    name
        What it is called in records of layers and in files, such as "heat map".
    layer_type
        What napari calls such layers.
    look
        The layers' attributes that a file keeps, beside their data.
    """

    name: ClassVar[str]
    layer_type: ClassVar[LayerType]
    look: ClassVar[tuple[str, ...]] = ("name", "visible", "opacity", "blending")

    @abstractmethod
    def takes(self, source: OverlaySource) -> bool:
        """Whether there is something of an explanation that this kind shows."""

    @abstractmethod
    def layers(self, source: OverlaySource) -> list[LayerData]:
        """Return its layers, the first the topmost; `OverlaySource.attributes` begins them."""

    def follow(self, layer: Any, steps: Mapping[str, int]) -> None:  # noqa: B027  most needn't
        """Fit a layer in the viewer to the steps of its leading axes that the sliders show."""

    def still_shows(self, layer: Any, values: Any) -> bool:
        """Whether a layer shows what was made of some values: the user may give it other data."""
        return True

    def tile_look(self, tiles: np.ndarray, *, signed: bool) -> dict[str, Any] | None:
        """Return how maps of one look side by side, as attributes; None where they can't lie so."""
        return None
