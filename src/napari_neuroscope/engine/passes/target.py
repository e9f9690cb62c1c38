"""Target: which class, where, and which score of it is explained."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from napari_neuroscope.engine.errors import EmptyRegionError, NeuroscopeError, nearest_names
from napari_neuroscope.engine.images.grid import Grid, resample_nearest

Score = Literal["logit", "probability", "log_probability"]
SCORES: tuple[Score, ...] = ("logit", "probability", "log_probability")
DEFAULT_REGION = "predicted_or_everywhere"
"""Where the class is predicted, and everywhere where that is nowhere."""
NAMED_REGIONS = (DEFAULT_REGION, "everywhere", "predicted", "ground_truth")


@dataclass(frozen=True, eq=False)
class Instance:
    """The region of one instance of a label image.

    Attributes
    ----------
    labels
        Whole numbers on the image's grid (*space).
    label
        Which of them.
    """

    labels: Any
    label: int


@dataclass(frozen=True, eq=False)
class Mask:
    """A region that was drawn or painted, with its name.

    Attributes
    ----------
    values
        The pixels of the image's grid that belong to it (*space).
    words
        What it is called, for the record.
    notes
        Where it is not quite what was drawn.
    """

    values: Any
    words: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Target:
    """The scalar that is explained: T, the sum of a class's score over a region.

    Attributes
    ----------
    class_
        The class, by name or index; None: the top prediction of a classifier.
    region
        Where, for a segmentation: ``"predicted"``, where the class is predicted (Vinogradova et
        al. 2020); ``"everywhere"``; ``"predicted_or_everywhere"``, the first, or where that is
        nowhere the second, and a note says so; ``"ground_truth"``, where it truly is; a mask on the
        image's grid, or a `Mask` with a name; an `Instance`; or a point, a tuple of coordinates
        in pixels of the image.
    score
        ``"logit"``, before softmax or sigmoid; ``"probability"``; or ``"log_probability"``.
    reduce
        ``"sum"`` or ``"mean"`` over the region.
    """

    class_: str | int | None = None
    region: Any = DEFAULT_REGION
    score: Score = "logit"
    reduce: Literal["sum", "mean"] = "sum"

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            raise NeuroscopeError(
                f"There is no score “{self.score!s:.60}”; {nearest_names(str(self.score), SCORES)}"
            )
        if self.reduce not in ("sum", "mean"):
            raise NeuroscopeError(
                f"A region is reduced by “sum” or “mean”, not “{self.reduce!s:.60}”."
            )
        if isinstance(self.region, str) and self.region not in NAMED_REGIONS:
            raise NeuroscopeError(
                f"There is no region “{self.region:.60}”; {nearest_names(self.region, NAMED_REGIONS)}"
            )

    @property
    def is_everywhere(self) -> bool:
        """Whether its region is the whole answer."""
        return isinstance(self.region, str) and self.region == "everywhere"

    @property
    def is_default(self) -> bool:
        """Whether its region is where the class is predicted, or else everywhere."""
        return isinstance(self.region, str) and self.region == DEFAULT_REGION

    @classmethod
    def of(cls, target: Target | str | int | None) -> Target:
        """Return a target given as one, or as a class alone."""
        return target if isinstance(target, Target) else cls(target)


@dataclass(frozen=True, eq=False)
class ResolvedTarget:
    """A target of one image and network, with nothing left to look up.

    Attributes
    ----------
    index
        The class.
    mask
        The region on the output's grid; None: all of it.
    score, reduce
        As in `Target`.
    region
        The region in words, for the record.
    key
        Equal for equal targets.
    notes
        Where it is not quite what was asked for.
    """

    index: int
    mask: Tensor | None
    score: Score
    reduce: str
    region: str
    key: Hashable
    notes: tuple[str, ...] = ()

    @cached_property
    def positions(self) -> tuple[Tensor, ...] | None:
        """The region's positions on the output's grid, an index an axis; None: all of them."""
        return None if self.mask is None else self.mask.nonzero(as_tuple=True)


def resolve_region(
    region: Any,
    *,
    index: int,
    predicted: Tensor,
    output: Grid,
    image: Grid,
    ground_truth: Any = None,
    name: str = "",
) -> tuple[Tensor | None, str]:
    """Bring a region to the output's grid by nearest neighbour.

    Parameters
    ----------
    predicted
        The predicted classes (*output.shape).
    ground_truth
        Classes on the image's grid, for the region ``"ground_truth"``.
    name
        The class's, for an error's sentence; its number where it has none.

    Returns
    -------
    mask
        A bool tensor (*output.shape), of what shows the image and no padding; None for all.
    words
        The region, for the record.

    Raises
    ------
    NeuroscopeError
        Where the region has no position, or does not fit the image.
    """
    if isinstance(region, str):
        words, shown = region, shown_mask(output, image, predicted)
        if region == "everywhere":
            return shown, words
        if region in ("predicted", DEFAULT_REGION):
            mask = predicted == index if shown is None else (predicted == index) & shown
            if region == DEFAULT_REGION:
                return (mask, "predicted") if bool(mask.any()) else (shown, "everywhere")
        else:
            mask = _true_region(ground_truth, index, image, output, predicted)
    elif isinstance(region, Instance):
        labels = _on_image(region.labels, image, "label image")
        chosen = labels == region.label
        words = f"instance {region.label}"
        if not chosen.any():
            raise EmptyRegionError(f"The label image has no instance {region.label}.")
        mask = _to_output(chosen, image, output, predicted)
    elif _is_point(region):
        mask, words = _point(region, image, output, predicted)
    else:
        named = isinstance(region, Mask)
        array = _on_image(region.values if named else region, image, "mask") != 0
        digest = hashlib.sha256(np.packbits(array).tobytes()).hexdigest()[:12]
        mask = _to_output(array, image, output, predicted)
        words = f"mask {digest}, {np.count_nonzero(array)} pixels"
        if named:
            words = f"{region.words}, {words}"
    if not bool(mask.any()):
        if isinstance(region, str):
            raise EmptyRegionError(nowhere_in_words(region, name or f"class {index}"))
        raise EmptyRegionError(
            f"The region ({words}) has no positions on the network's output of "
            f"{' × '.join(map(str, output.shape))}; choose a larger one, or “everywhere”."
        )
    return mask, words


def nowhere_in_words(region: str, name: str) -> str:
    """Return the sentence that says that a class is nowhere in an image.

    Parameters
    ----------
    region
        ``"predicted"`` or ``"ground_truth"``.
    name
        The class's.
    """
    if region == "predicted":
        return f"{name} is predicted nowhere in this image."
    return f"{name} is nowhere in the ground truth of this image."


def instead_in_words(name: str) -> str:
    """Return the note that a class is asked about everywhere, since it is predicted nowhere."""
    return f"{name} is predicted nowhere in this image, so it is asked about everywhere"


def _true_region(ground_truth: Any, index: int, image: Grid, output: Grid, like: Tensor) -> Tensor:
    """Return where a class truly is, on the output's grid."""
    if ground_truth is None:
        raise NeuroscopeError(
            "The region “ground_truth” needs ground truth: give "
            "ground_truth=, class labels of the image's shape."
        )
    truth = _on_image(ground_truth, image, "ground truth")
    return _to_output(truth == index, image, output, like)


def shown_mask(output: Grid, image: Grid, like: Tensor) -> Tensor | None:
    """Return which positions of an output show the image and no padding; None: all of them."""
    along = output.showing(image)
    if all(inside.all() for inside in along):
        return None
    mask = torch.ones(output.shape, dtype=torch.bool)
    for axis, inside in enumerate(along):
        shape = [-1 if a == axis else 1 for a in range(len(along))]
        mask &= torch.from_numpy(inside).reshape(shape)
    return mask.to(like.device)


def _is_point(region: Any) -> bool:
    return isinstance(region, Sequence) and all(
        isinstance(n, int | float | np.number) for n in region
    )


def _on_image(array: Any, image: Grid, what: str) -> np.ndarray:
    array = np.asarray(array.detach().cpu() if isinstance(array, Tensor) else array)
    if array.shape != image.shape:
        raise NeuroscopeError(
            f"The {what} has shape {array.shape}, but the image {image.shape}; they must be equal."
        )
    return np.asarray(array)


def _to_output(mask: np.ndarray, image: Grid, output: Grid, like: Tensor) -> Tensor:
    return torch.as_tensor(resample_nearest(mask, image, output), device=like.device)


def _point(point: Sequence[float], image: Grid, output: Grid, like: Tensor) -> tuple[Tensor, str]:
    if len(point) != len(image.shape):
        raise NeuroscopeError(
            f"The point has {len(point)} coordinates, but the image {len(image.shape)} axes."
        )
    words = f"point ({', '.join(f'{n:g}' for n in point)})"
    cell = np.floor(output.to_cells(np.asarray(point, float)) + 0.5).astype(int)
    mask = torch.zeros_like(like, dtype=torch.bool)
    inside = all(-0.5 <= p <= n - 0.5 for p, n in zip(point, image.shape, strict=True))
    if inside and all(0 <= i < n for i, n in zip(cell, output.shape, strict=True)):
        mask[tuple(cell)] = True
    return mask, words
