"""Networks that are compiled in whole or in part, against plain ones."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import napari_neuroscope as ns

IMAGE = np.random.default_rng(0).random((16, 16, 3)).astype(np.float32)


METHODS = {
    "saliency": {}, "grad_cam": {}, "integrated_gradients": {"steps": 3},
    "occlusion": {"window": 8, "stride": 8},
}  # fmt: skip


def segmenter() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1)).eval()


def assert_same(model: nn.Module, plain: nn.Module, task: str) -> None:
    networks = [ns.wrap(one.eval(), {"task": task}) for one in (model, plain)]
    for method, options in METHODS.items():
        made, expected = (ns.explain(n, IMAGE, method, 1, **options).values for n in networks)
        np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-6, err_msg=method)


class Outer(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def compiled(model: nn.Module) -> nn.Module:
    return torch.compile(model, backend="eager")


def compiled_in_place(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    return model


def compiled_forward(model: nn.Module) -> nn.Module:
    model.forward = torch.compile(model.forward, backend="eager")
    return model


@pytest.mark.parametrize(
    "wrapping",
    [compiled, compiled_in_place, compiled_forward, lambda m: Outer(compiled(m)),
     lambda m: nn.DataParallel(compiled(m)), lambda m: compiled(nn.DataParallel(m)),
     lambda m: nn.Sequential(compiled(m[0]), m[1], m[2])],
)  # fmt: skip
def test_compiled_networks_are_run_as_they_were_written(
    wrapping: Callable[[nn.Module], nn.Module],
) -> None:
    from torch._dynamo import eval_frame

    before = eval_frame._stance
    model = segmenter()
    assert_same(wrapping(copy.deepcopy(model)), model, "segmentation")
    assert eval_frame._stance == before
