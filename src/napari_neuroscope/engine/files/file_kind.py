"""What a file is, told by its content and never by running it."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.files.reading.bounded_file import cant_be_read, guess, open_regular
from napari_neuroscope.engine.files.reading.bounded_zip import open_zip
from napari_neuroscope.engine.files.reading.safetensors_header import is_safetensors
from napari_neuroscope.engine.plain_text import quoted

Kind = str
"""What a file is, for a person: a framework says which kinds it loads."""
SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".pt2", ".keras", ".h5", ".hdf5",
            ".onnx", ".zip", ".yaml", ".yml")  # fmt: skip
"""The usual endings of files that can be opened; a SavedModel is a folder."""

_RDF = ("rdf.yaml", "bioimageio.yaml")
_PICKLE_PROTOCOLS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def is_description(name: str) -> bool:
    """Whether a file's name is that of a bioimage.io description."""
    return name in _RDF or name.endswith(".bioimageio.yaml")


def head_of(path: Path) -> bytes:
    """Return the first 4096 bytes of a file; none of a folder.

    Raises
    ------
    NeuroscopeError
        Where it is missing or can't be read.
    """
    try:
        if path.is_dir():
            return b""
        with open_regular(path) as file:
            return file.read(4096)
    except (OSError, ValueError) as error:
        raise cant_be_read(path, error) from error


def kind_of(path: Path) -> Kind:
    """Return what kind of network a file or folder holds.

    Raises
    ------
    NeuroscopeError
        Where it is missing, empty, broken, or no network: it says what the file is.
    """
    head = head_of(path)
    if path.is_dir():
        return _kind_of_folder(path)
    if not head:
        raise NeuroscopeError(f"“{path.name}” is empty: 0 bytes; download or save it again.")
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(path)
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "h5"
    if is_description(path.name) or (
        path.suffix in (".yaml", ".yml") and b"format_version" in head
    ):
        return "bioimage.io"
    if is_safetensors(path, head):
        return "safetensors"
    if head.startswith(_PICKLE_PROTOCOLS):
        return "torch checkpoint"
    if _is_onnx(path):
        return "onnx"
    if path.name == "saved_model.pb":
        return "SavedModel"
    raise NeuroscopeError(
        f"“{path.name}” is {guess(head)}, no network of a kind that is known here "
        f"({', '.join(SUFFIXES)}, or a SavedModel folder)."
    )


def _kind_of_folder(path: Path) -> Kind:
    if (path / "saved_model.pb").is_file():
        return "SavedModel"
    try:
        names = [inner.name for inner in path.iterdir() if inner.is_file()]
    except OSError as error:
        raise NeuroscopeError(
            f"The folder “{path.name}” can't be read: {error.strerror}."
        ) from error
    if any(map(is_description, names)):
        return "bioimage.io"
    raise NeuroscopeError(
        f"The folder “{path.name}” is no SavedModel (it has no saved_model.pb) and no bioimage.io "
        f"package (it has no rdf.yaml)."
    )


def _kind_of_zip(path: Path) -> Kind:
    with open_zip(path) as archive:
        names = archive.namelist()
    inner = {name.partition("/")[2] for name in names}
    if any(is_description(name.rpartition("/")[2]) for name in names):
        return "bioimage.io"
    if {"config.json", "metadata.json"} <= set(names):
        return "keras"
    if "archive_format" in inner or "serialized_exported_program.json" in set(names):
        return "torch.export"
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        return "TorchScript"
    if "data.pkl" in inner:
        return "torch checkpoint"
    shown = ", ".join(quoted(name, 60) for name in names[:3]) or "nothing"
    raise NeuroscopeError(
        f"“{path.name}” is a zip archive, but no network of a kind that is known here; it holds "
        f"{shown}{', …' if len(names) > 3 else ''}."
    )


# The fields of a ModelProto: numbers, and parts that say how long they are.
_ONNX_NUMBERS, _ONNX_PARTS, _ONNX_GRAPH = {1, 5}, {2, 3, 4, 6, 7, 8, 14, 20, 25, 26}, 7


# A ModelProto has a handful of fields; those that may come often are still few.
_MOST_ONNX_FIELDS = 100_000


def _is_onnx(path: Path) -> bool:
    """Whether a file is a ModelProto with a graph, its fields in any order."""
    size, graph, place = path.stat().st_size, False, 0
    with open_regular(path) as file:
        for _ in range(_MOST_ONNX_FIELDS):
            if place >= size:
                break
            file.seek(place)
            tag = _varint(file)
            field, wire = tag >> 3, tag & 7
            if wire == 0 and field in _ONNX_NUMBERS:
                _varint(file)
                place = file.tell()
            elif wire == 2 and field in _ONNX_PARTS:
                graph = graph or field == _ONNX_GRAPH
                length = _varint(file)
                place = file.tell() + length
            else:
                return False
    if place > size and (graph or path.suffix == ".onnx"):
        raise NeuroscopeError(
            f"“{path.name}” is an ONNX file that was cut off; download or save it again."
        )
    return graph and place >= size


def _varint(file: BinaryIO) -> int:
    """Read one of protobuf's numbers; 0 where it is none."""
    value = 0
    for shift in range(0, 63, 7):
        (byte,) = file.read(1) or b"\0"
        value |= (byte & 127) << shift
        if byte < 128:
            return value
    return 0
