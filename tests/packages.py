"""Small packages of bioimage.io, of the formats 0.4 and 0.5."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn

SOURCE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, channels=1, classes=2):
        super().__init__()
        self.down = nn.Conv2d(channels, 6, 3, padding=1)
        self.inner = nn.Conv2d(6, 8, 3, padding=1)
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.head = nn.Conv2d(12, classes, 1)

    def forward(self, x):
        skipped = self.down(x).relu()
        inner = self.inner(nn.functional.max_pool2d(skipped, 2)).relu()
        return self.head(torch.cat([skipped, self.up(inner)], 1))
"""


def net(channels: int = 1, classes: int = 2) -> nn.Module:
    """Return the U-Net that `SOURCE` builds, with fixed weights."""
    place: dict[str, Any] = {"__name__": "made_for_a_test"}
    exec(SOURCE, place)
    torch.manual_seed(3)
    return place["Net"](channels, classes).eval()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def weights(
    folder: Path, model: nn.Module, formats: tuple[str, ...], channels: int, classes: int
) -> dict[str, Any]:
    """Write weights of several formats, and return their entries in a description of 0.5."""
    entries: dict[str, Any] = {}
    for name in formats:
        entry: dict[str, Any] = {"source": f"weights.{name}.pt"}
        path = folder / entry["source"]
        if name == "pytorch_state_dict":
            torch.save(model.state_dict(), path)
            (folder / "net.py").write_text(SOURCE)
            entry["architecture"] = {
                "callable": "Net",
                "source": "net.py",
                "sha256": sha256(folder / "net.py"),
                "kwargs": {"channels": channels, "classes": classes},
            }
        elif name == "torchscript":
            torch.jit.save(torch.jit.trace(model, torch.zeros(1, channels, 16, 16)), path)
        entries[name] = {**entry, "sha256": sha256(path)}
    return entries


def make(
    folder: Path,
    *,
    formats: tuple[str, ...] = ("torchscript",),
    channels: int = 1,
    classes: int = 2,
    preprocessing: Any = (),
    postprocessing: Any = (),
    image: np.ndarray | None = None,
    normalised: np.ndarray | None = None,
    answer: Any = None,
    **more: Any,
) -> Path:
    """Write the folder of a package of 0.5 that holds `net`, and return it.

    `normalised` is the image (channel, y, x) as the network is to see it; `answer` makes of the
    network's output what is published.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = net(channels, classes)
    if image is None:
        image = np.random.default_rng(1).random((channels, 16, 24)).astype(np.float32) * 200 + 20
    seen = image.astype(np.float64) if normalised is None else normalised
    with torch.no_grad():
        output = model(torch.from_numpy(seen.astype(np.float32))[None])
    output = output if answer is None else answer(output)
    np.save(folder / "in.npy", image[None])
    np.save(folder / "out.npy", as_numpy(output))
    description = {
        "format_version": "0.5.4",
        "type": "model",
        "name": "A small U-Net",
        "tags": ["segmentation"],
        "inputs": [
            {
                "id": "raw",
                "axes": [
                    {"type": "batch"},
                    {
                        "type": "channel",
                        "id": "channel",
                        "channel_names": [f"channel{n}" for n in range(channels)],
                    },
                    {"type": "space", "id": "y", "size": {"min": 16, "step": 2}},
                    {"type": "space", "id": "x", "size": {"min": 8, "step": 4}},
                ],
                "preprocessing": list(preprocessing),
                "test_tensor": {"source": "in.npy", "sha256": sha256(folder / "in.npy")},
            }
        ],
        "outputs": [
            {
                "id": "masks",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": ["ground", "cell", "border"][:classes]},
                    {"type": "space", "id": "y", "size": {"tensor_id": "raw", "axis_id": "y"}},
                    {"type": "space", "id": "x", "size": {"tensor_id": "raw", "axis_id": "x"}},
                ],
                "postprocessing": list(postprocessing),
                "test_tensor": {"source": "out.npy", "sha256": sha256(folder / "out.npy")},
            }
        ],
        "weights": weights(folder, model, formats, channels, classes),
        **more,
    }
    write(folder, description)
    return folder


def make_old(
    folder: Path,
    *,
    formats: tuple[str, ...] = ("torchscript",),
    channels: int = 1,
    classes: int = 2,
    preprocessing: Any = (),
    normalised: np.ndarray | None = None,
    image: np.ndarray | None = None,
    **more: Any,
) -> Path:
    """Write the folder of a package of 0.4, and return it; see `make`."""
    make(folder, formats=formats, channels=channels, classes=classes, normalised=normalised,
         image=image)  # fmt: skip
    description = read(folder)
    entries = description["weights"]
    if "pytorch_state_dict" in entries:
        built = entries["pytorch_state_dict"].pop("architecture")
        entries["pytorch_state_dict"] |= {
            "architecture": f"{built['source']}:{built['callable']}",
            "architecture_sha256": built["sha256"],
            "kwargs": built["kwargs"],
        }
    write(
        folder,
        {
            "format_version": "0.4.10",
            "type": "model",
            "name": "An older U-Net",
            "inputs": [
                {
                    "name": "raw",
                    "axes": "bcyx",
                    "data_type": "float32",
                    "shape": {"min": [1, channels, 16, 16], "step": [0, 0, 8, 8]},
                    "preprocessing": list(preprocessing),
                }
            ],
            "outputs": [
                {
                    "name": "masks",
                    "axes": "bcyx",
                    "data_type": "float32",
                    "shape": {
                        "reference_tensor": "raw",
                        "scale": [1, 0, 1, 1],
                        "offset": [0, classes / 2, 0, 0],
                    },
                    "halo": [0, 0, 4, 4],
                }
            ],
            "test_inputs": ["in.npy"],
            "test_outputs": ["out.npy"],
            "weights": entries,
            **more,
        },
    )
    return folder


def as_numpy(values: Any) -> np.ndarray:
    return values.numpy() if isinstance(values, Tensor) else np.asarray(values)


def write(folder: Path, description: Any) -> None:
    (folder / "rdf.yaml").write_text(yaml.safe_dump(description, sort_keys=False))


def read(folder: Path) -> Any:
    return yaml.safe_load((folder / "rdf.yaml").read_text())


def zipped(folder: Path, inside: str = "") -> Path:
    """Put a folder in a zip beside it."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, inside + file.relative_to(folder).as_posix())
    return path
