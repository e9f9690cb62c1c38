"""What kind of layer a PyTorch module or function is, by its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from napari_neuroscope.engine.graph.layer_graph import Kind

_MODULE_KINDS: dict[str, Kind] = {
    "conv": "convolution", "linear": "dense", "pooling": "pooling", "activation": "activation",
    "batchnorm": "normalisation", "instancenorm": "normalisation", "normalization": "normalisation",
    "dropout": "dropout", "upsampling": "upsampling", "flatten": "reshape", "padding": "reshape",
    "pixelshuffle": "reshape", "channelshuffle": "reshape", "fold": "reshape", "rnn": "other",
    "sparse": "other", "distance": "other",
}  # fmt: skip

FUNCTION_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution"), "convolution"),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
                    "transposed convolution"),
    **dict.fromkeys(("linear", "bilinear", "addmm"), "dense"),
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d",
                     "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
                     "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d",
                     "adaptive_max_pool3d", "lp_pool1d", "lp_pool2d", "mean", "amax"), "pooling"),
    **dict.fromkeys(("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm",
                     "local_response_norm", "normalize"), "normalisation"),
    **dict.fromkeys(("relu", "relu6", "threshold", "hardtanh", "leaky_relu", "prelu", "rrelu",
                     "elu", "selu", "celu", "gelu", "silu", "mish", "hardswish", "hardsigmoid",
                     "softplus", "softsign", "tanh", "sigmoid", "logsigmoid", "log_sigmoid",
                     "softmax",
                     "log_softmax", "softmin", "clamp", "clamp_min", "clamp_max", "clip",
                     "maximum", "max", "fmax", "glu"), "activation"),
    **dict.fromkeys(("scaled_dot_product_attention", "multi_head_attention_forward"), "attention"),
    **dict.fromkeys(("add", "sub"), "add"),
    **dict.fromkeys(("cat", "concat", "concatenate", "stack", "hstack"), "concatenate"),
    **dict.fromkeys(("interpolate", "upsample", "upsample_nearest2d", "upsample_bilinear2d",
                     "grid_sample"), "upsampling"),
    **dict.fromkeys(("flatten", "reshape", "view", "permute", "transpose", "pad", "pixel_shuffle",
                     "pixel_unshuffle", "unfold", "fold"), "reshape"),
    **dict.fromkeys(("dropout", "dropout2d", "dropout3d", "alpha_dropout"), "dropout"),
    **dict.fromkeys(("mul", "matmul", "bmm", "einsum"), "other"),
}  # fmt: skip

# They join tensors; with a plain number they are arithmetic and no layer.
NEED_TWO_TENSORS = {"add", "sub", "mul", "maximum", "max", "fmax"}
SOFTMAX = {"Softmax", "Softmax2d", "LogSoftmax", "softmax", "log_softmax"}
SIGMOID = {"Sigmoid", "LogSigmoid", "sigmoid", "logsigmoid", "log_sigmoid"}
LOGARITHMIC = {"LogSoftmax", "log_softmax", "LogSigmoid", "logsigmoid", "log_sigmoid"}
# Their way back has no operation of its own that could be guided.
CLIPPINGS = {"clamp", "clamp_min", "clamp_max", "clip", "maximum", "max", "fmax"}
# The operator is one method with several names: a + b, a += b, 1 + b.
_OPERATOR_METHODS = {
    "iadd": "add",
    "radd": "add",
    "isub": "sub",
    "rsub": "sub",
    "imul": "mul",
    "rmul": "mul",
    "rmatmul": "matmul",
    "imatmul": "matmul",
}

# Arithmetic and copies that are no layer leave each position where it is.
_POSITIONWISE = frozenset({
    "add", "sub", "mul", "div", "truediv", "itruediv", "rtruediv", "true_divide", "neg", "pow",
    "rpow", "sqrt", "rsqrt", "square", "exp", "log", "abs", "sign", "float", "half", "double",
    "bfloat16", "to", "type", "type_as", "clone", "contiguous", "detach", "requires_grad", "cpu",
    "cuda", "expand", "expand_as", "where", "nan_to_num", "erf", "sin", "cos",
})  # fmt: skip
_CHANNEL_PICKS = frozenset({"getitem", "chunk", "split", "narrow"})


def keeps_positions(operation: str, inputs: list[Tensor], output: Tensor) -> bool:
    """Whether an operation that is no layer leaves all positions where they are."""
    if operation in _POSITIONWISE or FUNCTION_KINDS.get(operation) == "activation":
        return True
    # Of channels alone, not of places: their number is as before.
    first = inputs[0]
    return (
        operation in _CHANNEL_PICKS
        and len(inputs) == 1
        and output.ndim == first.ndim
        and output.shape[2:] == first.shape[2:]
    )


def operation_name(function: Any) -> str:
    """Return the plain name of a function, method or exported operation."""
    name = getattr(function, "__name__", "").split(".")[0]
    plain = name.strip("_")
    return _OPERATOR_METHODS.get(plain, plain) if name.startswith("__") else plain


def module_kind(module: nn.Module) -> Kind | None:
    """Return the kind of a module that is one layer; None for one made of others."""
    if isinstance(module, torch.jit.ScriptModule):
        return "other"
    if isinstance(module, nn.MultiheadAttention):
        return "attention"
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        return "transposed convolution"
    if isinstance(module, nn.Identity):
        return "other"
    for ancestor in type(module).__mro__:
        package, _, file = ancestor.__module__.rpartition(".")
        if package == "torch.nn.modules" and file in _MODULE_KINDS:
            return _MODULE_KINDS[file]
    return None


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested arguments or results."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)
