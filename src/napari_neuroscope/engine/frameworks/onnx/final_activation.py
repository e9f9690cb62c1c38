"""The softmax or sigmoid that an ONNX graph ends in, and how the scores before it are arranged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from napari_neuroscope.engine.frameworks.onnx.node import Node

_KINDS: dict[str, Literal["softmax", "sigmoid"]] = {
    "Softmax": "softmax", "LogSoftmax": "softmax", "Sigmoid": "sigmoid",
}  # fmt: skip
# But for rounding.
_SAME_VALUES = {"Identity", "Cast", "QuantizeLinear", "DequantizeLinear", "Dropout"}


@dataclass(frozen=True)
class FinalActivation:
    """The softmax or sigmoid that a network ends in.

    Attributes
    ----------
    layer, kind, logarithmic
        The tensor that it answers, what it is, and whether it answers logarithms.
    scores
        The tensor that it takes.
    permutations
        What lies between it and the output: axes that change places, or None: other shapes.
    """

    layer: str
    kind: Literal["softmax", "sigmoid"]
    logarithmic: bool
    scores: str
    permutations: tuple[tuple[int, ...], ...] | None

    def bring(self, scores: Tensor, output: Tensor) -> Tensor:
        """Bring the scores to the shape of the output."""
        if self.permutations is None:
            return scores.reshape(output.shape)
        for permutation in self.permutations:
            scores = scores.permute(permutation)
        return scores


def find_final_activation(of_image: Mapping[str, Node], output: str) -> FinalActivation | None:
    """Return the softmax or sigmoid behind which nothing but the shape is changed.

    Parameters
    ----------
    of_image
        The tensors whose values come from the image, and the nodes that make them.
    output
        The name of an output.
    """
    permutations: list[tuple[int, ...]] = []
    reshaped, powers, tensor = False, 0, output
    while (node := of_image.get(tensor)) is not None:
        if node.operation in _KINDS:
            logarithmic = node.operation == "LogSoftmax"
            if (reshaped and permutations) or powers > logarithmic:
                return None
            return FinalActivation(
                tensor,
                _KINDS[node.operation],
                logarithmic,
                node.inputs[0],
                None if reshaped else tuple(reversed(permutations)),
            )
        if node.operation == "Transpose" and "perm" in node.attributes:
            permutations.append(tuple(node.attributes["perm"]))
        elif node.operation in ("Reshape", "Flatten", "Squeeze", "Unsqueeze"):
            reshaped = True
        elif node.operation == "Exp":
            powers += 1
        elif node.operation not in _SAME_VALUES:
            return None
        tensor = node.inputs[0]
    return None
