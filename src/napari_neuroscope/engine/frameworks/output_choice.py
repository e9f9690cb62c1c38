"""Which of a network's outputs is explained, where it has several, stated or not."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.spec.model_spec import ModelSpec

Key = str | int

_SCORES = ("out", "logits", "output", "scores", "score", "probs", "probabilities", "probability",
           "predictions", "prediction", "preds", "pred", "main", "masks", "mask", "seg",
           "segmentation", "semantic", "classes", "class", "cls", "head", "final", "y")  # fmt: skip
"""Words in the names of what holds scores, the surest first."""
_OTHERS = ("aux", "auxiliary", "feature", "features", "feat", "feats", "hidden", "embedding",
           "embeddings", "embed", "encoder", "backbone", "pyramid", "attention", "attentions",
           "attn", "loss", "deep", "intermediate", "pooled", "projection", "proj", "box", "boxes",
           "bbox", "distance", "dist", "flow", "flows", "offset", "offsets")  # fmt: skip


@dataclass(frozen=True)
class OfferedOutput:
    """One of several outputs.

    Attributes
    ----------
    key
        Its name or number, as the spec's ``output.index`` has it.
    shape
        Of its answer to one image, the batch included.
    holds_numbers
        Whether it holds real numbers, and not labels.
    leads_on
        Whether an output of another shape is computed from it, as from features.
    """

    key: Key
    shape: tuple[int, ...]
    holds_numbers: bool = True
    leads_on: bool = False

    @property
    def may_be_scores(self) -> bool:
        """Whether it holds real numbers, and several: a single one is a loss."""
        return self.holds_numbers and bool(self.shape)

    def in_words(self) -> str:
        """Return its name and its shape without the batch."""
        return f"“{self.key}” ({' × '.join(map(str, self.shape[1:] or self.shape))})"


@dataclass(frozen=True)
class OutputChoice:
    """Which output is explained.

    Attributes
    ----------
    key
        Its key.
    offered
        All of them.
    alike
        Others that would fit as well.
    """

    key: Key
    offered: tuple[OfferedOutput, ...]
    alike: tuple[Key, ...] = ()

    @property
    def is_of_several(self) -> bool:
        """Whether others may hold scores as well."""
        return sum(output.may_be_scores for output in self.offered) > 1

    def in_words(self) -> str:
        """Return what was chosen and how to choose another, for a note."""
        each = ", ".join(output.in_words() for output in self.offered[:6])
        more = ", …" if len(self.offered) > 6 else ""
        as_well = ""
        if self.alike:
            others = ", ".join(f"“{key}”" for key in self.alike[:3])
            as_well = f"; {others} would fit as well"
        return (
            f"of the network's {len(self.offered)} outputs, {each}{more}, “{self.key}” is "
            f"explained{as_well} (the spec's output.index chooses another)"
        )

    def as_record(self) -> dict[str, object]:
        """Return the choice as plain data."""
        return {
            "index": self.key,
            "of": [output.key for output in self.offered],
            "alike": list(self.alike),
        }


def choose(
    offered: Sequence[OfferedOutput], spec: ModelSpec, pixels: Sequence[int]
) -> OutputChoice | None:
    """Choose the output that holds the scores; None where none can.

    What fits the task and the number of classes comes first, then the name, then what no other
    output is computed from, then the finer one, then the order.

    Parameters
    ----------
    offered
        The outputs, in the network's order.
    spec
        Its task and classes count as far as they are stated.
    pixels
        The spatial shape of the image that they answer to.
    """
    usable = [output for output in offered if output.may_be_scores]
    if not usable:
        return None
    ranks = [
        (
            _fit(output, spec, pixels),
            _by_name(output.key),
            not output.leads_on,
            _fineness(output, spec),
        )
        for output in usable
    ]
    best = max(ranks)
    first, *alike = [output.key for output, rank in zip(usable, ranks, strict=True) if rank == best]
    return OutputChoice(first, tuple(offered), tuple(alike))


HOLDS_LABELS = (
    "The network's output holds whole numbers, such as labels; set the spec's output.index to the "
    "output that holds scores, or give the network without argmax."
)


def output_at(answer: Sequence[Any], index: Key | None, names: Sequence[str] | None = None) -> Any:
    """Return one of several outputs, by its number or name; the first where none is stated.

    Raises
    ------
    NeuroscopeError
        Where there is none such.
    """
    if isinstance(index, str) and names is not None and index in names:
        index = list(names).index(index)
    index = 0 if index is None else index
    if not isinstance(index, int) or not -len(answer) <= index < len(answer):
        named = f" ({', '.join(names)})" if names else ""
        raise NeuroscopeError(
            f"The network has {len(answer)} outputs, 0..{len(answer) - 1}{named}, but output.index "
            f"is {index!r}."
        )
    return answer[index]


def no_tensor(answer: Any) -> NeuroscopeError:
    """Return what is raised for an answer that holds no scores by itself."""
    return NeuroscopeError(
        f"The network answered a {type(answer).__name__}, no tensor; set the spec's output.index "
        f"to the output that holds the scores."
    )


def _fit(output: OfferedOutput, spec: ModelSpec, pixels: Sequence[int]) -> int:
    """Return how well a shape fits what is stated."""
    body, space = output.shape[1:] if "b" in spec.input.axes else output.shape, len(pixels)
    several = [n for n in body if n > 1]
    listed, placed = len(several) <= 1, len(several) >= space and len(body) >= space
    fit = 0
    if "task" in spec.model_fields_set:
        fit += 4 * (placed if spec.task == "segmentation" else listed)
    elif listed or placed:
        # Vectors of tokens and tables are neither.
        fit += 2 * (listed or len(body) in (space, space + 1))
    count = len(spec.classes)
    if count:
        channels = body[0] if len(body) != space else 1
        last = body[-1] if body else 1
        if spec.output.axes is not None or last == count:
            channels = last if last == count else channels
        fit += 8 * (channels == count or (channels == 1 and count <= 2))
    return fit


def _by_name(key: Key) -> int:
    """Return how much a name says of scores: below zero of what is none."""
    words = re.split(r"[^a-z]+", str(key).lower())
    if any(word in _OTHERS for word in words):
        return -1
    places = [_SCORES.index(word) for word in words if word in _SCORES]
    return len(_SCORES) - min(places) if places else 0


def _fineness(output: OfferedOutput, spec: ModelSpec) -> int:
    """Return how many positions there are, of an output that has some."""
    space = len(spec.input.space)
    if len(output.shape) < space + 2:
        return 0
    return math.prod(output.shape[2:])
