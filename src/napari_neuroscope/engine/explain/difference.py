"""The difference of two explanations of one image, as by two networks or two checkpoints of one."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.map_notes import count_not_finite, not_finite_notes
from napari_neuroscope.engine.explanation.record import Record, TargetRecord
from napari_neuroscope.engine.images.grid import resample

Scale = Literal["raw", "largest"]


def difference(first: Explanation, second: Explanation, scale: Scale = "raw") -> Explanation:
    """Subtract the first explanation from the second, where both lie on one image.

    Parameters
    ----------
    first, second
        Of one image by one method. Classes, several layers and channels go together by name, in
        whichever order; maps of one layer each go together whatever their layers are called.
    scale
        ``"raw"`` takes the values as they are; ``"largest"`` divides each map (of one class, layer
        and channel) by its own largest absolute value first, since the scores of two networks, and
        so their maps, may be of different sizes. A map of zeros stays as it is.

    Returns
    -------
    Explanation
        Signed values with the axes of the first: above zero where the second has more. They lie
        on the grid of whichever has the smaller cells, to which the other is resampled linearly
        between half-pixel centres; NaN where one of them did not see the image. The record holds
        those of both.

    Raises
    ------
    NeuroscopeError
        Where they are of different images or methods, where one has no place on the image, or
        where their axes or the names on them don't match.
    """
    if scale not in ("raw", "largest"):
        raise NeuroscopeError(f"There is no scale “{scale}”; take “raw” or “largest”.")
    _check(first, second)
    values, others = first.values, _in_order_of(first, second)
    if scale == "largest":
        space = len(first.grid.shape)
        values, others = _of_largest(values, space), _of_largest(others, space)
    onto = min(first.grid, second.grid, key=lambda grid: math.prod(grid.scale))
    a = resample(torch.from_numpy(values), first.grid, onto)
    b = resample(torch.from_numpy(others), second.grid, onto)
    record = _record(first, second, scale).with_notes(*_of_values(first, second, b - a))
    return Explanation(
        values=(b - a).numpy(),
        axes=first.axes,
        labels=first.labels,
        grid=onto,
        image=first.image,
        signed=True,
        unit=f"difference of {first.unit}",
        record=record,
    )


def _of_values(first: Explanation, second: Explanation, values: Tensor) -> list[str]:
    """Say of which map it comes where values are not finite."""
    named = (("first", first), ("second", second))
    ill = [name for name, explanation in named if count_not_finite(explanation.values)]
    if ill:
        return [f"some values of the {' and the '.join(ill)} map are not finite"]
    # They may be too large for their difference.
    count = count_not_finite(values.numpy()) if first.grid == second.grid else 0
    return list(not_finite_notes(count, values.numel()))


def _check(first: Explanation, second: Explanation) -> None:
    a, b = first.record, second.record
    if a.image_digest != b.image_digest or first.image != second.image:
        raise NeuroscopeError("The two explanations are of different images; explain one image.")
    if a.method != b.method:
        raise NeuroscopeError(
            f"The first is {a.title}, the second {b.title}; explain both by one method."
        )
    if first.is_table or second.is_table:
        raise NeuroscopeError(f"{a.title} has no place on the image, so there is no difference.")
    if first.axes != second.axes:
        raise NeuroscopeError(
            f"The first has the axes {', '.join(first.axes)}, the second "
            f"{', '.join(second.axes)}; choose as many classes and layers for both."
        )
    if first.labels.get("target") != second.labels.get("target"):
        ours, theirs = (", ".join(e.labels.get("target", ("none",))) for e in (first, second))
        raise NeuroscopeError(
            f"The first is of the class “{ours}”, the second of “{theirs}”; choose one class for both."
        )


def _in_order_of(first: Explanation, second: Explanation) -> np.ndarray:
    """Return the second's values, the steps of their leading axes in the order of the first's."""
    values = second.values
    for number, axis in enumerate(first.leading):
        names, others = (list(e.labels.get(axis, ())) for e in (first, second))
        if names == others or (axis == "layer" and len(names) == len(others) == 1):
            continue
        alone = [name for name in (*names, *others) if (name in names) != (name in others)]
        if alone or len(names) != len(others):
            raise NeuroscopeError(
                f"The {axis} “{alone[0] if alone else names[0]}” is in one of the two explanations "
                f"alone; choose what both networks have."
            )
        values = np.take(values, [others.index(name) for name in names], number)
    leading = values.ndim - len(first.grid.shape)
    if values.shape[:leading] != first.values.shape[:leading]:
        raise NeuroscopeError(
            "The two explanations have different numbers of channels; choose layers with as many."
        )
    return values


def _of_largest(values: np.ndarray, space: int) -> np.ndarray:
    """Return each map as shares of its own largest absolute value."""
    axes = tuple(range(values.ndim - space, values.ndim))
    sizes = np.where(np.isfinite(values), np.abs(values), 0)
    largest = sizes.max(axis=axes, keepdims=True)
    return values / np.where(largest > 0, largest, 1)


def _record(first: Explanation, second: Explanation, scale: Scale) -> Record:
    a, b = first.record, second.record
    layers = a.layers
    if sorted(layers) != sorted(b.layers):
        pairs = zip(layers, b.layers, strict=False)
        layers = tuple(f"{later} − {earlier}" for earlier, later in pairs)
    notes = []
    if a.options != b.options:
        notes.append("the options of the two differ")
    for part in ("region", "score", "reduce"):
        if [getattr(t, part) for t in a.targets] != [getattr(t, part) for t in b.targets]:
            notes.append(f"the {part} of the two differs")
    return Record(
        method="difference",
        title=f"Difference: {a.title}",
        reference=a.reference,
        options={"scale": scale},
        layers=layers,
        targets=tuple(TargetRecord(target.class_) for target in a.targets),
        image=a.image,
        versions=a.versions,
        notes=tuple(notes),
        first=a,
        second=b,
    )
