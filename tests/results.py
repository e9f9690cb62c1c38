"""Explanations made by hand, to be saved and read back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.images.spacing import Spacing

CLASSES = (("background", (0, 0, 0)), ("Kern “ä”", (86, 180, 233)), ("rand", (230, 159, 0)))


def explanation_of(
    axes: Sequence[str],
    shape: Sequence[int],
    *,
    space: int | None = None,
    scale: float = 1.0,
    offset: float = 0.0,
    **changes: Any,
) -> Explanation:
    """Return an explanation of random values, the last `space` axes on its grid."""
    space = sum(axis in "zyx" for axis in axes) if space is None else space
    values = np.random.default_rng(len(axes)).normal(size=shape).astype(np.float32)
    cells = tuple(shape[len(shape) - space :]) if space else (4, 4)
    sides = tuple(round(n * scale) for n in cells)
    leading = axes[: len(axes) - space]
    made = Explanation(
        values=values,
        axes=tuple(axes),
        labels={axis: tuple(f"{axis} {chr(0x3B1 + n)}" for n in range(size))
                for axis, size in zip(leading, shape, strict=False) if len(axis) > 1},
        grid=Grid(cells, (scale,) * len(cells), (offset,) * len(cells)),
        image=Grid.of_image(sides),
        signed=True,
        unit="Grad-CAM",
        provenance={
            "method": "grad_cam",
            "title": "Grad-CAM",
            "options": {"relu": False},
            "layers": ["dec1"],
            "targets": [{"class": "Kern “ä”", "region": "everywhere", "value": 1.5}],
            "notes": ["a note"],
        },
        classes=CLASSES,
    )  # fmt: skip
    return replace(made, **changes)


def with_regions() -> Explanation:
    """Return an explanation of two classes with a label map, and an order of regions a class."""
    rng = np.random.default_rng(0)
    made = explanation_of(("class", "channel", "y", "x"), (2, 3, 6, 5), scale=2.0, offset=0.5)
    return replace(
        made,
        companions={
            "prediction": rng.integers(0, 3, (6, 5)).astype(np.int32),
            "order": rng.integers(1, 9, (2, 6, 5)).astype(np.int32),
        },
        ordered=frozenset({"order"}),
    )


def of_stack() -> tuple[Explanation, Spacing]:
    """Return an explanation of two classes of a stack of channels, times and planes."""
    axes = ("class", "c", "t", "z", "y", "x")
    made = explanation_of(axes, (2, 2, 3, 4, 5, 6), space=5)
    spacing = Spacing(
        ("c", "t", "z", "y", "x"),
        (1.0, 2.5, 2.0, 0.5, 0.5),
        (0.0, 1.0, 7.0, 0.0, -1.0),
        ("pixel", "minute", "micrometer", "micrometer", "micrometer"),
    )
    return made, spacing
