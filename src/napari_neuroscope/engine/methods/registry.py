"""Which methods there are: those of the families here, then those of other packages."""

from __future__ import annotations

from collections.abc import Iterator

from napari_neuroscope.engine.methods import (
    activations,
    attention_rollout,
    cams,
    gradient_free_cams,
    gradients,
    integrated_gradients,
    lrp,
    occlusion,
    rise,
    score_maps,
    smooth_grad,
)
from napari_neuroscope.engine.methods.interface.catalogue import methods
from napari_neuroscope.engine.methods.interface.method_class import Method
from napari_neuroscope.engine.methods.regions import segmented_score_maps, similarity_map, xrai
from napari_neuroscope.engine.plugin_catalogue import load_entry_points

__all__ = ["GROUP", "methods"]

GROUP = "napari_neuroscope.methods"
"""The entry points of methods of other packages."""


def _installed() -> Iterator[Method]:
    """Yield all methods, in the order in which they are offered."""
    families = (activations, gradients, integrated_gradients, smooth_grad, lrp, cams,
                gradient_free_cams, attention_rollout, occlusion, rise, score_maps,
                segmented_score_maps, xrai, similarity_map)  # fmt: skip
    for family in families:
        here = vars(family).values()
        yield from (value for value in here if isinstance(value, Method))
    yield from load_entry_points(GROUP, "method")


methods.find_with(_installed)
