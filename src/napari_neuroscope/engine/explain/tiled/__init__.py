"""Explanations of images of any size: tile by tile, equal to those of the whole at once.

`run.py` is where it begins: it checks what is asked (`question.py`), passes the tiles
through the network as often as the method declares (`passes.py`; class activation maps weigh their
channels over all of them first, `weighted_maps.py`), writes each tile's map to the whole's
(`growing_map.py`), and makes the explanation of it (`answer.py`). How tiles lie and what is read for
them is in `engine/tiles`. No method is known here by name.
"""

from napari_neuroscope.engine.explain.tiled.run import explain_tiled

__all__ = ["explain_tiled"]
