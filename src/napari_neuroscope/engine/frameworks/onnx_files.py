"""ONNX's files: what is read, and that weights beside a file stay within its folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files.file_kind import Kind

if TYPE_CHECKING:
    import onnx

KINDS: tuple[Kind, ...] = ("onnx",)
_CHUNK = 1 << 20


@dataclass(frozen=True, eq=False)
class OnnxFile:
    """A network as a file has it: its bytes, and the folder of the weights beside it."""

    content: bytes
    folder: Path | None = None

    @cached_property
    def model(self) -> onnx.ModelProto:
        """What the bytes say."""
        import onnx

        return onnx.ModelProto.FromString(self.content)

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
        except Exception as error:
            reason = shortened(" ".join(str(error).split()), 300).rstrip(".")
            raise NeuroscopeError(f"The ONNX network's functions are broken: {reason}.") from error
        return OnnxFile(inlined.SerializeToString(), self.folder)

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
            return OnnxFile(model.SerializeToString())
        except ValueError as error:
            raise NeuroscopeError(
                "The model has more than 2 GB; save it with its weights beside it "
                "(save_as_external_data=True) and load that file."
            ) from error


def load_onnx(path: Path) -> OnnxFile:
    """Read an ONNX file, and check where its weights are.

    Raises
    ------
    NeuroscopeError
        Where it is broken, or names weights that are missing or outside of its folder.
    """
    from google.protobuf.message import DecodeError

    file = OnnxFile(path.read_bytes(), path.absolute().parent)
    try:
        found = sorted(set(locations(file.model)))
    except DecodeError as error:
        raise NeuroscopeError(
            f"“{path.name}” is a broken ONNX file; download or save it again."
        ) from error
    for location in found:
        _check_weights(path, location)
    return file


def locations(message: Any) -> Iterator[str]:
    """Yield the files that a model, or a part of it, names for its weights."""
    import onnx
    from google.protobuf.message import Message

    if isinstance(message, onnx.TensorProto):
        if message.data_location == onnx.TensorProto.EXTERNAL or message.external_data:
            named = [entry.value for entry in message.external_data if entry.key == "location"]
            yield named[-1] if named else ""
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if isinstance(value, Message) else value:
                yield from locations(part)


def _check_weights(path: Path, location: str) -> None:
    folder = path.absolute().parent.resolve()
    place = (folder / location).resolve()
    named = f"weights in “{shortened(location)}”"
    if not place.is_relative_to(folder) or Path(location).is_absolute():
        raise NeuroscopeError(
            f"“{path.name}” names {named}, outside of its own folder, and is not opened; put the "
            f"weights beside the file, as a file and not as a link."
        )
    if not place.is_file():
        raise NeuroscopeError(
            f"“{path.name}” names {named}, and there is no such file beside it; download it too."
        )


def digest_of(file: OnnxFile) -> str:
    """Return a hash of a model's bytes, and of the weights beside it."""
    digest = hashlib.sha256(file.content)
    for location in sorted(set(locations(file.model))):
        assert file.folder is not None
        with (file.folder / location).open("rb") as weights:
            while chunk := weights.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()
