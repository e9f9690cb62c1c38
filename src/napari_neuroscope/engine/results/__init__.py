"""Explanations as files, written whole or not at all, and read back.

`formats` is the table of the kinds of file; each kind has a file of its own (`tiff`, `ome_zarr`, `npy`, and
`figure` for pictures), of which `save` and `read` know nothing else. `layout` folds the axes of maps into
those that files know. `growing_folder` and `canvas` take the map of an image that is too large for the
memory, tile by tile. It stands on `engine/explanation`, whose record goes into each file, and on
`engine/files`. A new kind of file is a module, and a line in `formats`.
"""
