"""Any Python function that gives scores: what is inside of it is not looked at."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_neuroscope.engine.errors import (
    Cancelled,
    NeuroscopeError,
    OutOfMemoryError,
    Progress,
    no_progress,
    shortened,
)
from napari_neuroscope.engine.frameworks.base import Capability, Framework, Run
from napari_neuroscope.engine.frameworks.common import to_axes
from napari_neuroscope.engine.frameworks.model_lock import ModelLock
from napari_neuroscope.engine.frameworks.output_choice import OfferedOutput
from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from napari_neuroscope.engine.spec.model_spec import ModelSpec


class FunctionRun(Run):
    """A call, of which the answer is kept."""

    def __init__(self, output: Tensor) -> None:
        self.output, self.scores, self.activations = output, None, {}
        self.nbytes = output.nbytes


class FunctionFramework(Framework):
    """A function from images to scores.

    It gets a float32 NumPy array of its own, with the axes that the spec's ``input.axes`` say, and
    returns real numbers: anything with ``__array__``, a tensor, or nested lists. It is called for
    several images at once where it answers for each, else one by one; and anew for each question,
    since nothing tells whether what it depends on has changed.
    """

    name = "function"
    capabilities = Capability.SCORES
    limits = "and of a function nothing but its scores can be seen"
    takes_anything = True

    lock: ModelLock

    @classmethod
    def recognises(cls, model: Any) -> bool:
        # A class is called to make something, which may be a model.
        return callable(model) and not isinstance(model, type)

    @classmethod
    def name_of(cls, model: Any) -> str:
        while isinstance(model, functools.partial):
            model = model.func
        name = getattr(model, "__qualname__", "") or type(model).__name__
        return name.rpartition("<locals>.")[2]

    def __init__(self, model: Callable[[np.ndarray], Any], device: str) -> None:
        if device not in ("auto", "cpu"):
            raise NeuroscopeError(
                f"A function runs where it does by itself, not on “{shortened(str(device))}”; "
                f"choose auto or cpu."
            )
        self.model = model
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.lock = ModelLock(lambda: _parts(model))
        # What it computes can't be hashed: no two are told to be the same.
        self._digest = uuid.uuid4().hex
        self._takes_one = False

    def frozen(self) -> ModelLock:
        return self.lock

    def input_channels(self) -> int | None:
        return None

    def most_at_once(self) -> int | None:
        return 1 if self._takes_one else None

    def layers(self, x: Tensor, spec: ModelSpec, progress: Progress) -> tuple[LayerGraph, Tensor]:
        return LayerGraph([], len(spec.input.space)), self._scores(x, spec, progress)

    def run(
        self,
        x: Tensor,
        spec: ModelSpec,
        layers: LayerGraph,
        keep: Collection[str],
        progress: Progress,
    ) -> FunctionRun:
        return FunctionRun(self._scores(x, spec, progress))

    def output(
        self, x: Tensor, spec: ModelSpec, layers: LayerGraph
    ) -> tuple[Tensor, Tensor | None]:
        return self._scores(x, spec, no_progress), None

    def state(self) -> Hashable:
        return None

    def digest(self, state: Hashable = None) -> str:
        return self._digest

    def _scores(self, x: Tensor, spec: ModelSpec, progress: Progress) -> Tensor:
        """Return the function's answer to inputs (input, channel, *space)."""
        # A copy: a function may write on what it is given.
        given = np.array(to_axes(x, spec.input.axes).numpy(force=True), np.float32, order="C")
        progress(0, 1, "forward pass")
        with self.lock, torch.no_grad():
            answer = self._call(given, spec)
        progress(1, 1, "forward pass")
        return self._with_batch(self._to_tensor(answer, spec), len(x), spec)

    def _call(self, given: np.ndarray, spec: ModelSpec) -> Any:
        # What the function does to the array must not change what is said of it.
        shape = given.shape
        try:
            return self.model(given)
        except (NeuroscopeError, Cancelled):
            raise
        except Exception as error:
            text = shortened(str(error).strip().split("\n")[0], 300)
            said = f"{type(error).__name__}: {text}" if text else type(error).__name__
            if isinstance(error, torch.OutOfMemoryError | MemoryError) or "out of memory" in text:
                raise OutOfMemoryError(
                    f"{self._title} ran out of memory on an array of shape {shape}; try a smaller "
                    f"image."
                ) from error
            raise NeuroscopeError(
                f"{self._title} failed on a float32 array of shape {shape}, axes "
                f"“{spec.input.axes}”, with {said.rstrip('.')}; check the spec's input against what "
                f"it takes."
            ) from error

    @property
    def _title(self) -> str:
        return f"The function “{shortened(self.name_of(self.model))}”"

    def outputs(self, x: Tensor, spec: ModelSpec) -> list[OfferedOutput]:
        given = np.array(to_axes(x, spec.input.axes).numpy(force=True), np.float32, order="C")
        with self.lock, torch.no_grad():
            outputs_by_key = _named_outputs(self._call(given, spec))
        return [
            OfferedOutput(key, tuple(np.shape(array)), _holds_numbers(array))
            for key, array in outputs_by_key.items()
        ]

    def _to_tensor(self, answer: Any, spec: ModelSpec) -> Tensor:
        """Return what the function answered as a tensor of its own."""
        index = spec.output.index
        outputs_by_key = _named_outputs(answer)
        self.offers_several = bool(outputs_by_key)
        if index is not None:
            try:
                answer = answer[index]
            except (KeyError, IndexError, TypeError) as error:
                raise NeuroscopeError(
                    f"{self._title} answers a {type(answer).__name__} without {index!r}; correct "
                    f"the spec's output.index."
                ) from error
        if isinstance(answer, Tensor):
            # Brain floats are none of NumPy's.
            answer = answer.detach().cpu()
            answer = answer.float() if answer.dtype is torch.bfloat16 else answer
        try:
            values = np.asarray(answer)
        except (ValueError, TypeError, RuntimeError):
            values = np.asarray(None)
        if values.dtype.kind in "iub":
            raise NeuroscopeError(
                f"{self._title} answers whole numbers ({values.dtype}), such as labels; give one "
                f"that answers scores, such as predict_proba in place of predict."
            )
        if outputs_by_key and index is None:
            raise NeuroscopeError(
                f"{self._title} answers {len(outputs_by_key)} outputs "
                f"({', '.join(map(str, outputs_by_key)):.200}); set the spec's output.index."
            )
        if values.dtype.kind != "f":
            raise NeuroscopeError(
                f"{self._title} answers a {type(answer).__name__}, which is no array of real "
                f"numbers; return the scores alone, or set the spec's output.index."
            )
        if not values.size or not np.isfinite(values).all():
            what = "scores that are not finite" if values.size else "an empty array"
            raise NeuroscopeError(
                f"{self._title} answers {what}; return a finite score for each class, such as a "
                f"probability in place of its logarithm."
            )
        # Its own memory: a function may answer in the same array each time.
        double = values.dtype == np.float64
        return torch.from_numpy(np.array(values, np.float64 if double else np.float32, order="C"))

    def _with_batch(self, scores: Tensor, count: int, spec: ModelSpec) -> Tensor:
        """Return scores with an axis of inputs, which a function of one input leaves out."""
        if spec.output.axes is not None or "b" not in spec.input.axes:
            return scores
        space = len(spec.input.space) if spec.task == "segmentation" else 0
        if count == 1 and scores.ndim <= space + 1 and scores.shape[:1] != (1,):
            self._takes_one = True
            return scores[None]
        # One score an input is one of a single class.
        return scores[:, None] if scores.ndim == 1 and len(scores) == count else scores


def _named_outputs(answer: Any) -> dict[str | int, Any]:
    """Return several outputs by name or number; none where there is one."""
    if isinstance(answer, Mapping):
        named = dict(answer)
    elif isinstance(answer, tuple | list):
        named = dict(enumerate(answer))
    else:
        return {}
    arrays = {
        key: array
        for key, array in named.items()
        if isinstance(key, str | int) and isinstance(array, np.ndarray | Tensor) and array.ndim > 1
    }
    return arrays if len(arrays) == len(named) > 1 or isinstance(answer, Mapping) else {}


def _holds_numbers(array: np.ndarray | Tensor) -> bool:
    return array.is_floating_point() if isinstance(array, Tensor) else array.dtype.kind == "f"


def _parts(function: Callable[..., Any]) -> list[int]:
    """Return what two functions may share: a function, or the object whose methods they are."""
    while isinstance(function, functools.partial):
        function = function.func
    return [id(getattr(function, "__self__", function))]
