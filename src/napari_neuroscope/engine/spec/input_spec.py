"""What a network expects of an image: its size, channels, and how values become its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from napari_neuroscope.engine.errors import nearest_names, shortened
from napari_neuroscope.engine.spec.strict_model import Letters, StrictModel

Resize = Literal["stretch", "fit", "crop", "pad", "tile"]
Order = Literal["rgb", "bgr", "gray", "n"]

PRESETS: dict[str, dict[str, Any]] = {
    "imagenet": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    # Caffe networks take BGR values of 0..255 less their mean; `order` says the bgr.
    "caffe": {"mean": (0.40760, 0.45796, 0.48501), "std": (1 / 255, 1 / 255, 1 / 255)},
    "zero_one": {},
    "zero_255": {"std": (1 / 255,)},
    "minus_one_one": {"mean": (0.5,), "std": (0.5,)},
    "mobilenet": {"mean": (0.5,), "std": (0.5,)},
    "mnist": {"mean": (0.1307,), "std": (0.3081,)},
    "per_image": {"per_image": True},
    "percentile": {"percentile": (1.0, 99.8)},
}


# Far more than the channels, the pixels of a side and the steps of any network.
_MOST_CHANNELS, _MOST_PIXELS, _MOST_STEPS = 1 << 16, 1 << 24, 20
# An image is made this large before it is cut.
_MOST_SHORTER_SIDE = 1 << 13

_Side = Annotated[int, Field(ge=1, le=_MOST_PIXELS)]
_Numbers = Annotated[tuple[float, ...], Field(min_length=1, max_length=_MOST_CHANNELS)]


class Normalization(StrictModel):
    """How values of the 0..1 range become what the network was trained on.

    Give ``mean`` and ``std`` (one a channel, or one for all), or ``percentile`` (low and high of
    each image become 0 and 1), or ``per_image`` (each image to mean 0 and deviation 1), or the
    name of a preset: imagenet, caffe, zero_one, zero_255, minus_one_one, mobilenet, mnist,
    per_image, percentile.

    Attributes
    ----------
    mean, std, percentile, per_image
        See above; at most one of the three ways.
    per_channel
        Percentiles, or mean and deviation, are of each channel alone.
    eps
        Added to the deviation, or to the range between the percentiles, before dividing by it.
    clip
        The least and the greatest value that are left afterwards; None: no limit.
    then
        Another normalisation, of what this one made.
    """

    mean: _Numbers | None = None
    std: _Numbers | None = None
    percentile: tuple[float, float] | None = None
    per_image: bool = False
    per_channel: bool = False
    eps: float = Field(default=0.0, ge=0)
    clip: tuple[float | None, float | None] | None = None
    then: Normalization | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, value: Any) -> Any:
        if isinstance(value, dict) and "preset" in value and len(value) == 1:
            value = value["preset"]
        if not isinstance(value, str):
            return value
        if value not in PRESETS:
            raise ValueError(f"“{shortened(value)}” is no preset; {nearest_names(value, PRESETS)}")
        return PRESETS[value]

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _one_for_all(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int | float) else value

    @model_validator(mode="after")
    def _sensible(self) -> Normalization:
        ways = (self.mean is not None or self.std is not None, self.percentile, self.per_image)
        if sum(bool(way) for way in ways) > 1:
            raise ValueError("give mean and std, or percentile, or per_image, not several")
        if self.std is not None and any(deviation <= 0 for deviation in self.std):
            raise ValueError("std must be above zero")
        if self.percentile is not None:
            low, high = self.percentile
            if not 0 <= low < high <= 100:
                raise ValueError("percentile needs 0 <= low < high <= 100")
        if self.clip is not None:
            least, most = self.clip
            if least is None and most is None:
                raise ValueError("clip needs a number")
            if least is not None and most is not None and not least < most:
                raise ValueError("clip needs its first number below its second")
        if (self.per_channel or self.eps) and not (self.per_image or self.percentile):
            raise ValueError("per_channel and eps go with percentile or per_image")
        if sum(1 for _ in self.steps) > _MOST_STEPS:
            raise ValueError(f"there are more than {_MOST_STEPS} normalisations after each other")
        return self

    @property
    def steps(self) -> Iterator[Normalization]:
        """The normalisation itself, and those that follow it."""
        step: Normalization | None = self
        while step is not None:
            yield step
            step = step.then

    @property
    def changes_nothing(self) -> bool:
        """Whether values are left as they are, what follows aside."""
        return self.model_copy(update={"then": None}) == Normalization()


_Pixels = Annotated[int, Field(le=_MOST_PIXELS)]
_Step = _Pixels | Annotated[tuple[_Pixels, ...], Field(min_length=1, max_length=3)]


class SizeRule(StrictModel):
    """Sizes that a network takes: ``min``, ``min + step``, ``min + 2 step``, ...

    Both are one number for all spatial axes, or one an axis; a step of 0 leaves ``min`` alone.
    """

    min: _Step = 1
    step: _Step = 1

    @model_validator(mode="after")
    def _positive(self) -> SizeRule:
        if any(least < 1 for least, _ in self.each(1)):
            raise ValueError("min must be at least 1")
        if any(step < 0 for _, step in self.each(1)):
            raise ValueError("step must be at least 0")
        return self

    def each(self, axes: int) -> list[tuple[int, int]]:
        """Return the least size and the step of each axis."""
        least, step = (
            value if isinstance(value, tuple) else (value,) * axes
            for value in (self.min, self.step)
        )
        return list(zip_longest(least, step, fillvalue=1))

    def smallest_at_least(self, size: int, axis: int = 0) -> int:
        """Return the smallest valid size of an axis that is not below `size`."""
        least, step = self.each(axis + 1)[axis]
        # Where the step is 0, there is no larger one.
        return least + max(0, -(-(size - least) // step)) * step if step else least

    def smallest_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the smallest valid shape that is nowhere below `shape`, where steps allow."""
        return tuple(self.smallest_at_least(size, axis) for axis, size in enumerate(shape))


def _way_of_size(size: Any) -> str:
    return "[rule]" if isinstance(size, dict | SizeRule) else "[fixed]"


# Errors are then of the way that was meant, not of the first that was tried.
_Size = Annotated[
    Annotated[tuple[_Side, ...], Field(max_length=3), Tag("[fixed]")]
    | Annotated[SizeRule, Tag("[rule]")],
    Discriminator(_way_of_size),
]


class InputSpec(StrictModel):
    """What the network takes.

    Attributes
    ----------
    axes
        The order of the network's input axes: b(atch), c(hannel) and the spatial z, y, x.
    size
        A fixed size, one number a spatial axis; a rule ``{min, step}``, of one number each or one
        a spatial axis; or None: any size.
    channels
        How many channels the network takes; None: as many as its first layer says.
    order
        What the channels are: rgb, bgr, gray, or n for any others.
    resize
        How an image of another size is brought to a valid one: ``stretch`` ignores its aspect;
        ``fit`` keeps it and pads; ``crop`` keeps it and cuts the centre; ``pad`` keeps every
        pixel as it is and pads (on the right and below); ``tile`` does so too, and runs a fully
        convolutional segmenter tile by tile where the image is larger than a tile: than the fixed
        size, or 1024 pixels (128 of a volume).
    shorter_side
        With ``resize: crop``: the shorter side of the image is brought to this many pixels, before
        the size is cut out of the centre; None: the image is made as small as the size allows.
    interpolation
        How pixels are found between others: ``bilinear``, ``bicubic``, ``nearest`` or, as Pillow has
        it, ``lanczos``. What bicubic and lanczos overshoot of 0..1 is cut off, as in pictures.
    antialias
        Whether an image that is made smaller is smoothed first, as Pillow does and OpenCV doesn't.
    padding
        What ``pad`` and ``fit`` add: ``replicate`` continues the border, ``reflect`` mirrors the
        image at it, ``zero`` gives the network zeros, ``black`` gives it what black pixels become.
    padding_place
        Where that is added: at the ``end`` (on the right and below), or around the ``centre``.
    halo
        How many pixels on each side of a tile are thrown away; None: as many as the layers see
        beyond it, so that the result is that of the whole image.
    value_range
        Which values become 0 and 1: ``auto`` (the whole range of whole-number types; floats as
        they are, or their own minimum to maximum where they leave 0..1), ``data`` (minimum to
        maximum of each image), or (low, high).
    normalization
        What is then done with values of the 0..1 range.
    """

    axes: Letters = "bcyx"
    size: _Size | None = None
    channels: int | None = Field(default=None, ge=1, le=_MOST_CHANNELS)
    order: Order | None = None
    resize: Resize = "stretch"
    shorter_side: int | None = Field(default=None, ge=1, le=_MOST_SHORTER_SIDE)
    interpolation: Literal["bilinear", "bicubic", "nearest", "lanczos"] = "bilinear"
    antialias: bool = True
    padding: Literal["replicate", "reflect", "zero", "black"] = "replicate"
    padding_place: Literal["end", "centre"] = "end"
    halo: int | None = Field(default=None, ge=0, le=_MOST_PIXELS)
    value_range: Literal["auto", "data"] | tuple[float, float] = "auto"
    normalization: Normalization = Normalization()

    @field_validator("axes")
    @classmethod
    def _known_axes(cls, axes: str) -> str:
        if len(set(axes)) != len(axes) or not set(axes) <= set("bczyx") or "x" not in axes:
            raise ValueError(f"“{axes}” must use each of b, c, z, y, x at most once, and x")
        return axes

    @field_validator("size", mode="before")
    @classmethod
    def _positive(cls, size: Any) -> Any:
        if isinstance(size, list | tuple) and any(isinstance(n, int) and n < 1 for n in size):
            raise ValueError("sizes must be at least 1")
        return size

    @field_validator("value_range")
    @classmethod
    def _rising(cls, value_range: Any) -> Any:
        if isinstance(value_range, tuple) and not value_range[0] < value_range[1]:
            raise ValueError("value_range needs its first number below its second")
        return value_range

    @model_validator(mode="after")
    def _size_fits_axes(self) -> InputSpec:
        if isinstance(self.size, tuple) and len(self.size) != len(self.space):
            raise ValueError(
                f"size has {len(self.size)} numbers, but axes “{self.axes}” have "
                f"{len(self.space)} spatial ones"
            )
        if isinstance(self.size, SizeRule):
            for name, value in (("min", self.size.min), ("step", self.size.step)):
                if isinstance(value, tuple) and len(value) != len(self.space):
                    raise ValueError(
                        f"size.{name} has {len(value)} numbers, but axes “{self.axes}” have "
                        f"{len(self.space)} spatial ones"
                    )
        return self

    @model_validator(mode="after")
    def _ways_of_resizing_fit(self) -> InputSpec:
        if self.shorter_side is not None and not (
            self.resize == "crop"
            and isinstance(self.size, tuple)
            and max(self.size) <= self.shorter_side
        ):
            raise ValueError("shorter_side goes with resize: crop and a fixed size within it")
        if self.interpolation in ("bicubic", "lanczos") and len(self.space) != len("yx"):
            raise ValueError(f"{self.interpolation} is for images over y and x alone")
        if self.interpolation == "lanczos" and not self.antialias:
            raise ValueError("lanczos always smooths first, so antialias can't be off")
        if (self.padding, self.padding_place) != ("replicate", "end") and self.resize == "tile":
            raise ValueError("padding and padding_place go with resize: pad or fit, not with tile")
        return self

    @property
    def space(self) -> str:
        """The spatial axes, in the network's order."""
        return "".join(axis for axis in self.axes if axis in "zyx")
