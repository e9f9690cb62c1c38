"""An image of a batch and its maps as layer data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_neuroscope.engine.explanation.overlays.kind import LayerData
from napari_neuroscope.engine.images.formats.image_file import open_image
from napari_neuroscope.engine.images.formats.lazy_image import LazyImage
from napari_neuroscope.engine.results.save import read_result
from napari_neuroscope.viewer.io.saved_layers import layers_of

# The first of these that was written is shown: with most of what is known of a map.
_MAPS = (".zarr", ".tif", ".npy")
# A larger image is read piece by piece, as it is looked at.
_IN_MEMORY_BYTES = 500_000_000


def results_data(image: str | Path, outputs: Sequence[str | Path]) -> list[LayerData]:
    """Read an image and what a batch has made of it, as layer data, the image first.

    Parameters
    ----------
    image
        The file of the image.
    outputs
        The files that were written of it.

    Raises
    ------
    NeuroscopeError
        Where one of them can't be read.
    """
    layers = [image_data(open_image(image))]
    by_kind = {Path(output).suffix.lower(): Path(output) for output in outputs}
    saved_map = next((by_kind[kind] for kind in _MAPS if kind in by_kind), None)
    if saved_map is not None:
        result = read_result(saved_map)
        if not result.explanation.is_table:
            # The first is the topmost.
            layers += layers_of(result)[::-1]
    elif ".png" in by_kind:
        picture = open_image(by_kind[".png"])
        layers.append((np.asarray(picture), {"name": picture.name, "rgb": True}, "image"))
    return layers


def image_data(image: LazyImage) -> LayerData:
    """Return an image file as layer data, with its axes and the sizes of its pixels."""
    spacing, shape = image.spacing, image.shape
    rgb = spacing.axes[-1] == "c" and shape[-1] in (3, 4)
    spacing = spacing.along(spacing.axes[:-1]) if rgb else spacing
    attributes = {
        "name": image.name,
        "rgb": rgb,
        "scale": spacing.steps,
        "translate": spacing.origin,
        "units": spacing.units,
        "axis_labels": spacing.axes,
        "multiscale": len(image.levels) > 1,
    }
    if len(image.levels) > 1:
        return list(image.levels), attributes, "image"
    if image.data.nbytes > _IN_MEMORY_BYTES:
        return image.data, attributes, "image"
    with image:
        return np.asarray(image), attributes, "image"
