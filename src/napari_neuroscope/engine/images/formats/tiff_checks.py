"""What a TIFF file asks for, looked at before anything of it is followed, allocated or decoded."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.reading.bounded_file import open_regular
from napari_neuroscope.engine.files.reading.decoded_size import refuse_large_chunk
from napari_neuroscope.engine.images.formats.tiff_codecs import bound_decoding

if TYPE_CHECKING:
    from tifffile import TiffPage, TiffPageSeries

# What tifffile takes for a list of tags that can't be.
_MOST_TAGS = 4096
_SUBIFDS = 330
_Tag = tuple[int, int, int, int]
# Words, and what ImageJ keeps beside them; both are read when a file is opened.
_READ_AT_ONCE = (270, 50839)
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8,
          17: 8, 18: 8}  # fmt: skip


def refuse_endless(path: Path, *, first_only: bool = False) -> None:
    """Refuse a file whose pages never end, are too many, or describe themselves too widely.

    Parameters
    ----------
    path
        The file.
    first_only
        Look at the first page alone.

    Raises
    ------
    NeuroscopeError
        Where it is one. What is damaged otherwise is left to those who read it.
    """
    with open_regular(path) as file:
        head = file.read(16)
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        if order is None or len(head) < 8:
            return
        big = struct.unpack(f"{order}H", head[2:4])[0] == 43
        chain = _Chain(file, order, big)
        offset = struct.unpack_from(f"{order}{'Q' if big else 'I'}", head, 8 if big else 4)[0]
        pages, seen = 0, set[int]()
        while offset:
            if offset in seen:
                raise _endless(path, "its pages follow each other in a circle")
            seen.add(offset)
            tags = chain.tags_at(offset)
            if tags is None:
                return
            pages += 1 + _inner_pages(tags, path)
            if pages > limits.MOST_PAGES:
                raise _endless(path, f"it has more than {limits.MOST_PAGES:,} pages")
            if first_only:
                return
            offset = chain.next_offset()


class _Chain:
    """The pages of a file, one after the other.

    Parameters
    ----------
    file
        The open file.
    order, big
        Its byte order, and whether it is a BigTIFF.
    """

    def __init__(self, file: BinaryIO, order: str, big: bool) -> None:
        self._file = file
        self._count, self._offset = (
            (f"{order}Q", f"{order}Q") if big else (f"{order}H", f"{order}I")
        )
        self._tag = struct.Struct(f"{order}HHQQ" if big else f"{order}HHII")

    def tags_at(self, offset: int) -> Iterator[_Tag] | None:
        """Return the tags of a page: code, type, count and value; None where there is none."""
        size = struct.calcsize(self._count)
        try:
            self._file.seek(offset)
        except (OSError, OverflowError, ValueError):
            return None
        said = self._file.read(size)
        if len(said) < size:
            return None
        count = struct.unpack(self._count, said)[0]
        if count > _MOST_TAGS:
            return None
        held = self._file.read(count * self._tag.size)
        return self._tag.iter_unpack(held) if len(held) == count * self._tag.size else None

    def next_offset(self) -> int:
        """Return where the page after the one that was just read lies; 0: there is none."""
        said = self._file.read(struct.calcsize(self._offset))
        if len(said) < struct.calcsize(self._offset):
            return 0
        return int(struct.unpack(self._offset, said)[0])


def _inner_pages(tags: Iterator[_Tag], path: Path) -> int:
    """Return how many pages a page names within it; what describes it must not be too long."""
    inner = 0
    for code, kind, count, _ in tags:
        if code == _SUBIFDS:
            inner += count
        elif code in _READ_AT_ONCE and count * _SIZES.get(kind, 1) > limits.MOST_OME_XML:
            raise _endless(path, f"it is described in more than {limits.MOST_OME_XML:,} bytes")
    return inner


def _endless(path: Path, why: str) -> NeuroscopeError:
    return NeuroscopeError(
        f"The image {shortened(str(path), 300)} can't be read: {why}; save it anew."
    )


# --- tiles ----------------------------------------------------------------------------------------


def bound_tiles(series: TiffPageSeries, name: str, size: int) -> None:
    """Refuse tiles and strips that are too large for their bytes, now and when they are decoded.

    Parameters
    ----------
    series
        An image of a file, at one resolution.
    name
        What people call the file.
    size
        Its bytes.

    Raises
    ------
    NeuroscopeError
        Where a tile would decode to too much, or where there are too few for what they cover.
    """
    for page in _keyframes(series):
        if page.dtype is None or page.is_memmappable:
            continue
        asked, told = math.prod(page.chunked), len(page.dataoffsets)
        if asked > limits.MOST_PAGES and asked > 2 * told:
            raise NeuroscopeError(
                f"“{shortened(name, 200)}” is cut into {asked:,} tiles, of which it holds {told:,}; "
                f"download or save it again."
            )
        nbytes = math.prod(page.chunks) * page.dtype.itemsize
        packed = min(max(page.databytecounts, default=0), size)
        refuse_large_chunk(nbytes, packed, name)
        bound_decoding(page, nbytes, name)


def _keyframes(series: TiffPageSeries) -> list[TiffPage]:
    """Return the pages that the others of an image are like: one for each file."""
    if not series.is_multifile:
        return [series.keyframe]
    pages: Any = (page.keyframe for page in series.pages if page is not None)
    return list({id(page): page for page in pages}.values())
