"""What a bioimage.io description says of a model: the fields that matter here, of 0.4 and 0.5."""

from __future__ import annotations

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


_Numbers = Annotated[tuple[float, ...], Field(min_length=1), BeforeValidator(_several)]


def _as_file(value: Any) -> Any:
    if isinstance(value, str):
        return {"source": value}
    if isinstance(value, dict) and isinstance(value.get("source"), dict):
        return value["source"]
    return value


class File(_Node):
    """A file of the package."""

    source: str
    sha256: str | None = None


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

    tensor_id: str
    axis_id: str
    offset: int = 0


class Axis(_Node):
    """An axis of a tensor, as 0.5 describes it."""

    type: Literal["batch", "channel", "time", "index", "space"]
    id: str = ""
    size: _Size | Sizes | SizeReference | None = None
    channel_names: tuple[str, ...] | str | None = None
    scale: float = 1.0
    unit: str | None = None
    halo: int = Field(default=0, ge=0)

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

    mode: str | None = None
    axes: tuple[str, ...] | str | None = None
    axis: str | None = None
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
    reference_tensor: str | None = None
    dtype: str = "float32"


class Step(_Node):
    """A step of what is done with a tensor before or after the network."""

    id: str = Field(validation_alias=AliasChoices("id", "name"))
    kwargs: Arguments = Arguments()


class _Data(_Node):
    type: str | None = None


class Tensor(_Node):
    """An input or output, as 0.5 describes it."""

    id: str
    axes: tuple[Axis, ...] = Field(min_length=1)
    data: _Data | tuple[_Data, ...] = _Data()
    preprocessing: tuple[Step, ...] = ()
    postprocessing: tuple[Step, ...] = ()
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

    callable: str
    source: str | None = None
    sha256: str | None = None
    import_from: str | None = None
    kwargs: dict[str, Any] = {}


class Weights(_Node):
    """The weights in one format."""

    source: str
    sha256: str | None = None
    architecture: Architecture | str | None = None
    architecture_sha256: str | None = None
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
    output_ids: tuple[str, ...] = ()
    weights_formats: tuple[str, ...] = ()


class _BioimageioConfig(_Node):
    reproducibility_tolerance: tuple[Tolerance, ...] = ()


class _Config(_Node):
    bioimageio: _BioimageioConfig = _BioimageioConfig()


class Description(_Node):
    """A model of format 0.5."""

    name: str
    tags: tuple[str, ...] = ()
    inputs: tuple[Tensor, ...] = Field(min_length=1)
    outputs: tuple[Tensor, ...] = Field(min_length=1)
    weights: dict[str, Weights | None]
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

_OldAxes = Annotated[str, Field(pattern="^[bitczyx]+$")]


class _OldRule(_Node):
    min: tuple[int, ...]
    step: tuple[int, ...]


class _OldReference(_Node):
    reference_tensor: str
    scale: tuple[float | None, ...]
    offset: tuple[float, ...]


class _OldTensor(_Node):
    name: str
    axes: _OldAxes
    shape: tuple[int, ...] | _OldRule | _OldReference
    data_type: str | None = None
    halo: tuple[int, ...] = ()
    preprocessing: tuple[Step, ...] = ()
    postprocessing: tuple[Step, ...] = ()

    def renewed(self, test: File | None) -> dict[str, Any]:
        axes = []
        for index, letter in enumerate(self.axes):
            kind = _TYPES.get(letter, "space")
            axis: dict[str, Any] = {"type": kind, "id": letter if kind == "space" else kind}
            if kind != "batch":
                axis["size"] = self._size(index, letter)
            if kind == "space" and self.halo:
                axis["halo"] = self.halo[index]
            axes.append(axis)
        return {
            "id": self.name,
            "axes": axes,
            "data": {"type": self.data_type},
            "preprocessing": self.preprocessing,
            "postprocessing": self.postprocessing,
            "test_tensor": test,
        }

    def _size(self, index: int, letter: str) -> Any:
        if isinstance(self.shape, _OldReference):
            if not self.shape.scale[index]:
                return max(1, int(2 * self.shape.offset[index]))
            return {"tensor_id": self.shape.reference_tensor, "axis_id": letter}
        if isinstance(self.shape, _OldRule):
            step = self.shape.step[index]
            return {"min": self.shape.min[index], "step": step} if step else self.shape.min[index]
        return self.shape[index]


class _OldDescription(_Node):
    name: str
    tags: tuple[str, ...] = ()
    inputs: tuple[_OldTensor, ...] = Field(min_length=1)
    outputs: tuple[_OldTensor, ...] = Field(min_length=1)
    weights: dict[str, Weights | None]
    test_inputs: tuple[_File, ...] = ()
    test_outputs: tuple[_File, ...] = ()
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
    except (ValidationError, IndexError) as error:
        if not isinstance(error, ValidationError):
            raise NeuroscopeError(
                f"{where} is wrong: a tensor's shape has fewer numbers than axes."
            ) from error
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if "[" not in str(part))
        message = shortened(first["msg"].removeprefix("Value error, "), 200)
        raise NeuroscopeError(f"{where} is wrong at “{shortened(place)}”: {message}.") from error
