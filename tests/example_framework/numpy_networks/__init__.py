"""A segmenter in plain NumPy, with gradients worked out by hand."""

from numpy_networks.network import PixelNetwork

__all__ = ["PixelNetwork"]
