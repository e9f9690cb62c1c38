"""Request: what an explanation was asked for with, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from napari_neuroscope.engine.passes.target import Target
from napari_neuroscope.engine.tiles.geometry import Tiling, Window


@dataclass(frozen=True, eq=False)
class Request:
    """What an explanation was asked for with, so that it can be asked again.

    Attributes
    ----------
    targets
        The targets, or classes, as they were given; a classifier's top prediction by its index.
    layer
        The layers as they were given: a name, a list of names, or None.
    options
        The method's options, all of them.
    ground_truth
        The classes of the image's pixels, where they were given.
    several
        Whether the targets were given as a list.
    planes
        Which planes of a stack, as `explain_stack` takes them; None: the image was no stack.
    tiling
        How the image was cut into tiles; None: it was not, or as the network's spec says.
    window
        Which of its pixels were looked at, (first, stop) an axis; None: all.
    """

    targets: tuple[Target, ...]
    layer: Any
    options: Mapping[str, Any]
    ground_truth: Any = None
    several: bool = False
    planes: str | None = None
    tiling: Tiling | None = None
    window: Window | None = None
