"""Sets of TIFF files that make one image: what OME-XML says of them, before another file is opened."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.reading.inside_folder import is_plain_name, refuse_outside
from napari_neuroscope.engine.files.reading.plain_data import PlainDataError
from napari_neuroscope.engine.files.reading.plain_xml import parse_xml

if TYPE_CHECKING:
    from tifffile import TiffFile


def check_set(file: TiffFile, path: Path) -> tuple[Path, ...]:
    """Return the other files of an OME-TIFF's set, all of them in its own folder.

    Where its OME-XML can't be read, or defines entities, it is taken for a TIFF without any.

    Raises
    ------
    NeuroscopeError
        Where it names files of other folders, pipes or devices, or more planes than can be.
    """
    if not file.is_ome:
        return ()
    try:
        root = parse_xml(file.ome_metadata or "")
    except PlainDataError:
        file.is_ome = False
        return ()
    try:
        _refuse_many_planes(root, len(file.pages), path)
    except (ValueError, OverflowError, ZeroDivisionError) as error:
        raise _damaged(path, f"it holds a number that can't be ({str(error)[:80]})") from error
    names = dict.fromkeys(
        element.get("FileName", "")
        for element in root.iter()
        if _tag(element) == "UUID" and element.get("FileName")
    )
    if len(names) > limits.MOST_SET:
        raise _damaged(path, f"it names more than {limits.MOST_SET:,} files")
    others = []
    for name in names:
        if name.casefold() == path.name.casefold():
            continue
        if not is_plain_name(name):
            raise NeuroscopeError(
                f"“{shortened(path.name, 200)}” takes pixels from “{shortened(name, 100)}”, which "
                f"lies in another folder, so it is not read; copy all files of the set into one."
            )
        refuse_outside(path.parent / name, path.parent)
        if (path.parent / name).is_file():
            others.append(path.parent / name)
    return tuple(others)


def check_neighbours(file: TiffFile, path: Path) -> None:
    """Refuse a set of Micro-Manager whose files lead out of their folder.

    Raises
    ------
    NeuroscopeError
        Where one does.
    """
    if getattr(file, "is_mmstack", False):
        for neighbour in path.parent.glob("*_MMStack*.tif"):
            refuse_outside(neighbour, path.parent)
    if getattr(file, "is_ndtiff", False):
        from tifffile.tifffile import read_ndtiff_index

        index = path.parent / "NDTiff.index"
        refuse_outside(index, path.parent)
        if not index.is_file():
            return
        if index.stat().st_size > limits.MOST_OME_XML:
            raise _damaged(path, "its index is too large")
        for name in dict.fromkeys(entry[1] for entry in read_ndtiff_index(index)):
            if not is_plain_name(name):
                raise _damaged(path, f"its index names “{shortened(str(name), 100)}”")
            refuse_outside(path.parent / name, path.parent)


def _refuse_many_planes(root: ElementTree.Element, pages: int, path: Path) -> None:
    total = 0
    for pixels in (element for element in root.iter() if _tag(element) == "Pixels"):
        sides = [int(pixels.get(f"Size{axis}", 1)) for axis in "ZCT"]
        planes = math.prod(sides)
        if min(sides) < 0 or planes > limits.MOST_PAGES:
            raise _damaged(path, f"it tells of {planes:,} planes")
        for element in (inner for inner in pixels if _tag(inner) == "TiffData"):
            default = 1 if "IFD" in element.keys() else 0  # noqa: SIM118  an element is no mapping
            told = element.get("PlaneCount", element.get("NumPlanes", default))
            count = int(told) or pages
            total += abs(count)
            if count < 0 or int(element.get("IFD", 0)) < 0:
                raise _damaged(path, "it counts planes below zero")
            # Each is looked for among the pages.
            if count > limits.MOST_PAGES or total > 8 * limits.MOST_PAGES:
                raise _damaged(path, f"it tells of {total:,} planes")
    for steps in _labels(root):
        if not steps <= limits.MOST_PAGES:
            raise _damaged(path, "it tells of more steps than can be")


def _labels(root: ElementTree.Element) -> Iterator[float]:
    """Yield how many steps further axes have."""
    for element in root.iter():
        if _tag(element)[:-1].endswith("Along") and "Start" in element.keys():  # noqa: SIM118
            start, end, step = (float(element.get(n, 1)) for n in ("Start", "End", "Step"))
            yield abs((end - start) / step) + 1


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _damaged(path: Path, what: str) -> NeuroscopeError:
    return NeuroscopeError(
        f"The OME-XML of {shortened(str(path), 300)} is damaged: {what}; save it anew."
    )
