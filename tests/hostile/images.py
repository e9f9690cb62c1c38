"""What cases of hostile images have in common: how they are read, and what they are made of."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from hostile.watch import Opener
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.images.formats.image_file import open_image
from napari_neuroscope.engine.images.source import read_image

MB = 1 << 20


def whole(path: Path) -> Opener:
    return lambda: read_image(path).shape


def corner(path: Path) -> Opener:
    """Open an image and read the first pixels of it."""

    def read() -> Any:
        with open_image(path) as image:
            return image[tuple(slice(0, 4) for _ in image.shape)].tolist()

    return read


def lowered(read: Opener, **lower: int) -> Opener:
    """Read under limits as low as the file is small."""

    def reading() -> Any:
        for name, value in lower.items():
            setattr(limits, name, value)
        return read()

    return reading


def deflated(size: int, head: bytes) -> bytes:
    """Return zeros as deflate packs them, made of one block that stands there many times."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(b"\0" * MB) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + block * (size // MB) + b"\x03\0" + bytes(8)


ZLIB, GZIP = b"\x78\x9c", b"\x1f\x8b\x08" + bytes(7)


def secret(folder: Path) -> Path:
    path = folder.parent / f"{folder.name}-secret.tif"
    tifffile.imwrite(path, np.full((16, 16), 77, np.uint8))
    return path
