"""Attention rollout: by hand, and against a script that multiplies what the blocks attend to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import napari_neuroscope as ns
from networks import Vgg, as_network, settled
from snapshot import Snapshot
from token_networks import Attention, Kind, Swin, ViT

IMAGE = np.random.default_rng(0).random((16, 24, 3), dtype=np.float32)


KINDS: list[Kind] = ["fused", "module", "written", "einsum"]


class TwoTokens(nn.Module):
    """A row of two pixels as tokens, and two attentions of fixed weights."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 1, 1)
        self.norm, self.head = nn.LayerNorm(1), nn.Linear(2, 2)
        self.first = nn.Parameter(torch.tensor([[[0.8, 0.2], [0.4, 0.6]]]).log())
        self.second = nn.Parameter(torch.tensor([[[0.5, 0.5], [0.1, 0.9]]]).log())

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2).mT
        x = x + self.first.softmax(-1) @ x
        x = x + self.second.softmax(-1) @ x
        return self.head(x[:, :, 0])


HALF = [[0.9, 0.1], [0.2, 0.8]], [[0.75, 0.25], [0.05, 0.95]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # Both tokens are read: (1/2 1/2) A₂ A₁ with A = (W + I) / 2.
        ({}, np.array([0.5, 0.5]) @ HALF[1] @ HALF[0]),
        ({"residual": 1.0}, [0.5, 0.5]),
        ({"residual": 0.0}, np.array([0.5, 0.5]) @ [[0.5, 0.5], [0.1, 0.9]] @ [[0.8, 0.2], [0.4, 0.6]]),
        # The lowest of four is set to zero: 0.2 of the first, 0.1 of the second.
        (
            {"discard": 0.25, "residual": 0.0},
            np.array([0.5, 0.5]) @ [[0.5, 0.5], [0, 1]] @ [[1, 0], [0.4, 0.6]],
        ),
    ],
)  # fmt: skip
def test_two_tokens_and_two_blocks_by_hand(options: dict, expected: np.ndarray) -> None:
    network = as_network(TwoTokens().eval(), size=(1, 2))
    found = ns.explain(network, np.array([[0.3, 0.7]]), "attention_rollout", **options)
    np.testing.assert_allclose(found.values, [expected], rtol=1e-5)
    assert not found.signed


def weights_of(block: nn.Module, y: Tensor) -> Tensor:
    """Return what a block attends to, (head, query, key), from its own weights."""
    own: Attention = block.attn
    if own.kind == "module":
        qkv = functional.linear(y, own.inner.in_proj_weight, own.inner.in_proj_bias)
    else:
        qkv = own.qkv(y)
    width = y.shape[-1] // own.heads
    q, k, _ = qkv[0].unflatten(-1, (3, own.heads, width)).permute(1, 2, 0, 3)
    return (q @ k.transpose(1, 2) / width**0.5).softmax(-1)


def script(
    model: ViT, image: np.ndarray, rows: list[int], heads: str, discard: float, residual: float
) -> Tensor:
    """Return the rollout as its paper has it, the whole product of matrices."""
    with torch.no_grad():
        tokens = model.tokens(torch.from_numpy(image).permute(2, 0, 1)[None])
        joint = torch.eye(tokens.shape[1])
        for block in model.blocks:
            w = weights_of(block, block.norm1(tokens))
            w = {"mean": w.mean(0), "max": w.max(0).values, "min": w.min(0).values}[heads]
            if discard:
                limit = w.flatten().sort().values[int(discard * w.numel())]
                w = torch.where(w < limit, 0, w)
            w = residual * torch.eye(len(w)) + (1 - residual) * w
            joint = (w / w.sum(1, keepdim=True)) @ joint
            tokens = block(tokens)
    return joint[rows].mean(0)[model.prefix :].reshape(4, 6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("prefix", "head", "rows"),
    [(1, "class", [0]), (5, "class", [0]), (2, "distilled", [0, 1]), (3, "mean", range(3, 27)),
     (0, "mean", range(24))],
)  # fmt: skip
def test_vision_transformers(kind: Kind, prefix: int, head: str, rows: list[int]) -> None:
    model = settled(ViT(kind=kind, prefix=prefix, head=head, depth=3))
    network = as_network(model, size=(16, 24))
    before = Snapshot(model)
    for options in [
        {"heads": "mean", "discard": 0.0, "residual": 0.5},
        {"heads": "max", "discard": 0.6, "residual": 0.3},
        {"heads": "min", "discard": 0.25, "residual": 0.0},
    ]:
        found = ns.explain(network, IMAGE, "attention_rollout", **options).values
        assert found.shape == (4, 6)
        np.testing.assert_allclose(found, script(model, IMAGE, list(rows), **options), rtol=1e-4)
    before.assert_unchanged()


@pytest.mark.parametrize("kind", KINDS)
def test_without_registers_and_with_all_patches_it_sums_to_one(kind: Kind) -> None:
    network = as_network(settled(ViT(kind=kind, prefix=0, head="mean")), size=(16, 24))
    for options in [{}, {"heads": "max"}, {"discard": 0.9}, {"discard": 0.9, "residual": 0.1}]:
        found = ns.explain(network, IMAGE, "attention_rollout", **options).values
        np.testing.assert_allclose(found.sum(), 1, rtol=1e-5)
        assert (found >= 0).all()


def test_a_whole_encoder_of_torch_is_seen_through_its_fast_path() -> None:
    class Encoder(nn.Module):
        def __init__(self, first: bool) -> None:
            super().__init__()
            self.first, self.stem, self.head = first, nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 3)
            one = nn.TransformerEncoderLayer(8, 2, 16, 0.1, "gelu", batch_first=first)
            self.inner = nn.TransformerEncoder(one, 2, enable_nested_tensor=False)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.stem(x).flatten(2)
            tokens = tokens.mT if self.first else tokens.permute(2, 0, 1)
            return self.head(self.inner(tokens).mean(1 if self.first else 0))

    found = []
    for first in [True, False]:
        model = settled(Encoder(first))
        network = as_network(model, size=(16, 24))
        found.append(ns.explain(network, IMAGE, "attention_rollout").values)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
    with torch.no_grad():
        tokens = model.stem(torch.from_numpy(IMAGE).permute(2, 0, 1)[None]).flatten(2).mT
        joint = torch.eye(24)
        for layer in model.inner.layers:
            layer.self_attn.batch_first = layer.batch_first = True
            w = layer.self_attn(tokens, tokens, tokens)[1][0]
            joint = (w + torch.eye(24)) / 2 @ joint
            tokens = layer(tokens)
    np.testing.assert_allclose(found[0].ravel(), joint.mean(0), rtol=1e-4)


def test_a_last_attention_that_gathers_all_tokens_is_where_it_begins() -> None:
    class Gathering(ViT):
        def __init__(self) -> None:
            super().__init__(prefix=0)
            self.query = nn.Parameter(torch.zeros(1, 1, 12))
            self.gather = nn.MultiheadAttention(12, 3, batch_first=True)

        def read(self, tokens: Tensor) -> Tensor:
            query = self.query.expand(len(tokens), -1, -1)
            return self.head(self.gather(query, tokens, tokens, need_weights=False)[0][:, 0])

    model = settled(Gathering())
    found = ns.explain(as_network(model, size=(16, 24)), IMAGE, "attention_rollout")
    with torch.no_grad():
        x = torch.from_numpy(IMAGE).permute(2, 0, 1)[None]
        tokens = model.norm(model.blocks(model.tokens(x)))
        gathered = model.gather(model.query, tokens, tokens)[1][0, 0]
    one_by_one = [script(model, IMAGE, [row], "mean", 0.0, 0.5) for row in range(24)]
    expected = sum(w * one for w, one in zip(gathered, one_by_one, strict=True))
    np.testing.assert_allclose(found.values, expected, rtol=1e-4)
    assert any("gathers all tokens" in note for note in found.provenance["notes"])


def test_windows_are_refused() -> None:
    network = as_network(settled(Swin()), size=(24, 40))
    with pytest.raises(ns.NeuroscopeError, match=r"16 of them look at each other .* windows"):
        ns.explain(network, np.zeros((24, 40, 3)), "attention_rollout")


def test_windows_as_large_as_the_last_grid_are_refused() -> None:
    model = settled(Swin(side=3))
    network = as_network(model, size=(24, 24))
    with pytest.raises(ns.NeuroscopeError, match="9 of them look at each other"):
        ns.explain(network, np.zeros((24, 24, 3)), "attention_rollout")


def test_fewer_and_fewer_tokens_are_refused() -> None:
    class Pruned(ViT):
        def forward(self, x: Tensor) -> Tensor:
            tokens = self.blocks[0](self.tokens(x))
            return self.read(self.norm(self.blocks[1](tokens[:, ::2])))

    network = as_network(settled(Pruned()), size=(16, 24))
    with pytest.raises(ns.NeuroscopeError, match="13 or 25 of them look at each other"):
        ns.explain(network, IMAGE, "attention_rollout")


def test_networks_without_attention_are_refused() -> None:
    network = as_network(settled(Vgg()), size=(16, 16))
    # Before its layers are known, and since.
    for _ in range(2):
        with pytest.raises(ns.NeuroscopeError, match="which this network has none of; ") as refused:
            ns.explain(network, np.zeros((16, 16, 3)), "attention_rollout")
        assert str(refused.value) == network.why_not(ns.methods["attention_rollout"])
    seen = as_network(settled(ViT()), size=(16, 24))
    assert seen.layers.attends
    assert seen.why_not(ns.methods["attention_rollout"]) is None


def test_attention_of_another_making_is_said() -> None:
    class Own(ViT):
        """Divides by sums itself, so that no softmax is seen but that of its scores."""

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.tokens(x)
            weights = (tokens @ tokens.mT).exp()
            tokens = tokens + weights / weights.sum(-1, keepdim=True) @ tokens
            return self.read(self.norm(tokens * tokens.softmax(-1)))

    network = as_network(settled(Own()), size=(16, 24))
    with pytest.raises(ns.NeuroscopeError, match="written in a way that is not known"):
        ns.explain(network, IMAGE, "attention_rollout")


def test_an_image_of_another_size() -> None:
    class Free(ViT):
        def tokens(self, x: Tensor) -> Tensor:
            tokens = self.patches(x).flatten(2).mT
            return torch.cat([self.first.expand(len(x), -1, -1), tokens], 1)

    network = as_network(settled(Free()))
    for shape in [(16, 24), (32, 20), (16, 24)]:
        found = ns.explain(network, np.full((*shape, 3), 0.5, np.float32), "attention_rollout")
        assert found.values.shape == (shape[0] // 4, shape[1] // 4)
        # All patches are alike.
        np.testing.assert_allclose(found.values, found.values[0, 0], rtol=1e-4)
