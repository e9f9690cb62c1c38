"""Draws the receptive field of a unit as a box on the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from napari_neuroscope.engine.graph.receptive_field import box_on
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.passes.unit_placement import cells_of_layers, laid_out
from napari_neuroscope.viewer.image.image_pixels import Pixels

TITLE = "Receptive field"
_COLOUR = "#f0e442"


class ReceptiveFieldBox:
    """One box in a layer of its own, moved in place.

    Parameters
    ----------
    viewer
        The viewer.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._layer: Any = None

    @property
    def layer(self) -> Any:
        """The layer of the box, if it is in the viewer."""
        return self._layer if self._layer in self._viewer.layers else None

    def show(
        self, graph: LayerGraph, name: str, units: Sequence[int], grid: Grid, pixels: Pixels,
        pixel: Sequence[int],
    ) -> str:  # fmt: skip
        """Draw the field of the unit of a layer that lies at a pixel; return it in words.

        Parameters
        ----------
        graph, name
            The layers, and which of them.
        units
            How many positions the layer has for this image, one number an axis.
        grid
            Where the pixels of the network's input lie on the image.
        pixels
            The image's pixels.
        pixel
            Which of them.

        Raises
        ------
        NeuroscopeError
            Where the field is not known, or the network did not see the pixel.
        """
        placement = laid_out(cells_of_layers(graph).get(name), grid, units)
        cells = np.floor(placement.to_cells(np.asarray(pixel, float)) + 0.5).astype(int)
        if not all(0 <= i < n for i, n in zip(cells, units, strict=True)):
            raise NeuroscopeError(
                "The network did not see this part of the image; click elsewhere."
            )
        unit = tuple(int(i) for i in cells)
        box = np.array(box_on(graph, name, unit, grid.shape), float)
        # From the edge of the first pixel to the edge of the last, as far as there is image.
        scale, offset = np.array(grid.scale)[:, None], np.array(grid.offset)[:, None]
        edges = ((box - 0.5) * scale + offset).clip(-0.5, np.array(pixels.shape)[:, None] - 0.5)
        self._draw(edges, pixels, pixel)
        sizes = " × ".join(f"{stop - start:.4g}" for start, stop in edges)
        return f"Unit ({', '.join(map(str, unit))}) of {name} sees {sizes} pixels of the image."

    def _draw(self, edges: np.ndarray, pixels: Pixels, pixel: Sequence[int]) -> None:
        (top, bottom), (left, right) = edges[-2:]
        corners = [(top, left), (top, right), (bottom, right), (bottom, left)]
        before = [float(place) for place in pixel[:-2]]
        points = np.array([[*before, *corner] for corner in corners])
        vertices = points @ pixels.matrix.T + pixels.offset
        layer = self.layer
        if layer is not None and layer.ndim == vertices.shape[1]:
            layer.data = [vertices]
            layer.shape_type = "polygon"
            return
        if layer is not None:
            self._viewer.layers.remove(layer)
        active = self._viewer.layers.selection.active
        self._layer = self._viewer.add_shapes(
            [vertices],
            shape_type="polygon",
            name=TITLE,
            face_color=[0, 0, 0, 0],
            edge_color=_COLOUR,
            edge_width=max(1.0, 0.004 * float(np.linalg.norm(vertices[2] - vertices[0]))),
            metadata={KEY: {"method": "receptive field"}},
        )
        # What was worked with stays chosen.
        if active is not None:
            self._viewer.layers.selection.active = active

    def remove(self) -> None:
        """Take the box away."""
        if (layer := self.layer) is not None:
            self._viewer.layers.remove(layer)
