"""A small 3-D U-Net for made volumes, trained in a minute and kept in the user's cache.

The volumes have cells, which are round, and discs: bright flat things of one plane that look just
like a cell in that plane. Only a network that looks along z can tell them apart, which makes them
a test of whether explanations of volumes say what is true of them.

    python scripts/volume_network.py   # trains it the first time, and opens it in napari
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from platformdirs import user_cache_path
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.nn import functional

CLASSES = ("background", "cell", "disc")
COLOURS = ((0, 0, 0), (90, 200, 250), (250, 160, 60))
STEPS = (1.0, 0.25, 0.25)
"""How far apart the voxels are along z, y and x, in micrometres."""
SPEC = {
    "task": "segmentation",
    "classes": [{"name": n, "colour": c} for n, c in zip(CLASSES, COLOURS, strict=True)],
    "image_axes": "zyx",
    "input": {"axes": "bczyx", "value_range": [0, 65535],
              "normalization": {"mean": [0.1], "std": [0.1]},
              "size": {"min": [4, 16, 16], "step": [1, 4, 4]}},
    "pixel_size": STEPS,
}  # fmt: skip

Volume = tuple[NDArray[np.uint16], NDArray[np.uint8]]


def make_volume(seed: int, shape: tuple[int, int, int] = (20, 96, 96), things: int = 12) -> Volume:
    """Return a volume, uint16 (z, y, x), and its classes, uint8 (z, y, x).

    Parameters
    ----------
    seed
        The same seed makes the same volume.
    shape
        Of the volume, in voxels of `STEPS`.
    things
        How many cells and discs are tried; one that would touch another is left out.
    """
    random = np.random.default_rng(seed)
    steps = np.array(STEPS)
    at = np.stack(np.meshgrid(*(np.arange(n) * s for n, s in zip(shape, steps, strict=True)),
                              indexing="ij"), -1)  # fmt: skip
    light, classes = np.zeros(shape), np.zeros(shape, np.uint8)
    placed: list[tuple[NDArray[np.float64], float]] = []
    for number in range(things):
        radius = random.uniform(2.2, 3.2)
        centre = random.uniform(0, np.array(shape) * steps)
        if any(np.linalg.norm(centre - c) < radius + r + 0.8 for c, r in placed):
            continue
        placed.append((centre, radius))
        is_cell = number % 2 == 0
        axes = radius * random.uniform(0.85, 1.15, 3)
        if not is_cell:
            # One plane of light, and nothing above or below.
            centre[0], axes[0] = np.round(centre[0]), 0.6 * STEPS[0]
        inside = (((at - centre) / axes) ** 2).sum(-1) <= 1
        light[inside] = random.uniform(0.7, 1.1)
        classes[inside] = 1 if is_cell else 2
    light = gaussian_filter(light, (0.3, 1.2, 1.2))
    noisy = 0.05 + 0.4 * light + random.normal(0, 0.025, shape)
    return (noisy.clip(0, 1) * 65535).astype(np.uint16), classes


def _convolutions(channels: int, width: int, kernel: tuple[int, int, int]) -> nn.Sequential:
    padding = tuple(side // 2 for side in kernel)
    layers: list[nn.Module] = []
    for number in range(2):
        layers += [
            nn.Conv3d(channels if number == 0 else width, width, kernel, padding=padding,
                      bias=False),
            nn.BatchNorm3d(width),
            nn.ReLU(inplace=True),
        ]  # fmt: skip
    return nn.Sequential(*layers)


class VolumeNetwork(nn.Module):
    """A 3-D U-Net that pools rows and columns alone, until its cells are as long along z.

    Çiçek et al., MICCAI 2016; kernels that fit the voxels as Isensee et al., Nature Methods 2021.

    Parameters
    ----------
    classes
        How many classes it tells apart.
    widths
        The channels of its three stages.
    """

    def __init__(
        self, classes: int = len(CLASSES), widths: tuple[int, int, int] = (6, 12, 24)
    ) -> None:
        super().__init__()
        flat, cubic = (1, 3, 3), (3, 3, 3)
        first, second, third = widths
        self.down1 = _convolutions(1, first, flat)
        self.down2 = _convolutions(first, second, cubic)
        self.bottom = _convolutions(second, third, cubic)
        self.up2 = _convolutions(third + second, second, cubic)
        self.up1 = _convolutions(second + first, first, flat)
        self.pool = nn.MaxPool3d((1, 2, 2))
        self.enlarge = nn.Upsample(scale_factor=(1, 2, 2), mode="nearest")
        # Without a bias, no class is what is left where nothing is seen.
        self.head = nn.Conv3d(first, classes, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (batch, class, z, y, x) of volumes (batch, 1, z, y, x)."""
        one = self.down1(x)
        two = self.down2(self.pool(one))
        x = self.bottom(self.pool(two))
        x = self.up2(torch.cat([self.enlarge(x), two], 1))
        x = self.up1(torch.cat([self.enlarge(x), one], 1))
        return self.head(x)


def cached() -> Path:
    """Return where the weights are kept."""
    return user_cache_path("napari-neuroscope") / "volume-network.pt"


def normalized(volumes: NDArray[np.uint16]) -> Tensor:
    """Return volumes (batch, z, y, x) as the network takes them, (batch, 1, z, y, x)."""
    return (torch.from_numpy(volumes.astype(np.float32))[:, None] / 65535 - 0.1) / 0.1


def train(
    path: Path | None = None,
    *,
    volumes: int = 360,
    seed: int = 0,
    report: Callable[[str], None] = print,
) -> VolumeNetwork:
    """Train the network on volumes made on the way, or take it from a file; in evaluation mode.

    Parameters
    ----------
    path
        Where the weights are kept, written whole or not at all; a file there is used as it is.
    volumes
        How many it learns from.
    seed
        Of weights and volumes.
    report
        Called with a line now and then.
    """
    torch.manual_seed(seed)
    model = VolumeNetwork()
    if path is not None and path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
        return model.eval()
    rate, batch = 1e-2, 2
    steps = volumes // batch
    optimizer = torch.optim.AdamW(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    weights = torch.tensor([0.3, 1.0, 1.5])
    losses: list[float] = []
    begun = time.monotonic()
    for step in range(steps):
        # Seeds of their own, far from those of the volumes that are looked at.
        made = [make_volume(1000 + seed + batch * step + n, (12, 64, 64), 8) for n in range(batch)]
        x = normalized(np.stack([volume for volume, _ in made]))
        truth = torch.from_numpy(np.stack([classes for _, classes in made])).long()
        loss = functional.cross_entropy(model(x), truth, weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if (step + 1) % 30 == 0:
            taken = time.monotonic() - begun
            report(f"{step + 1} of {steps} steps, {taken:.0f} s: loss {np.mean(losses[-30:]):.3f}")
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}-{os.getpid()}")
        try:
            torch.save(model.state_dict(), part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return model.eval()


def iou(model: nn.Module, seeds: range) -> NDArray[np.float64]:
    """Return each class's IoU over volumes that are made of some seeds."""
    counts = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    for seed in seeds:
        volume, truth = make_volume(seed)
        with torch.inference_mode():
            found = model(normalized(volume[None])).argmax(1)[0].numpy()
        np.add.at(counts, (truth.ravel(), found.ravel()), 1)
    hits = np.diag(counts)
    return hits / (counts.sum(0) + counts.sum(1) - hits)


def open_viewer(seed: int, path: Path | None = None) -> tuple[Any, Any]:
    """Return a viewer with a made volume, and the inspector with the network at work on it."""
    import napari

    import napari_neuroscope as ns

    volume, _ = make_volume(seed)
    viewer = napari.Viewer()
    viewer.add_image(
        volume, name="Volume", scale=STEPS, units=("um",) * 3, axis_labels=("z", "y", "x"),
        contrast_limits=(0, 45_000),
    )  # fmt: skip
    _, inspector = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Neuroscope")
    inspector.add_network(ns.wrap(train(path), SPEC))
    return viewer, inspector


def main() -> None:
    """Train the network, or take it from the cache, and open it on a volume."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seed", type=int, default=3, help="of the volume that is shown")
    seed = parser.parse_args().seed
    found = iou(train(cached()), range(4))
    print(", ".join(f"{name} {one:.2f}" for name, one in zip(CLASSES, found, strict=True)), "IoU")
    import napari

    open_viewer(seed, cached())
    napari.run()


if __name__ == "__main__":
    main()
