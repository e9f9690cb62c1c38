"""The record that goes with an explanation's values: what they are and how they were made."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.record import Record
from napari_neuroscope.engine.explanation.record_format import FORMAT
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.images.spacing import Spacing

# What is said of the values; the rest of a record is how they were made.
_OF_VALUES = ("format", "axes", "shape", "space", "labels", "signed", "unit", "grid", "image_grid",
              "classes", "companions", "spacing", "look", "growing", "most")  # fmt: skip


# XML can't hold them in any way; halves of pairs are no text in UTF-8 either.
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def record_in_words(record: Mapping[str, Any], *, indent: int | None = None) -> str:
    """Return a record as JSON that any file of text may hold.

    Characters that no XML may hold are written as JSON writes them, so that they are read back.
    """
    text = json.dumps(record, ensure_ascii=False, indent=indent)
    return _NOT_IN_XML.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def name_in_xml(name: str) -> str:
    """Return a name for other programs, without the characters that no XML may hold."""
    return _NOT_IN_XML.sub("\ufffd", name)


def explanation_in(
    record: Mapping[str, Any], values: Any, companions: Mapping[str, Any]
) -> Explanation:
    """Return the explanation that a record and its arrays were made from.

    Raises
    ------
    KeyError, TypeError, ValueError
        Where the record is none.
    """
    if int(record["format"]) > FORMAT:
        raise ValueError(f"its record is of format {record['format']}, newer than {FORMAT}")
    ordered = frozenset(
        name for name, companion in record["companions"].items() if companion["ordered"]
    )
    how_made = {name: value for name, value in record.items() if name not in _OF_VALUES}
    return Explanation(
        values=values,
        axes=tuple(map(str, record["axes"])),
        labels={axis: tuple(names) for axis, names in record["labels"].items()},
        grid=grid_in(record["grid"]),
        image=grid_in(record["image_grid"]),
        signed=bool(record["signed"]),
        unit=str(record["unit"]),
        record=Record.from_json(how_made),
        companions=companions,
        ordered=ordered & companions.keys(),
        classes=tuple((str(name), _rgb(colour)) for name, colour in record["classes"]),
    )


def spacing_in(record: Mapping[str, Any]) -> Spacing | None:
    """Return the spacing of the image that a record tells; None where it is not known."""
    said = record.get("spacing")
    if said is None:
        return None
    return Spacing(
        tuple(map(str, said["axes"])),
        tuple(map(float, said["steps"])),
        tuple(map(float, said["origin"])),
        tuple(map(str, said["units"])),
    )


def grid_in(said: Mapping[str, Any]) -> Grid:
    """Return the grid that a record tells."""
    return Grid(
        tuple(map(int, said["shape"])),
        tuple(map(float, said["scale"])),
        tuple(map(float, said["offset"])),
    )


def _rgb(colour: Any) -> tuple[int, int, int]:
    red, green, blue = map(int, colour)
    return red, green, blue
