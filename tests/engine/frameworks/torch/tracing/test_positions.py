"""Positions are followed through what a PyTorch network does to its numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import napari_neuroscope as ns
from napari_neuroscope.engine.graph.token_layout import (
    TokenLayout,
)
from networks import UNet, Vgg, as_network, settled
from token_networks import Swin, windows_of

IMAGE = np.random.default_rng(0).random((16, 24, 3), dtype=np.float32)


def explained(network: ns.Network, layer: str, image: np.ndarray = IMAGE) -> np.ndarray:
    return ns.explain(network, image, "activation", layer=layer).values


class Recorded:
    """What the modules of a model answered."""

    def __init__(self, model: nn.Module, x: Tensor) -> None:
        self.of: dict[str, Tensor] = {}
        hooks = [
            module.register_forward_hook(lambda m, a, y, name=name: self.of.__setitem__(name, y))
            for name, module in model.named_modules()
        ]
        with torch.no_grad():
            model(x)
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize("flat", [False, True])
def test_windowed_layers(flat: bool) -> None:
    image = np.random.default_rng(1).random((24, 40, 3), dtype=np.float32)
    model = settled(Swin(flat=flat))
    network = as_network(model, size=(24, 40))
    kept = Recorded(model, torch.from_numpy(image).permute(2, 0, 1)[None]).of
    inner = ".inner" if flat else ""
    for layer, rows in [("stages.1", 6), ("stages.2", 3), ("stages.4", 3), ("norm", 3)]:
        raw = kept[layer]
        expected = raw.reshape(rows, -1, raw.shape[-1]).permute(2, 0, 1)
        assert network.layers.grid(layer) == (rows, rows // 3 * 5)
        np.testing.assert_array_equal(explained(network, layer, image), expected)
    # Within shifted and padded windows: the reverse of what cut them.
    block = model.stages[1].inner if flat else model.stages[1]
    y = kept[f"stages.1{inner}.attn"]
    whole_image = block.attended(kept[f"stages.1{inner}.norm1"])[0].permute(2, 0, 1).detach()
    np.testing.assert_array_equal(
        explained(network, f"stages.1{inner}.attn", image), whole_image.numpy()
    )
    assert y.shape == (6, 16, 6)
    assert network.layers[f"stages.1{inner}.attn"].output_shape == (6, 16, 6)


class Around(nn.Module):
    """A convolution, then something done to its output, then a head of the mean."""

    def __init__(self, between: Callable[[Tensor], Tensor], width: int = 5) -> None:
        super().__init__()
        self.stem, self.between, self.last = nn.Conv2d(3, width, 4, 4), between, nn.GELU()
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.between(self.stem(x)))
        last = x.shape[-1] == len(self.head.weight.mT)
        return self.head(x.flatten(0, -2).mean(0, keepdim=True) if last else x.mean((2, 3)))


LAID_OUT: dict[str, Callable[[Tensor], Tensor]] = {
    "channels last": lambda x: x.permute(0, 2, 3, 1),
    "turned": lambda x: x.permute(0, 3, 2, 1),
    "sequence first": lambda x: x.flatten(2).permute(2, 0, 1),
    "rows apart": lambda x: x.permute(0, 2, 3, 1).flatten(0, 1),
    "windows": lambda x: windows_of(x.permute(0, 2, 3, 1), 2),
    "rolled": lambda x: x.permute(0, 2, 3, 1).roll((1, 2), (1, 2)),
    "flipped": lambda x: x.permute(0, 2, 3, 1).flip(1),
    "einsum": lambda x: torch.einsum("bchw,cd->bhwd", x, torch.eye(5)),
    "padded": lambda x: functional.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 2, 2, 0)),
    "chosen": lambda x: x.flatten(2).mT[:, 7 * torch.arange(24) % 24],
    "split and joined": lambda x: torch.cat(x.permute(0, 2, 3, 1).chunk(3, 2)[::-1], 2),
    "stacked": lambda x: torch.stack(x.permute(0, 2, 3, 1).unbind(1), 1),
    "normalised": lambda x: functional.normalize(x.permute(0, 2, 3, 1) * 2 + 1, dim=-1) * 1,
}


@pytest.mark.parametrize("how", LAID_OUT)
def test_layouts(how: str) -> None:
    model = settled(Around(LAID_OUT[how]))
    network = as_network(model, size=(16, 24))
    found = explained(network, "last")
    with torch.no_grad():
        y = model.stem(torch.from_numpy(IMAGE).permute(2, 0, 1)[None])[0]
        if how == "normalised":
            y = functional.normalize(y * 2 + 1, dim=0)
        expected = functional.gelu(y).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    "lost",
    [
        lambda x: x.flatten(2).mT.sort(1)[0].unflatten(1, (4, 6)),
        lambda x: x.permute(0, 2, 3, 1).cumsum(1),
        lambda x: x.flatten(2).mT[:, :23].unflatten(1, (1, 23)),
        lambda x: x.permute(0, 2, 3, 1).repeat(1, 2, 1, 1),
    ],
    ids=["sorted", "summed up", "one left out", "repeated"],
)
def test_positions_that_are_lost_are_refused(lost: Callable[[Tensor], Tensor]) -> None:
    network = as_network(settled(Around(lost)), size=(16, 24))
    with pytest.raises(
        ns.NeuroscopeError, match=r"“last” \(GELU\) has no positions that are known"
    ):
        ns.explain(network, IMAGE, "grad_cam", 0, "last")
    assert network.layers.has_positions("stem")


def test_patches_that_are_cut_without_a_convolution() -> None:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Linear(48, 5), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = x.unflatten(2, (4, 4)).unflatten(4, (6, 4)).permute(0, 2, 4, 3, 5, 1)
            return self.head(self.embed(x.flatten(3).flatten(1, 2)).mean(1))

    class Unfolded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unfold, self.embed = nn.Unfold(4, stride=4), nn.Linear(48, 5)
            self.head = nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.embed(self.unfold(x).transpose(1, 2)).mean(1))

    for model in [Cut(), Unfolded()]:
        network = as_network(settled(model), size=(16, 24))
        assert network.layers.grid("embed") == (4, 6)
        # Only the patch in the second row and third column differs from zero.
        image = np.zeros_like(IMAGE)
        image[4:8, 8:12] = 1
        differs = np.abs(
            explained(network, "embed", image) - explained(network, "embed", 0 * image)
        )
        assert np.argwhere(differs.max(0)).tolist() == [[1, 2]]


def test_tokens_that_become_channels_again() -> None:
    class Back(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.norm = nn.Conv2d(3, 6, 4, 4), nn.LayerNorm(6)
            self.neck, self.head = nn.Conv2d(6, 4, 3, 2, 1), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.norm(self.stem(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            return self.head(self.neck(x).mean((2, 3)))

    network = as_network(settled(Back()), size=(16, 24))
    assert network.layers["neck"].layout == network.layers["permute_2"].layout == "shape"
    assert network.layers.grid("norm") == (4, 6)
    assert network.layers.last_with_positions() == "neck"


def test_a_sequence_before_the_batch() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 4, 4)
            self.inner = nn.TransformerEncoder(
                nn.TransformerEncoderLayer(8, 2, 16, 0.0), 2, enable_nested_tensor=False
            )
            self.head = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.inner(self.stem(x).flatten(2).permute(2, 0, 1)).mean(0))

    network = as_network(settled(Encoder()), size=(16, 24))
    layer = network.layers[network.layers.last_with_positions()]
    assert isinstance(layer.layout, TokenLayout)
    assert (layer.layout.batch, layer.layout.grid) == (1, (4, 6))
    assert layer.output_shape == (24, 8)
    for method in ["grad_cam", "ablation_cam"]:
        assert ns.explain(network, IMAGE, method, 0).values.shape == (4, 6)


@pytest.mark.parametrize("model", [Vgg(), UNet()], ids=["Vgg", "UNet"])
def test_networks_without_tokens_are_as_their_shapes_say(model: nn.Module) -> None:
    task = "segmentation" if isinstance(model, UNet) else "classification"
    network = as_network(settled(model), task, size=(16, 16))
    assert not network.layers.folded
    for name, layer in network.layers.items():
        assert network.layers.has_positions(name) == (max(layer.output_shape[1:], default=1) > 1)


class _Doubled(torch.autograd.Function):
    """By NumPy, where nothing of ours can look."""

    @staticmethod
    def forward(context: object, x: Tensor) -> Tensor:
        return torch.from_numpy(2 * x.numpy())

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:
        return 2 * gradient


def test_what_can_not_be_seen_is_as_its_shape_says_without_tokens_and_refused_with_them() -> None:
    plain = as_network(settled(Around(_Doubled.apply)), size=(16, 24))
    assert plain.layers.has_positions("last")
    tokens = Around(lambda x: _Doubled.apply(x.permute(0, 2, 3, 1) + 1))
    network = as_network(settled(tokens), size=(16, 24))
    assert not network.layers.has_positions("last")


def test_channels_that_are_shuffled_by_views() -> None:
    class Shuffled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.last = nn.Conv2d(3, 6, 4, 4), nn.GELU()
            self.head = nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x).view(-1, 2, 3, 4, 6).transpose(1, 2).contiguous().view(-1, 6, 4, 6)
            return self.head(self.last(x).mean((2, 3)))

    layers = as_network(settled(Shuffled()), size=(16, 24)).layers
    assert layers["last"].layout == layers["view_2"].layout == "shape"


def test_a_module_of_ones_own_that_only_moves_tokens() -> None:
    class Swapped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.swapaxes(1, 2)

    model = Around(lambda x: windows_of(x.permute(0, 2, 3, 1), 2).unsqueeze(0))
    model.add_module("swap", Swapped())
    cut = model.between
    model.between = lambda x: model.swap(cut(x))
    network = as_network(settled(model), size=(16, 24))
    assert network.layers["swap"].output_shape == (4, 6, 5)
    np.testing.assert_allclose(explained(network, "swap"), explained(network, "stem"))
