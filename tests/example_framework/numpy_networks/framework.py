"""What napari-neuroscope needs to know: how to open such a network, run it and pull back."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from collections.abc import Callable, Collection, Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_neuroscope import ModelSpec, NeuroscopeError
from napari_neuroscope.engine.errors import Progress
from napari_neuroscope.engine.frameworks.base import Capability, Framework, Run
from napari_neuroscope.engine.graph.layer_graph import Layer, LayerGraph
from numpy_networks.network import MAGIC, PixelNetwork

KIND = "NumPy network"


def _batched(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))[None]


class NumpyRun(Run):
    """One forward pass: what every layer answered is kept, since the way back needs it."""

    def __init__(
        self, network: PixelNetwork, answers: dict[str, np.ndarray], keep: Collection[str]
    ) -> None:
        self._network, self._answers = network, answers
        self.output, self.scores = _ends(network, answers)
        self.activations = {name: _batched(answers[name]) for name in keep}
        self.nbytes = sum(answer.nbytes for answer in answers.values())

    def gradients(
        self, seed: Tensor, layers: Sequence[str], *, with_input: bool = False
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        found = {
            name: _batched(gradient)
            for name, gradient in self._network.backward(self._answers, seed[0].cpu().numpy())
        }
        # The scores are before the softmax, so they don't depend on it.
        found["softmax"] = torch.zeros_like(seed)
        return {name: found[name] for name in layers}, found["input"] if with_input else None

    def sweep(
        self, seed: Tensor, layers: Sequence[str], visit: Callable[[str, Tensor], None]
    ) -> None:
        left = set(layers)
        for name, gradient in self._network.backward(self._answers, seed[0].cpu().numpy()):
            if name in left:
                left.discard(name)
                visit(name, _batched(gradient))
        for name in left:
            visit(name, torch.zeros_like(self.activations[name]))

    def guided_gradient(self, seed: Tensor) -> tuple[Tensor, int]:
        gradients = self._network.backward(self._answers, seed[0].cpu().numpy(), guided=True)
        return _batched(dict(gradients)["input"]), 1


class NumpyFramework(Framework):
    """Any `PixelNetwork`."""

    name = "numpy"
    capabilities = (
        Capability.SCORES | Capability.ACTIVATIONS | Capability.GRADIENTS | Capability.GUIDED
    )
    kinds = (KIND,)
    suffixes = (".npnet",)

    @classmethod
    def kind_of(cls, path: Path, head: bytes) -> str | None:
        return KIND if head.startswith(MAGIC) else None

    @classmethod
    def load(
        cls, path: Path, kind: str, *, factory: Any, arguments: dict[str, Any] | None, trust: bool
    ) -> PixelNetwork:
        try:
            return PixelNetwork.load(path)
        except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
            raise NeuroscopeError(
                f"“{path.name}” is a broken NumPy network; save it again."
            ) from error

    @classmethod
    def recognises(cls, model: Any) -> bool:
        return isinstance(model, PixelNetwork)

    def __init__(self, model: PixelNetwork, device: str) -> None:
        if device not in ("auto", "cpu"):
            raise NeuroscopeError(f"NumPy has no device “{device}”; choose auto or cpu.")
        self.model = model
        self.device, self.dtype = torch.device("cpu"), torch.float64
        self.lock = threading.RLock()

    def input_channels(self) -> int | None:
        return self.model.kernel.shape[1]

    def _forward(self, x: Tensor, progress: Progress | None = None) -> dict[str, np.ndarray]:
        if progress is not None:
            progress(0, 1, "forward pass")
        with self.lock:
            return self.model.forward(x[0].double().cpu().numpy())

    def layers(self, x: Tensor, spec: ModelSpec, progress: Progress) -> tuple[LayerGraph, Tensor]:
        answers = self._forward(x, progress)
        kinds: dict[str, Any] = {
            "conv": "convolution", "relu": "activation", "head": "convolution",
            "softmax": "activation",
        }  # fmt: skip
        learnt = {
            "conv": self.model.kernel.size + self.model.bias.size,
            "head": self.model.weights.size + self.model.offset.size,
        }
        names = list(answers)
        layers = [
            Layer(
                name,
                kinds[name],
                answers[name].shape,
                learnt.get(name, 0),
                tuple(names[max(0, place - 1) : place]),
                tuple(names[place + 1 : place + 2]),
                operation=name,
                block="",
            )
            for place, name in enumerate(names)
        ]
        final = ("softmax", "softmax") if self.model.softmax else None
        return LayerGraph(layers, len(spec.input.space), final), _ends(self.model, answers)[0]

    def run(
        self,
        x: Tensor,
        spec: ModelSpec,
        layers: LayerGraph,
        keep: Collection[str],
        progress: Progress,
    ) -> NumpyRun:
        return NumpyRun(self.model, self._forward(x, progress), keep)

    def output(
        self, x: Tensor, spec: ModelSpec, layers: LayerGraph
    ) -> tuple[Tensor, Tensor | None]:
        return _ends(self.model, self._forward(x))

    def state(self) -> Hashable:
        # Arrays are changed in place without a word, so their values are looked at each time.
        return self.digest()

    def digest(self, state: Hashable = None) -> str:
        digest = hashlib.sha256()
        for name, array in self.model.arrays().items():
            digest.update(f"{name}:{array.dtype}:{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def _ends(network: PixelNetwork, answers: dict[str, np.ndarray]) -> tuple[Tensor, Tensor | None]:
    """Return the output, and the scores before a softmax: the same positions, other values."""
    output = _batched(answers["softmax" if network.softmax else "head"])
    return output, _batched(answers["head"]) if network.softmax else None
