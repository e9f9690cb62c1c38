"""Of which explanation a recipe is made: that of the selected layer, or else the last one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explain.recipe import Recipe, recipe_in
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.overlays.registry import is_map
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.viewer.state.layer_origin import explained_by


@dataclass(frozen=True, eq=False)
class ChosenExplanation:
    """An explanation that a recipe is asked of.

    Attributes
    ----------
    name
        What people call it.
    record
        How it was made, as its layer keeps it.
    answer
        The explanation itself, where it was made in this session.
    image
        The file of the image that it is of, where that is one plane.
    """

    name: str
    record: Mapping[str, Any]
    answer: Explanation | None = None
    image: Path | None = None

    @classmethod
    def of(cls, viewer: Any, last: Explanation | None) -> ChosenExplanation:
        """Return what is chosen in a viewer.

        Raises
        ------
        NeuroscopeError
            Where nothing is explained yet.
        """
        layer = viewer.layers.selection.active
        if layer is None or KEY not in layer.metadata:
            if last is None:
                raise NeuroscopeError("Explain something first, or select the layer of a map.")
            layer = next((layer for layer in viewer.layers if _shows(layer, last)), None)
            if layer is None:
                return cls(last.record.full_title, last.provenance, last)
        return cls.of_layer(layer)

    @classmethod
    def of_layer(cls, layer: Any) -> ChosenExplanation:
        """Return what a layer shows."""
        shown = explained_by(layer)
        if shown is None:
            return cls(layer.name, layer.metadata[KEY])
        path = shown.source.source.path
        one_plane = path is not None and not shown.place.others
        return cls(
            layer.name, layer.metadata[KEY], shown.explanation, Path(path) if one_plane else None
        )

    def recipe(self, *, hashed: bool = True) -> Recipe:
        """Return its recipe; `hashed` as `Recipe.of` takes it.

        Raises
        ------
        NeuroscopeError
            Where there can be none, and why.
        """
        if self.answer is not None:
            return Recipe.of(self.answer, hashed=hashed)
        return recipe_in(self.record)


def chosen_map(viewer: Any, last: Explanation | None) -> Any:
    """Return the layer of the selected map, or else of the last one.

    Parameters
    ----------
    viewer
        The viewer.
    last
        The explanation that was made last; None where there is none.

    Raises
    ------
    NeuroscopeError
        Where neither is in the viewer.
    """
    layer = viewer.layers.selection.active
    if layer is not None and is_map(layer.metadata):
        return layer
    layers = [layer for layer in viewer.layers if last is not None and _shows(layer, last)]
    if not layers:
        raise NeuroscopeError("There is no map yet: explain something first, or select a map.")
    return layers[0]


def _shows(layer: Any, explanation: Explanation) -> bool:
    shown = explained_by(layer)
    return shown is not None and shown.explanation is explanation
