"""The preprocessing that a package describes, as a normalisation; its postprocessing, on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.networks.bioimageio.description import Arguments, Step, Tensor

# What bioimage.io adds to a stated deviation before dividing by it.
_FIXED_EPS = 1e-6
_ACTIVATIONS = ("sigmoid", "softmax")


class NormalizationOf:
    """A tensor's preprocessing, as the plain data of a `Normalization`.

    Steps that multiply and add are folded into one; statistics of an image forget a factor that
    comes before them, but for their eps.

    Parameters
    ----------
    tensor
        The input with its preprocessing.
    channels
        How many channels it has.
    unit
        What the value 1 stands for where the first step begins, such as 255.
    where
        The package, as the beginning of a sentence.

    Attributes
    ----------
    notes
        What a user should know of how steps are understood.
    """

    def __init__(self, tensor: Tensor, channels: int, unit: float, where: str) -> None:
        self._tensor, self._channels, self._where = tensor, channels, where
        self._done: list[dict[str, Any]] = []
        self._gain, self._offset = np.array([unit]), np.zeros(1)
        self.notes: list[str] = []
        for step in tensor.preprocessing:
            take = getattr(self, f"_{step.id}", None) if step.id in _KNOWN else None
            if take is None:
                raise self._refusal(step.id, "can't be done here")
            take(step)
        self._flush()

    def plain(self) -> dict[str, Any]:
        """Return the normalisation."""
        rule: dict[str, Any] = {}
        for step in reversed(self._done):
            rule = {**step, "then": rule} if rule else step
        return rule

    def _refusal(self, step: str, why: str) -> NeuroscopeError:
        return NeuroscopeError(
            f"{self._where} asks for a preprocessing that {why} ({shortened(step, 40)}); prepare "
            f"the images so yourself, and give a spec in place of the package's."
        )

    def _flush(self, clip: Any = None) -> None:
        """End the factors and additions so far in a step of their own, where they do anything."""
        gain, offset = self._gain, self._offset
        if (gain <= 0).any():
            raise self._refusal("scale_linear", "turns values upside down")
        if not np.isfinite([*gain, *offset]).all():
            raise self._refusal("scale_linear", "leads beyond all numbers")
        step: dict[str, Any] = {}
        if (gain != 1).any() or (offset != 0).any():
            step = {"mean": (-offset / gain).tolist(), "std": (1 / gain).tolist()}
        if clip is not None:
            step["clip"] = clip
        if step:
            self._done.append(step)
        self._gain, self._offset = np.ones(1), np.zeros(1)

    def _affine(self, step: Step, gain: Any, offset: Any) -> None:
        gain, offset = np.asarray(gain, float), np.asarray(offset, float)
        axis = step.kwargs.axis
        along = self._tensor.letters_of((axis,)) if axis else {"c"}
        for numbers in (gain, offset):
            if len(numbers) not in (1, self._channels) or (len(numbers) > 1 and along != {"c"}):
                raise self._refusal(step.id, f"has {len(numbers)} numbers along another axis")
        with np.errstate(over="ignore", invalid="ignore"):
            self._gain, self._offset = self._gain * gain, self._offset * gain + offset

    def _ensure_dtype(self, step: Step) -> None:
        if not step.kwargs.dtype.startswith("float"):
            # Numbers of whole-number images, and of most others, are whole already.
            if self._done or (self._gain != 1).any() or (self._offset != 0).any():
                raise self._refusal(step.id, f"rounds values to {step.kwargs.dtype}")
            self.notes.append(f"values are not rounded to {step.kwargs.dtype} first")

    def _scale_linear(self, step: Step) -> None:
        self._affine(step, step.kwargs.gain, step.kwargs.offset)

    def _fixed_zero_mean_unit_variance(self, step: Step, eps: float = _FIXED_EPS) -> None:
        mean, std = step.kwargs.mean, step.kwargs.std
        if not mean or not std or len(mean) != len(std) or any(s + eps <= 0 for s in std):
            raise self._refusal(step.id, "needs as many positive std as mean")
        gain = 1 / (np.array(std) + eps)
        self._affine(step, gain, -np.array(mean) * gain)

    def _zero_mean_unit_variance(self, step: Step) -> None:
        if step.kwargs.mode == "fixed" or (step.kwargs.mode is None and step.kwargs.mean):
            self._fixed_zero_mean_unit_variance(step, step.kwargs.eps)
        else:
            self._statistics(step, {"per_image": True})

    def _scale_range(self, step: Step) -> None:
        arguments = step.kwargs
        if arguments.reference_tensor not in (None, self._tensor.id):
            raise self._refusal(step.id, "takes its percentiles from another tensor")
        self._statistics(step, {"percentile": (arguments.min_percentile, arguments.max_percentile)})

    def _statistics(self, step: Step, rule: dict[str, Any]) -> None:
        arguments = step.kwargs
        axes = self._tensor.letters_of(arguments.axes)
        letters = set(self._tensor.letters)
        if axes is not None and not letters & set("zyx") <= axes:
            raise self._refusal(step.id, "normalises each plane, row or column alone")
        if arguments.mode == "per_dataset" or (axes is not None and "b" in axes):
            self.notes.append(
                f"{step.id} is of a whole data set, which the package doesn't hold: each image's "
                f"own statistics stand in"
            )
        per_channel = axes is not None and "c" in letters and "c" not in axes
        gain = self._gain
        if (gain <= 0).any() or len(set(gain.tolist())) > 1 or len(set(self._offset.tolist())) > 1:
            self._flush()
            gain = self._gain
        self._done.append(
            {
                **rule,
                "eps": arguments.eps / float(gain[0]),
                "per_channel": per_channel and self._channels > 1,
            }
        )
        self._gain, self._offset = np.ones(1), np.zeros(1)

    def _clip(self, step: Step) -> None:
        limits = (step.kwargs.min, step.kwargs.max)
        unchanged = (self._gain == 1).all() and (self._offset == 0).all()
        if self._done and unchanged and "clip" not in self._done[-1]:
            self._done[-1]["clip"] = limits
        else:
            self._flush(limits)


_KNOWN = (
    "ensure_dtype",
    "scale_linear",
    "fixed_zero_mean_unit_variance",
    "zero_mean_unit_variance",
    "scale_range",
    "clip",
)


def changed(steps: Sequence[Step]) -> list[str]:
    """Return the steps that make other values of values."""
    return [step.id for step in steps if step.id != "ensure_dtype"]


def activation_of(steps: Sequence[Step]) -> str | None:
    """Return the activation that a postprocessing begins with, if any."""
    names = changed(steps)
    return names[0] if names and names[0] in _ACTIVATIONS else None


def changes_after(steps: Sequence[Step]) -> list[str]:
    """Return what a postprocessing does besides an activation in the beginning."""
    names = changed(steps)
    return names[1:] if names and names[0] in _ACTIVATIONS else names


def postprocessed(values: np.ndarray, tensor: Tensor) -> np.ndarray | None:
    """Return an output as it is published, or None where a step can't be done here."""
    for step in tensor.postprocessing:
        arguments = step.kwargs
        if step.id == "sigmoid":
            values = 1 / (1 + np.exp(-values))
        elif step.id == "softmax":
            axis = _axis(arguments, tensor)
            values = np.exp(values - values.max(axis, keepdims=True))
            values = values / values.sum(axis, keepdims=True)
        elif step.id == "clip":
            values = np.clip(values, arguments.min, arguments.max)
        elif step.id == "binarize" and arguments.threshold is not None:
            values = (values > _along(arguments.threshold, arguments, tensor)).astype(np.float64)
        elif step.id == "scale_linear":
            gain, offset = (
                _along(n, arguments, tensor) for n in (arguments.gain, arguments.offset)
            )
            values = values * gain + offset
        elif step.id == "ensure_dtype" and arguments.dtype.rstrip("0123456789") in _TYPES:
            values = values.astype(arguments.dtype).astype(np.float64)
        else:
            return None
    return values


_TYPES = ("float", "int", "uint", "bool")


def _axis(arguments: Arguments, tensor: Tensor) -> int:
    (letter,) = tensor.letters_of((arguments.axis,)) or {"c"} if arguments.axis else {"c"}
    return max(tensor.letters.find(letter), 0)


def _along(numbers: tuple[float, ...], arguments: Arguments, tensor: Tensor) -> np.ndarray:
    """Return numbers, one for all or one a channel, so that they fit the tensor's axes."""
    if len(numbers) == 1:
        return np.array(numbers[0])
    shape = [1] * len(tensor.axes)
    shape[_axis(arguments, tensor)] = len(numbers)
    return np.reshape(numbers, shape)
