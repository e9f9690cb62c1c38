"""Pictures such as PNG and JPEG: their size is known before they are decoded, which is all at once."""

from __future__ import annotations

import itertools
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.reading.bounded_file import open_regular
from napari_neuroscope.engine.files.reading.decoded_size import refuse_large_image
from napari_neuroscope.engine.images.formats.orientation import (
    UPRIGHT,
    is_turned,
    swaps_sides,
    turned_upright,
)

if TYPE_CHECKING:
    from PIL.Image import Image

# Pillow knows more formats, some of which start other programs.
_FORMATS = ("PNG", "JPEG", "MPO", "GIF", "BMP", "DIB", "WEBP", "PPM", "JPEG2000", "TGA", "AVIF")
_WIDE = {"I": 4, "F": 4, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
# A larger picture is taken out of Pillow's memory in pieces.
_PIECE = 64 * limits.MB
# What networks are shown of each mode that has other colours, or sees through.
_SEEN_AS = {"CMYK": "RGB", "YCbCr": "RGB", "LAB": "RGB", "HSV": "RGB", "RGBX": "RGB", "LA": "L",
            "La": "L", "PA": "RGBA", "RGBa": "RGBA"}  # fmt: skip
# Pillow can't convert these at once.
_FIRST = {"La": "LA", "PA": "RGBA"}
_ORIENTATION = 0x0112
_INSTEAD = "save it as a TIFF of tiles, or as Zarr"
_gif_lock = threading.Lock()


@contextmanager
def open_picture(path: Path) -> Iterator[Image]:
    """Open a picture without decoding it.

    Raises
    ------
    NeuroscopeError
        Where it is no file, or its pixels are more than Pillow decodes.
    PIL.UnidentifiedImageError
        Where it is no picture of a kind that is read.
    """
    from PIL import Image, UnidentifiedImageError

    Image.init()
    with open_regular(path) as file:
        try:
            with warnings.catch_warnings():
                # How large it may be is told by its bytes, below.
                warnings.simplefilter("ignore")
                formats = [kind for kind in _FORMATS if kind in Image.OPEN]
                picture = Image.open(file, formats=formats)
        except Image.DecompressionBombError as error:
            raise NeuroscopeError(
                f"“{shortened(path.name, 200)}” has more pixels than a picture is decoded of; "
                f"{_INSTEAD}."
            ) from error
        except UnidentifiedImageError as error:
            raise NeuroscopeError(
                f"The image {shortened(str(path), 300)} can't be read: it is damaged, or no picture "
                f"of a kind that is read here (PNG, JPEG, GIF, BMP, WebP and such)."
            ) from error
        with picture:
            yield picture


def shape_and_axes_of_picture(path: Path) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the shape of a picture and the names of its axes, without decoding it.

    The frames of a moving one are its first axis, t.

    Raises
    ------
    NeuroscopeError
        Where it has more frames than are read.
    """
    with open_picture(path) as picture:
        bands = _bands(picture)
        shape: tuple[int, ...] = (picture.height, picture.width)
        if swaps_sides(_orientation(picture)):
            shape = shape[::-1]
        axes: tuple[str, ...] = ("y", "x")
        if bands > 1:
            shape, axes = (*shape, bands), (*axes, "c")
        if (frames := getattr(picture, "n_frames", 1) if _may_move(picture) else 1) > 1:
            _refuse_many_frames(frames, path)
            shape, axes = (frames, *shape), ("t", *axes)
        return shape, axes


def read_picture(path: Path) -> np.ndarray:
    """Read a picture; a palette is resolved to its colours, of a GIF or APNG all frames are read.

    Other colours become red, green and blue; what EXIF says is turned is turned.

    Raises
    ------
    NeuroscopeError
        Where it is too large, or no picture.
    OSError, ValueError, SyntaxError
        Where it is damaged.
    """
    with open_picture(path) as picture:
        refuse_large_image(_nbytes(picture), path, instead=_INSTEAD)
        if _may_move(picture):
            return _frames(picture, path)
        orientation = _orientation(picture)
        return np.ascontiguousarray(turned_upright(_values(picture), orientation))


def read_palette(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the numbers of a picture's colours, and 256 colours; None where it has no palette."""
    with open_picture(path) as picture:
        if picture.mode != "P":
            return None
        refuse_large_image(_nbytes(picture), path, instead=_INSTEAD)
        orientation = _orientation(picture)
        indices = np.ascontiguousarray(turned_upright(np.array(picture), orientation))
        colours = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
    # A palette may be shorter than the numbers go.
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(colours)] = colours
    return indices, palette


def _orientation(picture: Image) -> int:
    """Return which way up a picture lies, of EXIF's eight."""
    if picture.format == "PNG" and "exif" not in picture.info and not _has_exif(picture):
        # Pillow would decode all of it to look behind it.
        return UPRIGHT
    try:
        orientation = picture.getexif().get(_ORIENTATION, UPRIGHT)
    except (SyntaxError, ValueError, TypeError, OSError, struct.error):
        return UPRIGHT
    return orientation if is_turned(orientation) else UPRIGHT


def _has_exif(picture: Image) -> bool:
    """Whether a PNG has EXIF somewhere, by the names of its chunks."""
    file = cast("BinaryIO", cast("Any", picture).fp)
    before = file.tell()
    try:
        file.seek(8)
        for _ in range(limits.MOST_ENTRIES):
            head = file.read(8)
            if len(head) < 8:
                return False
            if head[4:] == b"eXIf":
                return True
            file.seek(int.from_bytes(head[:4], "big") + 4, 1)
        return False
    finally:
        file.seek(before)


def _bands(picture: Image) -> int:
    if picture.mode in _SEEN_AS:
        return len(_SEEN_AS[picture.mode])
    if picture.mode == "P":
        return len(picture.palette.mode) if picture.palette is not None else 3
    return len(picture.getbands())


def _nbytes(picture: Image) -> int:
    return picture.width * picture.height * _bands(picture) * _WIDE.get(picture.mode, 1)


def _may_move(picture: Image) -> bool:
    """Whether a picture is of a kind whose frames are all read."""
    return picture.format == "GIF" or getattr(picture, "custom_mimetype", "") == "image/apng"


def _refuse_many_frames(count: int, path: Path) -> None:
    if count > limits.MOST_FRAMES:
        raise NeuroscopeError(
            f"“{shortened(path.name, 200)}” has more than {limits.MOST_FRAMES:,} frames, so it is not "
            f"read; save it as TIFF."
        )


def _frames(picture: Image, path: Path) -> np.ndarray:
    """Return all frames; they are counted while they are decoded."""
    frames: list[np.ndarray] = []
    total = 0
    with _gif_palettes():
        for number in itertools.count():
            _refuse_many_frames(number + 1, path)
            try:
                picture.seek(number)
            except EOFError:
                break
            total += _nbytes(picture)
            # They stand twice in the memory when they are put together.
            refuse_large_image(2 * total if number else total, path, instead=_INSTEAD)
            frames.append(_values(picture))
    return np.stack(frames) if len(frames) > 1 else frames[0]


@contextmanager
def _gif_palettes() -> Iterator[None]:
    """Let Pillow keep what few colours a GIF's frames have, so that all frames are alike."""
    from PIL import GifImagePlugin

    with _gif_lock:
        before = GifImagePlugin.LOADING_STRATEGY
        kept = GifImagePlugin.LoadingStrategy.RGB_AFTER_DIFFERENT_PALETTE_ONLY
        GifImagePlugin.LOADING_STRATEGY = kept
        try:
            yield
        finally:
            GifImagePlugin.LOADING_STRATEGY = before


def _values(picture: Any) -> np.ndarray:
    picture.load()
    if picture.mode == "P":
        picture = picture.convert(picture.palette.mode)
    elif picture.mode in _SEEN_AS:
        seen = _SEEN_AS[picture.mode]
        picture = picture.convert(_FIRST.get(picture.mode, seen)).convert(seen)
    elif picture.format == "PNG" and picture.mode == "I":
        picture = picture.convert("I;16")
    rows = max(1, _PIECE * picture.height // max(_nbytes(picture), 1))
    if rows >= picture.height:
        return np.array(picture)
    pieces = (
        (top, np.asarray(picture.crop((0, top, picture.width, min(top + rows, picture.height)))))
        for top in range(0, picture.height, rows)
    )
    out: np.ndarray | None = None
    for top, piece in pieces:
        if out is None:
            out = np.empty((picture.height, *piece.shape[1:]), piece.dtype)
        out[top : top + len(piece)] = piece
    assert out is not None
    return out
