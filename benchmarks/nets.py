"""The networks and images that are measured: untrained weights, the same on all sides."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import timing

RGB = {
    "input": {"normalization": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}},
}
TARGET = 281


def resnet(depth: int) -> nn.Module:
    """Return a torchvision ResNet of random weights, for evaluation."""
    import torchvision

    torch.manual_seed(0)
    return getattr(torchvision.models, f"resnet{depth}")(weights=None).eval()


def unet(classes: int) -> nn.Module:
    """Return the demo's U-Net with random weights and this many classes."""
    from napari_neuroscope.samples.architectures import UNet

    torch.manual_seed(0)
    return UNet(classes=classes).eval()


def wrapped(model: nn.Module, task: str = "classification") -> Any:
    """Return the model as a network, its layers found already."""
    import napari_neuroscope as ns

    network = ns.wrap(
        model, ns.ModelSpec.model_validate({"task": task, **RGB}), device=timing.DEVICE
    )
    assert len(network.layers)
    return network


def image(number: int, size: int = 224) -> np.ndarray:
    """Return a smooth random image, uint8 (y, x, rgb), another for each number."""
    random = np.random.default_rng(number)
    coarse = torch.from_numpy(random.random((1, 3, 16, 16), dtype=np.float32))
    fine = nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1)[0]
    fine = (fine + 0.1 * torch.from_numpy(random.random(fine.shape, dtype=np.float32))).clamp(0, 1)
    return (fine * 255).byte().permute(1, 2, 0).contiguous().numpy()


def as_input(network: Any, picture: np.ndarray) -> Tensor:
    """Return the image as the network takes it: (1, channel, y, x)."""
    return network.prepare(picture).input[None].to(network.device)


def bare_passes(network: Any, side: int, batch: int = 16) -> Callable[[int], None]:
    """Return what passes so many inputs of a side forward, and does no more, in equal batches."""
    import copy

    model = frozen(copy.deepcopy(network.adapter.model))
    x = as_input(network, image(0, side)).repeat(batch, 1, 1, 1)

    def passes(count: int) -> None:
        left = -(-count // batch)
        with torch.no_grad():
            for number in range(left):
                model(x[: (number + 1) * count // left - number * count // left])

    return passes


def installed(package: str) -> bool:
    """Whether a peer is there to be compared with."""
    return find_spec(package) is not None


def frozen(model: nn.Module) -> nn.Module:
    """Return the model with parameters that take no gradient."""
    return model.requires_grad_(False)


def parameter_bytes(model: nn.Module) -> int:
    """Return what the parameters and buffers take."""
    return sum(t.nbytes for t in (*model.parameters(), *model.buffers()))


def on_grid(maps: list[Tensor], shape: tuple[int, int]) -> np.ndarray:
    """Return maps (y, x) of several sizes as one stack, resampled linearly."""
    return torch.cat(
        [
            nn.functional.interpolate(m[None, None], shape, mode="bilinear", align_corners=False)[0]
            for m in maps
        ]
    ).numpy()
