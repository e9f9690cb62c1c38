"""Where TensorFlow runs a network, and where the engine's arrays lie."""

from __future__ import annotations

import torch

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.frameworks.common import device_of_arrays, parse_device


def choose_device(device: str) -> tuple[torch.device, str]:
    """Return the device of the engine's arrays, and TensorFlow's name of where it runs."""
    import tensorflow as tf

    kind, index = parse_device(device, ("auto", "cpu", "cuda"), "TensorFlow")
    gpus = [] if kind == "cpu" else tf.config.list_logical_devices("GPU")
    if kind == "cpu" or (kind == "auto" and not gpus):
        return torch.device("cpu"), "/CPU:0"
    if index >= len(gpus):
        raise NeuroscopeError(
            f"The device “{device}” is not available to this TensorFlow ({tf.__version__}), "
            f"which sees {len(gpus)} GPUs; choose auto or cpu."
        )
    return device_of_arrays(index), f"/GPU:{index}"
