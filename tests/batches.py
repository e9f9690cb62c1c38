"""A small network, a recipe of it, and images, for tests of batches."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from skimage.io import imsave
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.engine.explain.recipe import SUFFIX

SPEC = {
    "task": "segmentation",
    "image_axes": "yx",
    "input": {"channels": 1, "order": "gray", "value_range": [0.0, 255.0]},
    "classes": ["dark", "bright"],
}
DEADLY, DEADLY_ONCE = 251, 252
"""The value of an image's first pixel: a process that looks at it dies; each time, or once."""

_UUID = re.compile(rb'UUID="urn:uuid:[0-9a-f-]+"')


class Bright(nn.Module):
    """Scores how bright a pixel's surroundings are, and a little of what is drawn by chance."""

    def __init__(self) -> None:
        super().__init__()
        self.around = nn.Conv2d(1, 3, 3, padding=1)
        self.score = nn.Conv2d(3, 2, 1)
        with torch.no_grad():
            self.around.weight[0], self.around.bias[0] = 1 / 9, 0
            self.score.weight[:, 0] = torch.tensor([[-1.0], [1.0]])[..., None]
            self.score.weight[:, 1:] *= 0.1
            self.score.bias[:] = torch.tensor([0.45, -0.45])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.score(torch.relu(self.around(x)))


class Deadly(Bright):
    """The same, but some images kill the process that looks at them."""

    def __init__(self, alive: str) -> None:
        super().__init__()
        self.alive = Path(alive)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = round(float(x.reshape(-1)[0]) * 255)
        once = first == DEADLY_ONCE and not self.alive.exists()
        if once:
            self.alive.touch()
        if once or first == DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)


def recipe_in(folder: Path, *, seed: int = 0, deadly: bool = False, **asked: object) -> Path:
    """Save a network and a recipe of it in a folder; return the recipe's file."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    weights = folder / "net.safetensors"
    save_file(Bright().state_dict(), weights)
    name, arguments = "Bright", {}
    if deadly:
        name, arguments = "Deadly", {"alive": str(folder / "alive")}
    network = ns.load(weights, SPEC, device="cpu", trust=True, factory=f"batches:{name}",
                      arguments=arguments)  # fmt: skip
    image = 2 * np.arange(12 * 10, dtype=np.uint8).reshape(12, 10)
    asked = {"method": "grad_cam", "target": "bright", "layer": "around", **asked}
    found = ns.explain(network, image, **asked, ground_truth=network.predict(image).labels)
    path = folder / f"mine{SUFFIX}"
    ns.Recipe.of(found).save(path, overwrite=True)
    return path


def images_in(folder: Path, count: int, *, first: int = 0) -> list[Path]:
    """Write images of random values into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(first, first + count):
        rng = np.random.default_rng(number)
        image = rng.integers(0, 250, (12 + number % 3, 10), dtype=np.uint8)
        paths.append(folder / f"cell{number}.png")
        imsave(paths[-1], image, check_contrast=False)
    return paths


def written(out: Path) -> dict[str, bytes]:
    """Return what a batch wrote of its images, by place, but for times and identifiers of files."""
    kept = {
        path.relative_to(out).as_posix(): _UUID.sub(b"", path.read_bytes())
        for part in ("maps", "thumbnails")
        for path in sorted((out / part).rglob("*"))
        if path.is_file()
    }
    lines = (out / "summary.csv").read_text("utf-8").splitlines()
    at = lines[0].split(",").index("seconds")
    kept["summary"] = "\n".join(
        ",".join(cell for n, cell in enumerate(line.split(",")) if n != at) for line in lines
    ).encode()
    return kept
