"""Arrays between PyTorch, whose tensors the engine has, and TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import dlpack

from napari_neuroscope.engine.spec.model_spec import ModelSpec

_ALIGNED = 64


def to_tensorflow(values: Tensor) -> Any:
    """Hand an array to TensorFlow, without a copy where it can take it."""
    import tensorflow as tf

    values = values.detach().contiguous()
    # TensorFlow ends the process over memory that is not aligned.
    if values.data_ptr() % _ALIGNED:
        values = values.clone()
    if values.is_cuda and tf.config.list_physical_devices("GPU"):
        torch.cuda.current_stream(values.device).synchronize()
    elif values.is_cuda or values.data_ptr() % _ALIGNED:
        dtype = tf.as_dtype(str(values.dtype).removeprefix("torch."))
        return tf.constant(values.float().cpu().numpy(), dtype)
    return tf.experimental.dlpack.from_dlpack(values.__dlpack__())


def to_torch(values: Any, device: torch.device) -> Tensor:
    """Take an array from TensorFlow, without a copy where it lies on the same device."""
    import tensorflow as tf

    on_gpu = "GPU" in values.device
    if on_gpu and device.type == "cuda":
        tf.experimental.sync_devices()
    elif on_gpu:
        plain = values.numpy()
        # NumPy's own bfloat16 is none that torch knows.
        return torch.from_numpy(plain if plain.dtype.kind != "V" else plain.astype(np.float32))
    return dlpack.from_dlpack(tf.experimental.dlpack.to_dlpack(values)).to(device)


def channels_first(values: Tensor, space: int, *, channels_last: bool) -> Tensor:
    """Bring (1, *space, channel) to (1, channel, *space)."""
    return values.movedim(-1, 1) if channels_last and values.ndim == space + 2 else values


def moves_channels(spec: ModelSpec, ndim: int, *, channels_last: bool) -> bool:
    """Whether the channels of an output are moved: not where the spec says its axes."""
    return spec.output.axes is None and channels_last and ndim == len(spec.input.space) + 2


def output_of(values: Any, spec: ModelSpec, device: torch.device, *, channels_last: bool) -> Tensor:
    """Return an output of TensorFlow as the engine takes it: (1, channel, *space)."""
    output = to_torch(values, device)
    moved = moves_channels(spec, output.ndim, channels_last=channels_last)
    return output.movedim(-1, 1) if moved else output
