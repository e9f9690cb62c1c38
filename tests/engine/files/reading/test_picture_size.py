"""Pictures say how large they become, before anything of them is decoded."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image

from napari_neuroscope.engine.files.reading.picture_size import told_bytes

_NUMBERS = np.random.default_rng(0).integers(0, 256, (12, 16, 3)).astype(np.uint8)


COLOURS = np.asarray(Image.fromarray(_NUMBERS).resize((96, 72), Image.Resampling.BICUBIC))


def test_pictures_say_how_large_they_become() -> None:
    rows, columns, channels = 48, 80, 3
    image = Image.fromarray(COLOURS[:rows, :columns])
    for kind, given, item in (
        ("jpeg", {"format": "JPEG"}, 1),
        ("png", {"format": "PNG"}, 1),
        ("jpeg2000", {"format": "JPEG2000"}, 1),
        ("jpeg2000", {"format": "JPEG2000", "no_jp2": True}, 1),
        ("webp", {"format": "WEBP"}, 4 / 3),
        ("webp", {"format": "WEBP", "lossless": True}, 4 / 3),
        ("webp", {"format": "WEBP", "exif": b"Exif\0\0"}, 4 / 3),
    ):
        made = io.BytesIO()
        image.save(made, **given)
        data = made.getvalue()
        assert told_bytes(kind, data) == rows * columns * channels * item, (kind, given)
        # What is cut off, or something else, tells nothing.
        assert told_bytes(kind, data[:14]) is None
        assert told_bytes(kind, b"\0" * 100) is None
    # By the specification: two bands of 16-bit numbers.
    band = b"Lerc2 " + struct.pack("<iIIIIiiii", 4, 0, 700, 500, 2, 0, 8, 46, 3)
    band += bytes(46 - len(band))
    assert told_bytes("lerc", band * 2) == 2 * 700 * 500 * 2 * 2
    assert told_bytes("lerc", b"nothing") is None
