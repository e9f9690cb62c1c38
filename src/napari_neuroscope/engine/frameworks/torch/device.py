"""Where a PyTorch model runs."""

from __future__ import annotations

import torch
from torch import nn

from napari_neuroscope.engine.errors import NeuroscopeError, shortened


def choose_device(device: str, model: nn.Module) -> torch.device:
    """Return the device that is asked for; "auto" is the model's own, or else a GPU.

    Raises
    ------
    NeuroscopeError
        Where there is no such device.
    """
    if device == "auto":
        return _best_device(model)
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise NeuroscopeError(
            f"There is no device “{shortened(device)}”; choose auto, cpu, cuda, cuda:1 or mps."
        ) from None
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available.get(chosen.type, False):
        raise NeuroscopeError(
            f"The device “{device}” is not available to this PyTorch ({torch.__version__}); "
            f"choose auto or cpu."
        )
    if chosen.type == "cuda":
        index = chosen.index if chosen.index is not None else torch.cuda.current_device()
        if index >= torch.cuda.device_count():
            raise NeuroscopeError(
                f"There is no device “{device}”: this machine has "
                f"{torch.cuda.device_count()} CUDA devices, from cuda:0."
            )
        chosen = torch.device("cuda", index)
    return chosen


def _best_device(model: nn.Module) -> torch.device:
    model_device = next((p.device for p in model.parameters()), torch.device("cpu"))
    if model_device.type != "cpu":
        return model_device
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")
