"""Networks that compute parts again on the way back, or choose their way by the image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
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


RANDOM = np.random.default_rng(0).random((64, 96, 3)).astype(np.float32)


SEGMENTATION = {"task": "segmentation"}


def tensor_of(image: np.ndarray) -> Tensor:
    return torch.tensor(image.transpose(2, 0, 1)[None])


class Parts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.out = nn.Conv2d(8, 2, 1)


class MakesAGrid(Parts):
    """What is made at the first call is an attribute afterwards."""

    grid: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.second(functional.relu(self.first(x))))
        if self.grid is None:
            rows, columns = (torch.linspace(0, 1, n) for n in x.shape[2:])
            self.grid = rows[:, None] + columns[None]
        return self.out(x + self.grid)


class EverySecond(Parts):
    """Another operation in every second call."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        x = self.second(functional.relu(self.first(x)))
        return self.out(functional.relu(x) if self.calls % 2 else torch.clamp(x, min=0))


class HalvesLarge(Parts):
    """Another way for large images; the same names stand for other steps."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] <= 64:
            return self.out(functional.relu(self.second(functional.relu(self.first(x)))))
        x = functional.relu(self.first(functional.relu(functional.avg_pool2d(x, 2))))
        return functional.interpolate(self.out(functional.relu(self.second(x))), scale_factor=2)


class PadsOdd(Parts):
    """Padding where the sides are odd alone."""

    def forward(self, x: Tensor) -> Tensor:
        whole = functional.relu(self.first(x))
        small = functional.relu(self.second(functional.max_pool2d(whole, 2)))
        large = functional.interpolate(small, scale_factor=2)
        down, right = (n - m for n, m in zip(x.shape[2:], large.shape[2:], strict=True))
        if down or right:
            large = functional.pad(large, (0, right, 0, down))
        return self.out(whole + large)


def hires_cam(model: nn.Module, image: np.ndarray) -> np.ndarray:
    """Return HiResCAM of the second convolution, which is never resized here."""
    held: list[Tensor] = []
    hook = model.second.register_forward_hook(lambda _, __, output: held.append(output))
    score = model(tensor_of(image))[0, 1].sum()
    hook.remove()
    (gradient,) = torch.autograd.grad(score, held[0])
    return (held[0] * gradient).sum(1)[0].detach().numpy()


@pytest.mark.parametrize("model", [MakesAGrid, EverySecond, HalvesLarge, PadsOdd])
def test_maps_are_of_the_layers_that_run_for_the_image(model: type[Parts]) -> None:
    network = ns.wrap(model().eval(), SEGMENTATION)
    for sides in ((61, 67), (64, 64), (64, 96), (61, 67)):
        image = RANDOM[: sides[0], : sides[1]]
        if model is HalvesLarge:
            image = RANDOM[:, : sides[1] // 2 * 2]
        everywhere = ns.Target(1, "everywhere")
        made = ns.explain(network, image, "hires_cam", everywhere, layer="second", relu=False)
        plain = model().eval()
        np.testing.assert_allclose(made.values, hires_cam(plain, image), rtol=1e-3, atol=1e-5)
        labels = plain(tensor_of(image))[0].argmax(0)
        np.testing.assert_array_equal(network.predict(image).labels, labels)


@pytest.mark.parametrize("method", ["occlusion", "ablation_cam", "lrp", "saliency"])
@pytest.mark.parametrize("model", [MakesAGrid, EverySecond])
def test_methods_run_on_networks_that_keep_something(method: str, model: type[Parts]) -> None:
    one = model().eval()
    options: dict[str, Any] = {"window": 32, "stride": 32} if method == "occlusion" else {}
    assert np.isfinite(
        ns.explain(ns.wrap(one, SEGMENTATION), RANDOM, method, 1, **options).values
    ).all()
    assert getattr(one, "grid", None) is None


def test_a_layer_of_another_way_is_told_in_a_sentence() -> None:
    network = ns.wrap(PadsOdd().eval(), SEGMENTATION)
    ns.explain(network, RANDOM[:61, :67], "hires_cam", 1, layer="pad")
    with pytest.raises(ns.NeuroscopeError, match="no layer “pad”"):
        ns.explain(network, RANDOM[:64, :64], "hires_cam", 1, layer="pad")
