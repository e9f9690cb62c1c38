"""Questions asked of an image, as points that can be read on it."""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel

from napari_neuroscope.viewer.image.image_pixels import Pixels
from napari_neuroscope.viewer.layers.asked_points import AskedPoints


def luminance(colour: np.ndarray) -> float:
    """Return the relative luminance of red, green and blue of 0..1, as WCAG defines it."""
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def test_words_are_read_on_bright_and_on_dark_images() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((40, 50)), name="photo")
    pixels = Pixels.of(image, (0, 1), viewer)
    answer = {
        "class": "nucleus",
        "probability": 0.25,
        "score": 2.5,
        "layer": "dec1",
        "method": "Grad-CAM",
        "time": 0.1,
    }
    layer = AskedPoints(viewer).add(image, "yx", pixels, (7, 9), answer)
    assert layer.text.values.tolist() == ["nucleus 25%"]
    np.testing.assert_array_equal(layer.data, [(7, 9)])
    words = np.asarray(layer.text.color.constant)[:3]
    for seen in (words, np.asarray(layer.border_color[0])[:3]):
        bright = luminance(seen) + 0.05
        # 4.5 is what WCAG asks of small words; nothing is further from both.
        assert min(1.05 / bright, bright / 0.05) >= 4.5
