"""What attends to what in a forward pass of PyTorch, however the attention is written."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from napari_neuroscope.engine.frameworks.torch.tracing.operations import operation_name

_MULTI_HEAD = inspect.signature(functional.multi_head_attention_forward)
# These leave weights the weights that they are.
_KEEP_VALUES = frozenset({
    "dropout", "to", "type", "type_as", "float", "half", "bfloat16", "double", "contiguous", "clone",
    "nan_to_num", "view", "reshape", "flatten", "unflatten",
})  # fmt: skip


class AttentionKeeper(TorchFunctionMode):
    """Keep the weights of every attention that runs, in order.

    Fused attention never shows its weights: they are made of its queries and keys, beside it.
    PyTorch's own module is asked for them. Where attention is written out, they are the softmax
    that a matrix product takes.

    Attributes
    ----------
    weights
        Those of each attention, (..., query, key).
    """

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[Tensor] = []
        # Tensors that may be weights: what a softmax gave, and what keeps it as it is.
        self._candidates = WeakTensorKeyDictionary()

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        operation = operation_name(function)
        if operation == "scaled_dot_product_attention":
            self.weights.append(fused_weights(*args, **kwargs))
        elif operation == "multi_head_attention_forward":
            return self._multi_head(function, args, kwargs)
        output = function(*args, **kwargs)
        if (operation == "softmax" and _along_last(output, args, kwargs)) or (
            operation in _KEEP_VALUES
            and self._has(args)
            and output.shape[-2:] == args[0].shape[-2:]
        ):
            self._candidates[output] = True
        elif operation in ("matmul", "bmm") and self._has(args):
            self.weights.append(args[0])
        elif operation == "einsum":
            self._sum_products(args)
        return output

    def _has(self, args: Any) -> bool:
        return bool(args) and isinstance(args[0], Tensor) and args[0] in self._candidates

    def _sum_products(self, args: Any) -> None:
        tensors = args[1] if len(args) == 2 and isinstance(args[1], list | tuple) else args[1:]
        taken, _, kept = str(args[0]).replace(" ", "").partition("->")
        for letters, tensor in zip(taken.split(","), tensors, strict=False):
            if (
                isinstance(tensor, Tensor)
                and tensor in self._candidates
                and letters[-1] not in kept
            ):
                self.weights.append(tensor)

    def _multi_head(self, function: Any, args: Any, kwargs: Any) -> Any:
        bound = _MULTI_HEAD.bind(*args, **kwargs)
        bound.apply_defaults()
        wants_weights, averaged = (
            bound.arguments[n] for n in ("need_weights", "average_attn_weights")
        )
        bound.arguments.update(need_weights=True, average_attn_weights=False)
        output, weights = function(*bound.args, **bound.kwargs)
        self.weights.append(weights)
        if not wants_weights:
            return output, None
        # One input without a batch has its heads first.
        return output, weights.mean(-3) if averaged else weights


def _along_last(output: Any, args: Any, kwargs: Any) -> bool:
    if not isinstance(output, Tensor) or output.ndim < 2:
        return False
    dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
    return dim in (-1, output.ndim - 1)


def fused_weights(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return softmax(scale · query keyᵀ + mask), as `scaled_dot_product_attention` has it."""
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
    scores = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, -torch.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    # What may see nothing sees nothing.
    return scores.softmax(-1).nan_to_num()
