"""Confusion: how often each class was taken for each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.files.csv_table import write_csv

Normalise = Literal["true", "predicted", "all"]


@dataclass(frozen=True, eq=False)
class Confusion:
    """A confusion matrix, of pixels or of images.

    Attributes
    ----------
    counts
        How often, int64 (class, class): rows are the true classes, columns the predicted ones.
    names
        The names of the classes.
    """

    counts: np.ndarray
    names: tuple[str, ...]

    @classmethod
    def of(cls, truth: Any, prediction: Any, classes: int | Sequence[str]) -> Confusion:
        """Count the classes of one image, or of many.

        Parameters
        ----------
        truth, prediction
            Whole numbers of one shape, the true and the predicted class of each pixel; −1, void
            or not seen, leaves a pixel out.
        classes
            Their names, or how many there are.

        Raises
        ------
        NeuroscopeError
            Where the shapes differ, or a number is no class.
        """
        names = tuple(map(str, range(classes) if isinstance(classes, int) else classes))
        truth, prediction = np.asarray(truth), np.asarray(prediction)
        if truth.shape != prediction.shape:
            raise NeuroscopeError(
                f"The ground truth has shape {truth.shape}, but the prediction "
                f"{prediction.shape}; they must be equal."
            )
        # −1 has a row and a column of its own, so that one pass counts without sorting out.
        side = len(names) + 1
        code = _from_void(truth, len(names), "ground truth").reshape(-1)
        code *= side
        code += _from_void(prediction, len(names), "prediction").reshape(-1)
        counts = np.bincount(code, minlength=side * side).reshape(side, side)
        return cls(counts[1:, 1:].astype(np.int64), names)

    @classmethod
    def none(cls, names: Sequence[str]) -> Confusion:
        """Return the confusion of no pixel."""
        return cls(np.zeros((len(names), len(names)), np.int64), tuple(names))

    def __add__(self, addend: Confusion) -> Confusion:
        if self.names != addend.names:
            raise NeuroscopeError(
                f"Confusions of the classes {', '.join(self.names)} and "
                f"{', '.join(addend.names)} don't add up."
            )
        return Confusion(self.counts + addend.counts, self.names)

    @property
    def total(self) -> int:
        """How many pixels or images were counted."""
        return int(self.counts.sum())

    def normalised(self, by: Normalise | None = None) -> np.ndarray:
        """Return the matrix as shares, float64 (class, class).

        Parameters
        ----------
        by
            "true": each row adds up to 1; "predicted": each column; "all": the whole; None: the
            counts themselves. Where there is nothing to share, it is NaN.
        """
        if by is None:
            return self.counts.astype(np.float64)
        axis = {"true": 1, "predicted": 0, "all": None}
        if by not in axis:
            raise NeuroscopeError(
                f"A confusion is normalised by “true”, “predicted” or “all”, not “{by!s:.60}”."
            )
        whole = self.counts.sum(axis[by], keepdims=True)
        shares = np.full(self.counts.shape, np.nan)
        np.divide(self.counts, whole, out=shares, where=whole > 0)
        return shares

    def to_csv(
        self, path: str | Path, by: Normalise | None = None, *, overwrite: bool = False
    ) -> None:
        """Write the matrix as CSV: a row for each true class, a column for each predicted one."""
        values: Any = self.counts if by is None else self.normalised(by)
        rows = [
            [name, *("n/a" if np.isnan(value) else value for value in row.tolist())]
            for name, row in zip(self.names, values, strict=True)
        ]
        write_csv(path, [["true \\ predicted", *self.names], *rows], overwrite=overwrite)


def _from_void(labels: np.ndarray, count: int, what: str) -> np.ndarray:
    """Return classes counted from void, uint32: 0 is void, 1 the first class."""
    if labels.dtype.kind not in "biu":
        raise NeuroscopeError(f"The {what}'s type is {labels.dtype}; whole numbers are needed.")
    wide = labels.dtype.itemsize > (2 if labels.dtype.kind == "u" else 4)
    shifted = np.add(labels, 1, dtype=np.int64 if wide else np.int32, casting="unsafe")
    # Seen without its sign, what is below void is as far beyond the classes.
    unsigned: np.ndarray = shifted.view(f"u{shifted.itemsize}")
    if labels.size and unsigned.max() > count:
        low, high = labels.min(), labels.max()
        raise NeuroscopeError(
            f"The {what} has the classes {low}..{high}, but there are {count}: 0..{count - 1}."
        )
    return unsigned.astype(np.uint32, copy=False)
