"""Class activation maps of transformers, against plain scripts that fold the tokens themselves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import napari_neuroscope as ns
from closeness import assert_close
from networks import as_network, settled
from snapshot import Snapshot
from token_networks import Swin, ViT, from_windows

Fold = Callable[[Tensor], Tensor]


def lively(model: ViT) -> ViT:
    """Give a model fixed weights, and tokens that differ from each other."""
    settled(model)
    with torch.no_grad():
        model.places.mul_(12)
    return model


def image_of(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random((*shape, 3), dtype=np.float32)


class Script:
    """A layer's output and its gradient by a hook, folded by hand to (channel, y, x)."""

    def __init__(
        self, model: nn.Module, layer: str, fold: Fold, image: np.ndarray, index: int
    ) -> None:
        self.model, self.module, self.fold = model, model.get_submodule(layer), fold
        self.x, self.index = torch.from_numpy(image).permute(2, 0, 1)[None], index
        kept: list[Tensor] = []
        hook = self.module.register_forward_hook(lambda m, a, y: kept.append(y))
        score = model(self.x)[0, index]
        hook.remove()
        self.score, self.output = float(score.detach()), kept[0].detach()
        self.activation = fold(self.output)
        self.gradient = fold(torch.autograd.grad(score, kept[0])[0])

    def score_with(self, change: Callable[[Tensor], Tensor]) -> float:
        """Return the score with the layer's output changed."""
        hook = self.module.register_forward_hook(lambda m, a, y: change(y))
        with torch.no_grad():
            score = float(self.model(self.x)[0, self.index])
        hook.remove()
        return score

    def grad_cam(self) -> Tensor:
        return torch.einsum("k,kyx->yx", self.gradient.mean((1, 2)), self.activation)

    def hires_cam(self) -> Tensor:
        return (self.gradient * self.activation).sum(0)

    def layer_cam(self) -> Tensor:
        return (self.gradient.relu() * self.activation).sum(0)

    def x_grad_cam(self) -> Tensor:
        total = self.activation.sum((1, 2))
        weights = (self.gradient * self.activation).sum((1, 2)) / total
        return torch.einsum("k,kyx->yx", weights, self.activation)

    def grad_cam_plus_plus(self) -> Tensor:
        g, total = self.gradient, self.activation.sum((1, 2), keepdim=True)
        alpha = g**2 / (2 * g**2 + g**3 * total)
        weights = torch.where(g > 0, alpha * g, 0).sum((1, 2))
        return torch.einsum("k,kyx->yx", weights, self.activation)


def assert_cut(ours: np.ndarray, uncut: Tensor, relative: float = 1e-4) -> None:
    """Compare with a map whose negative part is cut off, to a part of its size before."""
    largest = float(uncut.abs().max())
    assert largest > 0
    assert np.abs(ours - uncut.relu().numpy()).max() <= relative * largest


SIGNED = {"grad_cam", "hires_cam", "x_grad_cam"}
METHODS = ["grad_cam", "hires_cam", "layer_cam", "x_grad_cam", "grad_cam_plus_plus"]


def patches(prefix: int, rows: int = 4) -> Fold:
    """Leave out what comes first; the rest is the grid, row by row."""
    return lambda y: y[0, prefix:].reshape(rows, -1, y.shape[-1]).permute(2, 0, 1)


# Of three blocks: before the last one, a patch is only seen through a norm, whatever its length, and
# then gradient times activation is zero.
VITS = {
    "class token": (lambda: ViT(depth=3), 1),
    "registers": (lambda: ViT(prefix=5, depth=3), 5),
    "distilled": (lambda: ViT(prefix=2, head="distilled", depth=3), 2),
    "mean": (lambda: ViT(prefix=0, head="mean", depth=3), 0),
    "mean beside a class token": (lambda: ViT(head="mean", depth=3), 1),
    "torch's attention": (lambda: ViT(kind="module", depth=3), 1),
    "written out": (lambda: ViT(kind="written", depth=3), 1),
}


@pytest.mark.parametrize("layer", ["blocks.0", "blocks.2.norm1", "blocks.0.mlp.1"])
@pytest.mark.parametrize("kind", VITS)
def test_vision_transformers(kind: str, layer: str) -> None:
    make, prefix = VITS[kind]
    model, image = lively(make()), image_of(16, 24)
    network = as_network(model, size=(16, 24))
    before = Snapshot(model)
    found = {
        method: ns.explain(
            network, image, method, [0, 2], layer, **({"relu": False} if method in SIGNED else {})
        )
        for method in METHODS
    }
    before.assert_unchanged()
    for number, index in enumerate([0, 2]):
        script = Script(model, layer, patches(prefix), image, index)
        for method in METHODS:
            assert found[method].values.shape == (2, 4, 6)
            compare = assert_close if method in SIGNED else assert_cut
            compare(found[method].values[number], getattr(script, method)(), 1e-4)


def windows(y: Tensor) -> Tensor:
    """Put shifted windows of a padded grid of 6 × 10 together again."""
    return from_windows(y, 4, 8, 12).roll((2, 2), (1, 2))[0, :6, :10].permute(2, 0, 1)


SWINS: dict[str, tuple[bool, Fold]] = {
    "stages.1": (False, lambda y: y[0].permute(2, 0, 1)),
    "stages.1.attn.proj": (False, windows),
    "stages.3.norm1": (False, lambda y: y[0].permute(2, 0, 1)),
    "norm": (False, lambda y: y[0].permute(2, 0, 1)),
    "stages.2": (True, patches(0, 3)),
    "stages.1.inner.attn.proj": (True, windows),
}


@pytest.mark.parametrize("layer", SWINS)
def test_windowed_transformers(layer: str) -> None:
    flat, fold = SWINS[layer]
    model, image = settled(Swin(flat=flat)), image_of(24, 40)
    network = as_network(model, size=(24, 40))
    script = Script(model, layer, fold, image, 1)
    for method in METHODS:
        options = {"relu": False} if method in SIGNED else {}
        values = ns.explain(network, image, method, 1, layer, **options).values
        assert values.shape == ((3, 5) if script.activation.shape[1] == 3 else (6, 10))
        compare = assert_close if method in SIGNED else assert_cut
        compare(values, getattr(script, method)(), 1e-4)


def test_all_layers_in_one_stack() -> None:
    model, image = lively(ViT()), image_of(16, 24)
    network = as_network(model, size=(16, 24))
    found = ns.explain(network, image, "grad_cam", [0, 1], "blocks.*", relu=False)
    assert found.axes == ("class", "layer", "y", "x")
    for number, layer in enumerate(found.labels["layer"]):
        script = Script(model, layer, patches(1), image, 1)
        if not network.layers[layer].silent:
            assert_close(found.values[1, number], script.grad_cam(), 1e-4)
        else:
            assert not found.values[1, number].any()
    assert len(found.labels["layer"]) == 2


def without(channel: int, model: nn.Module, prefix: int) -> Callable[[Tensor], Tensor]:
    """Set a channel to zero at the patches; what comes before them stays."""

    def change(y: Tensor) -> Tensor:
        y = y.clone()
        y[..., prefix:, channel] = 0
        return y

    return change


@pytest.mark.parametrize("kind", ["class token", "registers", "torch's attention"])
@pytest.mark.parametrize("layer", ["blocks.0", "blocks.2.norm1"])
def test_ablation_cam_leaves_what_is_beside_the_patches(kind: str, layer: str) -> None:
    make, prefix = VITS[kind]
    model, image = lively(make()), image_of(16, 24)
    network = as_network(model, size=(16, 24))
    found = ns.explain(network, image, "ablation_cam", [0, 3], layer, relu=False, batch=5).values
    for number, index in enumerate([0, 3]):
        script = Script(model, layer, patches(prefix), image, index)
        weights = [
            (script.score - script.score_with(without(k, model, prefix))) / abs(script.score)
            for k in range(12)
        ]
        expected = torch.einsum("k,kyx->yx", torch.tensor(weights), script.activation)
        assert_close(found[number], expected, 1e-3)


@pytest.mark.parametrize("layer", ["stages.1", "stages.1.attn.proj"])
def test_ablation_cam_of_windows(layer: str) -> None:
    model, image = settled(Swin()), image_of(24, 40)
    network = as_network(model, size=(24, 40))
    found = ns.explain(network, image, "ablation_cam", 1, layer, relu=False, batch=4).values
    script = Script(model, layer, SWINS[layer][1], image, 1)
    inside = torch.ones(1, 6, 10, 1)
    if layer.endswith("proj"):
        # The padding of windows is no part of the map and stays as it is; it is cut off anyway.
        inside = torch.ones_like(script.output[..., :1])

    def change(channel: int) -> Callable[[Tensor], Tensor]:
        def zeroed(y: Tensor) -> Tensor:
            return torch.cat(
                [y[..., :channel], y[..., channel, None] * (1 - inside), y[..., channel + 1 :]], -1
            )

        return zeroed

    weights = [(script.score - script.score_with(change(k))) / abs(script.score) for k in range(6)]
    expected = torch.einsum("k,kyx->yx", torch.tensor(weights), script.activation)
    assert_close(found, expected, 1e-3)


def test_score_cam_looks_through_folded_channels() -> None:
    model, image = lively(ViT()), image_of(16, 24)
    network = as_network(model, size=(16, 24))
    layer = "blocks.1.norm1"
    found = ns.explain(network, image, "score_cam", 2, layer, batch=5).values
    script = Script(model, layer, patches(1), image, 2)
    masks = functional.interpolate(script.activation[None], (16, 24), mode="bilinear")[0]
    low, high = masks.amin((1, 2), keepdim=True), masks.amax((1, 2), keepdim=True)
    masks = (masks - low) / (high - low)
    with torch.no_grad():
        scores = model(script.x * masks[:, None])[:, 2]
    expected = torch.einsum("k,kyx->yx", scores.softmax(0), script.activation)
    assert_cut(found, expected)


def test_eigen_cam_and_relevance_of_tokens() -> None:
    model, image = lively(ViT(prefix=5)), image_of(16, 24)
    network = as_network(model, size=(16, 24))
    layer = "blocks.1.norm1"
    script = Script(model, layer, patches(5), image, 0)
    flat = script.activation.flatten(1).double()
    component = (torch.linalg.svd(flat.T)[2][0] @ flat).reshape(4, 6)
    component = component * component.sum().sign()
    assert_close(ns.explain(network, image, "eigen_cam", layer=layer).values, component, 1e-4)
    ranked = ns.explain(network, image, "activation", 0, layer, rank="relevance", channels=3)
    shares = (script.gradient * script.activation).sum((1, 2))
    best = shares.argsort(descending=True)[:3]
    assert ranked.labels["channel"] == tuple(str(int(k)) for k in best)
    assert_close(ranked.values, script.activation[best], 1e-6)


def test_hires_cam_of_a_mean_of_tokens_sums_to_the_score() -> None:
    model, image = lively(ViT(head="mean")), image_of(16, 24)
    network = as_network(model, size=(16, 24))
    found = ns.explain(network, image, "hires_cam", 1, "norm", relu=False).values
    with torch.no_grad():
        score = model(torch.from_numpy(image).permute(2, 0, 1)[None])[0, 1] - model.head.bias[1]
    np.testing.assert_allclose(found.sum(), float(score), rtol=1e-4)


class Detector(nn.Module):
    """Blue patches answer a class token's question: evidence whose place is known."""

    def __init__(self) -> None:
        super().__init__()
        self.vit = ViT((24, 16), prefix=2, depth=1, kind="fused", width=4, heads=1)
        vit = self.vit
        with torch.no_grad():
            for parameter in vit.parameters():
                parameter.zero_()
            vit.patches.weight[0, 2] = 1 / 16
            block = vit.blocks[0]
            for norm in (block.norm1, block.norm2, vit.norm):
                norm.weight.fill_(1)
            block.attn.qkv.weight[8:] = torch.eye(4)
            block.attn.proj.weight.copy_(torch.eye(4))
            vit.head.weight[0, 0] = 1

    def forward(self, x: Tensor) -> Tensor:
        return self.vit(x)


@pytest.mark.parametrize("method", [*METHODS, "ablation_cam"])
def test_a_planted_patch_is_found(method: str) -> None:
    image = np.zeros((24, 16, 3), np.float32)
    image[12:16, 4:8, 2] = 1
    network = as_network(Detector().eval(), size=(24, 16))
    found = ns.explain(network, image, method, 0).values
    assert found.shape == (6, 4)
    assert np.unravel_index(found.argmax(), found.shape) == (3, 1)
    assert found[3, 1] > 0


@pytest.mark.parametrize("method", ["grad_cam", "ablation_cam"])
def test_a_layer_of_which_only_the_class_token_is_read_is_said(method: str) -> None:
    image, network = image_of(16, 24), as_network(lively(ViT()), size=(16, 24))
    found = ns.explain(network, image, method, 0, "norm")
    assert not found.values.any()
    note = next(note for note in found.provenance["notes"] if "“norm”" in note)
    assert "explain “blocks.1.norm1”" in note
    # Nothing is said of layers that are read, nor of maps that look at a layer alone.
    read = ns.explain(network, image, method, 0)
    alone = ns.explain(network, image, "eigen_cam", layer="norm")
    for other in (read, alone):
        assert not any("class token" in note for note in other.provenance["notes"])
