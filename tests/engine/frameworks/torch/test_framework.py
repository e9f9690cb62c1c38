"""What PyTorch tells of a network, and of one that is quantised."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import napari_neuroscope as ns

IMAGE = np.random.default_rng(0).random((16, 16, 3)).astype(np.float32)


INPUT = torch.tensor(IMAGE.transpose(2, 0, 1)[None])


def segmenter() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1)).eval()


class FinalActivation(nn.Module):
    def __init__(self, classes: int, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head, self.end = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, classes), end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.head(functional.relu(self.conv(x)).mean((2, 3))))


def quantised(*, dynamic: bool) -> nn.Module:
    from torch.ao import quantization

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamic:
            return quantization.quantize_dynamic(
                FinalActivation(3, lambda y: y).eval(), {nn.Linear}
            )
        model = nn.Sequential(
            quantization.QuantStub(), *segmenter(), quantization.DeQuantStub()
        ).eval()
        model.qconfig = quantization.get_default_qconfig(torch.backends.quantized.engine)
        prepared = quantization.prepare(model)
        prepared(INPUT)
        return quantization.convert(prepared)


@pytest.mark.parametrize("dynamic", [True, False])
def test_quantised_networks_answer_and_say_that_they_have_no_gradient(dynamic: bool) -> None:
    model = quantised(dynamic=dynamic)
    task = "classification" if dynamic else "segmentation"
    network = ns.wrap(model, {"task": task, "input": {"value_range": [0, 1]}})
    np.testing.assert_allclose(
        network.predict(IMAGE).scores, model(INPUT)[0].detach(), rtol=1e-5, atol=1e-6
    )
    made = ns.explain(network, IMAGE, "occlusion", 1, window=8, stride=8, baseline="zero").values
    hidden = INPUT.clone()
    hidden[:, :, :8, :8] = 0
    score = (lambda x: model(x)[0, 1]) if dynamic else (lambda x: model(x)[0, 1].sum())
    np.testing.assert_allclose(
        made[0, 0], (score(INPUT) - score(hidden)).detach(), rtol=1e-3, atol=1e-4
    )
    with pytest.raises(ns.NeuroscopeError, match=r"quantised \(int8\)"):
        ns.explain(network, IMAGE, "saliency", 1)
