"""What the values of a ground truth may be: numbers of classes or of instances, or colours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np

from napari_neuroscope.engine.errors import Cancelled, NeuroscopeError
from napari_neuroscope.engine.files.told import reason_of

TruthKind = Literal["auto", "classes", "colours", "instances"]
"""How a ground truth is read: numbers of classes; the classes' colours; or numbers of instances,
or a mask, 0 being background."""
VOID = -1
"""The label of what is of no class."""


def kind_of_numbers(numbers: Iterable[int], count: int, ignore_label: int | None) -> TruthKind:
    """Tell numbers of classes from those of instances by which there are, in one image or many.

    Numbers beyond the classes are instances where there are many of them and 0 for background: a
    few are rather void, or classes of another network. A network of few classes is one of
    background, objects and perhaps their border.

    Parameters
    ----------
    numbers
        Which there are.
    count
        How many classes the network has.
    ignore_label
        The number that is no class.
    """
    numbers = set(numbers) - {VOID, ignore_label}
    beyond = {number for number in numbers if number >= count}
    few = count <= 3
    mask = few and beyond == {255} and numbers <= {0, 255}
    many = 0 in numbers and len(beyond) > (1 if few else count)
    return "instances" if mask or many else "classes"


def as_truth(truth: Any) -> np.ndarray:
    """Return a ground truth as an array of whole numbers, or of bools.

    Raises
    ------
    NeuroscopeError
        Where it is no array, empty, or has other values.
    """
    try:
        values = np.asarray(truth.detach().cpu() if hasattr(truth, "detach") else truth)
    except (NeuroscopeError, Cancelled):
        raise
    except Exception as error:
        raise NeuroscopeError(f"The ground truth is no array: {reason_of(error)}.") from error
    if (
        isinstance(truth, np.ma.MaskedArray)
        and values.dtype.kind in "iu"
        and np.ma.is_masked(truth)
    ):
        # What is masked is of no class.
        values = np.where(np.ma.getmaskarray(truth), VOID, values.astype(np.int64))
    if values.size == 0:
        raise NeuroscopeError(f"The ground truth is empty: its shape is {values.shape}.")
    if values.dtype.kind == "f":
        whole = np.isfinite(values) & (values == np.rint(np.where(np.isfinite(values), values, 0)))
        if not whole.all():
            raise NeuroscopeError(
                f"The ground truth has {np.count_nonzero(~whole):,} values that are no whole "
                f"numbers; give numbers of classes or instances, not probabilities."
            )
        return values.astype(np.int64)
    if values.dtype.kind not in "biu":
        raise NeuroscopeError(
            f"The ground truth's type is {values.dtype}; whole numbers are needed."
        )
    return values
