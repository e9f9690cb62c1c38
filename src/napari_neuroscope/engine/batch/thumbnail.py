"""A small picture of an image and the map over it, for the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from napari_neuroscope.engine.explanation.colormaps import coloured, limits
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.files.atomic_write import write_whole
from napari_neuroscope.engine.images.axes import in_order_of
from napari_neuroscope.engine.images.grid import Grid, resample
from napari_neuroscope.engine.results.panels import displayable

_SIDE = 192
_GAP = 4


def write_thumbnail(explanation: Explanation, image: np.ndarray, path: Path) -> bool:
    """Write the image beside the same with its first map over it, as JPEG; of a volume one plane.

    Returns whether there is something to show.
    """
    picture = thumbnail(explanation, image)
    if picture is None:
        return False
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda part: Image.fromarray(picture).save(part, quality=85))
    return True


def thumbnail(explanation: Explanation, image: np.ndarray) -> np.ndarray | None:
    """Return the picture, uint8 (y, x, 3); None of a table."""
    shape = explanation.image.shape
    space = len(shape)
    if explanation.is_table or space not in (2, 3):
        return None
    spec = explanation.record.spec or {}
    image = in_order_of(image, explanation.space, spec.get("image_axes"))
    values = explanation.values[(0,) * (explanation.values.ndim - space)]
    values = np.nan_to_num(values, nan=0.0)
    # The image is thinned out before anything else: it may be large.
    step = max(1, -(-max(shape[-2:]) // _SIDE))
    middle = (shape[0] // 2,) if space == 3 else ()
    small = (slice(None, None, step),) * 2
    if image.shape[:space] == shape:
        plane = image[(*middle, *small)]
    elif image.shape[-space:] == shape:
        plane = image[(..., *middle, *small)]
    else:
        return None
    below = displayable(plane, tuple(-(-n // step) for n in shape[-2:]))
    onto = Grid((1,) * (space - 2) + below.shape[:2], (1.0,) * (space - 2) + (float(step),) * 2,
                tuple(map(float, middle)) + (0.0, 0.0))  # fmt: skip
    span = limits(values, signed=explanation.signed, unit=explanation.unit)
    fine = (
        resample(torch.from_numpy(values), explanation.grid, onto).numpy().reshape(below.shape[:2])
    )
    above = coloured(fine, span, signed=explanation.signed)
    alpha = above[..., 3:]
    over = below * (1 - alpha) + above[..., :3] * alpha
    gap = np.ones((len(below), _GAP, 3))
    return (np.concatenate([below, gap, over], axis=1) * 255).round().astype(np.uint8)
