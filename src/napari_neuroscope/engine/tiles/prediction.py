"""A network's answer to an image of any size, found tile by tile."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.passes.model import Model
from napari_neuroscope.engine.passes.output.outputs import Outputs
from napari_neuroscope.engine.passes.output_notes import output_notes
from napari_neuroscope.engine.passes.prediction import Prediction
from napari_neuroscope.engine.passes.trace import Trace
from napari_neuroscope.engine.tiles.check import check_by_noise
from napari_neuroscope.engine.tiles.geometry import Geometry, kept, whole_shape
from napari_neuroscope.engine.tiles.reader import TiledInput
from napari_neuroscope.engine.tiles.targets import steps_of_output
from napari_neuroscope.engine.tiles.tiling import Tiling, overlap_notes


def predict_tiled(network: Model, image: Any) -> Prediction:
    """Ask a fully convolutional segmenter for its answer to an image, tile by tile.

    The image is read window by window; the answer is held whole.

    Parameters
    ----------
    network
        A segmenter, made by `load` or `wrap`.
    image
        What can be sliced, of axes as the spec's ``image_axes``.

    Raises
    ------
    NeuroscopeError
        Where the network can't be run tile by tile.
    """
    # Layers found anew, with a size whose divisions leave no rest.
    network = network.with_spec(network.spec)
    geometry, spec, how = Geometry.of(network.layers, network.spec), network.spec, Tiling()
    input = TiledInput(image, spec, network.channels, how.sizes(spec), stride=geometry.block)
    margins = how.margins(geometry, spec)
    if margins == geometry.margins():
        with network.frozen():
            check_by_noise(network, geometry, input.shape, [], [])
    whole: Tensor | None = None
    with network.frozen():
        for tile in geometry.tiles(input.shape, how.sizes(spec), margins):
            part = input.window(tile.start, tile.shape)
            outputs = Trace.of_part(network, part, gradients=False).outputs
            values = outputs.arranged.cpu()
            steps = steps_of_output(geometry, values.shape[1:], tile.shape)
            local, placed = kept(tile, input.shape, steps, values.shape[1:])
            if whole is None:
                shape = whole_shape(tile, values.shape[1:], input.shape, steps)
                whole = torch.empty(values.shape[0], *shape, dtype=values.dtype)
            whole[(slice(None), *placed)] = values[(slice(None), *local)]
    assert whole is not None
    outputs_of_whole = Outputs.of_arranged(whole, like=outputs)
    grid = network.grid_of_output(input.whole_grid, outputs_of_whole.predicted.shape)
    return Prediction(
        network.class_names,
        outputs_of_whole,
        grid,
        Grid.of_image(input.image_shape),
        (
            *input.notes,
            *overlap_notes(how, geometry, spec),
            *output_notes(network, grid, input.whole_grid),
        ),
    )
