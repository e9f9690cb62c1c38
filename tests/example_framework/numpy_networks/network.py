"""The network itself: it knows nothing of napari-neuroscope."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

MAGIC = b"NUMPYNET"


def _convolve(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Correlate (channel, y, x) with (out, channel, 3, 3), zeros around it."""
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)))
    windows = sliding_window_view(padded, (3, 3), axis=(1, 2))
    return np.einsum("kcij,cyxij->kyx", kernel, windows, optimize=True)


@dataclass
class PixelNetwork:
    """A 3 × 3 convolution, a relu, a 1 × 1 convolution and, if asked for, a softmax.

    Attributes
    ----------
    kernel, bias
        Of the first: (hidden, channel, 3, 3) and (hidden,).
    weights, offset
        Of the second: (class, hidden) and (class,).
    softmax
        Whether it answers probabilities.
    """

    kernel: np.ndarray
    bias: np.ndarray
    weights: np.ndarray
    offset: np.ndarray
    softmax: bool = False

    def forward(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Return what every layer answers to (channel, y, x), in order."""
        conv = _convolve(x, self.kernel) + self.bias[:, None, None]
        relu = np.maximum(conv, 0)
        head = np.einsum("nk,kyx->nyx", self.weights, relu) + self.offset[:, None, None]
        answers = {"conv": conv, "relu": relu, "head": head}
        if self.softmax:
            odds = np.exp(head - head.max(0))
            answers["softmax"] = odds / odds.sum(0)
        return answers

    def backward(
        self, answers: dict[str, np.ndarray], gradient: np.ndarray, *, guided: bool = False
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Pull a gradient of “head” back: yield that of each layer, and of the input at last."""
        yield "head", gradient
        gradient = np.einsum("nk,nyx->kyx", self.weights, gradient)
        yield "relu", gradient
        if guided:
            gradient = np.maximum(gradient, 0)
        gradient = gradient * (answers["conv"] > 0)
        yield "conv", gradient
        yield "input", _convolve(gradient, self.kernel.swapaxes(0, 1)[:, :, ::-1, ::-1])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all that it learnt, by name."""
        return {
            "kernel": self.kernel, "bias": self.bias, "weights": self.weights,
            "offset": self.offset,
        }  # fmt: skip

    def save(self, path: Path) -> None:
        """Write a .npnet file: eight letters, and NumPy's own archive."""
        buffer = io.BytesIO()
        np.savez(buffer, softmax=self.softmax, **self.arrays())
        path.write_bytes(MAGIC + buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> PixelNetwork:
        """Read a .npnet file; no code of it can run."""
        content = io.BytesIO(path.read_bytes().removeprefix(MAGIC))
        with np.load(content, allow_pickle=False) as arrays:
            values = dict(arrays)
        return cls(**{**values, "softmax": bool(values["softmax"])})
