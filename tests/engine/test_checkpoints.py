"""Networks that compute parts of themselves again on the way back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

import napari_neuroscope as ns
from closeness import assert_close
from networks import as_network, settled

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class Checkpointed(nn.Module):
    """A batch norm and a dropout inside of a checkpoint, which computes them twice."""

    def __init__(self, reentrant: bool | None) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.middle = nn.Sequential(
            nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Dropout(), nn.ReLU()
        )
        self.head = nn.Conv2d(6, 3, 1)
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        if self.reentrant is None:
            return self.head(self.middle(x))
        return self.head(checkpoint(self.middle, x, use_reentrant=self.reentrant))


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((8, 9, 3)).astype(np.float32)


def found(reentrant: bool | None, image: np.ndarray, method: str, **more: Any) -> np.ndarray:
    model = settled(Checkpointed(reentrant)).train()
    before = model.middle[2].running_mean.clone()
    values = ns.explain(as_network(model, "segmentation"), image, method, 1, **more).values
    assert torch.equal(model.middle[2].running_mean, before)
    return values


@pytest.mark.parametrize("keep", ["asked", "everything", None])
@pytest.mark.parametrize("method", ["saliency", "guided_backprop", "smooth_grad"])
@pytest.mark.parametrize("reentrant", [False, True])
def test_the_input_is_reached(reentrant: bool, method: str, keep: Any, image: np.ndarray) -> None:
    assert_close(found(reentrant, image, method, keep=keep), found(None, image, method, keep=keep))


LAYERS = ["stem", "middle.0", "middle.1", "middle.4", "head"]


@pytest.mark.parametrize("keep", ["asked", "everything"])
@pytest.mark.parametrize("layer", [*LAYERS, ["stem", "middle.1", "head"]])
def test_layers_inside_are_reached(layer: Any, keep: Any, image: np.ndarray) -> None:
    more = {"layer": layer, "keep": keep, "relu": False}
    assert_close(found(False, image, "grad_cam", **more), found(None, image, "grad_cam", **more))


@pytest.mark.parametrize("keep", ["asked", "everything"])
@pytest.mark.parametrize("layer", [*LAYERS, ["stem", "middle.1", "head"]])
def test_layers_of_reentrant_checkpoints_are_right_or_refused(
    layer: Any, keep: Any, image: np.ndarray
) -> None:
    """An all-zero map would say that nothing there mattered."""
    more = {"layer": layer, "keep": keep, "relu": False}
    expected = found(None, image, "grad_cam", **more)
    try:
        values = found(True, image, "grad_cam", **more)
    except ns.NeuroscopeError as refusal:
        assert "use_reentrant=False" in str(refusal)  # noqa: PT017
    else:
        assert_close(values, expected)


def test_checkpointed_sequences(image: np.ndarray) -> None:
    class Sequence(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.Sequential(
                nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 3, 1)
            )

        def forward(self, x: Tensor) -> Tensor:
            return checkpoint_sequential(self.parts, 2, x, use_reentrant=False)

    model = settled(Sequence())
    values = ns.explain(as_network(model, "segmentation"), image, "saliency", 1).values
    plain = ns.explain(as_network(model.parts, "segmentation"), image, "saliency", 1).values
    assert_close(values, plain)
