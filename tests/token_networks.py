"""Small vision transformers as timm and torchvision build them, and the ways they lay out tokens."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Kind = Literal["fused", "module", "written", "einsum"]


class Attention(nn.Module):
    """Attention of all tokens to all, through one of the ways in which it is written."""

    def __init__(self, width: int, heads: int, kind: Kind) -> None:
        super().__init__()
        self.heads, self.kind = heads, kind
        if kind == "module":
            self.inner = nn.MultiheadAttention(width, heads, batch_first=True)
        else:
            self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "module":
            return self.inner(x, x, x, need_weights=False)[0]
        batch, count, width = x.shape
        qkv = self.qkv(x).reshape(batch, count, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        scale = (width // self.heads) ** -0.5
        if self.kind == "fused":
            y = functional.scaled_dot_product_attention(q, k, v)
        elif self.kind == "einsum":
            weights = torch.einsum("bhid,bhjd->bhij", q * scale, k).softmax(-1)
            y = torch.einsum("bhij,bhjd->bhid", weights, v)
        else:
            weights = (q * scale) @ k.transpose(-2, -1)
            y = self.drop(weights.softmax(dim=-1)) @ v
        return self.proj(y.transpose(1, 2).reshape(batch, count, width))


class Mlp(nn.Sequential):
    """Two dense layers for each token."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))


class Block(nn.Module):
    """Attention and a perceptron, each behind a norm and added to what came in."""

    def __init__(self, width: int, heads: int, kind: Kind) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.mlp = Attention(width, heads, kind), Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """A vision transformer for images of one size.

    Parameters
    ----------
    size, patch
        Of the image and of the square patches: the grid is size / patch.
    prefix
        How many tokens come before the patches: class token, distillation token, registers.
    head
        What is read: the first token ("class"), the first two ("distilled"), or the mean of the
        patches ("mean").
    """

    def __init__(
        self,
        size: tuple[int, int] = (16, 24),
        patch: int = 4,
        *,
        prefix: int = 1,
        head: Literal["class", "distilled", "mean"] = "class",
        kind: Kind = "fused",
        depth: int = 2,
        width: int = 12,
        heads: int = 3,
        classes: int = 4,
    ) -> None:
        super().__init__()
        self.prefix, self.reads = prefix, head
        self.patches = nn.Conv2d(3, width, patch, patch)
        count = (size[0] // patch) * (size[1] // patch) + prefix
        if prefix:
            self.first = nn.Parameter(torch.zeros(1, prefix, width))
        self.places = nn.Parameter(torch.zeros(1, count, width))
        self.blocks = nn.Sequential(*(Block(width, heads, kind) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)
        if head == "distilled":
            self.head_dist = nn.Linear(width, classes)

    def tokens(self, x: Tensor) -> Tensor:
        """Return the tokens that the blocks take."""
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        if self.prefix:
            tokens = torch.cat([self.first.expand(len(x), -1, -1), tokens], 1)
        return tokens + self.places

    def read(self, tokens: Tensor) -> Tensor:
        """Return the scores from the tokens behind the last norm."""
        if self.reads == "mean":
            return self.head(tokens[:, self.prefix :].mean(1))
        if self.reads == "distilled":
            return (self.head(tokens[:, 0]) + self.head_dist(tokens[:, 1])) / 2
        return self.head(tokens[:, 0])

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self.norm(self.blocks(self.tokens(x))))


def windows_of(x: Tensor, side: int) -> Tensor:
    """Cut (batch, y, x, channel) into (batch · window, token, channel)."""
    batch, rows, columns, width = x.shape
    x = x.view(batch, rows // side, side, columns // side, side, width)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, side * side, width)


def from_windows(x: Tensor, side: int, rows: int, columns: int) -> Tensor:
    """Put windows together again: (batch, y, x, channel)."""
    x = x.view(-1, rows // side, columns // side, side, side, x.shape[-1])
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, rows, columns, x.shape[-1])


class SwinBlock(nn.Module):
    """Attention within windows, shifted or not, of (batch, y, x, channel); pads what is left over."""

    def __init__(self, width: int, heads: int, side: int, shift: int) -> None:
        super().__init__()
        self.side, self.shift = side, shift
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.mlp = Attention(width, heads, "written"), Mlp(width)

    def attended(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[1:3]
        down, right = -rows % self.side, -columns % self.side
        x = functional.pad(x, (0, 0, 0, right, 0, down))
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        windows = self.attn(windows_of(x, self.side))
        x = from_windows(windows, self.side, rows + down, columns + right)
        if self.shift:
            x = torch.roll(x, (self.shift, self.shift), (1, 2))
        return x[:, :rows, :columns].contiguous()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attended(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchMerging(nn.Module):
    """Four neighbours side by side as channels, then half as many channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        corners = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        return self.reduction(self.norm(torch.cat(corners, -1)))


class Flat(nn.Module):
    """A module of (batch, y, x, channel) for (batch, y · x, channel)."""

    def __init__(self, inner: nn.Module, rows: int) -> None:
        super().__init__()
        self.inner, self.rows = inner, rows

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.view(len(x), self.rows, -1, x.shape[-1])).flatten(1, 2)


class Swin(nn.Module):
    """A windowed transformer of two stages; `flat`: its layers are (batch, y · x, channel).

    The grids of an image of 24 × 40 are 6 × 10 and 3 × 5: windows of 4 need padding.
    """

    def __init__(self, *, flat: bool = False, width: int = 6, side: int = 4) -> None:
        super().__init__()
        self.flat = flat
        self.patches, self.norm0 = nn.Conv2d(3, width, 4, 4), nn.LayerNorm(width)
        stages: list[nn.Module] = [
            SwinBlock(width, 2, side, 0),
            SwinBlock(width, 2, side, side // 2),
            PatchMerging(width),
            SwinBlock(2 * width, 3, side, 0),
            SwinBlock(2 * width, 3, side, side // 2),
        ]
        if flat:
            stages = [Flat(m, rows) for m, rows in zip(stages, (6, 6, 6, 3, 3), strict=True)]
        self.stages = nn.Sequential(*stages)
        self.norm, self.head = nn.LayerNorm(2 * width), nn.Linear(2 * width, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x)
        x = x.flatten(2).transpose(1, 2) if self.flat else x.permute(0, 2, 3, 1)
        x = self.norm(self.stages(self.norm0(x)))
        return self.head(x.mean(1) if self.flat else x.mean((1, 2)))
