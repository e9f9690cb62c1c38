"""The description of format 0.4, which is brought to that of 0.5."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from napari_neuroscope.engine.networks.bioimageio.description import (
    AXIS_TYPES,
    FEW,
    Config,
    DescriptionNode,
    File,
    FileSource,
    Name,
    Names,
    Range,
    Steps,
    Weights,
)

_OldAxes = Annotated[str, Field(pattern="^[bitczyx]+$", max_length=FEW)]
_OldSizes = Annotated[tuple[int, ...], Field(max_length=FEW)]


class _OldRule(DescriptionNode):
    min: _OldSizes
    step: _OldSizes


class _OldReference(DescriptionNode):
    reference_tensor: Name
    scale: Annotated[tuple[float | None, ...], Field(max_length=FEW)]
    offset: Annotated[tuple[float, ...], Field(max_length=FEW)]


class _OldTensor(DescriptionNode):
    name: Name
    axes: _OldAxes
    shape: _OldSizes | _OldRule | _OldReference
    data_type: Name | None = None
    data_range: Range = None
    halo: _OldSizes = ()
    preprocessing: Steps = ()
    postprocessing: Steps = ()

    def renewed(self, test: File | None) -> dict[str, Any]:
        axes = []
        for index, letter in enumerate(self.axes):
            kind = AXIS_TYPES.get(letter, "space")
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


class OldDescription(DescriptionNode):
    """A description of format 0.4."""

    name: Name
    tags: Names = ()
    inputs: tuple[_OldTensor, ...] = Field(min_length=1, max_length=FEW)
    outputs: tuple[_OldTensor, ...] = Field(min_length=1, max_length=FEW)
    weights: dict[Name, Weights | None] = Field(max_length=FEW)
    test_inputs: tuple[FileSource, ...] = Field(default=(), max_length=FEW)
    test_outputs: tuple[FileSource, ...] = Field(default=(), max_length=FEW)
    config: Config = Config()

    def renewed(self) -> dict[str, Any]:
        """Return the same as a description of format 0.5 says it."""

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
