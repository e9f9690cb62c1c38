"""Which way up a picture lies, by the eight orientations of EXIF and TIFF."""

from __future__ import annotations

import numpy as np

UPRIGHT = 1
# Of each orientation, whether rows and columns are swapped, then what is mirrored.
_TURNS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def is_turned(orientation: object) -> bool:
    """Whether a number is that of an orientation other than upright."""
    return isinstance(orientation, int) and orientation in _TURNS


def swaps_sides(orientation: int) -> bool:
    """Whether rows and columns are swapped."""
    return orientation in _TURNS and _TURNS[orientation][0]


def turned_upright(values: np.ndarray, orientation: int, y: int = 0, x: int = 1) -> np.ndarray:
    """Return a view of an image as it is seen; `y` and `x` say which of its axes are turned."""
    if orientation not in _TURNS:
        return values
    swapped, down, across = _TURNS[orientation]
    if swapped:
        values = np.swapaxes(values, y, x)
    return np.flip(values, tuple(axis for axis, wanted in ((y, down), (x, across)) if wanted))
