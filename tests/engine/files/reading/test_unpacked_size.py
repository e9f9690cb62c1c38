"""What bytes unpack to is known before they are unpacked."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from typing import Any

import numcodecs
import numpy as np
import pytest

from napari_neuroscope.engine.files.reading.unpacked_size import exceeds

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("held", [b"", bytes(300_000), RNG.bytes(300_000)])
@pytest.mark.parametrize(
    ("kind", "pack"),
    [
        ("zlib", zlib.compress), ("gzip", gzip.compress), ("bz2", bz2.compress),
        ("lzma", lzma.compress), ("zstd", numcodecs.Zstd().encode), ("lz4", numcodecs.LZ4().encode),
        ("blosc", numcodecs.Blosc().encode),
    ],
)  # fmt: skip
def test_what_bytes_unpack_to_is_known(kind: str, pack: Any, held: bytes) -> None:
    if not held and kind in ("lz4", "blosc"):
        return
    packed = pack(held)
    assert not exceeds(kind, packed, len(held))
    if held:
        assert exceeds(kind, packed, len(held) - 1)
        # Cut off anywhere, it still ends.
        for end in range(0, len(packed), max(1, len(packed) // 20)):
            exceeds(kind, packed[:end], 1000)


def test_zstd_without_a_told_size_is_counted_by_its_blocks() -> None:
    block = ((1000 << 3) | 1 << 1).to_bytes(3, "little") + b"\0"
    last = ((1000 << 3) | 1 << 1 | 1).to_bytes(3, "little") + b"\0"
    frame = b"\x28\xb5\x2f\xfd\x00\x58" + block * 9 + last
    assert len(numcodecs.Zstd().decode(frame)) == 10_000
    assert not exceeds("zstd", frame, 10_000)
    assert exceeds("zstd", frame, 9_999)
    assert exceeds("zstd", frame * 2, 19_999)
