"""Networks whose answers hang on the rest of a batch, or on chance, against one pass at a time."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import napari_neuroscope as ns

IMAGE = np.random.default_rng(0).random((16, 16, 3)).astype(np.float32)
INPUT = torch.tensor(IMAGE.transpose(2, 0, 1)[None])


class Between(nn.Module):
    """Does something to the activations between a convolution and the head."""

    def __init__(self, step: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head, self.step = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 3), step

    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.relu(self.step(self.conv(x))).mean((2, 3)))


def occluded(model: nn.Module, window: int) -> np.ndarray:
    """Return occlusion by windows side by side, of one image at a time."""
    map_ = np.zeros((16, 16), np.float32)
    with torch.no_grad():
        whole = model(INPUT)[0, 1]
        for top in range(0, 16, window):
            for left in range(0, 16, window):
                hidden = INPUT.clone()
                hidden[:, :, top : top + window, left : left + window] = 0
                part = map_[top : top + window, left : left + window]
                part[:] = float(whole - model(hidden)[0, 1])
    return map_


MIXING: dict[str, Callable[[Tensor], Tensor]] = {
    "batch norm of the batch": lambda x: functional.batch_norm(x, None, None, training=True),
    "a norm of all": lambda x: (x - x.mean()) / x.std(),
    "the largest of all": lambda x: x / x.abs().max(),
    "a softmax over the batch": lambda x: x * x.softmax(0),
}


@pytest.mark.parametrize("kind", MIXING)
def test_variants_don_t_see_each_other(kind: str) -> None:
    model = Between(MIXING[kind]).eval()
    network = ns.wrap(model, {"input": {"value_range": [0, 1]}})
    options: dict[str, Any] = {"window": 8, "stride": 8, "baseline": "zero"}
    made = ns.explain(network, IMAGE, "occlusion", 1, **options)
    np.testing.assert_allclose(made.values, occluded(model, 8), rtol=1e-3, atol=1e-5)
    assert any("hangs on the others of its batch" in n for n in made.provenance["notes"])
    for method, more in (("smooth_grad", {"samples": 3}), ("integrated_gradients", {"steps": 4})):
        several, one = (
            ns.explain(network, IMAGE, method, 1, **more, **batch) for batch in ({}, {"batch": 1})
        )
        np.testing.assert_array_equal(several.values, one.values)


def test_of_an_honest_network_batches_are_kept() -> None:
    sizes: list[int] = []

    def step(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return functional.batch_norm(x, torch.zeros(8), torch.ones(8))

    network = ns.wrap(Between(step).eval())
    made = ns.explain(network, IMAGE, "occlusion", 1, window=8, stride=8, batch=4)
    assert not made.provenance["notes"]
    assert sizes.count(4) == 1


DRAWING: dict[str, Callable[[Tensor], Tensor]] = {
    "dropout": lambda x: functional.dropout(x, 0.5, training=True),
    "noise": lambda x: x + torch.randn_like(x),
    "a whole path": lambda x: x * (torch.rand(len(x), 1, 1, 1) + 0.5),
    "of NumPy": lambda x: x * float(np.random.rand() + 0.5),
    "of Python": lambda x: x * (random.random() + 0.5),
}


@pytest.mark.parametrize("kind", DRAWING)
def test_passes_draw_the_same_random_numbers(kind: str) -> None:
    torch.manual_seed(7)
    following = torch.rand(3)
    maps = []
    for seed in (7, 8):
        model = Between(DRAWING[kind]).eval()
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        made = ns.explain(
            ns.wrap(model, {"input": {"value_range": [0, 1]}}), IMAGE, "occlusion", 1,
            window=8, stride=8, baseline="zero",
        )  # fmt: skip
        assert any("draws random numbers" in note for note in made.provenance["notes"])
        maps.append(made.values)
        if seed == 7:
            torch.testing.assert_close(torch.rand(3), following)
    np.testing.assert_array_equal(*maps)

    def seeded(x: Tensor) -> Tensor:
        torch.manual_seed(0)
        np.random.seed(0)
        random.seed(0)
        return DRAWING[kind](x)

    np.testing.assert_allclose(maps[0], occluded(Between(seeded).eval(), 8), rtol=1e-3, atol=1e-5)
