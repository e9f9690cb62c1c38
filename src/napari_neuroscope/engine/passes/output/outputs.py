"""What a network's output means: scores, probabilities and predictions of classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.passes.target import Score
from napari_neuroscope.engine.spec.model_spec import ModelSpec


class Outputs:
    """What a network's output means: scores, probabilities and predictions of classes.

    A network with one output channel has two classes, of scores −s and s.

    Attributes
    ----------
    raw
        The output that gradients start from, (1, ...): the scores before a final softmax or
        sigmoid where the network could be cut there, else the output as it is.
    ends_in
        The activation that could not be cut off: "softmax", "sigmoid" or None.
    multi_label
        Whether the classes' probabilities are independent of each other.

    Parameters
    ----------
    output, scores
        As `Run` has them.
    spec
        What they mean.
    found
        The final activation that was found: "softmax", "sigmoid" or None.
    grid
        The shape of the positions, where the output has them in a row.
    """

    def __init__(
        self,
        output: Tensor,
        scores: Tensor | None,
        spec: ModelSpec,
        activation: str | None,
        grid: Sequence[int] | None = None,
    ) -> None:
        self._grid = grid
        self._spec = spec
        self.raw = output if scores is None else scores
        self.ends_in: str | None = None
        stated = spec.output.activation
        final = activation or (stated if stated != "none" else None)
        if scores is None:
            if activation is not None or stated in ("softmax", "sigmoid"):
                self.ends_in = final
            elif stated is None and self._looks_like_softmax(output):
                self.ends_in = final = "softmax"
        self.multi_label = self.one_output or final == "sigmoid" or spec.output.multi_label

    @classmethod
    def of_arranged(cls, values: Tensor, like: Outputs) -> Outputs:
        """Return outputs of which `arranged` is given, that mean what those of a part mean."""
        spec = like._spec
        axes = f"bc{spec.input.space}"
        spec = spec.with_input(axes=axes).with_output(axes=axes)
        made = cls.__new__(cls)
        made._spec, made.raw, made._grid = spec, values[None], None
        made.ends_in, made.multi_label = like.ends_in, like.multi_label
        return made

    @property
    def arranged(self) -> Tensor:
        """What the network answers, `raw`, as (channel, *space)."""
        return self._arranged(self.raw)

    def _looks_like_softmax(self, output: Tensor) -> bool:
        values = self._arranged(output).float()
        if values.shape[0] < 2 or bool((values < 0).any()):
            return False
        return bool(torch.allclose(values.sum(0), values.new_tensor(1.0), atol=1e-3))

    def _arranged(self, raw: Tensor) -> Tensor:
        """Return the output as (channel, *space)."""
        spec = self._spec
        space = spec.input.space if spec.task == "segmentation" else ""
        order = spec.output.order
        if order is None:
            if spec.task == "classification":
                axis = 1 if "b" in spec.input.axes and raw.ndim > 1 else 0
                if raw.ndim == 0 or raw.numel() != raw.shape[axis]:
                    raise NeuroscopeError(
                        f"The network's output has shape {tuple(raw.shape)}: that is no list of "
                        f"class scores; for a segmentation set the spec's task."
                    )
                return raw.reshape(-1)
            batch = "b" if "b" in spec.input.axes else ""
            has_channels = raw.ndim == len(space) + len(batch) + 1
            order = tuple(batch + ("c" if has_channels else "") + space)
        if raw.ndim != len(order) or set("".join(order)) - set("bc") != set(space):
            raise NeuroscopeError(
                f"The network's output has shape {tuple(raw.shape)}, which does not fit the axes "
                f"“{spec.output.axes or ''.join(order)}” of a {spec.task}; set the spec's task or "
                f"output.axes."
            )
        if "b" in order:
            raw = raw.select(order.index("b"), 0)
        axes = [part for part in order if part != "b"]
        for number, part in enumerate(axes):
            if len(part) > 1:
                raw = raw.unflatten(number, self._sides(part, raw.shape[number]))
        letters = "".join(axes)
        if "c" not in letters:
            raw, letters = raw[None], "c" + letters
        return raw.permute([letters.index(axis) for axis in "c" + space])

    def _sides(self, axes: str, length: int) -> tuple[int, ...]:
        """Return the sizes of axes that are in a row."""
        sizes = dict(zip(self._spec.input.space, self._grid or (), strict=False))
        if len(axes) == len(sizes) and math.prod(sizes.values()) == length:
            return tuple(sizes[axis] for axis in axes)
        raise NeuroscopeError(
            f"The network's output has {length} positions in a row, and it is not known how many of "
            f"them are along each axis; give the network so that its output has the axes "
            f"{', '.join(self._spec.input.space)}."
        )

    def _classes(self, raw: Tensor) -> Tensor:
        arranged = self._arranged(raw)
        if arranged.shape[0] > 1:
            return arranged
        complement = -arranged if self.ends_in is None else 1 - arranged
        return torch.cat([complement, arranged])

    def value(self, raw: Tensor, score: Score, index: int | None = None) -> Tensor:
        """Return a score (class, *space), or of one class (*space), as a function of `raw`."""
        values = self._classes(raw)
        which: Any = slice(None) if index is None else index
        if score == "logit":
            return values[which]
        if self.ends_in is None:
            if score == "probability":
                return (
                    torch.sigmoid(values[which]) if self.multi_label else values.softmax(0)[which]
                )
            return (
                functional.logsigmoid(values[which])
                if self.multi_label
                else values.log_softmax(0)[which]
            )
        if score == "probability":
            return values[which]
        return values[which].clamp(min=torch.finfo(values.dtype).tiny).log()

    @cached_property
    def scores(self) -> Tensor:
        """The logits, or what comes nearest, float32 (class, *space)."""
        return self._classes(self.raw).float()

    @cached_property
    def probabilities(self) -> Tensor:
        """Probabilities, float32 (class, *space)."""
        return self.value(self.raw.float(), "probability")

    @cached_property
    def predicted(self) -> Tensor:
        """The most probable class at each position (*space)."""
        return self.scores.argmax(0)

    @cached_property
    def has_nan(self) -> bool:
        """Whether something in the answer is no number."""
        return bool(torch.isnan(self.raw).any())

    def refuse_nan(self) -> None:
        """Refuse an answer that is no numbers.

        Raises
        ------
        NeuroscopeError
            Where something in it is NaN.
        """
        if self.has_nan:
            raise NeuroscopeError(
                "The network answers NaN, not numbers, for this image; look at its weights and at "
                "the input that it gets (method “input”), and at half precision if it runs in it."
            )

    @cached_property
    def may_be_probability(self) -> bool:
        """Whether a single output that is taken for a logit looks like a probability."""
        if not self.one_output or self.ends_in or self._spec.output.activation is not None:
            return False
        return bool((self.raw >= 0).all() & (self.raw <= 1).all())

    def score_instead_of(self, score: Score) -> tuple[Score, tuple[str, ...]]:
        """Return the score that can be explained where one is asked for, and what to say of it."""
        if score == "logit" and self.ends_in is not None:
            return "log_probability", (
                f"the network's {self.ends_in} can't be cut off, so log_probability is "
                f"explained in place of the logit",
            )
        if self.may_be_probability:
            return score, (
                "all of the network's answers lie in 0..1: if they are probabilities, say so with "
                "output.activation: sigmoid",
            )
        return score, ()

    @property
    def one_output(self) -> bool:
        """Whether one output stands for two classes."""
        return self._arranged(self.raw).shape[0] == 1

    @property
    def count(self) -> int:
        """The number of classes."""
        return self.scores.shape[0]
