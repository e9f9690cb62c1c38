"""What an ONNX node takes of the layer before it, for receptive fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from napari_neuroscope.engine.graph.reach import Reach, ResampledReach, Window

if TYPE_CHECKING:
    from napari_neuroscope.engine.frameworks.onnx.node import Node

_POINTWISE = frozenset({
    "BatchNormalization", "LRN", "Relu", "LeakyRelu", "PRelu", "ThresholdedRelu", "Elu", "Selu",
    "Celu", "Gelu", "Sigmoid", "HardSigmoid", "HardSwish", "Swish", "Mish", "Tanh", "Softplus",
    "Softsign", "Clip", "Dropout", "Identity", "Cast", "Add", "Sub", "Mul", "Div", "Sum", "Max",
    "Min", "Pow", "Sqrt", "Exp", "Log", "Neg", "Abs", "Erf", "Floor", "Ceil", "Round", "Where",
    "QuantizeLinear", "DequantizeLinear", "Transpose",
})  # fmt: skip
_EVERYWHERE = frozenset({
    "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "InstanceNormalization",
    "GroupNormalization", "Flatten", "Gemm",
})  # fmt: skip
_RESIZED: dict[str, Literal["nearest", "linear", "cubic"]] = {
    "nearest": "nearest",
    "linear": "linear",
    "cubic": "cubic",
}


def reach_of_node(
    node: Node,
    space: int,
    channel: int | None,
    weights: Mapping[str, Any],
    numbers: Mapping[str, Sequence[int]],
) -> Reach:
    """Return what a node takes; None where that is not known.

    Parameters
    ----------
    node
        The node.
    space
        How many spatial axes the network looks along.
    channel
        Which axis of its output has the channels.
    weights, numbers
        Type and shape of constant tensors, and the values of short ones of whole numbers.
    """
    operation, told = node.operation, node.attributes
    if operation in _POINTWISE:
        return "pointwise"
    if operation in _EVERYWHERE:
        return "everywhere"
    if operation in ("Concat", "Softmax", "LogSoftmax", "Hardmax"):
        axis = told.get("axis", -1 if operation != "Concat" else None)
        alike = channel is not None and axis in (channel, channel - space - 2)
        return "pointwise" if alike else None if operation == "Concat" else "everywhere"
    make = _OF_OPERATIONS.get(operation)
    return None if make is None else make(node, space, weights, numbers)


def _window(
    node: Node, space: int, weights: Mapping[str, Any], numbers: Mapping[str, Sequence[int]]
) -> Reach:
    told = node.attributes
    kernel = told.get("kernel_shape")
    if kernel is None and len(node.inputs) > 1 and node.inputs[1] in weights:
        kernel = weights[node.inputs[1]][1][2:]
    if kernel is None or len(kernel) != space:
        return None
    ones = (1,) * space
    before: tuple[int, ...] | None = tuple(told.get("pads", (0,) * 2 * space))[:space]
    padding = told.get("auto_pad", "NOTSET")
    if padding in ("SAME_UPPER", "SAME_LOWER"):
        before = None
    elif padding == "VALID":
        before = (0,) * space
    return Window(
        tuple(kernel),
        tuple(told.get("strides", ones)),
        before,
        tuple(told.get("dilations", ones)),
        node.operation == "ConvTranspose",
    )


def _resized(
    node: Node, space: int, weights: Mapping[str, Any], numbers: Mapping[str, Sequence[int]]
) -> Reach:
    told = node.attributes
    mode = _RESIZED.get(told.get("mode", "nearest"))
    usual = "half_pixel" if node.operation == "Resize" else "asymmetric"
    how = told.get("coordinate_transformation_mode", usual)
    if mode is None or told.get("antialias"):
        return None
    if how == "align_corners":
        return ResampledReach(mode, align_corners=True)
    # By an asymmetric rule, only the nearest lie as the cells that they are taken of.
    aligned = how in ("half_pixel", "pytorch_half_pixel") or mode == "nearest"
    return ResampledReach(mode) if aligned else None


def _padded(
    node: Node, space: int, weights: Mapping[str, Any], numbers: Mapping[str, Sequence[int]]
) -> Reach:
    pads = node.attributes.get("pads") or numbers.get(node.inputs[1] if node.inputs[1:] else "")
    if pads is None or len(pads) != 2 * (space + 2) or len(node.inputs) > 3:
        return None
    return _shifted(list(pads[2 : space + 2]))


def _sliced(
    node: Node, space: int, weights: Mapping[str, Any], numbers: Mapping[str, Sequence[int]]
) -> Reach:
    told = node.attributes
    if "starts" in told:
        starts, axes, steps = told["starts"], told.get("axes"), None
    else:
        given = [*(numbers.get(name) for name in node.inputs[1:]), None, None, None, None]
        starts, _, axes, steps = given[:4]
    if starts is None or any(step != 1 for step in steps or ()):
        return None
    axes = range(len(starts)) if axes is None else axes
    first = dict(zip(axes, starts, strict=False))
    along = [first.get(axis, 0) for axis in range(2, space + 2)]
    # From the end, its place depends on the size.
    return None if min(along) < 0 else _shifted([-start for start in along])


def _shifted(before: Sequence[int]) -> Reach:
    ones = (1,) * len(before)
    return Window(ones, ones, tuple(before), ones)


_Make = Callable[[Any, int, Mapping[str, Any], Mapping[str, Sequence[int]]], Reach]
_OF_OPERATIONS: dict[str, _Make] = {
    **dict.fromkeys(
        ("Conv", "ConvTranspose", "ConvInteger", "MaxPool", "AveragePool", "LpPool"), _window
    ),
    **dict.fromkeys(("Resize", "Upsample"), _resized),
    "Pad": _padded,
    "Slice": _sliced,
    "DepthToSpace": lambda *_: ResampledReach("nearest"),
}
