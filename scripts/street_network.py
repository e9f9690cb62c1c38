"""A VGG-style U-Net for street scenes, trained once and kept in the user's cache.

It is for the figures of ``paper_figures.py``. The images (CamVid, Brostow et al. 2008) are for
research only, so neither they nor the weights are a part of the project.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from platformdirs import user_cache_path
from torch import Tensor, nn
from torch.nn import functional

CLASSES = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car",
           "pedestrian", "bicyclist")  # fmt: skip
COLOURS = ((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222),
           (128, 128, 0), (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0),
           (0, 128, 192))  # fmt: skip
VOID = 11
SIZE = (180, 240)
MEAN, STD = (0.411, 0.425, 0.431), (0.291, 0.302, 0.301)
SPEC = {
    "task": "segmentation",
    "classes": [{"name": n, "colour": c} for n, c in zip(CLASSES, COLOURS, strict=True)],
    "ignore_label": VOID,
    "input": {"normalization": {"mean": MEAN, "std": STD}, "value_range": [0, 255],
              "size": {"min": 32, "step": 4}},
}  # fmt: skip

Scene = tuple[str, NDArray[np.uint8], NDArray[np.uint8]]
Report = Callable[[str], None]


def _convolutions(channels: int, width: int, count: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number in range(count):
        layers += [
            nn.Conv2d(channels if number == 0 else width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class StreetNetwork(nn.Module):
    """A U-Net whose way down is VGG's: stages of 3 × 3 convolutions with pooling between them.

    Simonyan and Zisserman, ICLR 2015; Ronneberger et al., MICCAI 2015.

    Parameters
    ----------
    classes
        How many classes it tells apart.
    widths
        The channels of the stages.
    """

    def __init__(
        self, classes: int = len(CLASSES), widths: tuple[int, ...] = (16, 32, 64, 96)
    ) -> None:
        super().__init__()
        counts = [2, 2, *[3] * (len(widths) - 2)]
        before = [3, *widths]
        self.down = nn.ModuleList(
            _convolutions(c, w, n) for c, w, n in zip(before[:-1], widths, counts, strict=True)
        )
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.up = nn.ModuleList(
            _convolutions(below + beside, beside, 2)
            for below, beside in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (batch, class, y, x) of images (batch, 3, y, x)."""
        beside: list[Tensor] = []
        for number, stage in enumerate(self.down):
            x = stage(x if number == 0 else self.pool(x))
            beside.append(x)
        for stage, skip in zip(self.up, beside[-2::-1], strict=True):
            x = functional.interpolate(x, skip.shape[2:], mode="bilinear", align_corners=False)
            x = stage(torch.cat([skip, x], 1))
        return self.head(x)


def read_scenes(folder: Path) -> list[Scene]:
    """Return the scenes of a folder at half size, as (name, RGB (y, x, 3), classes (y, x))."""
    scenes: list[Scene] = []
    for path in sorted((folder / "images").iterdir()):
        height, width = SIZE
        image = Image.open(path).convert("RGB").resize((width, height), Image.Resampling.BOX)
        labels = Image.open(folder / "labels" / f"{path.stem}.png")
        labels = labels.resize((width, height), Image.Resampling.NEAREST)
        scenes.append((path.stem, np.asarray(image), np.asarray(labels, np.uint8)))
    return scenes


def normalized(images: NDArray[np.uint8]) -> Tensor:
    """Return images (batch, y, x, 3) as the network takes them, (batch, 3, y, x)."""
    x = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(MEAN).reshape(3, 1, 1)) / torch.tensor(STD).reshape(3, 1, 1)


def class_weights(labels: NDArray[np.uint8]) -> Tensor:
    """Return a weight for each class, more for the rare: 1 / √frequency, of mean 1."""
    counts = np.bincount(labels.ravel(), minlength=VOID + 1)[: len(CLASSES)]
    weights = 1 / np.sqrt(np.maximum(counts, 1) / max(counts.sum(), 1))
    return torch.tensor(weights / weights.mean(), dtype=torch.float32)


def iou(model: nn.Module, scenes: list[Scene]) -> NDArray[np.float64]:
    """Return each class's IoU over all scenes together; NaN for one that is nowhere."""
    counts = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    model.eval()
    for start in range(0, len(scenes), 4):
        some = scenes[start : start + 4]
        with torch.inference_mode():
            found = model(normalized(np.stack([scene[1] for scene in some]))).argmax(1).numpy()
        truth = np.stack([scene[2] for scene in some])
        known = truth != VOID
        pairs = truth[known].astype(np.int64) * len(CLASSES) + found[known]
        counts += np.bincount(pairs, minlength=counts.size).reshape(counts.shape)
    hits = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - hits
    return np.divide(hits, union, out=np.full(len(CLASSES), np.nan), where=union > 0)


def cached(epochs: int) -> Path:
    """Return where the weights of so long a training are kept, each length in a file of its own."""
    return user_cache_path("napari-neuroscope") / f"street-network-{epochs}-epochs.pt"


def train(
    scenes: list[Scene],
    path: Path,
    *,
    epochs: int = 12,
    batch: int = 4,
    rate: float = 4e-3,
    seed: int = 0,
    report: Report = print,
) -> StreetNetwork:
    """Train the network, or go on where it was interrupted; return it in evaluation mode.

    After each epoch all that is needed to go on is written to `path`, whole or not at all; a file
    there of as many epochs is used as it is.

    Parameters
    ----------
    scenes
        What it learns from.
    path
        Where weights and state are kept.
    epochs, batch, rate, seed
        How long, how many images at once, the highest learning rate (Adam, one cycle), and the
        seed of weights and order.
    report
        Called with a line after each epoch.
    """
    torch.manual_seed(seed)
    model = StreetNetwork()
    steps = -(-len(scenes) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * steps + 1)
    weights = class_weights(np.stack([scene[2] for scene in scenes]))
    done = 0
    if path.exists():
        held = torch.load(path, weights_only=True)
        if held["epochs"] == epochs:
            model.load_state_dict(held["model"])
            optimizer.load_state_dict(held["optimizer"])
            schedule.load_state_dict(held["schedule"])
            done = held["done"]
    for epoch in range(done, epochs):
        random = np.random.default_rng((seed, epoch))
        model.train()
        losses = []
        order = random.permutation(len(scenes))
        for start in range(0, len(order), batch):
            some = [scenes[number] for number in order[start : start + batch]]
            images = np.stack([scene[1] for scene in some])
            labels = np.stack([scene[2] for scene in some])
            if random.random() < 0.5:
                images, labels = images[:, :, ::-1], labels[:, :, ::-1]
            x = normalized(images) * float(random.uniform(0.8, 1.2))
            truth = torch.from_numpy(np.ascontiguousarray(labels)).long()
            loss = functional.cross_entropy(model(x), truth, weights, ignore_index=VOID)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        _keep(path, model, optimizer, schedule, epochs, epoch + 1)
        report(f"epoch {epoch + 1} of {epochs}: loss {np.mean(losses):.3f}")
    return model.eval()


def _keep(
    path: Path, model: nn.Module, optimizer: object, schedule: object, epochs: int, done: int
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        torch.save(
            {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),  # type: ignore[attr-defined]
                "schedule": schedule.state_dict(),  # type: ignore[attr-defined]
                "epochs": epochs,
                "done": done,
            },
            part,
        )
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
