"""Whether a PyTorch network normalises images of 0..255 itself, seen at its first layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from napari_neuroscope.engine.frameworks.byte_range import is_mean_of_bytes, is_spread_of_bytes

# At which of its arguments an operation that is a layer's has the running means of channels.
_PLACE_OF_MEANS = {
    "native_batch_norm": 3, "cudnn_batch_norm": 3, "_batch_norm_with_update": 3,
    "_native_batch_norm_legit_no_training": 3, "_batch_norm_no_update": 3, "batch_norm": 3,
}  # fmt: skip
# At which it has what it works on.
_LAYERS = {
    **dict.fromkeys(("convolution", "_convolution", "conv2d", "conv3d", "mm", "bmm", "linear",
                     "matmul", "native_group_norm", "native_layer_norm", "max_pool2d",
                     "max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool2d",
                     "avg_pool3d", "_adaptive_avg_pool2d", "adaptive_avg_pool2d",
                     "mkldnn_convolution", "cudnn_convolution", "einsum"), 0),
    **dict.fromkeys(("addmm", "embedding"), 1),
    **dict.fromkeys(_PLACE_OF_MEANS, 0),
}  # fmt: skip
# Some work on their weights before they work on the image.
_MOST_LAYERS = 8


@dataclass(frozen=True)
class _LayerInput:
    """What a layer works on, and the running means that it takes from it."""

    operation: str
    values: Tensor
    means: Tensor | None


class _PassEnd(BaseException):
    """Enough was seen, so the pass ends; as it is no Exception, no network catches it by mistake."""


class _LayerInputs(TorchDispatchMode):
    """Keeps what the first layers of a pass work on, and ends the pass behind them."""

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)
        self.inputs: list[_LayerInput] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Nothing is compiled here, and the compiler takes seconds to be imported.
        return False

    def __enter__(self) -> _LayerInputs:
        TorchDispatchMode.__enter__(self)
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        TorchDispatchMode.__exit__(self, kind, error, trace)
        return isinstance(error, _PassEnd)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        operation = function.overloadpacket.__name__
        place = _LAYERS.get(operation)
        if place is not None and len(args) > place and isinstance(args[place], Tensor):
            values = args[place].detach()
            values = values.dequantize() if values.is_quantized else values.clone()
            self.inputs.append(_LayerInput(operation, values, _means(operation, args)))
            if len(self.inputs) == _MOST_LAYERS:
                raise _PassEnd
        return function(*args, **(kwargs or {}))


def takes_bytes(forward: Callable[[Tensor], Any], black: Tensor) -> bool | None:
    """Whether a network is made for images of 0..255, told by what its first layer is given.

    A black image and one of ones are passed as far as that: what they become there tells how the
    network shifts and scales its input, in whatever way it is written.

    Parameters
    ----------
    forward
        Passes an image (1, channel, *space) forward.
    black
        An image of zeros.

    Returns
    -------
    bool or None
        None where the network does not get as far as a layer.
    """
    seen_of_black, seen_of_white = _LayerInputs(), _LayerInputs()
    with seen_of_black:
        forward(black)
    with seen_of_white:
        forward(torch.ones_like(black))
    if not seen_of_black.inputs:
        return None
    for of_black, of_white in zip(seen_of_black.inputs, seen_of_white.inputs, strict=False):
        same = of_black.operation == of_white.operation
        if not same or of_black.values.shape != of_white.values.shape:
            return False
        if not torch.equal(of_black.values, of_white.values):
            return _is_of_bytes(of_black, of_white)
    return False


def _is_of_bytes(of_black: _LayerInput, of_white: _LayerInput) -> bool:
    offset = of_black.values.double()
    scale = of_white.values.double() - offset
    if not (torch.isfinite(scale) & torch.isfinite(offset)).all():
        return False
    means = of_black.means
    if means is not None and offset.ndim > 1:
        offset = offset - means.double().view(1, -1, *[1] * (offset.ndim - 2))
    # Where it was padded, nothing is seen of the image.
    seen = scale != 0
    if not of_black.values.is_floating_point() and bool((scale[seen] == 1).all()):
        # Of an image in 0..1, whole numbers would leave black.
        return True
    means_in_image, spreads = -offset[seen] / scale[seen], 1 / scale[seen]
    return is_mean_of_bytes(float(means_in_image.max())) or (
        means is None and is_spread_of_bytes(float(spreads.abs().max()))
    )


def _means(operation: str, args: Sequence[Any]) -> Tensor | None:
    place = _PLACE_OF_MEANS.get(operation)
    means = args[place] if place is not None and len(args) > place else None
    return means.detach().clone() if isinstance(means, Tensor) else None
