"""Small networks of the kinds that people have, with weights that tell every channel apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import napari_neuroscope as ns


def as_network(
    model: nn.Module,
    task: str = "classification",
    classes: Any = (),
    *,
    output: dict[str, Any] | None = None,
    image_axes: str | None = None,
    **of_input: Any,
) -> ns.Network:
    """Wrap a model that takes the image's values as they are, unless `of_input` says otherwise."""
    spec = {
        "task": task,
        "classes": classes,
        "image_axes": image_axes,
        "input": {"value_range": (0, 1), **of_input},
        "output": output or {},
    }
    return ns.wrap(model, spec, device="cpu")


def settled(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give a model fixed random weights, and batch norms something to do."""
    generator = torch.Generator().manual_seed(seed)

    def normal(like: Tensor, scale: float) -> Tensor:
        drawn = torch.randn(like.shape, generator=generator, dtype=torch.float64)
        return (drawn * scale).to(like)

    with torch.no_grad():
        for parameter in model.parameters():
            fan_in = max(1, parameter[0].numel()) if parameter.ndim > 1 else 4
            parameter.copy_(normal(parameter, fan_in**-0.5 * 1.4))
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
                module.weight.copy_(1 + normal(module.weight, 0.2))
                module.running_mean.copy_(normal(module.running_mean, 0.3))
                module.running_var.copy_(normal(module.running_var, 0.3).exp())
    return model.eval()


class Vgg(nn.Module):
    """Convolutions and poolings in a row, then two dense layers; input 16 × 16."""

    def __init__(self, channels: int = 3, classes: int = 4, inplace: bool = False) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 6, 3, padding=1),
            nn.ReLU(inplace),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, padding=1),
            nn.ReLU(inplace),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.ReLU(inplace),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(128, 16), nn.ReLU(inplace), nn.Dropout(), nn.Linear(16, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


class BasicBlock(nn.Module):
    """A residual block whose one in-place relu is used twice."""

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Conv2d(channels, channels, 1, stride) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        skipped = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += skipped
        return self.relu(out)


class ResNet(nn.Module):
    """Residual blocks, global average pooling and one dense layer; input of any size."""

    def __init__(self, channels: int = 3, classes: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(BasicBlock(8), BasicBlock(8))
        self.layer2 = nn.Sequential(BasicBlock(8, 2))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer2(self.layer1(x))
        return self.fc(self.avgpool(x).flatten(1))


def _twice(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    """Three levels joined by skips; one upsampling is learnt and one is not."""

    def __init__(self, channels: int = 3, classes: int = 3, width: int = 4) -> None:
        super().__init__()
        self.enc1 = _twice(channels, width)
        self.enc2 = _twice(width, 2 * width)
        self.bottom = _twice(2 * width, 4 * width)
        self.up2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2)
        self.dec2 = _twice(4 * width, 2 * width)
        self.dec1 = _twice(3 * width, width)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        level1 = self.enc1(x)
        level2 = self.enc2(functional.max_pool2d(level1, 2))
        y = self.bottom(functional.max_pool2d(level2, 2))
        y = self.dec2(torch.cat([self.up2(y), level2], 1))
        y = functional.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
        return self.head(self.dec1(torch.cat([y, level1], 1)))


class GapLinear(nn.Module):
    """A convolution, a relu, global average pooling and a dense layer: what CAM asks for."""

    def __init__(self, channels: int = 1, classes: int = 3, width: int = 5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, padding=1)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.relu(self.conv(x))).flatten(1))


class Pixelwise(nn.Module):
    """A segmenter of two convolutions, of any number of spatial axes and any border."""

    def __init__(
        self,
        channels: int = 1,
        classes: int = 3,
        *,
        axes: int = 2,
        padding_mode: str = "zeros",
        activation: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[axes]
        self.conv1 = conv(channels, 6, 3, padding=1, padding_mode=padding_mode)
        self.relu = activation or nn.ReLU()
        self.conv2 = conv(6, classes, 3, padding=1, padding_mode=padding_mode)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.relu(self.conv1(x)))


class EndingIn(nn.Module):
    """A network, and something done to its answer."""

    def __init__(self, body: nn.Module, end: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.body = body
        self.end = end

    def forward(self, x: Tensor) -> Any:
        return self.end(self.body(x))


class Counted(nn.Module):
    """A network that counts its forward passes."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        return self.body(x)


class Scores(nn.Module):
    """A classifier whose score of a class is a weighted sum of what a body gives everywhere."""

    def __init__(self, body: nn.Module, weights: Any) -> None:
        super().__init__()
        self.body = body
        self.weights = nn.Parameter(torch.tensor(weights, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(self.body(x).flatten(1), self.weights.flatten(1))


def pointwise(weights: Any, bias: Any = None) -> nn.Conv2d:
    """Return a 1 × 1 convolution of given weights (out, in) and bias (out)."""
    table = torch.tensor(weights, dtype=torch.float32)
    conv = nn.Conv2d(table.shape[1], table.shape[0], 1, bias=bias is not None)
    with torch.no_grad():
        conv.weight.copy_(table[..., None, None])
        if bias is not None:
            conv.bias.copy_(torch.tensor(bias, dtype=torch.float32))
    return conv
