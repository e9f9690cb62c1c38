"""Digests tell images of other values apart, however they lie in the memory."""

from __future__ import annotations

import numpy as np

from napari_neuroscope.engine.images.digest import image_digest


def test_values_count_and_not_where_they_lie() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert image_digest(image.T.copy().T) == image_digest(image)
    assert image_digest(image + 1) != image_digest(image)
    assert image_digest(np.empty((0, 3))) == image_digest(np.empty((3, 0)))
