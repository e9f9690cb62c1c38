"""Image files, opened without being read, and bounded before anything of them is decoded.

`image_file` tells what a file is and opens it as a `LazyImage`; there is a reader for TIFF, Zarr, NumPy's
files and pictures each. A new kind is a reader of its levels and spacing here, and a branch of `image_file`.
"""
