"""ONNX's files: what is read, and that weights beside a file stay within its folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_neuroscope.engine.errors import NeuroscopeError, OutOfMemoryError, shortened
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.file_kind import Kind
from napari_neuroscope.engine.files.free_memory import free_memory
from napari_neuroscope.engine.files.reading.bounded_file import open_regular, read_bytes
from napari_neuroscope.engine.frameworks.onnx.files.weights import weight_beside

if TYPE_CHECKING:
    import onnx

KINDS: tuple[Kind, ...] = ("onnx",)
_CHUNK = 1 << 20
_MOST_CONTENT = (1 << 31) - 1
"""Bytes of a message that can be read: the format has no more."""
# A model lies in memory as its bytes, as what they say, and as the session's own copy.
_COPIES = 3


@dataclass(frozen=True, eq=False)
class OnnxFile:
    """A network as a file has it: its bytes, and the folder of the weights beside it.

    Attributes
    ----------
    content, folder
        Those.
    path
        The file; None for a model in memory.
    trusted
        Whether its passes are run as they are: a model in memory is its user's own.
    """

    content: bytes
    folder: Path | None = None
    path: Path | None = None
    trusted: bool = True

    @property
    def title(self) -> str:
        """What people call it."""
        return "the network" if self.path is None else f"“{shortened(self.path.name, 200)}”"

    @property
    def subject(self) -> str:
        """What people call it at the beginning of a sentence."""
        return self.title[:1].upper() + self.title[1:]

    @cached_property
    def model(self) -> onnx.ModelProto:
        """What the bytes say, each node behind those that it takes from."""
        import onnx

        from napari_neuroscope.engine.frameworks.onnx.node_order import sort_nodes

        model: onnx.ModelProto = onnx.ModelProto.FromString(self.content)
        sort_nodes(model.graph)
        return model

    def without_functions(self) -> OnnxFile:
        """Return the model with the operations of its functions in place of their calls.

        Raises
        ------
        NeuroscopeError
            Where that can't be done.
        """
        from onnx import inliner

        try:
            inlined = inliner.inline_local_functions(self.model)
            content = inlined.SerializeToString()
        except Exception as error:
            raise NeuroscopeError(
                f"{self.subject} can't be opened, its functions are broken: "
                f"{shortened(' '.join(str(error).split()), 300).rstrip('.')}."
            ) from error
        return replace(self, content=content)

    @classmethod
    def of(cls, model: Any) -> OnnxFile:
        """Return a file, or a model in memory as one.

        Raises
        ------
        NeuroscopeError
            Where it does not show its layers, or has its weights elsewhere.
        """
        if isinstance(model, OnnxFile):
            return model
        import onnx

        if not isinstance(model, onnx.ModelProto):
            raise NeuroscopeError(
                "An InferenceSession does not show its layers; give the onnx.ModelProto that it was "
                "made of, or load its file."
            )
        if next(locations(model), None) is not None:
            raise NeuroscopeError(
                "The model's weights lie in another file; load it from its file, or with "
                "onnx.load(path), which reads them."
            )
        try:
            file = OnnxFile(model.SerializeToString())
        except ValueError as error:
            raise NeuroscopeError(
                "The model has more than 2 GB; save it with its weights beside it "
                "(save_as_external_data=True) and load that file."
            ) from error
        file.refuse_unbounded()
        return file

    def refuse_unbounded(self) -> None:
        """Refuse a model that would become much larger than its bytes are.

        Raises
        ------
        NeuroscopeError
            Where it is one.
        """
        from napari_neuroscope.engine.frameworks.onnx.files.bounds import refuse_unbounded

        refuse_unbounded(self.model, self.subject, len(self.content))


def load_onnx(path: Path, *, trust: bool = False) -> OnnxFile:
    """Read an ONNX file, and check what it claims and where its weights are.

    Parameters
    ----------
    path
        The file.
    trust
        Whether its passes are run without a look at how much they take.

    Raises
    ------
    NeuroscopeError
        Where it is broken, claims more than it holds, or names weights that are missing or outside
        of its folder.
    """
    from google.protobuf.message import DecodeError

    with suppress(OSError, ValueError):
        _refuse_without_room(path.stat().st_size, path)
    content = read_bytes(path, _MOST_CONTENT)
    file = OnnxFile(content, path.absolute().parent, path, trusted=trust)
    try:
        model = file.model
    except DecodeError as error:
        raise NeuroscopeError(
            f"“{shortened(path.name, 200)}” is a broken ONNX file, or nested too deeply; download "
            f"or save it again."
        ) from error
    try:
        file.refuse_unbounded()
        weights = [weight for weight in map(weight_beside, tensors_of(model)) if weight]
    except ValueError as error:
        raise NeuroscopeError(
            f"“{shortened(path.name, 200)}” is a broken ONNX file ({shortened(str(error), 160)}); "
            f"download or save it again."
        ) from error
    total = sum(weight.check(path) for weight in weights)
    _refuse_without_room(total, path)
    return file


def _refuse_without_room(nbytes: int, path: Path) -> None:
    if nbytes > limits.ALWAYS_PASS:
        free = free_memory()
        if _COPIES * nbytes > free:
            raise OutOfMemoryError(
                f"“{shortened(path.name, 200)}” has weights of {nbytes:,} bytes, too many for the "
                f"{free:,} bytes of memory that are free; close other programs."
            )


def tensors_of(model: Any) -> Iterator[onnx.TensorProto]:
    """Yield the constant tensors of a model, or of a part of it."""
    from napari_neuroscope.engine.frameworks.onnx.files.bounds import tensors_in

    return tensors_in(model)


def locations(model: Any) -> Iterator[str]:
    """Yield the files that a model names for its weights."""
    return (weight.location for weight in map(weight_beside, tensors_of(model)) if weight)


def digest_of(file: OnnxFile) -> str:
    """Return a hash of a model's bytes, and of the weights beside it."""
    digest = hashlib.sha256(file.content)
    for location in sorted(set(locations(file.model))):
        assert file.folder is not None
        with open_regular(file.folder / location) as weights:
            while chunk := weights.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()
