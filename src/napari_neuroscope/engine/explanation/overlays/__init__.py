"""What an explanation becomes in napari, without napari: its layers as plain data.

`kind.py` is what each kind of overlay declares, `registry.py` knows them all: the map itself
(`map_kinds.py`), its label maps (`label_maps.py`), and those of other packages. `placement.py` and
`place.py` say where layers lie. Nothing here knows an `Explanation`, which makes its layers with
this: a kind is given the arrays, their record, and where they lie. A new kind is a class of
`OverlayKind` in a file of its own here, and a line in `registry.py`; docs/extending.md shows one of
another package.
"""
