"""Whether the images of a batch see each other, found once a model by trying it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError, TimeLimitError
from napari_neuroscope.engine.files.code.trial import TrialError
from napari_neuroscope.engine.files.code.trust import UntrustedError

# Batches of one and of two are computed in another order, which rounds by less than this part.
_OF_BATCHES = 3e-4

ENDS_ALL_TRIALS = (UntrustedError, TimeLimitError, TrialError)
"""What a model is not asked anew after, in another way."""


class BatchTrial:
    """What was found by trying a model with a batch of two; copies of a model share it."""

    def __init__(self) -> None:
        self._mixes: bool | None = None

    def mixes(
        self, x: Tensor, alone: Tensor, axis: int, forward: Callable[[Tensor], Tensor]
    ) -> bool:
        """Return whether the answer to an input hangs on the others of its batch.

        Parameters
        ----------
        x
            The input, (1, channel, *space).
        alone
            Its answer, as `forward` gives it.
        axis
            Along which axis of the answer the inputs of a batch lie.
        forward
            As `Model.forward`.
        """
        if self._mixes is None:
            generator = torch.Generator().manual_seed(0)
            neighbour = 3 + 3 * torch.randn(x.shape, generator=generator).to(x)
            try:
                both = forward(torch.cat([x, neighbour]))
            except ENDS_ALL_TRIALS:
                raise
            except NeuroscopeError:
                # It takes one at a time, which is told when it is asked.
                return False
            if both.ndim != alone.ndim or both.shape[axis] != 2:
                return False
            precision = max(_OF_BATCHES, 16 * torch.finfo(both.dtype).eps)
            first, alone = both.narrow(axis, 0, 1).float(), alone.float().to(both.device)
            self._mixes = bool((first - alone).abs().max() > precision * alone.abs().max())
        return self._mixes
