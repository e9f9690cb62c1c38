"""The stack of layers' maps that the viewer shows, and the region in which they are to lie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explanation.overlays.place import spatial_axes
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.passes.target import Mask
from napari_neuroscope.viewer.image.image_pixels import Pixels, go_to_step, shown_index
from napari_neuroscope.viewer.image.layer_regions import LayerRegion
from napari_neuroscope.viewer.image.painted_labels import TrueClassLabels
from napari_neuroscope.viewer.image.region_checks import kind_of
from napari_neuroscope.viewer.layers.maps.stack_follower import steps_of


@dataclass(frozen=True)
class TrueClass:
    """Where a layer of labels says that the class is that is shown."""

    layer: Any

    @property
    def title(self) -> str:
        """What people call it."""
        return f"{self.layer.name}: the shown class"


Region = LayerRegion | TrueClass


def regions_of(layers: Iterable[Any]) -> list[Region]:
    """Return the regions that layers tell, those of true classes first.

    A map of an explanation is none: layers are the user's, or of a prediction.
    """
    drawn = [
        layer
        for layer in layers
        if kind_of(layer)
        and layer.metadata.get(KEY, {}).get("method") in (None, "prediction", "ground truth")
    ]
    true_classes: list[Region] = [
        TrueClass(layer)
        for layer in drawn
        if kind_of(layer) == "labels" and "class" in layer.features
    ]
    return true_classes + [
        LayerRegion(layer, part) for layer in drawn for part in ("all", "selected")
    ]


@dataclass(frozen=True)
class ShownStack:
    """A layer of maps, one for each of several layers of a network.

    Attributes
    ----------
    layer
        The viewer's layer.
    viewer
        Whose sliders say which class and slice is shown.
    """

    layer: Any
    viewer: Any

    @classmethod
    def of(cls, viewer: Any) -> ShownStack | None:
        """Return the stack that is chosen, or the topmost that is seen."""
        active = viewer.layers.selection.active
        stacks = [layer for layer in reversed(viewer.layers) if _is_stack(layer)]
        if active in stacks:
            return cls(active, viewer)
        # Those of a second network are looked at where they are chosen.
        first = (layer for layer in stacks if not layer.metadata[KEY].get("beside"))
        layer = next(first, None)
        return None if layer is None else cls(layer, viewer)

    @property
    def _record(self) -> dict[str, Any]:
        record: dict[str, Any] = self.layer.metadata[KEY]
        return record

    def step(self, axis: str) -> int:
        """Return where the slider of an axis of the maps stands; 0 where there is none."""
        return steps_of(self.viewer, self.layer).get(axis, 0)

    def go_to(self, step: int) -> None:
        """Move the slider to a layer of the network."""
        go_to_step(self.layer, self._record["axes"].index("layer"), step, self.viewer)

    def state(self) -> tuple[Any, ...]:
        """Return what the shown maps depend on: the layer, its values, class and slice."""
        return (
            self.layer,
            self.layer.data.shape,
            id(self.layer.data),
            self.step("class"),
            self._slice(),
        )

    def maps(self) -> tuple[np.ndarray, list[str]]:
        """Return the maps of the shown class and slice, (layer, *space), and the layers' names."""
        axes = self._record["axes"]
        index: list[Any] = [slice(None)] * self.layer.ndim
        for axis, step in self._slice():
            index[axis] = step
        if "class" in axes:
            index[axes.index("class")] = self.step("class")
        return np.asarray(self.layer.data[tuple(index)]), self._record["labels"]["layer"]

    def _space(self) -> tuple[int, ...]:
        """Return along which of the maps' axes the network looks."""
        return spatial_axes(self._record, self.layer.ndim)

    def _slice(self) -> tuple[tuple[int, int], ...]:
        """Return where the sliders stand on the image's axes that the network doesn't look along."""
        space, sizes = self._space(), self.layer.data.shape
        first = len(self._record["axes"]) - len(self._record["space"])
        index = shown_index(self.layer, self.viewer)
        axes = (axis for axis in range(first, self.layer.ndim) if axis not in space)
        return tuple((axis, min(max(index[axis], 0), sizes[axis] - 1)) for axis in axes)

    def mask(
        self, region: Region, class_names: Sequence[str] | None, void: int | None = None
    ) -> Mask:
        """Return where a region is on the maps' pixels.

        Parameters
        ----------
        region
            What says where.
        class_names
            Those of the network; without one, only the shown class is known.
        void
            The label that is of no class.

        Raises
        ------
        NeuroscopeError
            Where the region is empty, or the network has no class of the shown name.
        """
        pixels = Pixels.of(self.layer, self._space(), self.viewer)
        if isinstance(region, LayerRegion):
            return region.take(pixels, self.viewer).mask
        labels = self._record["labels"]
        shown = (labels.get("class") or labels.get("target") or ("",))[self.step("class")]
        names = [shown] if class_names is None else list(class_names)
        if shown not in names:
            raise NeuroscopeError(f"The network has no class “{shown}”; explain the image anew.")
        truth = TrueClassLabels.of(region.layer, pixels, self.viewer, void)
        return truth.mask(names.index(shown), names)


def _is_stack(layer: Any) -> bool:
    axes = layer.metadata.get(KEY, {}).get("axes", ())
    return bool(layer.visible and "layer" in axes and "channel" not in axes)
