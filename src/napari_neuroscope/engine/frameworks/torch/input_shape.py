"""What a PyTorch model itself says of the shape of its input, without a pass."""

from __future__ import annotations

from torch import Tensor, nn

_CONVOLUTIONS = {"Conv1d", "Conv2d", "Conv3d"}


def input_channels(model: nn.Module) -> int | None:
    """Return how many channels the first layer takes, where that can be told."""
    shape = example_shape(model)
    if shape is not None:
        return shape[1]
    for module in model.modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            return module.in_channels
        if isinstance(module, nn.Linear):
            return None
        # A scripted convolution is known by its weights.
        weight = module.weight if getattr(module, "original_name", "") in _CONVOLUTIONS else None
        if isinstance(weight, Tensor):
            return weight.shape[1]
    return None


def takes_volumes(model: nn.Module) -> bool:
    """Whether all convolutions are of three axes."""
    axes = {
        # A scripted convolution is known by the name of what it was.
        getattr(module, "original_name", type(module).__name__)
        for module in model.modules()
    } & _CONVOLUTIONS
    return axes == {"Conv3d"}


def example_shape(model: nn.Module) -> tuple[int, ...] | None:
    """Return the only shape of input that an exported model takes, where its file says so."""
    shape = getattr(model, "example_shape", None)
    return tuple(shape.tolist()) if isinstance(shape, Tensor) else None
