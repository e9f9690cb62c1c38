"""What a ground truth means: class numbers, colours, instances or masks, as labels of classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, get_args

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError, nearest_names
from napari_neuroscope.engine.images.grid import Grid, resample_nearest
from napari_neuroscope.engine.images.ground_truth.class_colours import ClassColours
from napari_neuroscope.engine.images.ground_truth.kind import (
    VOID,
    TruthKind,
    as_truth,
    kind_of_numbers,
)
from napari_neuroscope.engine.images.source import PaletteImage
from napari_neuroscope.engine.plain_text import by_sides
from napari_neuroscope.engine.spec.model_spec import ModelSpec
from napari_neuroscope.engine.spec.specified_network import SpecifiedNetwork

_Labelled = tuple[np.ndarray, TruthKind, list[str]]
"""The class of each pixel, how that was read, and what is to be noted."""


@dataclass(frozen=True, eq=False)
class LabelledTruth:
    """A ground truth as classes.

    Attributes
    ----------
    labels
        The class of each pixel, int32 (*space); −1 is void, no class.
    kind
        How it was read.
    notes
        What was decided on the way, one sentence each.
    """

    labels: np.ndarray
    kind: TruthKind
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TruthReader:
    """Reads ground truth as a network's classes.

    Attributes
    ----------
    spec, count
        What the network's outputs mean, and how many classes it has.
    kind
        How a ground truth is read. ``"auto"`` tells it from type, shape and content.
    instance_class
        The class of instances and masks, by name or index; None: the first that is no background.
    border_class
        The class of the one-pixel rim inside each instance; None: it belongs to the instance.
    void_colours
        Colours that count as no class.
    resize
        Bring a ground truth of another size to the image's by nearest neighbour, and say so;
        else refuse it.
    numbers_elsewhere
        Numbers of other ground truths that are read alike; `with_numbers_of` adds them.
    """

    spec: ModelSpec
    count: int
    kind: TruthKind = "auto"
    instance_class: str | int | None = None
    border_class: str | int | None = None
    void_colours: tuple[tuple[int, int, int], ...] = ()
    resize: bool = True
    numbers_elsewhere: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if self.kind not in get_args(TruthKind):
            raise NeuroscopeError(
                f"There is no kind of ground truth “{self.kind!s:.60}”; "
                f"{nearest_names(str(self.kind), get_args(TruthKind))}"
            )
        if self.count < 1:
            raise NeuroscopeError("The spec names no classes; name them, or give the network.")
        for which in (self.instance_class, self.border_class):
            if which is not None:
                self.spec.class_index(which, self.count)

    @classmethod
    def of(
        cls, network: SpecifiedNetwork | ModelSpec, kind: TruthKind = "auto", **options: Any
    ) -> TruthReader:
        """Return the reader of a network's ground truth, or of a spec that names its classes."""
        if isinstance(network, ModelSpec):
            return cls(network, len(network.classes), kind, **options)
        count = len(network.class_names)
        # The spec is complete once the classes are known.
        return cls(network.spec, count, kind, **options)

    def labels(self, truth: Any, shape: Sequence[int]) -> LabelledTruth:
        """Read a ground truth of an image of `shape`; see `class_labels`."""
        shape = tuple(shape)
        if isinstance(truth, Mapping | list | tuple):
            return self._resized(*self._of_masks(truth, shape), shape)
        values = truth if isinstance(truth, PaletteImage) else as_truth(truth)
        labels, kind, notes = self._of_values(values, len(shape))
        return self._resized(labels, kind, notes, shape)

    # --- what it is -------------------------------------------------------------------------------

    @cached_property
    def _colours(self) -> ClassColours:
        return ClassColours(self.spec, self.count, self.void_colours)

    def with_numbers_of(self, truth: Any) -> TruthReader:
        """Return a reader that knows the numbers of another ground truth, too.

        An image of two nuclei has the numbers of two classes; its neighbours tell them apart.
        """
        if self.kind != "auto" or isinstance(truth, PaletteImage | Mapping | list | tuple):
            return self
        truth = as_truth(truth)
        coloured = truth.ndim > len(self.spec.input.space) and truth.shape[-1] in (3, 4)
        if coloured or truth.dtype == bool:
            return self
        numbers = self.numbers_elsewhere | set(np.unique(truth).tolist())
        return replace(self, numbers_elsewhere=numbers)

    def kind_of(self, numbers: Iterable[int]) -> TruthKind:
        """Tell numbers of classes from those of instances, by those of other ground truths too."""
        return kind_of_numbers(
            {*self.numbers_elsewhere, *numbers}, self.count, self.spec.ignore_label
        )

    def _of_values(self, truth: np.ndarray | PaletteImage, space: int) -> _Labelled:
        if isinstance(truth, PaletteImage):
            return self._of_palette(truth, space)
        if truth.ndim == space + 1 and truth.shape[-1] in (1, 2):
            truth = truth[..., 0]  # gray, with alpha or without
        if truth.ndim == space + 1 and truth.shape[-1] in (3, 4):
            return self._of_channels(truth)
        if truth.ndim != space:
            raise NeuroscopeError(
                f"The ground truth has shape {truth.shape}, but the image {space} axes; give a "
                f"number for each pixel, or red, green and blue along a last axis."
            )
        if self.kind == "colours":
            raise NeuroscopeError(
                f"The ground truth has shape {truth.shape} and no colours; read it as numbers of "
                f"classes or instances, or give red, green and blue along a last axis."
            )
        return self._of_numbers(truth)

    def _of_palette(self, truth: PaletteImage, space: int) -> _Labelled:
        if self.kind == "colours":
            return self._of_values(truth.colours, space)
        if self.kind == "auto" and self._colours.state(truth.palette[np.unique(truth.indices)]):
            labels, kind, notes = self._of_values(truth.colours, space)
            return labels, kind, ["its palette has the classes' colours", *notes]
        labels, kind, notes = self._of_values(truth.indices, space)
        return labels, kind, ["the numbers of its palette's colours were taken", *notes]

    def _of_channels(self, truth: np.ndarray) -> _Labelled:
        gray = bool(
            (truth[..., 0] == truth[..., 1]).all() and (truth[..., 1] == truth[..., 2]).all()
        )
        if self.kind in ("classes", "instances") or (self.kind == "auto" and gray):
            if not gray:
                raise NeuroscopeError(
                    f"The ground truth is coloured, its shape is {truth.shape}; read it as "
                    f"colours, or give a number for each pixel."
                )
            if self.kind != "auto" or not self._colours.hold(truth):
                labels, kind, notes = self._of_numbers(truth[..., 0])
                return labels, kind, ["its three channels are equal: one was taken", *notes]
        labels, notes = self._colours.labels(truth)
        return labels, "colours", notes

    # --- how it is read ---------------------------------------------------------------------------

    def _of_numbers(self, truth: np.ndarray) -> _Labelled:
        kind, mask = self.kind, truth.dtype == bool
        truth = truth.astype(np.uint8) if mask else truth
        if kind == "auto" and (mask or self.kind_of(()) == "instances"):
            kind = "instances"
        if kind == "instances":
            return self._of_instances(truth)
        labels = self._classes(truth)
        if labels is not None:
            return labels, "classes", ["read as numbers of classes"]
        ids, counts = np.unique(truth, return_counts=True)
        if kind == "classes" or self.kind_of(ids.tolist()) == "classes":
            raise NeuroscopeError(self._strange_numbers(ids, counts))
        return self._of_instances(truth)

    def _classes(self, truth: np.ndarray) -> np.ndarray | None:
        """Return the classes of their numbers; None where one is no class."""
        if truth.dtype.itemsize <= 2:
            labels = truth.astype(np.int32)
        else:
            of_class = (truth >= VOID) & (truth < self.count)
            labels = np.full(truth.shape, -2, np.int32)
            np.copyto(labels, truth, where=of_class, casting="unsafe")
        if self.spec.ignore_label is not None:
            np.copyto(labels, VOID, where=truth == self.spec.ignore_label)
        return labels if labels.min() >= VOID and labels.max() < self.count else None

    def _strange_numbers(self, ids: np.ndarray, counts: np.ndarray) -> str:
        strange = [
            (int(i), int(n))
            for i, n in zip(ids, counts, strict=True)
            if not VOID <= i < self.count and i != self.spec.ignore_label
        ]
        first, count = strange[0]
        more = f" (and {len(strange) - 1:,} more numbers)" if len(strange) > 1 else ""
        return (
            f"The ground truth has the number {first} in {count:,} pixels{more}, but there are "
            f"{self.count} classes, 0..{self.count - 1}; if {first} is void, set the spec's "
            f"ignore_label to {first}; if they are instances, read it as instances."
        )

    def _of_instances(self, truth: np.ndarray) -> _Labelled:
        foreground = self._foreground()
        void = truth == self.spec.ignore_label if self.spec.ignore_label is not None else None
        labels = np.where(truth != 0, foreground, 0).astype(np.int32)
        ids = np.unique(truth)
        name = self.spec.class_name(foreground)
        is_mask = len(ids[ids != 0]) <= 1
        notes = [f"read as {'a mask' if is_mask else 'instances'} of “{name}”, 0 as "
                 f"“{self.spec.class_name(0)}”"]  # fmt: skip
        if self.border_class is not None:
            from skimage.segmentation import find_boundaries

            border = self.spec.class_index(self.border_class, self.count)
            labels[find_boundaries(truth, mode="inner")] = border
            notes.append(f"the rim inside each as “{self.spec.class_name(border)}”")
        if void is not None:
            labels[void] = VOID
        return labels, "instances", notes

    def _foreground(self) -> int:
        if self.instance_class is not None:
            return self.spec.class_index(self.instance_class, self.count)
        if self.count < 2:
            raise NeuroscopeError(
                "Instances need a class beside the background, but there is one class alone; "
                "read the ground truth as numbers of classes."
            )
        return 1

    def _of_masks(
        self, truth: Mapping[str | int, Any] | Sequence[Any], shape: tuple[int, ...]
    ) -> _Labelled:
        given = list(truth.items() if isinstance(truth, Mapping) else enumerate(truth))
        if not given:
            raise NeuroscopeError("The ground truth has no mask; give one for each class.")
        masks = [_as_mask(mask, len(shape)) for _, mask in given]
        if len({mask.shape for mask in masks}) > 1:
            shapes = ", ".join(str(s) for s in dict.fromkeys(mask.shape for mask in masks))
            raise NeuroscopeError(f"The masks of the ground truth have several shapes: {shapes}.")
        by_name = isinstance(truth, Mapping)
        if self.kind == "instances" and not by_name:
            numbered = np.zeros(masks[0].shape, np.int32)
            for number, mask in enumerate(masks, 1):
                numbered[mask] = number
            return self._of_instances(numbered)
        classes = self._classes_of_masks([key for key, _ in given], by_name)
        times = np.sum(masks, axis=0)
        # What no mask covers is background, unless that has a mask of its own.
        labels = np.full(masks[0].shape, VOID if 0 in classes else 0, np.int32)
        for index, mask in zip(classes, masks, strict=True):
            labels[mask] = index
        if self.spec.ignore_label is not None:
            labels[labels == self.spec.ignore_label] = VOID
        rest = "void" if 0 in classes else f"“{self.spec.class_name(0)}”"
        notes = [f"read as {len(masks)} masks of one class each; what none covers is {rest}"]
        if twice := int(np.count_nonzero(times > 1)):
            notes.append(f"{twice:,} pixels are in several masks: the later one counts")
        return labels, "classes", notes

    def _classes_of_masks(self, keys: list[Any], by_name: bool) -> list[int]:
        if by_name:
            return [self.spec.class_index(key, self.count) for key in keys]
        if len(keys) == self.count:
            return keys
        if len(keys) == self.count - 1:
            return [key + 1 for key in keys]
        raise NeuroscopeError(
            f"The ground truth has {len(keys)} masks, but there are {self.count} classes; give one "
            f"for each, with the background's or without, or name their classes."
        )

    def _resized(
        self, labels: np.ndarray, kind: TruthKind, notes: list[str], shape: tuple[int, ...]
    ) -> LabelledTruth:
        if labels.shape == shape:
            return LabelledTruth(labels, kind, tuple(notes))
        sizes = f"{by_sides(labels.shape)}, but the image {by_sides(shape)}"
        if labels.size == 0 or not self.resize:
            raise NeuroscopeError(
                f"The ground truth is {sizes}; give one of the image's size, or let it be resized."
            )
        if labels.shape == shape[::-1]:
            raise NeuroscopeError(f"The ground truth is {sizes}: it lies on its side; turn it.")
        image = Grid.of_image(shape)
        resized = resample_nearest(labels, image.divided(labels.shape), image)
        notes = [*notes, f"it is {sizes}: it was resized by nearest neighbour"]
        return LabelledTruth(np.ascontiguousarray(resized), kind, tuple(notes))


def class_labels(
    truth: Any,
    network: SpecifiedNetwork | ModelSpec,
    shape: Sequence[int],
    kind: TruthKind = "auto",
    *,
    instance_class: str | int | None = None,
    border_class: str | int | None = None,
    void_colours: Sequence[tuple[int, int, int]] = (),
    resize: bool = True,
) -> LabelledTruth:
    """Read a ground truth as the classes of a network.

    Parameters
    ----------
    truth
        Numbers (*space) of classes or instances, or a mask, or colours (*space, 3 or 4): an array
        or a `PaletteImage` file. Or masks of one class each: a mapping of classes to masks, or a list
        in the order of the classes, with background or without; where masks overlap, the later
        one counts.
    network
        The network, or a spec that names its classes. The spec's ``ignore_label`` is void.
    shape
        The image's (*space), in pixels.
    kind, instance_class, border_class, void_colours, resize
        See `TruthReader`.

    Returns
    -------
    LabelledTruth
        Labels int32 (*space) of classes, −1 for void, and how they were read.

    Raises
    ------
    NeuroscopeError
        Where the ground truth does not fit the image or the classes: it says which numbers or
        colours are none, and in how many pixels.
    """
    reader = TruthReader.of(
        network,
        kind,
        instance_class=instance_class,
        border_class=border_class,
        void_colours=tuple(tuple(colour) for colour in void_colours),
        resize=resize,
    )
    return reader.labels(truth, shape)


def _as_mask(mask: Any, space: int) -> np.ndarray:
    values = as_truth(mask.indices if isinstance(mask, PaletteImage) else mask)
    if values.ndim == space + 1 and values.shape[-1] in (1, 2, 3, 4):
        # An alpha channel is no part of the mask.
        values = np.asarray(values[..., : values.shape[-1] - (values.shape[-1] in (2, 4))].any(-1))
    if values.ndim != space:
        raise NeuroscopeError(
            f"A mask of the ground truth has shape {values.shape}, but the image {space} axes."
        )
    covered: np.ndarray = values != 0
    return covered
