"""The colour bar is of the topmost map that is seen, and of no other."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.viewer.legend.colour_bars import ColourBars


def test_the_topmost_map_has_a_colour_bar() -> None:
    viewer = ViewerModel()
    network = ns.wrap(nn.Conv2d(1, 2, 1), {"task": "segmentation"}, device="cpu")
    image = viewer.add_image(np.random.default_rng(0).random((8, 8)), name="photo")
    if not hasattr(image, "colorbar"):
        pytest.skip("napari before 0.9 has no colour bar")
    maps = []
    for method in ("saliency", "score_map"):
        ((data, attributes, _),) = ns.explain(network, image.data, method, 1).to_layer_data(image)[
            :1
        ]
        maps.append(viewer.add_image(data, **attributes))
    bars = ColourBars(viewer)

    def shown() -> list[bool]:
        bars.show(on=True)
        return [layer.colorbar.visible for layer in (image, *maps)]

    assert shown() == [False, False, True]
    maps[1].visible = False
    assert shown() == [False, True, False]
    maps[0].colorbar.visible = False
    assert shown() == [False, False, False], "what the user does stays"
    maps[1].visible = True
    assert shown() == [False, False, True]
    bars.show(on=False)
    assert not any(layer.colorbar.visible for layer in viewer.layers)
