"""What is to be said of the values of a map: that they are zero, or no numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from napari_neuroscope.engine.methods.interface import Method, Needs


def count_not_finite(values: np.ndarray) -> int:
    """Return how many values are infinite or no numbers."""
    return int(values.size - np.count_nonzero(np.isfinite(values)))


def not_finite_notes(count: int, total: int) -> tuple[str, ...]:
    """Say that of so many values of a map so many are not finite, and where to look."""
    if not count:
        return ()
    # Without their number, so that planes of a stack say the same.
    some = "no value of the map is" if count == total else "some values of the map are not"
    return (
        f"{some} finite: look at the network's weights, at the input that it gets (method "
        f"“input”), and at half precision if it runs in it",
    )


def are_zero(values: np.ndarray, axes: Sequence[str]) -> np.ndarray:
    """Return which classes' and layers' maps are zero everywhere."""
    leading = sum(axis in ("class", "layer") for axis in axes)
    return np.asarray(~values.reshape(*values.shape[:leading], -1).any(-1))


def zero_notes(
    zero: np.ndarray,
    axes: Sequence[str],
    labels: dict[str, tuple[str, ...]],
    reason_of: Callable[[Sequence[tuple[str, int]]], str],
) -> tuple[str, ...]:
    """Say which classes' and layers' maps are zero everywhere, and why.

    Parameters
    ----------
    zero
        Which are, by class and layer.
    axes, labels
        Of the maps.
    reason_of
        Returns why, as the end of a sentence, for a place along the axes of classes and layers.
    """
    leading = [axis for axis in axes if axis in ("class", "layer")]
    places: dict[str, list[np.ndarray]] = {}
    for place in np.argwhere(zero):
        reason = reason_of([(axis, int(at)) for axis, at in zip(leading, place, strict=True)])
        places.setdefault(reason, []).append(place)
    notes = []
    for reason, there in places.items():
        which = ""
        if len(there) < zero.size:
            named = [
                ", ".join(f"“{labels[axis][at]}”" for axis, at in zip(leading, place, strict=True))
                for place in there[:3]
            ]
            which = f" of {'; '.join(named)}{'; …' if len(there) > 3 else ''}"
        notes.append(f"the map{which} is zero everywhere{reason}")
    return tuple(notes)


def likely_reason(chosen: Method, options: dict[str, Any]) -> str:
    """Return why a method's map is likely to be zero, as the end of a sentence."""
    needs = chosen.needs_with(options)
    if Needs.POSITIONS in needs and Needs.TARGET in needs and options.get("relu", True):
        sign = "relu=False" if "relu" in options else "Grad-CAM with relu=False"
        return f": nothing in the layer speaks for the class; {sign} shows what speaks against it"
    if Needs.GRADIENTS in needs or Needs.RELEVANCE in needs:
        return ": small changes of the image don't change the score; another score or class may"
    if Needs.TARGET in needs and chosen.gradual:
        return ": hiding parts of the image doesn't change the score; another score or class may"
    return ""
