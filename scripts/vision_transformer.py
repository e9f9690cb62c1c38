"""A vision transformer, for the pictures of architectures."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """A transformer's block: attention and a multilayer perceptron, each with a norm and a sum."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens of the same shape, (batch, token, width)."""
        y = self.norm1(tokens)
        tokens = tokens + self.attention(y, y, y, need_weights=False)[0]
        return tokens + self.mlp(self.norm2(tokens))


class VisionTransformer(nn.Module):
    """ViT-Tiny/16, with random weights.

    Dosovitskiy et al., An image is worth 16x16 words, ICLR 2021; the width, heads and depth of
    Tiny are those of Touvron et al., ICML 2021.

    Parameters
    ----------
    classes
        How many classes it tells apart.
    """

    side, patch, width, heads, depth = 224, 16, 192, 3, 12

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, self.width, self.patch, self.patch)
        self.class_token = nn.Parameter(torch.randn(1, 1, self.width) * 0.02)
        count = (self.side // self.patch) ** 2 + 1
        self.positions = nn.Parameter(torch.randn(1, count, self.width) * 0.02)
        self.blocks = nn.Sequential(*(Block(self.width, self.heads) for _ in range(self.depth)))
        self.norm = nn.LayerNorm(self.width, eps=1e-6)
        self.head = nn.Linear(self.width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (batch, class) of images (batch, 3, 224, 224)."""
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(x), -1, -1), tokens], 1)
        tokens = self.norm(self.blocks(tokens + self.positions))
        return self.head(tokens[:, 0])
