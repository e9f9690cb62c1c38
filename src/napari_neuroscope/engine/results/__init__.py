"""Explanations as files: TIFF, OME-Zarr, NumPy, pictures and figures, written whole or not at all."""
