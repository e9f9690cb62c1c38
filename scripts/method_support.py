"""Which method explains which task with which framework, found by running them all."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import napari_neuroscope as ns

SIDE = 16
TASKS = {"classification": "C", "segmentation": "S"}
# Fewer passes than by default: here it matters whether they run.
FEWER: dict[str, dict[str, Any]] = {
    "occlusion": {"window": 8, "stride": 8},
    "rise": {"masks": 8},
    "integrated_gradients": {"steps": 4},
    "smooth_grad": {"samples": 4},
    "xrai": {"steps": 4},
}


class Classifier(nn.Sequential):
    """Two convolutions, global average pooling and a dense layer."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(4, 5, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(5, 3),
        )


class Segmenter(nn.Sequential):
    """Two convolutions and the scores of each pixel."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(4, 5, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(5, 3, 1),
        )


class Transformer(nn.Module):
    """Patches as tokens, one attention, and scores of the mean token or of each pixel."""

    def __init__(self, task: str) -> None:
        super().__init__()
        self.task, self.patches = task, nn.Conv2d(3, 6, 4, 4)
        self.norm, self.qkv, self.head = nn.LayerNorm(6), nn.Linear(6, 18), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (batch, class) or (batch, class, y, x)."""
        grid = self.patches(x)
        tokens = grid.flatten(2).mT
        q, k, v = self.qkv(self.norm(tokens)).chunk(3, -1)
        tokens = tokens + functional.scaled_dot_product_attention(q, k, v)
        if self.task == "classification":
            return self.head(tokens.mean(1))
        scores = self.head(tokens).mT.unflatten(2, grid.shape[2:])
        return functional.interpolate(scores, x.shape[2:], mode="bilinear")


def in_torch(task: str) -> Iterator[nn.Module]:
    yield (Classifier() if task == "classification" else Segmenter()).eval()
    yield Transformer(task).eval()


def in_keras(task: str) -> Iterator[Any]:
    from napari_neuroscope.engine.frameworks.keras.tensorflow_import import import_tensorflow

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import_tensorflow()
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((SIDE, SIDE, 3))
    for width in (4, 5):
        x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
    if task == "classification":
        x = layers.Dense(3)(layers.GlobalAveragePooling2D()(x))
    else:
        x = layers.Conv2D(3, 1)(x)
    yield keras.Model(inputs, x)


def in_onnx(task: str) -> Iterator[Any]:
    import onnx

    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            next(in_torch(task)), (torch.zeros(1, 3, SIDE, SIDE),), file, dynamo=False,
            input_names=["image"], dynamic_axes={"image": {0: "batch"}},
        )  # fmt: skip
    yield onnx.ModelProto.FromString(file.getvalue())


def as_function(task: str) -> Iterator[Callable[[np.ndarray], np.ndarray]]:
    model = next(in_torch(task))

    def scores(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model(torch.from_numpy(images)).numpy()

    yield scores


FRAMEWORKS: dict[str, Callable[[str], Iterator[Any]]] = {
    "PyTorch": in_torch,
    "Keras": in_keras,
    "ONNX": in_onnx,
    "Python function": as_function,
}
"""Small networks of each framework for a task; a method need explain but one of them."""


def explains(network: ns.Network, method: str) -> bool:
    """Return whether a method explains a network; where it doesn't, it must say why."""
    needs = ns.methods[method].needs
    image = np.random.default_rng(0).random((SIDE, SIDE, 3), dtype=np.float32)
    target = [0, 1, 2] if ns.Needs.TARGET in needs else None
    try:
        found = ns.explain(network, image, method, target, **FEWER.get(method, {}))
    except ns.NeuroscopeError as error:
        if str(error) != network.why_not(ns.methods[method]):
            raise
        return False
    if not np.isfinite(found.values).all() or not found.values.any():
        raise AssertionError(f"{method} of {network} shows nothing: {found.values}")
    return True


def found(framework: str) -> dict[str, str]:
    """Return the tasks that each method explains with a framework, "C", "S", "C S" or "–"."""
    torch.manual_seed(0)
    networks = {
        task: [
            ns.wrap(model, {"task": task, "input": {"value_range": (0, 1)}}, device="cpu")
            for model in FRAMEWORKS[framework](task)
        ]
        for task in TASKS
    }
    return {
        method: " ".join(
            letter
            for task, letter in TASKS.items()
            if any(explains(network, method) for network in networks[task])
        )
        or "–"
        for method in ns.methods
    }


def table(columns: dict[str, dict[str, str]]) -> str:
    """Return the table in Markdown: a row for each method, a column for each framework."""
    lines = [f"| method | {' | '.join(columns)} |", "| --- " * (1 + len(columns)) + "|"]
    for name, method in ns.methods.items():
        cells = " | ".join(column[name] for column in columns.values())
        lines.append(f"| [{method.title}](docs/methods/{name}.md) | {cells} |")
    return "\n".join(lines) + "\n"
