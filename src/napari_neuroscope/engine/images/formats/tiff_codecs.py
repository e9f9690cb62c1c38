"""How TIFF files are packed: what unpacks them, what must be installed for it, and how much may come out."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.reading.decoded_size import most_of_chunk
from napari_neuroscope.engine.files.reading.picture_size import told_bytes
from napari_neuroscope.engine.files.reading.unpacked_size import exceeds

if TYPE_CHECKING:
    from tifffile import TiffPage

NEEDS_CODECS = (
    'needs the package imagecodecs; install it with: pip install "napari-neuroscope[tiff]", or save '
    "the image with deflate"
)
# By the number of the compression. The size of what others make is given to them.
_STREAMS = {8: "zlib", 32946: "zlib", 50013: "zlib", 34925: "lzma", 50000: "zstd", 34926: "zstd"}
_PICTURES = {6: "jpeg", 7: "jpeg", 33007: "jpeg", 34892: "jpeg", 33003: "jpeg2000",
             33004: "jpeg2000", 33005: "jpeg2000", 34712: "jpeg2000", 34887: "lerc", 34933: "png",
             50001: "webp", 34927: "webp"}  # fmt: skip
# JPEG XR and JPEG XL, and a camera's own: how large they become can't be told beforehand.
_UNTOLD = (22610, 34934, 48124, 50002, 52546)
_ZSTD = (34926, 50000)
_WHOLE_BITS = (1, 8, 16, 32, 64, 128)
# A tile may unpack to somewhat more than it needs.
_ALWAYS_UNPACKED = limits.MB
_IS_BOUNDED = "neuroscope_is_bounded"


def refuse_compression(page: TiffPage, path: Path) -> None:
    """Refuse an image that only what is not installed unpacks, or that may unpack to anything.

    Raises
    ------
    NeuroscopeError
        Where it is so: it says what to install.
    """
    which = f"The image {shortened(str(path), 300)} is"
    kind = getattr(page.compression, "name", str(page.compression))
    if page.compression in _UNTOLD:
        raise NeuroscopeError(
            f"{which} compressed as {kind}, which is not read here; save the image with deflate."
        )
    lacks = _lacks(page, kind)
    if lacks is not None:
        raise NeuroscopeError(f"{which} {lacks}, which {NEEDS_CODECS}.")


def _lacks(page: TiffPage, kind: str) -> str | None:
    """Return what of a page can't be unpacked by what is installed."""
    from tifffile import TIFF

    if _has("imagecodecs"):
        return None
    compressed = f"compressed as {kind}"
    try:
        TIFF.DECOMPRESSORS[page.compression]
    except KeyError:
        return compressed
    # Python has zstd since 3.14; tifffile looks for it only when it decodes.
    if page.compression in _ZSTD and not _has("compression"):
        return compressed
    try:
        TIFF.UNPREDICTORS[page.predictor]
    except KeyError:
        return f"stored with the predictor {getattr(page.predictor, 'name', page.predictor)}"
    bits = page.bitspersample
    if isinstance(bits, int) and bits not in _WHOLE_BITS:
        return f"stored in {bits} bits a value"
    return None


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def bound_decoding(page: TiffPage, nbytes: int, name: str) -> None:
    """Let a page's tiles be looked at before they are unpacked: they may hold more than they say.

    Parameters
    ----------
    page
        The page.
    nbytes
        What one of its tiles is to become.
    name
        What people call the file.
    """
    stream, picture = (kinds.get(int(page.compression)) for kinds in (_STREAMS, _PICTURES))
    decode = page.decode
    if (stream is None and picture is None) or page.__dict__.get(_IS_BOUNDED):
        return
    most = max(2 * nbytes, _ALWAYS_UNPACKED)

    def bounded(packed: bytes | None, index: int, /, **how: Any) -> Any:
        if packed is not None:
            largest = min(most, most_of_chunk(len(packed)))
            parts = (packed, how.get("jpegtables"), how.get("jpegheader"))
            if stream is not None:
                too_large = exceeds(stream, packed, largest)
            else:
                assert picture is not None
                too_large = _is_larger(picture, [part for part in parts if part], largest)
            if too_large:
                raise NeuroscopeError(
                    f"“{shortened(name, 200)}” holds a tile that unpacks to more than it may, so it "
                    f"is not read; save it anew."
                )
        return decode(packed, index, **how)

    # tifffile keeps there what it decodes a page with.
    page.__dict__.update({"decode": bounded, _IS_BOUNDED: True})


def _is_larger(kind: str, parts: list[bytes], most: int) -> bool:
    """Whether a picture, of which some parts may lie elsewhere, becomes more than `most` bytes.

    One that says no size is taken for larger: what decodes it may find one.
    """
    told = [size for part in parts if (size := told_bytes(kind, part)) is not None]
    return not told or max(told) > most
