"""PyTorch networks of other kinds: compiled, lazy, squeezed and quantised ones, against plain ones."""

from __future__ import annotations

import copy
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


# --- compiled ---


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


# --- lazy ---


def test_lazy_modules_take_their_shapes_from_a_first_pass() -> None:
    model = nn.Sequential(
        nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.LazyLinear(3),
    ).eval()  # fmt: skip
    made = ns.explain(ns.wrap(model, {"input": {"channels": 3}}), IMAGE, "grad_cam", 1, relu=False)
    assert not any("random" in note for note in made.provenance["notes"])
    activation = model[:3](INPUT)
    (gradient,) = torch.autograd.grad(model[3:](activation)[0, 1], activation)
    expected = (activation * gradient.mean((2, 3), keepdim=True)).sum(1)[0]
    np.testing.assert_allclose(made.values, expected.detach(), rtol=1e-4, atol=1e-7)


# --- squeezed ---


class FinalActivation(nn.Module):
    def __init__(self, classes: int, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head, self.end = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, classes), end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.head(functional.relu(self.conv(x)).mean((2, 3))))


@pytest.mark.parametrize(
    ("classes", "end", "plain"),
    [(3, lambda y: y.squeeze(), None), (1, lambda y: y.squeeze(), None),
     (1, lambda y: y.squeeze(1), None), (3, lambda y: y[0], None),
     (1, lambda y: torch.sigmoid(y).squeeze(), torch.sigmoid),
     (3, lambda y: y.softmax(-1).squeeze(), lambda y: y.softmax(-1))],
)  # fmt: skip
def test_answers_without_their_batch_of_one(
    classes: int, end: Callable[[Tensor], Tensor], plain: Callable[[Tensor], Tensor] | None
) -> None:
    whole = FinalActivation(classes, plain or (lambda y: y))
    assert_same(FinalActivation(classes, end), whole, "classification")


def test_a_segmenter_that_squeezes() -> None:
    class Squeezing(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).squeeze()

    parts = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1)]
    assert_same(Squeezing(*parts), nn.Sequential(*parts), "segmentation")


# --- quantised ---


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
