"""Zarr folders as they are read: nothing leads out of them, and no chunk unpacks to more than it may."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs.abc import Codec as Numcodec
from zarr.abc.codec import BytesBytesCodec
from zarr.storage import LocalStore

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.reading.bounded_file import read_text
from napari_neuroscope.engine.files.reading.decoded_size import (
    most_of_chunk,
    refuse_large_chunk,
    taken_on_disk,
)
from napari_neuroscope.engine.files.reading.inside_folder import refuse_outside
from napari_neuroscope.engine.files.reading.plain_data import PlainDataError, parse_json
from napari_neuroscope.engine.files.reading.unpacked_size import exceeds

_DESCRIBING = frozenset({"zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata"})
_PACKING = frozenset({"zlib", "gzip", "bz2", "lzma", "zstd", "lz4", "blosc"})
# They change values, or their order, or check them; what they yield is hardly larger.
_CHANGING = frozenset({
    "bytes", "transpose", "crc32c", "crc32", "adler32", "fletcher32", "jenkins_lookup3", "shuffle",
    "delta", "bitround", "fixedscaleoffset", "quantize", "packbits", "astype", "sharding_indexed",
})  # fmt: skip
# A chunk may unpack to more than its values take, where filters change their type.
_FILTERED_GROWTH = 8
_ALWAYS_UNPACKED = limits.MB


class ContainedStore(LocalStore):
    """A folder, of which no file is read that lies elsewhere, is no file, or describes too much."""

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        self._look_at(key, whole=byte_range is None)
        return await super().get(key, prototype, byte_range)

    async def get_partial_values(self, prototype: Any, key_ranges: Iterable[Any]) -> Any:
        ranges = list(key_ranges)
        for key, byte_range in ranges:
            self._look_at(key, whole=byte_range is None)
        return await super().get_partial_values(prototype, ranges)

    def get_sync(self, key: str, **how: Any) -> Any:
        self._look_at(key, whole=how.get("byte_range") is None)
        return super().get_sync(key, **how)

    def _look_at(self, key: str, *, whole: bool) -> None:
        path, parts = self.root, key.split("/")
        if ".." in parts or key.startswith("/"):
            refuse_outside(path / key, path)
        state: os.stat_result | None = None
        for part in parts:
            path = path / part
            try:
                state = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return
            if stat.S_ISLNK(state.st_mode):
                refuse_outside(path, self.root)
        if state is None or stat.S_ISDIR(state.st_mode):
            return
        if not stat.S_ISREG(state.st_mode):
            refuse_outside(path, self.root)
            state = path.stat()
        if parts[-1] in _DESCRIBING:
            _check_description(path)
        elif whole:
            refuse_large_chunk(state.st_size, taken_on_disk(state), self.root.name)


def _check_description(path: Path) -> None:
    try:
        parse_json(read_text(path, limits.MOST_TEXT))
    except PlainDataError as error:
        raise NeuroscopeError(
            f"The Zarr metadata {shortened(str(path), 300)} can't be read: {error}; save it anew."
        ) from error


def open_zarr(path: Path) -> zarr.Group | zarr.Array[Any]:
    """Open a Zarr folder for reading.

    Raises
    ------
    NeuroscopeError
        Where what it says of itself can't be, or it is packed in a way that is not read.
    """
    node = zarr.open(ContainedStore(path, read_only=True), mode="r")
    return bounded_array(node, path) if isinstance(node, zarr.Array) else node


def bounded_array(array: zarr.Array[Any], path: Path) -> zarr.Array[Any]:
    """Return an array whose chunks are looked at before they are unpacked.

    Parameters
    ----------
    array
        An array of a `ContainedStore`.
    path
        The folder that it is in.

    Raises
    ------
    NeuroscopeError
        Where its chunks are packed in a way that is not read, such as pickles, which run code.
    """
    metadata = array.metadata
    for name in _codec_names(metadata.to_dict()):
        if name == "pickle":
            raise NeuroscopeError(
                f"The Zarr array in {shortened(str(path), 300)} is stored as pickles, which run "
                f"code when they are read; it was not read. Store it anew in another way."
            )
        if name not in _PACKING | _CHANGING:
            raise NeuroscopeError(
                f"The Zarr array in {shortened(str(path), 300)} is packed by “{name:.60}”, which is "
                f"not read here; store it anew with blosc, zstd or gzip."
            )
    if np.dtype(array.dtype).hasobject:
        raise NeuroscopeError(
            f"The Zarr array in {shortened(str(path), 300)} holds objects; numbers are needed."
        )
    described: Any = metadata
    if metadata.zarr_format == 3:
        changed: Any = replace(described, codecs=tuple(_bounded(described.codecs, path.name)))
    else:
        nbytes = math.prod(described.chunks) * np.dtype(array.dtype).itemsize
        changed = replace(
            described,
            compressor=_bounded_numcodec(described.compressor, nbytes, path.name),
            filters=tuple(
                _bounded_numcodec(codec, nbytes, path.name) for codec in described.filters or ()
            )
            or None,
        )
    inner = array.async_array if hasattr(array, "async_array") else array._async_array
    return zarr.Array(type(inner)(changed, inner.store_path, config=getattr(inner, "config", None)))


def _codec_names(described: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of all codecs, those inside of others too, without “numcodecs.”."""
    codec: Any
    for codec in (described.get("compressor"), *(described.get("filters") or ())):
        if codec is not None:
            is_told = isinstance(codec, Mapping)
            yield str(codec.get("id") if is_told else getattr(codec, "codec_id", codec))
    waiting = list(described.get("codecs") or ())
    while waiting:
        codec = waiting.pop()
        yield str(codec.get("name")).removeprefix("numcodecs.")
        told = codec.get("configuration") or {}
        waiting += [*(told.get("codecs") or ()), *(told.get("index_codecs") or ())]


def _bounded(codecs: Iterable[Any], name: str) -> Iterator[Any]:
    from zarr.codecs import ShardingCodec

    for codec in codecs:
        kind = str(codec.to_dict()["name"]).removeprefix("numcodecs.")
        if isinstance(codec, ShardingCodec):
            yield replace(codec, codecs=tuple(_bounded(codec.codecs, name)))
        elif kind in _PACKING:
            yield _BoundedCodec(codec, kind, name)
        else:
            yield codec


def _refuse_growing(kind: str, packed: Any, nbytes: int, name: str, *, growth: int = 1) -> None:
    size = memoryview(packed).nbytes
    refuse_large_chunk(nbytes, size, name)
    if exceeds(kind, packed, max(growth * nbytes, min(_ALWAYS_UNPACKED, most_of_chunk(size)))):
        raise NeuroscopeError(
            f"“{shortened(name, 200)}” holds a chunk of {size:,} bytes that unpacks to more than the "
            f"{nbytes:,} bytes that it should, so it is not read; save it anew."
        )


@dataclass(frozen=True)
class _BoundedCodec(BytesBytesCodec):
    """A codec of Zarr 3 that looks at the bytes before it unpacks them."""

    inner: Any
    kind: str
    name: str
    is_fixed_size = False

    async def _decode_single(self, chunk_data: Any, chunk_spec: Any) -> Any:
        dtype = chunk_spec.dtype
        native = dtype.to_native_dtype() if hasattr(dtype, "to_native_dtype") else dtype
        nbytes = math.prod(chunk_spec.shape) * np.dtype(native).itemsize
        packed = np.ascontiguousarray(chunk_data.as_numpy_array())
        # Checksums may stand behind the values.
        _refuse_growing(self.kind, packed, nbytes + 64, self.name)
        return await self.inner._decode_single(chunk_data, chunk_spec)

    def to_dict(self) -> Any:
        return self.inner.to_dict()

    def evolve_from_array_spec(self, array_spec: Any) -> Any:
        return replace(self, inner=self.inner.evolve_from_array_spec(array_spec))

    def resolve_metadata(self, chunk_spec: Any) -> Any:
        return self.inner.resolve_metadata(chunk_spec)

    def validate(self, **about: Any) -> None:
        self.inner.validate(**about)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        return int(self.inner.compute_encoded_size(input_byte_length, chunk_spec))


def _bounded_numcodec(codec: Any, nbytes: int, name: str) -> Any:
    kind = getattr(codec, "codec_id", "")
    return _BoundedNumcodec(codec, kind, nbytes, name) if kind in _PACKING else codec


class _BoundedNumcodec(Numcodec):  # type: ignore[misc]  # numcodecs has no types
    """A codec of Zarr 2 that looks at the bytes before it unpacks them."""

    # Zarr asks the class for it.
    codec_id = ""

    def __init__(self, inner: Any, kind: str, nbytes: int, name: str) -> None:
        self.inner, self.codec_id, self.nbytes, self.name = inner, kind, nbytes, name

    def encode(self, buf: Any) -> Any:
        return self.inner.encode(buf)

    def decode(self, buf: Any, out: Any = None) -> Any:
        packed = np.ascontiguousarray(np.frombuffer(buf, np.uint8))
        _refuse_growing(self.codec_id, packed, self.nbytes, self.name, growth=_FILTERED_GROWTH)
        return self.inner.decode(buf, out)

    def get_config(self) -> Any:
        return self.inner.get_config()
