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
    ValidationError,
    model_validator,
)

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.told import reason_of
from napari_neuroscope.engine.files.validation import first_mistake

_LETTERS = {"batch": "b", "channel": "c", "time": "t", "index": "i"}
_TYPES = {letter: kind for kind, letter in _LETTERS.items()}


class _Node(BaseModel):
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
_Name = Annotated[str, Field(max_length=limits.MOST_LETTERS)]
_Names = Annotated[tuple[_Name, ...], Field(max_length=limits.MOST_CLASSES)]
_FEW = 100


def _as_file(value: Any) -> Any:
    if isinstance(value, str):
        return {"source": value}
    if isinstance(value, dict) and isinstance(value.get("source"), dict):
        return value["source"]
    return value


class File(_Node):
    """A file of the package."""

    source: _Name
    sha256: _Name | None = None


_File = Annotated[File, BeforeValidator(_as_file)]


# No image that fits into memory is longer.
_LARGEST = 1 << 24
_Size = Annotated[int, Field(ge=1, le=_LARGEST)]


class Sizes(_Node):
    """The sizes ``min``, ``min + step``, ..."""

    min: _Size
    step: int = Field(ge=0, le=_LARGEST)


class SizeReference(_Node):
    """As large as another axis."""

    tensor_id: _Name
    axis_id: _Name
    offset: int = Field(default=0, ge=-_LARGEST, le=_LARGEST)


class Axis(_Node):
    """An axis of a tensor, as 0.5 describes it."""

    type: Literal["batch", "channel", "time", "index", "space"]
    id: _Name = ""
    size: _Size | Sizes | SizeReference | None = None
    channel_names: _Names | _Name | None = None
    scale: float = Field(default=1.0, ge=0, le=_LARGEST)
    unit: _Name | None = None
    halo: int = Field(default=0, ge=0, le=_LARGEST)

    @property
    def letter(self) -> str:
        """One of b, c, t, i, and z, y, x; the id of a spatial axis that is none of them."""
        return _LETTERS.get(self.type) or self.name

    @property
    def name(self) -> str:
        """What the rest of the description calls it."""
        return self.id or ("x" if self.type == "space" else self.type)


class Arguments(_Node):
    """The arguments of all steps of processing together."""

    mode: _Name | None = None
    axes: _Names | _Name | None = None
    axis: _Name | None = None
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
    reference_tensor: _Name | None = None
    dtype: _Name = "float32"


class Step(_Node):
    """A step of what is done with a tensor before or after the network."""

    id: _Name = Field(validation_alias=AliasChoices("id", "name"))
    kwargs: Arguments = Arguments()


_Steps = Annotated[tuple[Step, ...], Field(max_length=_FEW)]


def _limits_of_values(value: Any) -> Any:
    """Return the least and the greatest value where both are said; else None."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    try:
        low, high = (float(end) for end in value)
    except (TypeError, ValueError, OverflowError):
        return None
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


_Range = Annotated[tuple[float, float] | None, BeforeValidator(_limits_of_values)]


class _Data(_Node):
    type: _Name | None = None
    range: _Range = None


class Tensor(_Node):
    """An input or output, as 0.5 describes it."""

    id: _Name
    axes: tuple[Axis, ...] = Field(min_length=1, max_length=_FEW)
    data: _Data | Annotated[tuple[_Data, ...], Field(max_length=limits.MOST_CLASSES)] = _Data()
    preprocessing: _Steps = ()
    postprocessing: _Steps = ()
    test_tensor: _File | None = None

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
        ranges = [data.range for data in channels if data.range is not None]
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


class Architecture(_Node):
    """What builds a PyTorch network that its state dict goes into."""

    callable: _Name
    source: _Name | None = None
    sha256: _Name | None = None
    import_from: _Name | None = None
    kwargs: dict[str, Any] = {}


class Weights(_Node):
    """The weights in one format."""

    source: _Name
    sha256: _Name | None = None
    architecture: Architecture | _Name | None = None
    architecture_sha256: _Name | None = None
    kwargs: dict[str, Any] = {}
    external_data: _File | None = None

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


class Tolerance(_Node):
    """How far an output may be from the published one."""

    relative_tolerance: float = 1e-3
    absolute_tolerance: float = 1e-4
    mismatched_elements_per_million: float = 100
    output_ids: _Names = ()
    weights_formats: _Names = ()


class _BioimageioConfig(_Node):
    reproducibility_tolerance: tuple[Tolerance, ...] = ()


class _Config(_Node):
    bioimageio: _BioimageioConfig = _BioimageioConfig()


class Description(_Node):
    """A model of format 0.5."""

    name: _Name
    tags: _Names = ()
    inputs: tuple[Tensor, ...] = Field(min_length=1, max_length=_FEW)
    outputs: tuple[Tensor, ...] = Field(min_length=1, max_length=_FEW)
    weights: dict[_Name, Weights | None] = Field(max_length=_FEW)
    config: _Config = _Config()

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


# --- format 0.4 ---

_OldAxes = Annotated[str, Field(pattern="^[bitczyx]+$", max_length=_FEW)]
_OldSizes = Annotated[tuple[int, ...], Field(max_length=_FEW)]


class _OldRule(_Node):
    min: _OldSizes
    step: _OldSizes


class _OldReference(_Node):
    reference_tensor: _Name
    scale: Annotated[tuple[float | None, ...], Field(max_length=_FEW)]
    offset: Annotated[tuple[float, ...], Field(max_length=_FEW)]


class _OldTensor(_Node):
    name: _Name
    axes: _OldAxes
    shape: _OldSizes | _OldRule | _OldReference
    data_type: _Name | None = None
    data_range: _Range = None
    halo: _OldSizes = ()
    preprocessing: _Steps = ()
    postprocessing: _Steps = ()

    def renewed(self, test: File | None) -> dict[str, Any]:
        axes = []
        for index, letter in enumerate(self.axes):
            kind = _TYPES.get(letter, "space")
            axis: dict[str, Any] = {"type": kind, "id": letter if kind == "space" else kind}
            if kind != "batch":
                axis["size"] = self._size(index, letter)
            if kind == "space" and self.halo:
                axis["halo"] = self.halo[index]
            if kind == "space" and isinstance(self.shape, _OldReference):
                axis["scale"] = 1 / (self.shape.scale[index] or 1.0)
            axes.append(axis)
        return {
            "id": self.name,
            "axes": axes,
            "data": {"type": self.data_type, "range": self.data_range},
            "preprocessing": self.preprocessing,
            "postprocessing": self.postprocessing,
            "test_tensor": test,
        }

    def _size(self, index: int, letter: str) -> Any:
        if isinstance(self.shape, _OldReference):
            if not self.shape.scale[index]:
                return max(1, int(2 * self.shape.offset[index]))
            return {
                "tensor_id": self.shape.reference_tensor,
                "axis_id": letter,
                "offset": round(2 * self.shape.offset[index]),
            }
        if isinstance(self.shape, _OldRule):
            step = self.shape.step[index]
            return {"min": self.shape.min[index], "step": step} if step else self.shape.min[index]
        return self.shape[index]


class _OldDescription(_Node):
    name: _Name
    tags: _Names = ()
    inputs: tuple[_OldTensor, ...] = Field(min_length=1, max_length=_FEW)
    outputs: tuple[_OldTensor, ...] = Field(min_length=1, max_length=_FEW)
    weights: dict[_Name, Weights | None] = Field(max_length=_FEW)
    test_inputs: tuple[_File, ...] = Field(default=(), max_length=_FEW)
    test_outputs: tuple[_File, ...] = Field(default=(), max_length=_FEW)
    config: _Config = _Config()

    def renewed(self) -> dict[str, Any]:
        def together(tensors: tuple[_OldTensor, ...], tests: tuple[File, ...]) -> list[Any]:
            spare = (*tests, *[None] * len(tensors))
            return [t.renewed(test) for t, test in zip(tensors, spare, strict=False)]

        return {
            "name": self.name,
            "tags": self.tags,
            "inputs": together(self.inputs, self.test_inputs),
            "outputs": together(self.outputs, self.test_outputs),
            "weights": self.weights,
            "config": self.config,
        }


def read(raw: Any, where: str) -> Description:
    """Read a description of format 0.4 or 0.5.

    Parameters
    ----------
    raw
        The plain data of the YAML.
    where
        What is read, as the beginning of a sentence.

    Raises
    ------
    NeuroscopeError
        Where it is no description of a model, of another format, or lacks something.
    """
    if not isinstance(raw, dict):
        raise NeuroscopeError(f"{where} has no bioimage.io description: it is no mapping.")
    kind = raw.get("type", "model")
    if kind != "model":
        raise NeuroscopeError(f"{where} describes a {shortened(str(kind), 40)}, no model.")
    version = raw.get("format_version")
    if version is None:
        raise NeuroscopeError(f"{where} says no format_version; it is no bioimage.io model.")
    series = ".".join(str(version).split(".")[:2])
    if series not in ("0.4", "0.5"):
        raise NeuroscopeError(
            f"{where} is of format {shortened(str(version), 20)}, and 0.4 and 0.5 are read here; "
            f"convert it with the package bioimageio.spec."
        )
    try:
        if series == "0.4":
            raw = _OldDescription.model_validate(raw).renewed()
        return Description.model_validate(raw)
    except ValidationError as error:
        place, message = first_mistake(error)
        raise NeuroscopeError(f"{where} is wrong at “{place}”: {message}.") from error
    except IndexError as error:
        raise NeuroscopeError(
            f"{where} is wrong: a tensor's shape has fewer numbers than axes."
        ) from error
    except Exception as error:
        raise NeuroscopeError(f"{where} is wrong: {reason_of(error)}.") from error
