"""Many variants of an input through the network, in batches: what black-box methods live on."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError, OutOfMemoryError
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.trace import Trace

T = TypeVar("T")


class Passes:
    """Answers to variants of a trace's input, for several targets from the same passes.

    Memory is set by the batch, not by the number of variants. A batch that is too large for the
    memory, or for a network that takes one input at a time, is halved, and `notes` say so once.

    Parameters
    ----------
    trace
        What the variants are of.
    targets
        What is asked of each.
    batch
        How many inputs go through the network at once.
    """

    def __init__(self, trace: Trace, targets: Sequence[ResolvedTarget], batch: int) -> None:
        self.trace, self.targets = trace, list(targets)
        self._asked = batch
        self.batch = min(batch, trace.network.most_at_once or batch)
        self._mixed = self.batch > 1 and trace.network.mixes_batches(
            trace.prepared.input[None], trace.outputs.raw
        )
        if self._mixed:
            self.batch = 1
        self._why = ""
        self._remade = False
        self._short = False

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the result should know of the passes."""
        if self._mixed:
            return ("the network's answer to an image hangs on the others of its batch, so that "
                    "variants went through it one at a time",)  # fmt: skip
        if not self._why:
            return ()
        return (f"{self._asked} inputs at once were too many for {self._why}: {self.batch} went "
                f"through it at a time",)  # fmt: skip

    def _stop(self, start: int, count: int) -> int:
        """Return where the batch from `start` ends."""
        # Equal batches: a framework that compiles for each size does it once or twice.
        left = -(-(count - start) // self.batch)
        return start + -(-(count - start) // left)

    def each(self, count: int, ask: Callable[[int, int], T]) -> Iterator[tuple[int, int, T]]:
        """Yield (start, stop) and what `ask` answers for them, over batches of `count` variants.

        `ask` makes the variants as well as asking, so that where there is no memory for them, too,
        it is asked again for fewer.
        """
        start = 0
        while start < count:
            self._make_room()
            stop = self._stop(start, count)
            self._remade = True
            try:
                answer = ask(start, stop)
            except (NeuroscopeError, torch.OutOfMemoryError) as error:
                if stop - start == 1 and isinstance(error, NeuroscopeError):
                    raise
                if stop - start == 1:
                    raise OutOfMemoryError(
                        'There is no memory for one more input; try device="cpu" or a smaller '
                        "image."
                    ) from error
                self._lessen(stop - start, error)
                continue
            finally:
                self._remade = False
            yield start, stop, answer
            start = stop

    def scores(self, inputs: Tensor) -> Tensor:
        """Return T of each target for inputs (input, channel, *space): float32 (target, input)."""
        return self._in_batches(inputs, self._scores)

    def scores_behind(self, resume: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
        """Return T of each target for outputs of a layer, (input, channel, *space).

        `resume` goes on from them, as `Trace.resumed` returns it.
        """
        return self._in_batches(
            values, lambda some: self.trace.values(resume(some), self.targets).float()
        )

    def gradients(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return T and ∂T/∂input for inputs (input, channel, *space).

        Returns
        -------
        tuple
            float32 (target, input) and (target, input, channel, *space).
        """
        answers = list(self._batches(inputs, self._gradients))
        if len(answers) == 1:
            return answers[0]
        scores, gradients = zip(*answers, strict=True)
        return torch.cat(scores, 1), torch.cat(gradients, 1)

    def _scores(self, inputs: Tensor) -> Tensor:
        raw = self.trace.network.forward(inputs)
        self._check_axes(raw, inputs)
        scores = self.trace.values(raw, self.targets).float()
        _check_count(scores, inputs)
        return scores

    def _check_axes(self, raw: Tensor, inputs: Tensor) -> None:
        """Refuse an answer to several inputs that lacks an axis of the answer to one."""
        if raw.ndim != self.trace.outputs.raw.ndim and "b" in self.trace.network.spec.input.axes:
            raise NeuroscopeError(
                f"The network answers {len(inputs)} inputs with the shape {tuple(raw.shape)}, and one "
                f"with {tuple(self.trace.outputs.raw.shape)}; give it one at a time."
            )

    def _gradients(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        network = self.trace.network
        run = network.run(inputs)
        raw = run.output if run.scores is None else run.scores
        alone = "b" not in network.spec.input.axes
        raw = raw[None] if alone else raw
        self._check_axes(raw, inputs)
        scores = self.trace.values(raw, self.targets).float()
        _check_count(scores, inputs)
        gradients = []
        for number, target in enumerate(self.targets, 1):
            seed, scale = self.trace.seeds(raw, target)
            gradient = run.input_gradient(
                seed[0] if alone else seed, last=number == len(self.targets)
            ).float()
            gradients.append(gradient if scale == 1 else gradient / scale)
        return scores, gradients[0][None] if len(gradients) == 1 else torch.stack(gradients)

    def _in_batches(self, inputs: Tensor, ask: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.cat(list(self._batches(inputs, ask)), 1)

    def _batches(self, inputs: Tensor, ask: Callable[[Tensor], T]) -> Iterator[T]:
        start = 0
        while start < len(inputs):
            self._make_room()
            some = inputs[start : start + self.batch]
            try:
                answer = ask(some)
            except NeuroscopeError as error:
                # What is made anew for fewer inputs leaves more memory than a part of many.
                if len(some) == 1 or self._remade:
                    raise
                self._lessen(len(some), error)
                continue
            yield answer
            start += len(some)

    def _make_room(self) -> None:
        """Let go of what a pass without enough memory left: its frames hold each other."""
        if self._short:
            gc.collect()
            self._short = False

    def _lessen(self, tried: int, error: Exception) -> None:
        """Go on with smaller batches: half as large for memory, else one by one."""
        memory = isinstance(error, OutOfMemoryError | torch.OutOfMemoryError)
        self.batch = tried // 2 if memory else 1
        self._short = memory
        self._why = "the memory" if memory else "the network"


def _check_count(scores: Tensor, inputs: Tensor) -> None:
    """Refuse scores (target, input) of a network that looks at some of its inputs alone."""
    if scores.shape[1] != len(inputs):
        raise NeuroscopeError(
            f"The network answered {scores.shape[1]} of {len(inputs)} inputs at once; give it one "
            f"at a time."
        )
