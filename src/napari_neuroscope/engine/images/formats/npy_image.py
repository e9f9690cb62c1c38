"""NumPy's files: mapped where they lie, so that what their header claims is there or is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files.reading.bounded_file import refuse_irregular
from napari_neuroscope.engine.files.reading.decoded_size import refuse_large_image

# Of numbers it is of a hundred characters, and Python evaluates it.
_MOST_HEADER = 10_000


def map_npy(path: Path) -> np.ndarray:
    """Return the values of a file, which are read when they are looked at.

    Raises
    ------
    NeuroscopeError
        Where it is no file, or holds Python objects.
    ValueError, OSError
        Where it is damaged, or shorter than it says.
    """
    refuse_irregular(path)
    # Of objects it raises: they are pickles, which run code.
    values = np.lib.format.open_memmap(path, mode="r", max_header_size=_MOST_HEADER)
    if values.dtype.kind not in "buifc":
        raise NeuroscopeError(
            f"The image {shortened(str(path), 300)} holds values of the type {values.dtype}; "
            f"numbers are needed."
        )
    return values


def read_npy(path: Path) -> np.ndarray:
    """Return the values of a file.

    Raises
    ------
    NeuroscopeError
        Where it is no file, holds Python objects, or more than the memory.
    ValueError, OSError
        Where it is damaged, or shorter than it says.
    """
    mapped = map_npy(path)
    refuse_large_image(mapped.nbytes, path)
    return np.array(mapped)
