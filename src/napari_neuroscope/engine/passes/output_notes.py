"""What a reader should know of a network's output: which it is, what it leaves out, and chance."""

from __future__ import annotations

from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.passes.model import Model


def output_notes(model: Model, grid: Grid | None, onto: Grid) -> tuple[str, ...]:
    """Say which of several outputs is explained, and what of the image it leaves out.

    Parameters
    ----------
    model
        The network.
    grid
        Where the output's positions lie; None where it has none.
    onto
        Where the pixels of the network's input lie.
    """
    choice = model.output_choice
    notes = (choice.in_words(),) if choice is not None and choice.is_of_several else ()
    notes = (*notes, *model.output_end.notes())
    return notes if grid is None else (*notes, *model.output_finder.notes_of_place(grid, onto))


def usual_output_notes(model: Model) -> tuple[str, ...]:
    """Say of the output what `output_notes` does, for an image of a usual size."""
    layers = model.layers
    onto, shape = Grid.of_image(layers.input_shape), model.output_finder.shape
    has_positions = model.spec.task == "segmentation" and bool(shape)
    return output_notes(model, model.grid_of_output(onto, shape) if has_positions else None, onto)


def chance_notes(model: Model) -> tuple[str, ...]:
    """Say that the network draws random numbers, where it does."""
    if not model.adapter.draws:
        return ()
    return (
        "the network draws random numbers as it runs (dropout or noise, say): each pass draws the "
        "same ones here, others give another answer",
    )
