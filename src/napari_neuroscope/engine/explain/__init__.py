"""The one way from a question to its map: of a whole image, of tiles, of stacks and of crops.

`whole.explain` is where it begins; it hands larger images to `tiled` and each plane of a stack to itself.
"""
