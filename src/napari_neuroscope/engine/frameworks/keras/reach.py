"""What a Keras layer takes of the layer before it, for receptive fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from napari_neuroscope.engine.graph.reach import Reach, ResampledReach, Window

_POINTWISE_LAYERS = frozenset({
    "BatchNormalization", "Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Dropout",
    "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianNoise", "Rescaling",
    "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Identity",
})  # fmt: skip
_EVERYWHERE_LAYERS = frozenset({
    "GroupNormalization", "Flatten", "Attention",
    "MultiHeadAttention", "GlobalAveragePooling1D", "GlobalAveragePooling2D",
    "GlobalAveragePooling3D", "GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D",
})  # fmt: skip
_POINTWISE_OPERATIONS = frozenset(
    {"relu", "relu6", "sigmoid", "tanh", "add", "mul", "gelu", "silu"}
)
_MODES: dict[str, Literal["nearest", "linear", "cubic"]] = {
    "nearest": "nearest",
    "bilinear": "linear",
    "bicubic": "cubic",
}


def reach_of(layer: Any, operation: str, space: int) -> Reach:
    """Return what a layer, or an operation outside of layers, takes; None where it is not known."""
    if layer is None:
        return "pointwise" if operation in _POINTWISE_OPERATIONS else None
    name = type(layer).__name__
    if name in _POINTWISE_LAYERS:
        return "pointwise"
    if name in _EVERYWHERE_LAYERS:
        return "everywhere"
    if name in ("LayerNormalization", "UnitNormalization"):
        axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
        return "pointwise" if set(axes) <= {-1, space + 1} else "everywhere"
    if name == "Softmax":
        return "pointwise" if layer.axis in (-1, space + 1) else "everywhere"
    if name == "Concatenate":
        channels = 1 if getattr(layer, "data_format", "") == "channels_first" else -1
        return "pointwise" if layer.axis in (channels, space + 1) else None
    if name == "Dense":
        shape = getattr(layer, "_build_shapes_dict", None) or {}
        given = next(iter(shape.values()), ())
        return "pointwise" if given and len(given) == space + 2 else "everywhere"
    if name.startswith(("Conv", "DepthwiseConv", "SeparableConv")):
        return _window(
            layer.kernel_size, layer.strides, layer.padding, layer.dilation_rate,
            transposed="Transpose" in name,
        )  # fmt: skip
    if name.startswith(("MaxPooling", "AveragePooling")):
        return _window(layer.pool_size, layer.strides, layer.padding, (1,) * space)
    if name.startswith("UpSampling"):
        mode = _MODES.get(getattr(layer, "interpolation", "nearest"))
        return None if mode is None else ResampledReach(mode)
    if name.startswith("ZeroPadding"):
        return _shifted(layer.padding, 1)
    if name.startswith("Cropping"):
        return _shifted(layer.cropping, -1)
    return None


def _window(
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: str,
    dilation: Sequence[int],
    *,
    transposed: bool = False,
) -> Reach:
    if padding not in ("valid", "same"):
        return None
    before = (0,) * len(kernel) if padding == "valid" else None
    return Window(tuple(kernel), tuple(stride), before, tuple(dilation), transposed)


def _shifted(sides: Any, sign: int) -> Reach:
    pairs = sides if isinstance(sides[0], Sequence) else (sides,)
    ones = (1,) * len(pairs)
    return Window(ones, ones, tuple(sign * before for before, _ in pairs), ones)
