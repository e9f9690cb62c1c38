"""More images as people have them, and images of values that a type doesn't tell the range of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from files_of_people import IMAGES, Make, image

VALUES: dict[str, Make] = {}
"""Of each title what makes the file of an image, whose values a network is asked about."""

_RGB = np.full((24, 32, 3), (200, 40, 30), np.uint8)
_GRAY = np.full((24, 32), 200, np.uint8)


def _add_tiff(
    title: str, values: np.ndarray, tags: dict[str, int] | None = None, **how: Any
) -> None:
    """Add a TIFF file; `tags` are written over those that it was saved with."""

    @image(f"TIFF, {title}")
    def tiff(folder: Path) -> Path:
        import tifffile

        path = folder / "i.tif"
        tifffile.imwrite(path, values, **how)
        if tags:
            with tifffile.TiffFile(path, mode="r+") as file:
                for tag, value in tags.items():
                    file.pages.first.tags[tag].overwrite(value)
        return path


_add_tiff("white is zero", 255 - _GRAY, photometric="miniswhite")
_add_tiff("predictor", _RGB, compression="deflate", predictor=True, photometric="rgb")
_add_tiff("JPEG 2000", _RGB, {"Compression": 34712}, photometric="rgb")
_add_tiff("WebP", _RGB, {"Compression": 50001}, photometric="rgb")
_add_tiff("LERC", _RGB, {"Compression": 34887}, photometric="rgb")
_add_tiff("12 bits a value, packed", _GRAY.astype(np.uint16), {"BitsPerSample": 12})
_add_tiff("JPEG XL", _RGB, {"Compression": 50002}, photometric="rgb")
for _title, _name, _mode in (
    ("PNG, black and white", "i.png", "1"), ("JPEG, gray", "i.jpg", "L"), ("BMP", "i.bmp", "RGB"),
    ("TIFF, YCbCr", "i.tif", "YCbCr"), ("PNG, a palette that is seen through", "i.png", "PA"), ("TIFF, gray and alpha", "i.tif", "LA"),
):  # fmt: skip

    @image(_title)
    def _picture(folder: Path, name: str = _name, mode: str = _mode) -> Path:
        from PIL import Image

        picture = Image.fromarray(_RGB)
        if mode == "PA":
            picture = picture.convert("RGBA").quantize(8)
            picture.save(folder / name, transparency=bytes([255] * 8))
        else:
            picture.convert(mode).save(folder / name)
        return folder / name


@image("TIFF, a file that was cut off")
def cut_off(folder: Path) -> Path:
    path = IMAGES["TIFF, deflate"](folder)
    path.write_bytes(path.read_bytes()[:60])
    return path


def _add_other(title: str, ending: str, content: bytes) -> None:
    @image(title)
    def other(folder: Path) -> Path:
        (folder / f"i{ending}").write_bytes(content)
        return folder / f"i{ending}"


_add_other("NIfTI (.nii.gz)", ".nii.gz", b"\x1f\x8b\x08\0\0\0\0\0" + bytes(40))
_add_other("Zeiss (.czi)", ".czi", b"ZISRAWFILE" + bytes(100))


# --- values ---


def _add_values(title: str, values: Callable[[], np.ndarray]) -> None:
    def make(folder: Path) -> Path:
        import tifffile

        tifffile.imwrite(folder / "i.tif", values())
        return folder / "i.tif"

    VALUES[title] = make


def _ramp(low: float, high: float, kind: Any) -> np.ndarray:
    return np.linspace(low, high, 24 * 32).reshape(24, 32).astype(kind)


for _title, _low, _high, _kind in (
    ("bytes, all of their range", 0, 255, "uint8"), ("16 bits, all of their range", 0, 65535, "uint16"),
    ("12 bits in 16", 0, 4095, "uint16"), ("a computed tomogram (signed)", -1000, 2000, "int16"),
    ("floats of 0..1", 0, 1, "float32"), ("floats of 0..255", 0, 255, "float32"),
    ("floats of -1..1", -1, 1, "float32"), ("labels of 0..3", 0, 3, "uint8"),
):  # fmt: skip
    _add_values(_title, lambda low=_low, high=_high, kind=_kind: _ramp(low, high, kind))
