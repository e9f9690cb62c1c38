"""Modules and functions are told by their names, whatever way they are written."""

from __future__ import annotations

import operator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_neuroscope.engine.frameworks.torch.tracing.operations import (
    keeps_positions,
    module_kind,
    operation_name,
    tensors_in,
)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (functional.relu, "relu"),
        (torch.relu_, "relu"),
        (Tensor.__iadd__, "add"),
        (Tensor.__rsub__, "sub"),
        (Tensor.add_, "add"),
        (operator.matmul, "matmul"),
        (torch.ops.aten.conv2d.default, "conv2d"),
    ],
)
def test_one_operation_has_one_name(function: Any, name: str) -> None:
    assert operation_name(function) == name


class PaddedConvolution(nn.Conv2d):
    """A person's own kind of convolution."""


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        (PaddedConvolution(1, 1, 1), "convolution"),
        (nn.ConvTranspose2d(1, 1, 1), "transposed convolution"),
        (nn.MultiheadAttention(4, 2), "attention"),
        (nn.GroupNorm(1, 1), "normalisation"),
        (nn.GELU(), "activation"),
        (nn.Identity(), "other"),
        (torch.jit.script(nn.Sequential(nn.ReLU())), "other"),
        (nn.Sequential(nn.ReLU()), None),
    ],
)
def test_a_module_is_one_layer_or_made_of_others(module: nn.Module, kind: str | None) -> None:
    assert module_kind(module) == kind


def test_picks_of_channels_keep_positions_and_picks_of_rows_do_not() -> None:
    x = torch.zeros(1, 4, 6, 6)
    assert keeps_positions("exp", [x], x)
    assert keeps_positions("chunk", [x], x[:, :2])
    assert not keeps_positions("getitem", [x], x[:, :, 1:])
    assert not keeps_positions("reshape", [x], x.reshape(1, 4, 36))


def test_tensors_are_taken_out_of_what_holds_them() -> None:
    a, b, c = torch.zeros(3)
    assert [id(t) for t in tensors_in({"x": [a, (b, "text")], "y": c})] == [id(a), id(b), id(c)]
