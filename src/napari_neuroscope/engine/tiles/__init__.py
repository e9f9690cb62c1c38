"""Tiles of large images: where they lie, what is read for them, and whether they add up to the whole."""

# Scripts of recipes from before 0.1.0's folders import it from here.
from napari_neuroscope.engine.tiles.tiling import Tiling

__all__ = ["Tiling"]
