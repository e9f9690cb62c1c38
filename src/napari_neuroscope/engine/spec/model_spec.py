"""ModelSpec: what a network expects of an image, and what its outputs mean."""

from __future__ import annotations

import colorsys
import operator
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    PlainSerializer,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from napari_neuroscope.engine.errors import NeuroscopeError, nearest_names, shortened
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.atomic_write import write_whole
from napari_neuroscope.engine.files.reading.bounded_file import read_text
from napari_neuroscope.engine.files.reading.plain_data import (
    PlainDataError,
    parse_yaml,
    refuse_large,
    yaml_of,
)
from napari_neuroscope.engine.files.told import reason_of
from napari_neuroscope.engine.files.validation import first_mistake

Task = Literal["classification", "segmentation"]
Resize = Literal["stretch", "fit", "crop", "pad", "tile"]
Order = Literal["rgb", "bgr", "gray", "n"]
Byte = Annotated[int, Field(ge=0, le=255)]
Colour = Annotated[tuple[Byte, Byte, Byte], Field(description="red, green, blue of 0..255")]

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
_MOST_NUMBER = 1 << 63
# An image is made this large before it is cut.
_MOST_SHORTER_SIDE = 1 << 13

_Side = Annotated[int, Field(ge=1, le=_MOST_PIXELS)]
_Numbers = Annotated[tuple[float, ...], Field(min_length=1, max_length=_MOST_CHANNELS)]
_Letters = Annotated[str, Field(max_length=20)]


class _Strict(BaseModel):
    # Infinite numbers and NaN are no measure of anything, and can't be written in every file.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Normalization(_Strict):
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


class SizeRule(_Strict):
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


class InputSpec(_Strict):
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

    axes: _Letters = "bcyx"
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


class OutputSpec(_Strict):
    """What the network answers.

    Attributes
    ----------
    index
        Which of several outputs: a key or a number; None: the one whose name and shape fit the task
        and the classes best.
    axes
        The order of the output's axes; None: batch, channel, then the input's spatial ones. Spatial
        axes in brackets are in one row: ``b(yx)c`` is an output (batch, positions, channel).
    crop
        How many pixels of the input the output leaves out on each side, as behind unpadded
        convolutions: one number, or one a spatial axis; below zero where it has more. None finds it
        out.
    activation
        What the network ends in. None finds it out. A network that ends in softmax or sigmoid is
        cut before it, so that logits are explained.
    multi_label
        Classes are independent: probabilities are a sigmoid of each score, not a softmax.
    """

    index: str | int | None = None
    axes: str | None = None
    crop: float | Annotated[tuple[float, ...], Field(min_length=1, max_length=3)] | None = None
    activation: Literal["none", "softmax", "sigmoid"] | None = None
    multi_label: bool = False

    @field_validator("axes")
    @classmethod
    def _balanced(cls, axes: str | None) -> str | None:
        if axes is not None and "".join(_parts_of_axes(axes)) != axes:
            raise ValueError(
                f"“{axes}” must be letters of b, c, z, y and x, with brackets around those that are "
                f"in one row, as in b(yx)c"
            )
        return axes

    @property
    def order(self) -> tuple[str, ...] | None:
        """What each of the output's axes holds, such as ("b", "c", "y", "x") or ("b", "yx", "c")."""
        if self.axes is None:
            return None
        return tuple(part.strip("()") for part in _parts_of_axes(self.axes))

    def axis_of(self, letter: str, default: int) -> int:
        """Return at which of the output's axes a letter is; `default` where that is not stated."""
        order = self.order
        return order.index(letter) if order is not None and letter in order else default


def _parts_of_axes(axes: str) -> list[str]:
    return re.findall(r"\([zyx]+\)|[a-z]", axes)


class ClassSpec(_Strict):
    """A class: its name, and the colour of its label."""

    name: Annotated[str, Field(max_length=limits.MOST_LETTERS)]
    colour: Colour | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        if isinstance(value, dict) and "color" in value:
            value = {"colour" if key == "color" else key: v for key, v in value.items()}
        if isinstance(value, bool):
            # YAML reads a bare yes, no, on or off so.
            raise ValueError(f"a class's name was read as {value}; put it in quotes")
        if isinstance(value, int) and abs(value) >= _MOST_NUMBER:
            raise ValueError("a class's name is a number of very many digits")
        return {"name": str(value)} if isinstance(value, str | int) else value


def _from_file(value: Any) -> Any:
    if isinstance(value, list | tuple) and len(value) > limits.MOST_CLASSES:
        raise ValueError(
            f"it names {len(value):,} classes, and {limits.MOST_CLASSES:,} are the most"
        )
    return tuple(value) if isinstance(value, list) else value


class ModelSpec(_Strict):
    """What a model expects and what its outputs mean; saved as YAML beside the model.

    Attributes
    ----------
    task
        ``classification`` or ``segmentation`` (semantic).
    image_axes
        The axes of the images given, such as "yx", "yxc" or "zyx", the last where they are stacks;
        None finds them out. Names that an image's own axes have say more.
    input, output
        See `InputSpec` and `OutputSpec`.
    classes
        Names, or names with colours, in the order of the network's outputs. A segmenter with one
        sigmoid channel has two: background and foreground.
    ignore_label
        The value in ground truth that counts as no class.
    pixel_size
        The edge lengths of a pixel on which the network was trained, in micrometres: one for all
        of its spatial axes, or one an axis.
    factory, arguments
        What builds the network where its file holds weights alone, as ``package.module:function``,
        or as ``./script.py:function`` beside it; and the keyword arguments of that.
    """

    task: Task = "classification"
    image_axes: _Letters | None = None
    input: InputSpec = InputSpec()
    output: OutputSpec = OutputSpec()
    classes: Annotated[
        tuple[ClassSpec, ...],
        BeforeValidator(_from_file),
        PlainSerializer(lambda classes: [c.model_dump(exclude_none=True) for c in classes]),
    ] = ()
    ignore_label: int | None = Field(default=None, ge=-_MOST_NUMBER, lt=_MOST_NUMBER)
    pixel_size: Annotated[tuple[float, ...], Field(max_length=3)] | None = None
    factory: Annotated[str, Field(max_length=limits.MOST_LETTERS)] | None = None
    arguments: dict[str, JsonValue] | None = None

    def __hash__(self) -> int:
        # Arguments are plain data, of which lists and mappings have no hash.
        return hash(
            tuple(getattr(self, name) for name in type(self).model_fields if name != "arguments")
        )

    @model_validator(mode="after")
    def _distinct_classes(self) -> ModelSpec:
        (name, times), *_ = Counter(self.class_names).most_common(1) or [("", 0)]
        if times > 1:
            raise ValueError(f"two classes are named “{shortened(name)}”")
        return self

    @model_validator(mode="after")
    def _pixel_size_fits_axes(self) -> ModelSpec:
        sizes = self.pixel_size
        if sizes is None:
            return self
        if any(size <= 0 for size in sizes):
            raise ValueError("pixel_size needs numbers above zero")
        if len(sizes) not in (1, len(self.input.space)):
            raise ValueError(
                f"pixel_size has {len(sizes)} numbers, but axes “{self.input.axes}” have "
                f"{len(self.input.space)} spatial ones"
            )
        return self

    @model_validator(mode="after")
    def _crop_fits_axes(self) -> ModelSpec:
        crop = self.output.crop
        if isinstance(crop, tuple) and len(crop) != len(self.input.space):
            raise ValueError(
                f"output.crop has {len(crop)} numbers, but axes “{self.input.axes}” have "
                f"{len(self.input.space)} spatial ones"
            )
        return self

    @property
    def steps(self) -> tuple[float, ...]:
        """How far apart the network's pixels are along each spatial axis, the closest at 1."""
        axes = len(self.input.space)
        sizes = self.pixel_size or (1.0,)
        sizes = sizes * axes if len(sizes) == 1 else sizes
        return tuple(size / min(sizes) for size in sizes)

    def with_input(self, **changes: Any) -> ModelSpec:
        """Return a copy of which fields of ``input`` are others, unchecked."""
        return self.model_copy(update={"input": self.input.model_copy(update=changes)})

    def with_output(self, **changes: Any) -> ModelSpec:
        """Return a copy of which fields of ``output`` are others, unchecked."""
        return self.model_copy(update={"output": self.output.model_copy(update=changes)})

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, in the order of the network's outputs."""
        return [c.name for c in self.classes]

    def colour(self, index: int) -> tuple[int, int, int]:
        """Return a class's colour: its own, or one as far from its neighbours' as may be."""
        own = self.classes[index].colour if index < len(self.classes) else None
        return own or _spread_colour(index)

    def class_index(self, which: str | int, count: int) -> int:
        """Return the index of a class given by name or index, of `count` classes.

        Raises
        ------
        NeuroscopeError
            Where there is no such class; it names the nearest.
        """
        names = self.class_names
        if isinstance(which, str):
            if which in names:
                return names.index(which)
            folded = [name.casefold() for name in names]
            if folded.count(which.casefold()) == 1:
                return folded.index(which.casefold())
            if not which.lstrip("-").isdigit():
                hint = (
                    nearest_names(which, names)
                    if names
                    else f"its classes have no names: give an index of 0..{count - 1}."
                )
                raise NeuroscopeError(f"The network has no class “{which:.60}”; {hint}")
            which = int(which)
        try:
            index = -1 if isinstance(which, bool) else operator.index(which)
        except TypeError:
            index = -1
        if not 0 <= index < count:
            raise NeuroscopeError(
                f"The network has {count} classes, 0..{count - 1}, but class {which} was asked for."
            )
        return index

    def class_name(self, index: int) -> str:
        """Return the name of a class, or its number where it has none."""
        return self.classes[index].name if index < len(self.classes) else str(index)

    @classmethod
    def load(cls, path: str | Path) -> ModelSpec:
        """Read a spec from a YAML file.

        Raises
        ------
        NeuroscopeError
            Where the file is missing or says something that a spec doesn't know.
        """
        path = Path(path)
        text = read_text(path, limits.MOST_TEXT)
        try:
            raw = parse_yaml(text)
        except PlainDataError as error:
            raise NeuroscopeError(f"The spec {path} can't be read: {error}.") from error
        return cls.parse(raw, where=f"The spec {path}")

    @classmethod
    def parse(cls, raw: Any, *, where: str = "The spec") -> ModelSpec:
        """Validate plain data as a spec, with errors as one sentence.

        Raises
        ------
        NeuroscopeError
            Where it is no spec; it begins with `where`.
        """
        try:
            refuse_large(raw)
            return cls.model_validate(raw)
        except ValidationError as error:
            place, said = first_mistake(error)
            raise NeuroscopeError(f"{where} is wrong at “{place}”: {said}.") from error
        except Exception as error:
            raise NeuroscopeError(f"{where} is wrong: {reason_of(error)}.") from error

    def to_yaml(self) -> str:
        """Return the spec as YAML, without what was never said or found out."""
        plain = self.model_dump(mode="json", exclude_unset=True)
        return yaml_of({"task": self.task, **plain})

    def save(self, path: str | Path) -> None:
        """Write the spec as YAML, without what was never said or found out; whole or not at all."""
        write_whole(Path(path), lambda part: part.write_text(self.to_yaml(), "utf-8"))


@cache
def _spread_colour(index: int) -> tuple[int, int, int]:
    # Steps of the golden angle keep the hues of any number of classes apart.
    red, green, blue = colorsys.hsv_to_rgb((0.08 + index * 0.618034) % 1, 0.75, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)
