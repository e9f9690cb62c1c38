"""What stands for “nothing there” where a method or a measure takes a part of the image away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_neuroscope.engine.errors import NeuroscopeError, nearest_names
from napari_neuroscope.engine.images.preprocessing import as_array
from napari_neuroscope.engine.passes.trace import Trace

Baseline = Literal["zero", "black", "white", "mean", "blur"]
BASELINES: tuple[Baseline, ...] = ("zero", "black", "white", "mean", "blur")
# Of the shorter side of a plane: blurred so far that what a pixel shows can't be told any more.
_BLUR = 0.08


def baseline_of(trace: Trace, baseline: Any) -> Tensor:
    """Return the input that stands for nothing, (channel, *space) as the network takes it.

    Parameters
    ----------
    trace
        A pass of the image.
    baseline
        ``"zero"``, zero as the network takes it, which is black only where nothing is normalised;
        ``"black"`` and ``"white"``, 0 and 1 before it is normalised; ``"mean"``, each channel's
        mean over the image; ``"blur"``, the image with its detail blurred away; or an image of the
        same shape as the one that is explained.

    Raises
    ------
    NeuroscopeError
        Where there is no such baseline, or the image is of another shape.
    """
    x = trace.input
    if not isinstance(baseline, str):
        array = as_array(baseline)
        if array.shape != trace.key.shape:
            raise NeuroscopeError(
                f"The baseline has shape {array.shape}, but the image {trace.key.shape}; give one "
                f"of the same shape, or one of {', '.join(BASELINES)}."
            )
        return trace.network.prepare(array).input.to(x.device)
    if baseline == "zero":
        return torch.zeros_like(x)
    if baseline in ("black", "white"):
        return trace.prepared.undisplayed(float(baseline == "white")).to(x.device)
    if baseline == "mean":
        return x.flatten(1).mean(1).reshape(-1, *(1,) * (x.ndim - 1)).expand_as(x).clone()
    if baseline == "blur":
        return _blurred(x, trace.network.spec.steps)
    raise NeuroscopeError(
        f"There is no baseline “{baseline}”; {nearest_names(baseline, BASELINES)}"
    )


def _blurred(x: Tensor, steps: Sequence[float]) -> Tensor:
    """Return x (channel, *space) through a Gaussian, its borders continued.

    It is as wide along every axis, where pixels are `steps` apart. How wide, rows and columns say:
    a stack of few planes would hardly be blurred by its depth.
    """
    sides = [size * step for size, step in zip(x.shape[1:], steps, strict=True)]
    wide = max(_BLUR * min(sides[-2:]), 1.0)
    for axis, step in enumerate(steps, start=1):
        sigma = wide / step
        reach = min(int(np.ceil(3 * sigma)), x.shape[axis] - 1)
        at = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
        kernel = torch.exp(-0.5 * (at / sigma) ** 2)
        lines = x.movedim(axis, -1)
        flat = lines.reshape(1, -1, lines.shape[-1])
        flat = functional.pad(flat, (reach, reach), mode="replicate")
        smooth = functional.conv1d(flat.transpose(0, 1), (kernel / kernel.sum())[None, None])
        x = smooth.transpose(0, 1).reshape(lines.shape).movedim(-1, axis)
    return x.contiguous()
