"""Names of modules and of functional operations can't meet, against PyTorch's own answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import napari_neuroscope as ns

IMAGE = np.random.default_rng(0).random((16, 16, 3)).astype(np.float32)
INPUT = torch.tensor(IMAGE.transpose(2, 0, 1)[None])
SEGMENTATION = {"task": "segmentation"}


class ImportedName(nn.Module):
    """Modules named as the operations beside them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.relu, self.relu_2, self.out = nn.ReLU(), nn.ReLU(), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.second(functional.relu(self.first(x))) + 0.1)
        return self.out(self.relu_2(self.second(self.relu(self.second(x)))))


class Gated(nn.Module):
    """A gate by torch.sigmoid, and an end by a module of that name."""

    def __init__(self, *, ends: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 1, 1)
        self.head.weight.data *= 20
        self.sigmoid, self._ends = nn.Sigmoid(), ends

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        scores = self.head(x * torch.sigmoid(x))
        return self.sigmoid(scores) if self._ends else scores


def test_modules_keep_their_paths_and_operations_step_aside() -> None:
    assert list(ns.wrap(ImportedName().eval(), SEGMENTATION).layers) == [
        "first", "relu_3", "second", "relu_4", "second:2", "relu", "second:3", "relu_2", "out",
    ]  # fmt: skip


@pytest.mark.parametrize("layer", ["relu", ["relu"], ["relu_2"], ["relu_3"]])
def test_a_layer_of_a_name_is_the_module_of_that_path(layer: Any) -> None:
    model = ImportedName().eval()
    (name,) = [layer] if isinstance(layer, str) else layer
    held: dict[str, Tensor] = {}
    hooks = [
        getattr(model, path).register_forward_hook(
            lambda _, __, output, path=path: held.__setitem__(path, output)
        )
        for path in ("relu", "relu_2")
    ]
    model(INPUT)
    for hook in hooks:
        hook.remove()
    held["relu_3"] = functional.relu(model.first(INPUT))
    made = ns.explain(ns.wrap(model, SEGMENTATION), IMAGE, "activation", layer=layer).values
    np.testing.assert_allclose(
        made.reshape(8, 16, 16), held[name][0].detach(), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("method", "options"),
    [("saliency", {}), ("occlusion", {"window": 8, "stride": 8}), ("integrated_gradients", {}),
     ("rise", {"masks": 20}), ("score_cam", {"layer": "first"}),
     ("ablation_cam", {"layer": "first"})],
)  # fmt: skip
def test_an_end_beside_a_function_of_its_name_is_cut(method: str, options: dict[str, Any]) -> None:
    cut, plain = (
        ns.explain(ns.wrap(Gated(ends=ends).eval(), SEGMENTATION), IMAGE, method, 1, **options)
        for ends in (True, False)
    )
    np.testing.assert_array_equal(cut.values, plain.values)
    assert cut.provenance["targets"][0]["score"] == "logit"
