"""What a PyTorch module or function takes of the layer before it, for receptive fields."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from napari_neuroscope.engine.graph.reach import Reach, ResampledReach, Window

_POINTWISE = frozenset({
    "batch_norm", "local_response_norm", "relu", "relu6", "threshold", "hardtanh", "leaky_relu",
    "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish", "hardswish", "hardsigmoid",
    "softplus", "softsign", "tanh", "sigmoid", "logsigmoid", "log_sigmoid", "clamp", "clamp_min",
    "clamp_max", "clip", "maximum", "fmax", "add", "sub", "mul", "dropout", "dropout2d",
    "dropout3d", "alpha_dropout",
})  # fmt: skip
_EVERYWHERE = frozenset({
    "layer_norm", "group_norm", "instance_norm", "rms_norm", "linear", "bilinear", "addmm",
    "matmul", "bmm", "scaled_dot_product_attention", "multi_head_attention_forward", "flatten",
})  # fmt: skip
_MODES = {"nearest": "nearest", "linear": "linear", "bilinear": "linear", "trilinear": "linear",
          "bicubic": "cubic", "area": "area"}  # fmt: skip


def reach_of_module(module: nn.Module) -> Reach:
    """Return what a module takes; None where that is not known."""
    if not type(module).forward.__module__.startswith("torch.nn.modules."):
        # Its own forward pass may pad or cut as it likes.
        return None
    for kinds, reach in _OF_MODULES:
        if isinstance(module, kinds):
            return reach(module)
    return None


def _of_convolution(module: Any) -> Reach:
    space = len(module.kernel_size)
    if module.padding_mode != "zeros" and any(n != 0 for n in _numbers(module.padding)):
        # It sees pixels of the image once more, at other places.
        return None
    kernel, stride, dilation = module.kernel_size, module.stride, module.dilation
    return Window(
        kernel, stride, _padding_before(module.padding, kernel, dilation, space), dilation
    )


def _of_transposed(module: Any) -> Reach:
    return Window(
        module.kernel_size, module.stride, module.padding, module.dilation, transposed=True
    )


def _of_pooling(module: Any) -> Reach:
    space = int(type(module).__name__[-2])
    return _pooling(
        space, module.kernel_size, module.stride, getattr(module, "padding", 0),
        getattr(module, "dilation", 1),
    )  # fmt: skip


def _of_adaptive(module: Any) -> Reach:
    return _adaptive(module.output_size)


def _of_upsampling(module: Any) -> Reach:
    return _interpolated(module.mode, module.scale_factor, align=bool(module.align_corners))


def _of_padding(module: Any) -> Reach:
    if not isinstance(module, nn.modules.padding._ConstantPadNd):
        return None
    return _padding(tuple(module.padding))


_OF_MODULES: tuple[tuple[Any, Callable[[Any], Reach]], ...] = (
    (nn.modules.conv._ConvTransposeNd, _of_transposed),
    (nn.modules.conv._ConvNd, _of_convolution),
    ((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
      nn.LPPool1d, nn.LPPool2d), _of_pooling),
    ((nn.modules.pooling._AdaptiveAvgPoolNd, nn.modules.pooling._AdaptiveMaxPoolNd), _of_adaptive),
    (nn.Upsample, _of_upsampling),
    (nn.PixelShuffle, lambda module: ResampledReach("nearest")),
    (nn.PixelUnshuffle, lambda module: _blocks(module.downscale_factor)),
    ((nn.modules.batchnorm._BatchNorm, nn.LocalResponseNorm), lambda module: "pointwise"),
    ((nn.LayerNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm, nn.Flatten, nn.Linear,
      nn.Bilinear, nn.MultiheadAttention), lambda module: "everywhere"),
    ((nn.Softmax, nn.LogSoftmax, nn.Softmin), lambda module: _softmax(module.dim)),
    ((nn.Softmax2d, nn.Identity, nn.modules.dropout._DropoutNd), lambda module: "pointwise"),
    ((nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.modules.padding._ConstantPadNd,
      nn.modules.padding._ReflectionPadNd, nn.modules.padding._ReplicationPadNd,
      nn.modules.padding._CircularPadNd), _of_padding),
    (tuple(kind for name in nn.modules.activation.__all__
           if name not in ("MultiheadAttention", "GLU")
           and isinstance(kind := getattr(nn.modules.activation, name), type)),
     lambda module: "pointwise"),
)  # fmt: skip


def reach_of_function(operation: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Reach:
    """Return what a function takes, of its name and arguments; None where that is not known."""
    if operation in _POINTWISE:
        return "pointwise"
    if operation in _EVERYWHERE:
        return "everywhere"
    take = _OF_FUNCTIONS.get(operation)
    if take is None or not args or not isinstance(args[0], Tensor | list | tuple):
        return None
    first = args[0] if isinstance(args[0], Tensor) else args[0][0]
    return take(first.ndim - 2, list(args[1:]), kwargs)


def _argument(args: list[Any], kwargs: dict[str, Any], number: int, name: str, default: Any) -> Any:
    return args[number] if len(args) > number else kwargs.get(name, default)


def _convolution(space: int, args: list[Any], kwargs: dict[str, Any]) -> Reach:
    weight = _argument(args, kwargs, 0, "weight", None)
    if not isinstance(weight, Tensor):
        # Packed, as those of quantised layers are.
        return None
    kernel = tuple(weight.shape[2:])
    dilation = _each(_argument(args, kwargs, 4, "dilation", 1), space)
    padding = _argument(args, kwargs, 3, "padding", 0)
    stride = _each(_argument(args, kwargs, 2, "stride", 1), space)
    return Window(kernel, stride, _padding_before(padding, kernel, dilation, space), dilation)


def _transposed(space: int, args: list[Any], kwargs: dict[str, Any]) -> Reach:
    weight = _argument(args, kwargs, 0, "weight", None)
    return Window(
        tuple(weight.shape[2:]),
        _each(_argument(args, kwargs, 2, "stride", 1), space),
        _each(_argument(args, kwargs, 3, "padding", 0), space),
        _each(_argument(args, kwargs, 6, "dilation", 1), space),
        transposed=True,
    )


def _max_pool(space: int, args: list[Any], kwargs: dict[str, Any]) -> Reach:
    kernel = _argument(args, kwargs, 0, "kernel_size", None)
    return _pooling(
        space, kernel, _argument(args, kwargs, 1, "stride", None),
        _argument(args, kwargs, 2, "padding", 0), _argument(args, kwargs, 3, "dilation", 1),
    )  # fmt: skip


def _avg_pool(space: int, args: list[Any], kwargs: dict[str, Any]) -> Reach:
    kernel = _argument(args, kwargs, 0, "kernel_size", None)
    return _pooling(
        space, kernel, _argument(args, kwargs, 1, "stride", None),
        _argument(args, kwargs, 2, "padding", 0), 1,
    )  # fmt: skip


def _interpolate(space: int, args: list[Any], kwargs: dict[str, Any]) -> Reach:
    mode = _argument(args, kwargs, 2, "mode", "nearest")
    scale = _argument(args, kwargs, 1, "scale_factor", None)
    if _argument(args, kwargs, 5, "antialias", False):
        return None
    return _interpolated(
        mode, scale, align=bool(_argument(args, kwargs, 3, "align_corners", False))
    )


def _pad(space: int, args: list[Any], kwargs: dict[str, Any]) -> Reach:
    if _argument(args, kwargs, 1, "mode", "constant") != "constant":
        return None
    padding = tuple(_argument(args, kwargs, 0, "pad", ()))
    return _padding((*padding, *(0,) * (2 * space - len(padding))))


def _mean(space: int, args: list[Any], kwargs: dict[str, Any]) -> Reach:
    dims = _argument(args, kwargs, 0, "dim", None)
    return "pointwise" if dims in (1, (1,), [1]) else "everywhere"


def _concatenation(space: int, args: list[Any], kwargs: dict[str, Any]) -> Reach:
    return "pointwise" if _argument(args, kwargs, 0, "dim", 0) in (1, -space - 1) else None


_OF_FUNCTIONS: dict[str, Callable[[int, list[Any], dict[str, Any]], Reach]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _transposed),
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d"), _max_pool),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d"), _avg_pool),
    **dict.fromkeys(
        (f"adaptive_{kind}_pool{n}d" for kind in ("avg", "max") for n in (1, 2, 3)),
        lambda space, args, kwargs: _adaptive(_argument(args, kwargs, 0, "output_size", None)),
    ),
    **dict.fromkeys(("interpolate", "upsample"), _interpolate),
    **dict.fromkeys(("mean", "amax"), _mean),
    **dict.fromkeys(("cat", "concat", "concatenate"), _concatenation),
    **dict.fromkeys(
        ("softmax", "log_softmax"),
        lambda space, args, kwargs: _softmax(_argument(args, kwargs, 0, "dim", None)),
    ),
    "pad": _pad,
    "pixel_shuffle": lambda space, args, kwargs: ResampledReach("nearest"),
    "pixel_unshuffle": lambda space, args, kwargs: _blocks(
        _argument(args, kwargs, 0, "downscale_factor", 1)
    ),
}


def _numbers(padding: Any) -> tuple[int, ...]:
    """Return a padding's numbers; one that a word stands for counts as one."""
    if isinstance(padding, str):
        return (int(padding != "valid"),)
    return (padding,) if isinstance(padding, int) else tuple(padding)


def _each(value: Any, space: int) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,) * space
    values = tuple(int(n) for n in value)
    return values if len(values) == space else values * space


def _padding_before(
    padding: Any, kernel: Sequence[int], dilation: Sequence[int], space: int
) -> tuple[int, ...]:
    if padding == "valid":
        return (0,) * space
    if padding == "same":
        return tuple(d * (k - 1) // 2 for k, d in zip(kernel, dilation, strict=True))
    return _each(padding, space)


def _pooling(space: int, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Reach:
    stride = kernel if stride is None or stride == [] else stride
    return Window(
        _each(kernel, space), _each(stride, space), _each(padding, space), _each(dilation, space)
    )


def _adaptive(size: Any) -> Reach:
    sizes = size if isinstance(size, Sequence) else (size,)
    return "everywhere" if all(n == 1 for n in sizes) else ResampledReach("area")


def _interpolated(mode: str, scale: Any, *, align: bool) -> Reach:
    factors = scale if isinstance(scale, Sequence) else (scale,)
    if mode not in _MODES or any(f is not None and float(f) != int(f) for f in factors):
        # By a factor that is not whole, places follow the factor and not the two sizes.
        return None
    return ResampledReach(_MODES[mode], align)  # type: ignore[arg-type]


def _padding(padding: Sequence[int]) -> Reach:
    before = tuple(padding[0::2][::-1])
    ones = (1,) * len(before)
    return Window(ones, ones, before, ones)


def _blocks(factor: int) -> Reach:
    return Window((factor,) * 2, (factor,) * 2, (0, 0), (1, 1))


def _softmax(dim: int | None) -> Reach:
    return "pointwise" if dim == 1 else "everywhere"
