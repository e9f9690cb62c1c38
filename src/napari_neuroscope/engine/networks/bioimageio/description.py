"""What a bioimage.io description says of a model: the fields that matter here, of 0.4 and 0.5."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from napari_neuroscope.engine.files import limits

_LETTERS = {"batch": "b", "channel": "c", "time": "t", "index": "i"}
AXIS_TYPES = {letter: kind for kind, letter in _LETTERS.items()}


class DescriptionNode(BaseModel):
    """A mapping of a description; what is not read here is left out."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_nothing(cls, value: Any) -> Any:
        # What is said to be null is left out.
        if isinstance(value, dict):
            return {key: inner for key, inner in value.items() if inner is not None}
        return value


def _several(value: Any) -> Any:
    # YAML reads 1e-3 as a text.
    return (value,) if isinstance(value, int | float | str) else value


# Far more than the channels of any image, and the axes and tensors of any network.
_Numbers = Annotated[
    tuple[float, ...], Field(min_length=1, max_length=1 << 16), BeforeValidator(_several)
]
Name = Annotated[str, Field(max_length=limits.MOST_LETTERS)]
Names = Annotated[tuple[Name, ...], Field(max_length=limits.MOST_CLASSES)]
FEW = 100


def _as_file(value: Any) -> Any:
    if isinstance(value, str):
        return {"source": value}
    if isinstance(value, dict) and isinstance(value.get("source"), dict):
        return value["source"]
    return value


class File(DescriptionNode):
    """A file of the package."""

    source: Name
    sha256: Name | None = None


FileSource = Annotated[File, BeforeValidator(_as_file)]


# No image that fits into memory is longer.
_LARGEST = 1 << 24
_Size = Annotated[int, Field(ge=1, le=_LARGEST)]


class Sizes(DescriptionNode):
    """The sizes ``min``, ``min + step``, ..."""

    min: _Size
    step: int = Field(ge=0, le=_LARGEST)


class SizeReference(DescriptionNode):
    """As large as another axis."""

    tensor_id: Name
    axis_id: Name
    offset: int = Field(default=0, ge=-_LARGEST, le=_LARGEST)


class Axis(DescriptionNode):
    """An axis of a tensor, as 0.5 describes it."""

    type: Literal["batch", "channel", "time", "index", "space"]
    id: Name = ""
    size: _Size | Sizes | SizeReference | None = None
    channel_names: Names | Name | None = None
    scale: float = Field(default=1.0, ge=0, le=_LARGEST)
    unit: Name | None = None
    halo: int = Field(default=0, ge=0, le=_LARGEST)

    @property
    def letter(self) -> str:
        """One of b, c, t, i, and z, y, x; the id of a spatial axis that is none of them."""
        return _LETTERS.get(self.type) or self.name

    @property
    def name(self) -> str:
        """What the rest of the description calls it."""
        return self.id or ("x" if self.type == "space" else self.type)


class Arguments(DescriptionNode):
    """The arguments of all steps of processing together."""

    mode: Name | None = None
    axes: Names | Name | None = None
    axis: Name | None = None
    gain: _Numbers = (1.0,)
    offset: _Numbers = (0.0,)
    mean: _Numbers | None = None
    std: _Numbers | None = None
    threshold: _Numbers | None = None
    eps: float = Field(default=1e-6, ge=0)
    min_percentile: float = 0.0
    max_percentile: float = 100.0
    min: float | None = None
    max: float | None = None
    reference_tensor: Name | None = None
    dtype: Name = "float32"


class Step(DescriptionNode):
    """A step of what is done with a tensor before or after the network."""

    id: Name = Field(validation_alias=AliasChoices("id", "name"))
    kwargs: Arguments = Arguments()


Steps = Annotated[tuple[Step, ...], Field(max_length=FEW)]


def _limits_of_values(value: Any) -> Any:
    """Return the least and the greatest value where both are said; else None."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    try:
        low, high = (float(end) for end in value)
    except (TypeError, ValueError, OverflowError):
        return None
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


Range = Annotated[tuple[float, float] | None, BeforeValidator(_limits_of_values)]


class _Data(DescriptionNode):
    type: Name | None = None
    range: Range = None


class Tensor(DescriptionNode):
    """An input or output, as 0.5 describes it."""

    id: Name
    axes: tuple[Axis, ...] = Field(min_length=1, max_length=FEW)
    data: _Data | Annotated[tuple[_Data, ...], Field(max_length=limits.MOST_CLASSES)] = _Data()
    preprocessing: Steps = ()
    postprocessing: Steps = ()
    test_tensor: FileSource | None = None

    @property
    def letters(self) -> str:
        """Its axes, in order, a letter each."""
        return "".join(axis.letter[:1] or "?" for axis in self.axes)

    @property
    def type(self) -> str | None:
        """The type of its values."""
        first = self.data if isinstance(self.data, _Data) else next(iter(self.data), _Data())
        return first.type

    @property
    def range(self) -> tuple[float, float] | None:
        """The least and the greatest value of all channels; None where they aren't said."""
        channels = (self.data,) if isinstance(self.data, _Data) else self.data
        ranges = [channel.range for channel in channels if channel.range is not None]
        if not ranges or len(ranges) < len(channels):
            return None
        return min(low for low, _ in ranges), max(high for _, high in ranges)

    def axis(self, letter: str) -> Axis | None:
        """Return the axis of a letter."""
        return next((axis for axis in self.axes if axis.letter == letter), None)

    def letters_of(self, names: tuple[str, ...] | str | None) -> set[str] | None:
        """Return the letters of axes given by id (0.5) or by letter (0.4); None: of all."""
        if names is None:
            return None
        by_id = {axis.name: axis.letter for axis in self.axes} | _LETTERS
        return {by_id.get(name, name) for name in names}


class Architecture(DescriptionNode):
    """What builds a PyTorch network that its state dict goes into."""

    callable: Name
    source: Name | None = None
    sha256: Name | None = None
    import_from: Name | None = None
    kwargs: dict[str, Any] = {}


class Weights(DescriptionNode):
    """The weights in one format."""

    source: Name
    sha256: Name | None = None
    architecture: Architecture | Name | None = None
    architecture_sha256: Name | None = None
    kwargs: dict[str, Any] = {}
    external_data: FileSource | None = None

    def builder(self) -> Architecture | None:
        """Return what builds the network, as 0.5 says it."""
        if not isinstance(self.architecture, str):
            return self.architecture
        source, colon, name = self.architecture.rpartition(":")
        if colon:
            return Architecture(
                callable=name, source=source, sha256=self.architecture_sha256, kwargs=self.kwargs
            )
        module, _, name = self.architecture.rpartition(".")
        return Architecture(callable=name, import_from=module, kwargs=self.kwargs)


class Tolerance(DescriptionNode):
    """How far an output may be from the published one."""

    relative_tolerance: float = 1e-3
    absolute_tolerance: float = 1e-4
    mismatched_elements_per_million: float = 100
    output_ids: Names = ()
    weights_formats: Names = ()


class _BioimageioConfig(DescriptionNode):
    reproducibility_tolerance: tuple[Tolerance, ...] = ()


class Config(DescriptionNode):
    """What programs say in a description for themselves."""

    bioimageio: _BioimageioConfig = _BioimageioConfig()


class Description(DescriptionNode):
    """A model of format 0.5."""

    name: Name
    tags: Names = ()
    inputs: tuple[Tensor, ...] = Field(min_length=1, max_length=FEW)
    outputs: tuple[Tensor, ...] = Field(min_length=1, max_length=FEW)
    weights: dict[Name, Weights | None] = Field(max_length=FEW)
    config: Config = Config()

    def sources(self) -> Iterator[str]:
        """Yield the files that networks are made of."""
        for entry in self.weights.values():
            if entry is not None:
                yield entry.source
                builder = entry.builder()
                if builder is not None and builder.source:
                    yield builder.source

    def tolerance(self, output: str, weights: str) -> Tolerance:
        """Return the first tolerance that is meant for an output and a format of weights."""
        fitting = (
            stated
            for stated in self.config.bioimageio.reproducibility_tolerance
            if output in (stated.output_ids or (output,))
            and weights in (stated.weights_formats or (weights,))
        )
        return next(fitting, Tolerance())
