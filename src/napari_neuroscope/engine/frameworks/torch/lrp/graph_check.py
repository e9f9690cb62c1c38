"""What of an autograd graph relevance can be carried through as a gradient, and what not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NoReturn

from torch.autograd.graph import GradientEdge

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.frameworks.torch.autograd_graph import taken_by
from napari_neuroscope.engine.frameworks.torch.lrp.nodes import PASSED, WEIGHTED

# Moves values about, copies or picks them.
_MOVES = {
    "View", "UnsafeView", "ReshapeAlias", "Permute", "Transpose", "T", "Mt", "Squeeze", "Unsqueeze",
    "Expand", "Repeat", "RepeatInterleave", "Slice", "Select", "Index", "IndexSelect", "Gather",
    "Split", "UnsafeSplit", "SplitWithSizes", "Unbind", "Unfold", "Diagonal", "Flip", "Roll", "Clone", "Alias",
    "CopyBackwards", "CopySlices", "ToCopy", "AsStrided", "SliceScatter", "SelectScatter", "MaskedFill",
    "IndexPut", "Where", "Cat", "Stack", "ConstantPadNd", "ReflectionPad1D", "ReflectionPad2D",
    "ReflectionPad3D", "ReplicationPad1D", "ReplicationPad2D", "ReplicationPad3D", "PixelShuffle",
    "PixelUnshuffle", "ChannelShuffle", "NativeChannelShuffle", "Im2Col", "Col2Im",
    "UnsqueezeCopy", "MaxUnpool2D", "MaxUnpool3D",
}  # fmt: skip
# Sums with constant weights, and picks of the largest: x · g stays what it was.
_SUMS = {
    "Add", "Sub", "Rsub", "Neg", "Sum", "Mean", "AvgPool2D", "AvgPool3D", "AdaptiveAvgPool2D",
    "AdaptiveAvgPool3D", "MkldnnAdaptiveAvgPool2D", "MaxPool2DWithIndices", "MaxPool3DWithIndices",
    "AdaptiveMaxPool2D", "AdaptiveMaxPool3D", "FractionalMaxPool2D", "FractionalMaxPool3D", "Max",
    "Min", "Amax", "Amin", "Maximum", "Minimum", "UpsampleNearest1D", "UpsampleNearest2D",
    "UpsampleNearest3D", "UpsampleNearestExact1D", "UpsampleNearestExact2D",
    "UpsampleNearestExact3D", "UpsampleLinear1D", "UpsampleBilinear2D", "UpsampleBilinear2DAa",
    "UpsampleBicubic2D", "UpsampleBicubic2DAa", "UpsampleTrilinear3D", "Cumsum", "NativeDropout",
}  # fmt: skip
_RECTIFIERS = {"Relu", "LeakyRelu", "PreluKernel", "Abs"}
# Sums with weights, as long as these are constant.
PRODUCTS = {
    "Mul", "Div", "Mm", "Bmm", "Mv", "Dot", "Addmm", "Addbmm", "Baddbmm", "Addmv", "Addcmul",
    "GridSampler2D", "GridSampler3D",
}  # fmt: skip
# Of these only what they take first may depend on the image.
_FIRST = {"Div", "GridSampler2D", "GridSampler3D"}
_HAVE_RULES = _MOVES | _SUMS | _RECTIFIERS | PRODUCTS | {WEIGHTED, PASSED, "AccumulateGrad"}
_GATES = {"sigmoid", "hardsigmoid"}
_NOT_NEGATIVE = {"relu6", "sigmoid", "hardsigmoid", "softplus"}


def kind_of(node: Any) -> str:
    """Return what a node does: “Cat” of “CatBackward0”.

    Functions that are written in Python have no number and keep their whole name: they may do
    something else.
    """
    return re.sub(r"Backward\d+$", "", node.name()).rpartition("::")[2]


def examine(end: GradientEdge, names: Mapping[Any, str]) -> None:
    """Refuse a graph with nodes that no rule is known for; mark the layers that give the scores.

    `names` has the layers, by the last of their nodes.
    """
    seen: set[tuple[Any, bool]] = set()
    stack: list[tuple[Any, str, bool]] = [(end.node, "", True)]
    while stack:
        node, layer, gives_scores = stack.pop()
        if (node, gives_scores) in seen:
            continue
        seen.add((node, gives_scores))
        layer, kind = names.get(node, layer), kind_of(node)
        behind = taken_by(node)
        # A constant over values is no sum of them.
        over = kind in _FIRST and node.next_functions[0][0] is None
        if kind not in _HAVE_RULES or over or (kind in PRODUCTS and len(behind) > 1):
            refuse(kind, layer, len(behind) > 1)
        if kind == WEIGHTED:
            node.gives_scores = node.gives_scores or gives_scores
            gives_scores = False
        stack.extend((taken, layer, gives_scores) for taken in behind)


def refuse(kind: str, layer: str, several: bool) -> NoReturn:
    """Say that a kind of node can't be gone through, and at which layer.

    `several` tells that more than one of its inputs depend on the image.
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", kind).lower()
    at = f"at the layer “{layer}” the network" if layer else "the network"
    if kind in PRODUCTS and several:
        what = f"multiplies activations with each other ({words}), and neither is a gate"
    elif kind in {"Convolution", "NativeBatchNorm", "CudnnBatchNorm"}:
        what = f"has weights that depend on the image or can't be followed ({words})"
    else:
        what = f"computes what relevance has no rule for ({words})"
    raise NeuroscopeError(
        f"LRP can't share relevance out: {at} {what}; use integrated_gradients, which needs no "
        f"rules."
    )


def touches_input(node: Any) -> bool:
    """Whether no weighted layer lies behind a node: its values are the network's input's."""
    seen, stack = set(), [node]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if kind_of(node) == WEIGHTED:
            return False
        stack.extend(taken_by(node))
    return True


def cannot_be_negative(node: Any) -> bool:
    """Whether it is plain from the graph that values are 0 or more."""
    kind = kind_of(node) if node is not None else ""
    if kind == PASSED:
        return node.operation in _NOT_NEGATIVE
    if kind == "Relu":
        return True
    # Bicubic weights may be negative, and differences are.
    averages = kind.startswith(("AvgPool", "AdaptiveAvgPool", "MaxPool", "AdaptiveMaxPool"))
    passes = averages or kind in {"Cat", "View", "Add", "Slice", "UpsampleNearest2D", "Mean"}
    behind = taken_by(node) if passes else []
    # A constant that is added, or filled in, may be anything.
    whole = kind not in {"Add", "Cat"} or len(behind) == len(node.next_functions)
    whole = whole and (kind != "Add" or node._saved_alpha >= 0)
    return bool(behind) and whole and all(map(cannot_be_negative, behind))


def is_gate(node: Any) -> bool:
    """Whether values come from a sigmoid or softmax, perhaps as a view or resized."""
    while node is not None:
        kind, behind = kind_of(node), taken_by(node)
        if (kind == PASSED and node.operation in _GATES) or kind == "Softmax":
            return True
        if (kind not in _MOVES and not kind.startswith("Upsample")) or len(behind) != 1:
            return False
        node = behind[0]
    return False
