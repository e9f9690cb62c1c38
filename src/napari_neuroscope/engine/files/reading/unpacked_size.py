"""What packed bytes unpack to, known before they are unpacked or while nothing of it is kept."""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable
from typing import Any

from napari_neuroscope.engine.files.limits import MB

# The most that a byte can become.
_DEFLATE_GROWTH = 1032
_ZSTD_MAGIC, _ZSTD_SKIPPED = 0xFD2FB528, 0x184D2A50
_ZSTD_BLOCK = 128 << 10


def exceeds(kind: str, packed: Any, most: int) -> bool:
    """Whether packed bytes unpack to more than `most`.

    Parameters
    ----------
    kind
        How they are packed: “zlib”, “gzip”, “bz2”, “lzma”, “zstd”, “lz4” or “blosc”.
    packed
        The bytes; where they are damaged, what unpacks them shall say so.
    most
        How many bytes they may become.
    """
    return _KINDS[kind](memoryview(packed).cast("B"), most)


def _deflated(wbits: int) -> Callable[[memoryview, int], bool]:
    def test(packed: memoryview, most: int) -> bool:
        if len(packed) * _DEFLATE_GROWTH <= most:
            return False
        return _streamed(lambda: zlib.decompressobj(wbits), packed, most)

    return test


def _streamed(start: Callable[[], Any], packed: memoryview, most: int) -> bool:
    """Unpack piece by piece, each of which is forgotten."""
    total, unpacker, waiting = 0, start(), bytes(packed)
    try:
        while True:
            piece = unpacker.decompress(waiting, MB)
            total += len(piece)
            if total > most:
                return True
            if unpacker.eof:
                # Several streams may follow each other.
                waiting = unpacker.unused_data
                if not waiting:
                    return False
                unpacker = start()
                continue
            waiting = getattr(unpacker, "unconsumed_tail", b"")
            if not piece and not waiting:
                return False
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError):
        return False


def _bz2(packed: memoryview, most: int) -> bool:
    return _streamed(bz2.BZ2Decompressor, packed, most)


def _lzma(packed: memoryview, most: int) -> bool:
    return _streamed(lambda: lzma.LZMADecompressor(memlimit=256 * MB), packed, most)


def _lz4(packed: memoryview, most: int) -> bool:
    return len(packed) >= 4 and struct.unpack_from("<I", packed)[0] > most


def _blosc(packed: memoryview, most: int) -> bool:
    return len(packed) >= 8 and struct.unpack_from("<I", packed, 4)[0] > most


def _zstd(packed: memoryview, most: int) -> bool:
    """Add up what the frames say that they hold, or the most that their blocks can."""
    total = at = 0
    try:
        while at + 4 <= len(packed):
            (magic,) = struct.unpack_from("<I", packed, at)
            at += 4
            if magic & 0xFFFFFFF0 == _ZSTD_SKIPPED:
                at += 4 + struct.unpack_from("<I", packed, at)[0]
                continue
            if magic != _ZSTD_MAGIC:
                break
            size, at = _zstd_frame(packed, at)
            total += size
            if total > most:
                return True
    except struct.error:
        # It is cut off; what was counted is all there is.
        return total > most
    return total > most


def _zstd_frame(packed: memoryview, at: int) -> tuple[int, int]:
    """Return the most that a frame unpacks to, and where it ends."""
    (descriptor,) = struct.unpack_from("<B", packed, at)
    single = bool(descriptor & 0x20)
    at += 1 + (not single) + (0, 1, 2, 4)[descriptor & 3]
    width = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    told = int.from_bytes(packed[at : at + width], "little") + (256 if width == 2 else 0)
    at += width
    most, last = 0, False
    while not last:
        head = int.from_bytes(packed[at : at + 3], "little") if at + 3 <= len(packed) else None
        if head is None:
            break
        last, kind, size = bool(head & 1), head >> 1 & 3, head >> 3
        # A block of one byte, many times, lies in a single one.
        at += 3 + (1 if kind == 1 else size)
        most += size if kind < 2 else _ZSTD_BLOCK
    return (max(told, 0) if width else most), at + (4 if descriptor & 4 else 0)


_KINDS: dict[str, Callable[[memoryview, int], bool]] = {
    "zlib": _deflated(zlib.MAX_WBITS),
    "gzip": _deflated(zlib.MAX_WBITS | 16),
    "bz2": _bz2,
    "lzma": _lzma,
    "zstd": _zstd,
    "lz4": _lz4,
    "blosc": _blosc,
}
