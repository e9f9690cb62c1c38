"""Where scripts of recipes from before 0.1.0's folders look for `read_image`; new ones ask the package."""

from napari_neuroscope.engine.images.source import read_image

__all__ = ["read_image"]
