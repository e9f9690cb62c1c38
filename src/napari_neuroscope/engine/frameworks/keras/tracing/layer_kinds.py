"""What kind of layer a Keras layer or a TensorFlow operation is, and how it is described."""

from __future__ import annotations

import re
from typing import Any

from napari_neuroscope.engine.frameworks.keras.tracing.graph import CLIPPING, NONLINEAR
from napari_neuroscope.engine.frameworks.quiet import quiet
from napari_neuroscope.engine.graph.layer_graph import Kind

# By the file that a layer's class is written in, then by its folder.
_LAYER_KINDS: dict[str, Kind] = {
    "dense": "dense", "einsum_dense": "dense", "activation": "activation",
    "add": "add", "average": "add", "subtract": "add", "concatenate": "concatenate",
    "up_sampling1d": "upsampling", "up_sampling2d": "upsampling", "up_sampling3d": "upsampling",
    "conv1d_transpose": "transposed convolution", "conv2d_transpose": "transposed convolution",
    "conv3d_transpose": "transposed convolution",
    "activations": "activation", "attention": "attention", "convolutional": "convolution",
    "normalization": "normalisation", "pooling": "pooling", "regularization": "dropout",
    "reshaping": "reshape",
}  # fmt: skip

# Operations of TensorFlow, and of ``keras.ops`` in functional models by their class.
_OPERATION_KINDS: dict[str, Kind] = {
    **dict.fromkeys((*NONLINEAR, *CLIPPING, "Softmax", "LogSoftmax", "Gelu",
                     "Silu", "HardSigmoid", "HardSilu", "Clip", "Celu", "Glu", "LogSigmoid",
                     "SoftSign"), "activation"),
    **dict.fromkeys(("Conv2D", "Conv3D", "DepthwiseConv2dNative", "Conv", "DepthwiseConv",
                     "SeparableConv"), "convolution"),
    **dict.fromkeys(("Conv2DBackpropInput", "Conv3DBackpropInputV2", "ConvTranspose"),
                    "transposed convolution"),
    **dict.fromkeys(("MaxPool", "AvgPool", "MaxPool3D", "AvgPool3D", "AveragePool", "Mean", "Max"),
                    "pooling"),
    **dict.fromkeys(("FusedBatchNormV3", "BatchNormalization", "LayerNorm", "Normalize"),
                    "normalisation"),
    **dict.fromkeys(("Add", "AddV2", "Sub", "Subtract", "AddN"), "add"),
    **dict.fromkeys(("ConcatV2", "Pack", "Concatenate", "Stack"), "concatenate"),
    **dict.fromkeys(("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic", "Resize"),
                    "upsampling"),
    **dict.fromkeys(("Reshape", "Transpose", "Pad", "PadV2", "MirrorPad", "SpaceToDepth",
                     "DepthToSpace", "Flatten", "Squeeze", "ExpandDims"), "reshape"),
    **dict.fromkeys(("MatMul", "BatchMatMulV2", "Mul", "Einsum"), "other"),
}  # fmt: skip
# These join tensors; with a number or a weight they are arithmetic and no layer.
_NEED_TWO_TENSORS = {"Add", "AddV2", "Sub", "Mul", "AddN"}
_MATRIX_PRODUCTS = {"MatMul", "BatchMatMulV2"}
_NAMES = {
    "AddV2": "add", "ConcatV2": "concat", "PadV2": "pad", "FusedBatchNormV3": "batch_norm",
    "DepthwiseConv2dNative": "depthwise_conv2d", "Conv2DBackpropInput": "conv2d_transpose",
    "Conv3DBackpropInputV2": "conv3d_transpose", "BatchMatMulV2": "mat_mul",
    "ResizeNearestNeighbor": "resize_nearest", "Conv2D": "conv2d", "Conv3D": "conv3d",
    "MaxPool3D": "max_pool3d", "AvgPool3D": "avg_pool3d",
}  # fmt: skip
_DESCRIBED = (
    "filters", "units", "kernel_size", "pool_size", "size", "strides", "padding", "dilation_rate",
    "groups", "activation", "use_bias", "rate", "axis", "epsilon", "negative_slope", "max_value",
    "interpolation",
)  # fmt: skip


def layer_kind(layer: Any) -> Kind | None:
    """Return the kind of a layer that is one; None for one made of others."""
    import keras

    if isinstance(layer, keras.Model):
        return None
    if not isinstance(layer, keras.Layer):
        return _OPERATION_KINDS.get(type(layer).__name__, "other")
    for ancestor in type(layer).__mro__:
        parts = ancestor.__module__.split(".")
        if parts[:3] == ["keras", "src", "layers"] and len(parts) > 4:
            return _LAYER_KINDS.get(parts[-1], _LAYER_KINDS.get(parts[3], "other"))
    return None


def operation_kind(operation: str, varying: int) -> Kind | None:
    """Return the kind of an operation outside of layers; None for arithmetic that is no layer.

    Parameters
    ----------
    operation
        TensorFlow's type of it.
    varying
        How many of the tensors that it takes come from the input.
    """
    if operation in _NEED_TWO_TENSORS and varying < 2:
        return None
    if operation in _MATRIX_PRODUCTS and varying == 1:
        return "dense"
    return _OPERATION_KINDS.get(operation)


def operation_name(operation: str) -> str:
    """Return what an operation is called: ``mat_mul`` for ``BatchMatMulV2``."""
    return _NAMES.get(operation, snake_case(operation))


def snake_case(name: str) -> str:
    """Return ``batch_norm`` for ``BatchNorm``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def describe(layer: Any) -> str:
    """Return a layer's configuration in one line; "" for one made of others."""
    if layer is None or layer_kind(layer) is None or not hasattr(layer, "get_config"):
        return ""
    try:
        # Keras warns of lambdas as if they were saved.
        with quiet():
            config = layer.get_config()
    except Exception:  # noqa: BLE001  a layer of any package, asked for a line of text
        return type(layer).__name__
    plain = [
        f"{name}={config[name]}"
        for name in _DESCRIBED
        if isinstance(config.get(name), str | int | float | list | tuple)
    ]
    return f"{type(layer).__name__}({', '.join(plain)})"
