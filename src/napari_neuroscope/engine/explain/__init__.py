"""The one way from a question to its map: of a whole image, of tiles, of stacks and of crops.

`explain.explain` is where it begins: it takes an image as a whole (`whole`) or by tiles (`tiled/`). `maps` runs the
method, `assemble` puts its maps on one grid, with their notes and record. `stacked_planes` asks plane by plane,
`recipe` asks again as a file says. A new way of cutting an image up belongs here.
"""
