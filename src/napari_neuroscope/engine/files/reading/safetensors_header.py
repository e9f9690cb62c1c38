"""The header of safetensors files, checked before any library reads it."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.files.reading.bounded_file import open_regular
from napari_neuroscope.engine.plain_text import quoted

MOST_HEADER = 100_000_000
"""Bytes of a header: the format's own limit."""

_BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "I16": 16, "U16": 16,
         "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
         "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}  # fmt: skip


def is_safetensors(path: Path, head: bytes) -> bool:
    """Whether a file is of this format, or was before it was cut off, by its first bytes."""
    if len(head) < 10 or head[8:9] != b"{":
        return False
    length = int.from_bytes(head[:8], "little")
    if path.suffix == ".safetensors":
        return True
    return 2 <= length <= min(MOST_HEADER, path.stat().st_size - 8)


def check_header(path: Path) -> None:
    """Refuse a file whose header is none, or claims what the file doesn't hold.

    Raises
    ------
    NeuroscopeError
        Where it is so: it says which tensor is wrong.
    """
    with open_regular(path) as file:
        size = file.seek(0, 2) - 8
        file.seek(0)
        (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
        if length > MOST_HEADER:
            raise _broken(path, f"its header claims {length:,} bytes")
        if length > size:
            raise NeuroscopeError(
                f"“{path.name}” is a safetensors file that was cut off; download or save it again."
            )
        content = file.read(length)
    try:
        header = json.loads(content)
    except RecursionError:
        raise _broken(path, "its header is nested too deeply") from None
    except ValueError as error:
        raise _broken(path, f"its header is no JSON: {str(error)[:120]}") from error
    if not isinstance(header, dict):
        raise _broken(path, "its header is no mapping")
    for name, entry in header.items():
        if name != "__metadata__":
            _check_tensor(path, name, entry, size - length)


def _check_tensor(path: Path, name: str, entry: Any, size: int) -> None:
    entry = entry if isinstance(entry, dict) else {}
    kind, shape, offsets = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(kind, str) or kind not in _BITS:
        raise _broken(path, f"{quoted(name, 60)} has no dtype of the format")
    if not _are_sizes(shape):
        raise _broken(path, f"{quoted(name, 60)} has no shape")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _broken(path, f"{quoted(name, 60)} has no data_offsets of a start and an end")
    if offsets[1] > size:
        raise NeuroscopeError(
            f"“{path.name}” is a safetensors file that was cut off; download or save it again."
        )
    bits = math.prod(shape) * _BITS[kind]
    if bits != (offsets[1] - offsets[0]) * 8:
        raise _broken(path, f"{quoted(name, 60)} claims other sizes than its data have")


def _are_sizes(values: Any) -> bool:
    """Whether values are a list of a few numbers that are not negative."""
    return (
        isinstance(values, list)
        and len(values) <= 64
        and all(type(value) is int and 0 <= value < 1 << 63 for value in values)
    )


def _broken(path: Path, why: str) -> NeuroscopeError:
    return NeuroscopeError(
        f"“{path.name}” is a broken safetensors file: {why}; download or save it again."
    )
