"""EfficientNet-Lite0 as published: no squeeze-and-excitation, ReLU6, a fixed stem and head."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

# Kernel, stride, expansion, output channels and repeats of each stage.
STAGES = (
    (3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3), (5, 2, 6, 192, 4), (3, 1, 6, 320, 1),
)  # fmt: skip
STEM, HEAD, CLASSES, PARAMETERS = 32, 1280, 1000, 4_652_008


class Convolution(nn.Conv2d):
    """A convolution padded as TensorFlow does: more at the end where it does not come out even."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(before, after, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size, self.stride, strict=True):
            pad = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [pad // 2, pad - pad // 2]
        return super().forward(functional.pad(x, pads) if any(pads) else x)


class Block(nn.Module):
    """An inverted bottleneck."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inside = before * expansion
        self.expand = _unit(before, inside, 1) if expansion > 1 else nn.Identity()
        self.depthwise = _unit(inside, inside, kernel, stride, inside)
        self.project = _unit(inside, after, 1, act=False)
        self.adds = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return y + x if self.adds else y


def _unit(
    before: int, after: int, kernel: int, stride: int = 1, groups: int = 1, *, act: bool = True
) -> nn.Sequential:
    layers = [Convolution(before, after, kernel, stride, groups), nn.BatchNorm2d(after, 1e-3)]
    return nn.Sequential(*layers, *([nn.ReLU6()] if act else []))


def efficientnet_lite0() -> nn.Module:
    """Return the network with random weights, for evaluation."""
    torch.manual_seed(0)
    parts: list[nn.Module] = [_unit(3, STEM, 3, 2)]
    before = STEM
    for kernel, stride, expansion, after, repeats in STAGES:
        for number in range(repeats):
            parts.append(Block(before, after, kernel, 1 if number else stride, expansion))
            before = after
    parts += [_unit(before, HEAD, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2),
              nn.Linear(HEAD, CLASSES)]  # fmt: skip
    model = nn.Sequential(*parts).eval()
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS
    return model
