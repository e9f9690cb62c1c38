"""Which labels say where the classes of the chosen image truly are, where only one layer can."""

from __future__ import annotations

from typing import Any

from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.image.layer_regions import GROUND_TRUTH, may_be_true, shows


def only_true_labels(session: Session, viewer: Any) -> Any:
    """Return the one layer of labels that fits the chosen image as its ground truth.

    The ground truth that the dock “Images” shows fits its own image. Labels of the user's may be
    anything, such as instances: they count once it is asked where a class truly is, where they are
    of the image's size. None where no layer fits, or several do.
    """
    fitting = [layer for layer in viewer.layers if fits(session, layer)]
    return fitting[0] if len(fitting) == 1 else None


def fits(session: Session, layer: Any) -> bool:
    """Whether a layer may be the ground truth of the chosen image."""
    image, comparison = session.image, session.comparison
    if image is None or not may_be_true(layer):
        return False
    if shows(layer, GROUND_TRUTH):
        if comparison is None or comparison.truth is None:
            return False
        # A layer may come through a proxy of napari's, which is another object.
        return bool(comparison.source.unique_id == image.unique_id)
    return session.region == "ground_truth" and _size(layer) == _size(image)


def _size(layer: Any) -> tuple[int, ...]:
    finest = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
    return tuple(finest.shape[: layer.ndim])
