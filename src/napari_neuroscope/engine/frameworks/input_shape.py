"""Whether what a network takes can be an image at all, told by the shape of its input."""

from __future__ import annotations

from collections.abc import Sequence

from napari_neuroscope.engine.errors import NeuroscopeError


def refuse_without_image(shape: Sequence[int | None] | None, axes: str) -> None:
    """Refuse rows and tables of numbers, as of sound and of text.

    Parameters
    ----------
    shape
        Of the input as the model tells it, with None where it leaves a size open.
    axes
        Their order as it was found out; what is stated is not looked at.

    Raises
    ------
    NeuroscopeError
        Where there are no two axes that could be an image's.
    """
    if shape is None:
        return
    without_batch = tuple(shape[1:])
    if axes == "yx":
        # Two open sizes are an image's, and two of more than one as well.
        holds_image = shape[0] != 1 and (shape[0] is not None or shape[1] is None)
        without_batch = without_batch if not holds_image else tuple(shape)
    else:
        # A row for each of the batch has one axis beside its channels.
        row = len(shape) == 3 and 1 in without_batch
        holds_image = len(shape) > 2 and not row and sum(axis in "zyx" for axis in axes) > 1
    if holds_image:
        return
    sizes = " × ".join("any" if n is None else f"{n:,}" for n in without_batch)
    raise NeuroscopeError(
        f"The network takes {sizes} numbers, as of sound, text or a table, which hold no image; if "
        f"they do, state the spec's input.axes."
    )
