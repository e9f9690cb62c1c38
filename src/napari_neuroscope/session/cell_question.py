"""Why one class was taken for another: what a cell of the confusion matrix asks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CellQuestion:
    """A question about the pixels, or the images, of a cell of the confusion matrix.

    Attributes
    ----------
    true, predicted
        The numbers of the cell's classes.
    class_index
        Which class is asked about there: the predicted one, or the true one.
    """

    true: int
    predicted: int
    class_index: int

    @property
    def cell(self) -> tuple[int, int]:
        """The cell."""
        return self.true, self.predicted
