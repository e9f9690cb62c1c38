"""ModelSpec: what a network expects of an image, and what its outputs mean."""

from __future__ import annotations

import operator
import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    JsonValue,
    PlainSerializer,
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
from napari_neuroscope.engine.spec.input_spec import InputSpec
from napari_neuroscope.engine.spec.palette import spread_colour
from napari_neuroscope.engine.spec.strict_model import Letters, StrictModel

Task = Literal["classification", "segmentation"]
Byte = Annotated[int, Field(ge=0, le=255)]
Colour = Annotated[tuple[Byte, Byte, Byte], Field(description="red, green, blue of 0..255")]
_MOST_NUMBER = 1 << 63


class OutputSpec(StrictModel):
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


class ClassSpec(StrictModel):
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


class ModelSpec(StrictModel):
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
    image_axes: Letters | None = None
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
        """Return a class's colour: its own, or one that is told apart from the others."""
        stated = self.classes[index].colour if index < len(self.classes) else None
        return stated or spread_colour(index)

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
