"""How large a picture says that it is, in its first bytes, before anything of it is decoded."""

from __future__ import annotations

import struct
from collections.abc import Callable


def told_bytes(kind: str, encoded: bytes) -> int | None:
    """Return how many bytes a picture decodes to by its own word; None where it doesn't say.

    Parameters
    ----------
    kind
        How it is encoded: “jpeg”, “jpeg2000”, “webp”, “png” or “lerc”.
    encoded
        The picture.
    """
    try:
        return _KINDS[kind](bytes(encoded))
    except (struct.error, IndexError):
        # It is cut off.
        return None


def _jpeg(encoded: bytes) -> int | None:
    """Return the largest of the frames that are told before the first scan."""
    at, most = 2, None
    if encoded[:2] != b"\xff\xd8":
        return None
    while at + 4 <= len(encoded):
        if encoded[at] != 0xFF:
            return most
        marker = encoded[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in (0xD9, 0xDA):
            return most
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            at += 2
            continue
        # All of C0..CF tell a frame, but for three.
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            depth, rows, columns, channels = struct.unpack_from(">BHHB", encoded, at + 4)
            most = max(most or 0, rows * columns * channels * (2 if depth > 8 else 1))
        at += 2 + int(struct.unpack_from(">H", encoded, at + 2)[0])
    return most


def _jpeg2000(encoded: bytes) -> int | None:
    at = 0
    while encoded[at : at + 4] != b"\xff\x4f\xff\x51":
        # It lies in a box of a JP2 file.
        length, name = struct.unpack_from(">I4s", encoded, at)
        head = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", encoded, at + 8)
            head = 16
        if name == b"jp2c":
            at += head
            if encoded[at : at + 4] != b"\xff\x4f\xff\x51":
                return None
        elif length < head:
            return None
        else:
            at += length
    right, bottom, left, top = struct.unpack_from(">4I", encoded, at + 8)
    (channels,) = struct.unpack_from(">H", encoded, at + 40)
    depths = encoded[at + 42 : at + 42 + 3 * channels : 3]
    item = max((1 if (depth & 0x7F) < 8 else 2 if (depth & 0x7F) < 16 else 4) for depth in depths)
    return int(max(right - left, 0) * max(bottom - top, 0) * channels * item)


def _webp(encoded: bytes) -> int | None:
    if encoded[:4] != b"RIFF" or encoded[8:12] != b"WEBP":
        return None
    kind = encoded[12:16]
    if kind == b"VP8X":
        columns, rows = (int.from_bytes(encoded[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        (packed,) = struct.unpack_from("<I", encoded, 21)
        columns, rows = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        columns, rows = (side & 0x3FFF for side in struct.unpack_from("<HH", encoded, 26))
    else:
        return None
    # With what is seen through, or without.
    return columns * rows * 4


def _png(encoded: bytes) -> int | None:
    if encoded[:8] != b"\x89PNG\r\n\x1a\n" or encoded[12:16] != b"IHDR":
        return None
    columns, rows, depth, kind = struct.unpack_from(">IIBB", encoded, 16)
    channels = {0: 1, 2: 3, 3: 4, 4: 2, 6: 4}.get(kind, 4)
    return int(columns * rows * channels * (2 if depth > 8 else 1))


_LERC_ITEMS = (1, 1, 2, 2, 4, 4, 4, 8)


def _lerc(encoded: bytes) -> int | None:
    """Return what all bands that follow each other hold."""
    if encoded[:10] == b"CntZImage ":
        rows, columns = struct.unpack_from("<II", encoded, 18)
        return int(rows * columns * 4)
    total, at = 0, 0
    while encoded[at : at + 6] == b"Lerc2 ":
        (version,) = struct.unpack_from("<i", encoded, at + 6)
        place = at + (14 if version >= 3 else 10)
        rows, columns = struct.unpack_from("<II", encoded, place)
        deep = struct.unpack_from("<I", encoded, place + 8)[0] if version >= 4 else 1
        place += 12 if version >= 4 else 8
        _, _, length, kind = struct.unpack_from("<4i", encoded, place)
        total += rows * columns * deep * (_LERC_ITEMS[kind] if 0 <= kind < 8 else 8)
        if length <= 0:
            break
        at += length
    return total or None


_KINDS: dict[str, Callable[[bytes], int | None]] = {
    "jpeg": _jpeg,
    "jpeg2000": _jpeg2000,
    "webp": _webp,
    "png": _png,
    "lerc": _lerc,
}
