"""What a network answers to an image, on the image's own grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from napari_neuroscope.engine.images.grid import Grid, resample
from napari_neuroscope.engine.passes.output.outputs import Outputs


@dataclass(frozen=True, eq=False)
class Prediction:
    """A network's answer to an image, on the image's own grid.

    Attributes
    ----------
    class_names
        The names of the classes.
    outputs, grid, image
        The answer as it is, its grid, and the image's.
    notes
        What a reader of the answer should know.
    """

    class_names: list[str]
    outputs: Outputs
    grid: Grid | None
    image: Grid
    notes: tuple[str, ...] = ()

    def _placed(self, values: Tensor) -> np.ndarray:
        if self.grid is not None:
            values = resample(values, self.grid, self.image)
        # A copy: what it is read from is kept for the next question.
        return values.cpu().numpy().copy()

    @cached_property
    def scores(self) -> np.ndarray:
        """Logits, float32 (class, *space), or (class,); NaN where the image was not seen."""
        return self._placed(self.outputs.scores)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Probabilities, float32 (class, *space), or (class,)."""
        return self._placed(self.outputs.probabilities)

    @cached_property
    def labels(self) -> np.ndarray:
        """The most probable class of each pixel, (*space), −1 where not seen; or one number."""
        if self.grid is None:
            return np.asarray(self.scores.argmax(0))
        unseen = np.isnan(self.scores[0])
        return np.where(unseen, -1, np.nan_to_num(self.scores).argmax(0)).astype(np.int32)
