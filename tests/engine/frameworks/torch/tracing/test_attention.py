"""Weights of attention that never shows them, against the attention itself."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch.nn import functional

from napari_neuroscope.engine.frameworks.torch.tracing.attention import fused_weights


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scale": 0.7},
        {"is_causal": True},
        {"attn_mask": torch.linspace(-2, 2, 36).reshape(6, 6)},
        {"attn_mask": torch.arange(36).reshape(6, 6) % 7 > 2},
        {"enable_gqa": True},
    ],
    ids=["plain", "scale", "causal", "added", "masked", "grouped"],
)
def test_weights_that_fused_attention_does_not_show(options: dict) -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, 4, 6, 5)
    if "enable_gqa" in options:
        k, v = k[:, :2], v[:, :2]
    expected = functional.scaled_dot_product_attention(q, k, v, **options)
    weights = fused_weights(q, k, v, **options)
    repeated = v.repeat_interleave(4 // v.shape[1], 1)
    torch.testing.assert_close(weights @ repeated, expected)
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 4, 6))
    parameters = inspect.signature(fused_weights).parameters
    assert list(parameters)[:6] == ["query", "key", "value", "attn_mask", "dropout_p", "is_causal"]
