"""Colours for classes of which none is stated."""

from __future__ import annotations

import colorsys
from functools import cache

# By CIEDE2000 they are as far as may be from each other and from the colours of errors (green,
# vermilion, pink, yellow), among colours that are neither dark nor pale; the first few most.
_FIRST = (
    (0, 128, 255), (255, 170, 42), (128, 42, 213), (42, 255, 128), (170, 42, 85), (0, 213, 255),
    (128, 128, 0), (170, 170, 255), (255, 85, 85), (128, 85, 0), (0, 128, 0), (255, 0, 255),
    (170, 42, 0), (255, 170, 255), (128, 170, 85), (255, 170, 128), (0, 85, 213), (85, 213, 170),
    (0, 170, 170), (255, 0, 128),
)  # fmt: skip


@cache
def spread_colour(index: int) -> tuple[int, int, int]:
    """Return the colour of a class by its number, apart from those of other classes and of errors.

    Parameters
    ----------
    index
        The number of the class. From the 21st on only the hues of neighbours are far apart.
    """
    if index < len(_FIRST):
        return _FIRST[index]
    # Steps of the golden angle keep the hues of any number of classes apart.
    red, green, blue = colorsys.hsv_to_rgb((0.08 + index * 0.618034) % 1, 0.75, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)
