"""Where the graph of a network is cut: before its final softmax or sigmoid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from napari_neuroscope.engine.frameworks.keras.tracing.graph import same_place

_FINAL = {"Softmax": "softmax", "LogSoftmax": "softmax", "Sigmoid": "sigmoid"}


@dataclass(frozen=True)
class Cut:
    """A final activation: its operation, kind, what goes into it, and the output without it."""

    op: Any
    kind: Literal["softmax", "sigmoid"]
    logits: Any
    scores: Any


def cut_end(output: Any) -> Cut | None:
    """Return the final softmax or sigmoid of a graph, and the output as it is before it."""
    import tensorflow as tf

    after = []
    op = output.op
    while same_place(op):
        after.append(op)
        op = op.inputs[0].op
    kind: Any = _FINAL.get(op.type)
    logits = op.inputs[0] if op.inputs else None
    if _ends_log_sigmoid(op):
        kind, logits = "sigmoid", op.inputs[0].op.inputs[0].op.inputs[0]
    if kind is None:
        return None
    scores = logits
    # What comes after it brings the scores to the output's shape just as well.
    for later in reversed(after):
        if later.type == "Transpose":
            scores = tf.transpose(scores, later.inputs[1])
        elif later.type == "Cast":
            scores = tf.cast(scores, later.outputs[0].dtype)
        elif later.type != "Identity":
            scores = tf.reshape(scores, later.outputs[0].shape)
    return Cut(op, kind, logits, scores)


def _ends_log_sigmoid(op: Any) -> bool:
    """Whether an operation is the last of −softplus(−x), as a log sigmoid is written."""
    return bool(
        op.type == "Neg"
        and op.inputs[0].op.type == "Softplus"
        and op.inputs[0].op.inputs[0].op.type == "Neg"
    )
