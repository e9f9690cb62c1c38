"""The sizes of images that an unknown network is tried with, the likeliest first."""

from __future__ import annotations

from napari_neuroscope.engine.spec.model_spec import SizeRule

_SIDES_OF_PLANES = (64, 128, 224, 256, 32, 299, 384, 512, 28, 448)
_SIDES_OF_VOLUMES = (32, 64, 16, 48, 96, 128)
_MOST_USUAL = {2: 4, 3: 3}


def trial_sides(axes: int) -> tuple[int, ...]:
    """Return how long the sides of squares, or of cubes, are that a network is tried with."""
    return _SIDES_OF_PLANES if axes < 3 else _SIDES_OF_VOLUMES


def usual_shapes(size: tuple[int, ...] | SizeRule | None, axes: int) -> list[tuple[int, ...]]:
    """Return a few spatial shapes that a network is likely to take.

    Parameters
    ----------
    size
        What is known of the sizes that it takes.
    axes
        How many spatial axes it has.
    """
    if isinstance(size, tuple):
        return [size]
    rule = size or SizeRule()
    sides = trial_sides(axes)[: _MOST_USUAL.get(axes, 4)]
    return [rule.smallest_shape((side,) * axes) for side in sides]
