"""What a ground truth means: class numbers, colours, instances or masks, as labels of classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from napari_neuroscope.engine.errors import Cancelled, NeuroscopeError, nearest_names
from napari_neuroscope.engine.files.told import reason_of
from napari_neuroscope.engine.images.grid import Grid, resample_nearest
from napari_neuroscope.engine.images.source import PaletteImage
from napari_neuroscope.engine.spec.model_spec import ModelSpec

if TYPE_CHECKING:
    from napari_neuroscope.engine.networks.network import Network

TruthKind = Literal["auto", "classes", "colours", "instances"]
"""How a ground truth is read: numbers of classes; the classes' colours; or numbers of instances,
or a mask, 0 being background."""
VOID = -1
_MOST_COLOURS = 64


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
    seen
        Numbers of other ground truths that are read alike; `seeing` adds them.
    """

    spec: ModelSpec
    count: int
    kind: TruthKind = "auto"
    instance_class: str | int | None = None
    border_class: str | int | None = None
    void_colours: tuple[tuple[int, int, int], ...] = ()
    resize: bool = True
    seen: frozenset[int] = frozenset()

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
        cls, network: Network | ModelSpec, kind: TruthKind = "auto", **options: Any
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
        labels, kind, notes = self._of_one(values, len(shape))
        return self._resized(labels, kind, notes, shape)

    # --- what it is -------------------------------------------------------------------------------

    @cached_property
    def _colours(self) -> dict[int, int]:
        """The class of each colour, as one number."""
        found: dict[int, int] = {}
        for index in range(self.count):
            colour = self.spec.colour(index)
            if found.setdefault(_packed(colour), index) != index:
                other = self.spec.class_name(found[_packed(colour)])
                raise NeuroscopeError(
                    f"The classes “{other}” and “{self.spec.class_name(index)}” have the same "
                    f"colour {colour}; give each its own, or ground truth of class numbers."
                )
        return found

    def seeing(self, truth: Any) -> TruthReader:
        """Return a reader that knows the numbers of another ground truth, too.

        An image of two nuclei has the numbers of two classes; its neighbours tell them apart.
        """
        if self.kind != "auto" or isinstance(truth, PaletteImage | Mapping | list | tuple):
            return self
        truth = as_truth(truth)
        coloured = truth.ndim > len(self.spec.input.space) and truth.shape[-1] in (3, 4)
        if coloured or truth.dtype == bool:
            return self
        return replace(self, seen=self.seen | set(np.unique(truth).tolist()))

    def kind_of(self, ids: Iterable[int]) -> TruthKind:
        """Tell numbers of classes from those of instances by which there are, in one image or many.

        Numbers beyond the classes are instances where there are many of them and 0 for
        background: a few are rather void, or classes of another network. A network of few classes
        is one of background, objects and perhaps their border.
        """
        ids = {*self.seen, *ids} - {VOID, self.spec.ignore_label}
        beyond = {i for i in ids if i >= self.count}
        few = self.count <= 3
        mask = few and beyond == {255} and ids <= {0, 255}
        many = 0 in ids and len(beyond) > (1 if few else self.count)
        return "instances" if mask or many else "classes"

    def _of_one(
        self, truth: np.ndarray | PaletteImage, space: int
    ) -> tuple[np.ndarray, TruthKind, list[str]]:
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

    def _of_palette(
        self, truth: PaletteImage, space: int
    ) -> tuple[np.ndarray, TruthKind, list[str]]:
        if self.kind == "colours":
            return self._of_one(truth.colours, space)
        if self.kind == "auto":
            used = {_packed(colour) for colour in truth.palette[np.unique(truth.indices)]}
            own = {_packed(c.colour) for c in self.spec.classes if c.colour is not None}
            if used <= own | {_packed(colour) for colour in self.void_colours}:
                labels, kind, notes = self._of_one(truth.colours, space)
                return labels, kind, ["its palette has the classes' colours", *notes]
        labels, kind, notes = self._of_one(truth.indices, space)
        return labels, kind, ["the numbers of its palette's colours were taken", *notes]

    def _of_channels(self, truth: np.ndarray) -> tuple[np.ndarray, TruthKind, list[str]]:
        gray = bool(
            (truth[..., 0] == truth[..., 1]).all() and (truth[..., 1] == truth[..., 2]).all()
        )
        if self.kind in ("classes", "instances") or (self.kind == "auto" and gray):
            if not gray:
                raise NeuroscopeError(
                    f"The ground truth is coloured, its shape is {truth.shape}; read it as "
                    f"colours, or give a number for each pixel."
                )
            if self.kind != "auto" or not self._all_coloured(truth):
                labels, kind, notes = self._of_numbers(truth[..., 0])
                return labels, kind, ["its three channels are equal: one was taken", *notes]
        return self._of_colours(truth)

    def _all_coloured(self, truth: np.ndarray) -> bool:
        known = {*self._colours, *map(_packed, self.void_colours)}
        return set(np.unique(_packed_pixels(truth)).tolist()) <= known

    # --- how it is read ---------------------------------------------------------------------------

    def _of_colours(self, truth: np.ndarray) -> tuple[np.ndarray, TruthKind, list[str]]:
        notes = ["read as the classes' colours"]
        present, where = np.unique(_packed_pixels(truth), return_inverse=True)
        void = set(map(_packed, self.void_colours))
        of_colour = [VOID if c in void else self._colours.get(c, -2) for c in present.tolist()]
        labels = np.array(of_colour, np.int32)[where].reshape(truth.shape[:-1])
        if truth.shape[-1] == 4 and not (opaque := truth[..., 3] != 0).all():
            labels[~opaque] = VOID
            notes.append(f"{np.count_nonzero(~opaque):,} transparent pixels are void")
        if (unknown := labels == -2).any():
            raise NeuroscopeError(self._strange_colours(truth[..., :3][unknown]))
        if self.spec.ignore_label is not None:
            labels[labels == self.spec.ignore_label] = VOID
        return labels, "colours", notes

    def _strange_colours(self, pixels: np.ndarray) -> str:
        colours, counts = np.unique(pixels, axis=0, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        first = tuple(colours[order[0]].tolist())
        more = f" and {len(colours) - 1:,} more" if len(colours) > 1 else ""
        many = len(colours) > _MOST_COLOURS
        hint = (
            "such many colours are rather a photo or a mask saved as JPEG: save it as PNG"
            if many
            else "give the classes their colours, or say that it is void"
        )
        return (
            f"The ground truth has colours of no class: {first} in {counts[order[0]]:,} "
            f"pixels{more}, {len(pixels):,} pixels in all; {hint}."
        )

    def _of_numbers(self, truth: np.ndarray) -> tuple[np.ndarray, TruthKind, list[str]]:
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
            known = (truth >= VOID) & (truth < self.count)
            labels = np.full(truth.shape, -2, np.int32)
            np.copyto(labels, truth, where=known, casting="unsafe")
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

    def _of_instances(self, truth: np.ndarray) -> tuple[np.ndarray, TruthKind, list[str]]:
        foreground = self._foreground()
        void = truth == self.spec.ignore_label if self.spec.ignore_label is not None else None
        labels = np.where(truth != 0, foreground, 0).astype(np.int32)
        ids = np.unique(truth)
        name = self.spec.class_name(foreground)
        one = len(ids[ids != 0]) <= 1
        notes = [f"read as {'a mask' if one else 'instances'} of “{name}”, 0 as "
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
    ) -> tuple[np.ndarray, TruthKind, list[str]]:
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
        found = LabelledTruth(labels, kind, tuple(notes))
        if labels.shape == shape:
            return found
        sizes = f"{_by(labels.shape)}, but the image {_by(shape)}"
        if labels.size == 0 or not self.resize:
            raise NeuroscopeError(
                f"The ground truth is {sizes}; give one of the image's size, or let it be resized."
            )
        if labels.shape == shape[::-1]:
            raise NeuroscopeError(f"The ground truth is {sizes}: it lies on its side; turn it.")
        image = Grid.of_image(shape)
        resized = resample_nearest(labels, image.divided(labels.shape), image)
        return replace(
            found,
            labels=np.ascontiguousarray(resized),
            notes=(*notes, f"it is {sizes}: it was resized by nearest neighbour"),
        )


def class_labels(
    truth: Any,
    network: Network | ModelSpec,
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


def as_truth(truth: Any) -> np.ndarray:
    """Return a ground truth as an array of whole numbers, or of bools.

    Raises
    ------
    NeuroscopeError
        Where it is no array, empty, or has other values.
    """
    try:
        values = np.asarray(truth.detach().cpu() if hasattr(truth, "detach") else truth)
    except (NeuroscopeError, Cancelled):
        raise
    except Exception as error:
        raise NeuroscopeError(f"The ground truth is no array: {reason_of(error)}.") from error
    if (
        isinstance(truth, np.ma.MaskedArray)
        and values.dtype.kind in "iu"
        and np.ma.is_masked(truth)
    ):
        # What is masked is of no class.
        values = np.where(np.ma.getmaskarray(truth), VOID, values.astype(np.int64))
    if values.size == 0:
        raise NeuroscopeError(f"The ground truth is empty: its shape is {values.shape}.")
    if values.dtype.kind == "f":
        whole = np.isfinite(values) & (values == np.rint(np.where(np.isfinite(values), values, 0)))
        if not whole.all():
            raise NeuroscopeError(
                f"The ground truth has {np.count_nonzero(~whole):,} values that are no whole "
                f"numbers; give numbers of classes or instances, not probabilities."
            )
        return values.astype(np.int64)
    if values.dtype.kind not in "biu":
        raise NeuroscopeError(
            f"The ground truth's type is {values.dtype}; whole numbers are needed."
        )
    return values


def _as_mask(mask: Any, space: int) -> np.ndarray:
    values = as_truth(mask.indices if isinstance(mask, PaletteImage) else mask)
    if values.ndim == space + 1 and values.shape[-1] in (1, 2, 3, 4):
        # An alpha channel is no part of the mask.
        values = np.asarray(values[..., : values.shape[-1] - (values.shape[-1] in (2, 4))].any(-1))
    if values.ndim != space:
        raise NeuroscopeError(
            f"A mask of the ground truth has shape {values.shape}, but the image {space} axes."
        )
    return values != 0


def _packed(colour: Any) -> int:
    red, green, blue = (int(value) for value in colour)
    return red << 32 | green << 16 | blue


def _packed_pixels(truth: np.ndarray) -> np.ndarray:
    # Wider values are no class's colour, and must not become one.
    parts = np.clip(truth[..., :3], 0, 65535).astype(np.int64)
    return parts[..., 0] << 32 | parts[..., 1] << 16 | parts[..., 2]


def _by(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))
