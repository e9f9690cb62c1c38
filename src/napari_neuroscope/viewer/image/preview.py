"""An image as a network sees it, as a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from napari_neuroscope.engine.images.preprocessing import PreparedImage


@dataclass(frozen=True, eq=False)
class Preview:
    """A picture of a network's input.

    Attributes
    ----------
    picture
        Red, green, blue, uint8 (y, x, 3): the first three channels in the network's own order, or
        the first alone, from the lowest to the highest value. Of a volume, the middle plane.
    caption
        What it shows: shape and range of the values.
    """

    picture: np.ndarray
    caption: str

    @classmethod
    def of(cls, prepared: PreparedImage) -> Preview:
        """Make the picture of what a network gets."""
        values: Tensor = prepared.input
        low, high = float(values.min()), float(values.max())
        shape = " × ".join(str(n) for n in values.shape)
        shown = values
        while shown.ndim > 3:
            shown = shown[:, shown.shape[1] // 2]
        if shown.ndim == 2:
            shown = shown[:, None]
        shown = shown[:3] if len(shown) >= 3 else shown[:1].expand(3, -1, -1)
        unit = (shown - low) / ((high - low) or 1.0)
        picture = (255 * unit).round().byte().permute(1, 2, 0).numpy()
        return cls(
            np.ascontiguousarray(picture),
            f"{shape} ({prepared.order}), values {low:.3g} to {high:.3g}",
        )
