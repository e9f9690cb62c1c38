"""Files that name classes: text, YAML, and JSON decoding files, with colours where they have them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.spec import ClassSpec

SUFFIXES = (".txt", ".csv", ".tsv", ".names", ".yaml", ".yml", ".json")
_MOST_BYTES = 16 << 20
_MOST_CLASSES = 100_000
# Where other programs' files keep their classes.
_KEYS = ("classes", "names", "id2label", "labels", "categories")
_WORDNET = re.compile(r"n\d{8}")


def read_classes(path: str | Path) -> tuple[ClassSpec, ...]:
    """Read names of classes, and their colours, in the order of a network's outputs.

    Parameters
    ----------
    path
        One of

        - text: one name a line, with red, green and blue before or after it where it has them;
        - YAML or JSON: a list of names; or numbers and names, such as ``{"0": "sky"}``,
          ``{"0": ["n01440764", "tench"]}`` or ``{"0": ["Sky", [128, 128, 128]]}``; or these under
          ``classes``, ``names``, ``id2label``, ``labels`` or ``categories``, as in a spec.

    Returns
    -------
    tuple of ClassSpec
        A number that is left out has its number for a name. Of several classes of one name, each
        has what tells it apart added: its WordNet id, or its number.

    Raises
    ------
    NeuroscopeError
        Where the file can't be read as such a list: it says where.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise NeuroscopeError(
                f"“{path.name}” has {path.stat().st_size:,} bytes: that is no list of classes."
            )
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise NeuroscopeError(
            f"The classes in {shortened(str(path), 300)} can't be read: {error.strerror}."
        ) from error
    except UnicodeDecodeError:
        raise NeuroscopeError(
            f"“{path.name}” is no text; name the classes one a line, or in YAML or JSON."
        ) from None
    try:
        if path.suffix.lower() in (".yaml", ".yml", ".json"):
            classes = _of_data(_parsed(text))
        else:
            classes = [_of_line(line) for line in text.splitlines() if line.strip()]
        if not classes:
            raise ValueError("it names none")
        if len(classes) > _MOST_CLASSES:
            raise ValueError(f"it names {len(classes):,}, more than any network tells apart")
    except (ValueError, RecursionError) as error:
        raise NeuroscopeError(
            f"“{path.name}” can't be read as a list of classes: {shortened(str(error), 200)}."
        ) from error
    return tuple(_told_apart(classes))


_Entry = tuple[str, tuple[int, int, int] | None, str]
"""A name, its colour, and an id that tells it from others of that name."""


def _parsed(text: str) -> Any:
    try:
        # JSON is YAML, but for tabs between its parts.
        return yaml.safe_load(text.replace("\t", " "))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise ValueError(f"it is no valid YAML or JSON{where}") from error


def _of_data(data: Any) -> list[_Entry]:
    if isinstance(data, dict):
        inner = next((data[key] for key in _KEYS if data.get(key)), None)
        if isinstance(inner, dict | list):
            return _of_data(inner)
        return _of_numbers(data)
    if isinstance(data, list):
        return [_of_item(item, f"entry {number + 1}") for number, item in enumerate(data)]
    raise ValueError("it is neither a list nor numbers with names")


def _of_numbers(data: dict[Any, Any]) -> list[_Entry]:
    found: dict[int, _Entry] = {}
    for key, item in data.items():
        text = str(key).strip()
        if isinstance(key, bool) or not text.isdecimal() or not text.isascii():
            raise ValueError(f"“{shortened(text, 40)}” is no number of a class, 0, 1, 2, …")
        if len(text) > 6 or int(text) >= _MOST_CLASSES:
            raise ValueError(f"class {shortened(text, 40)} is more than any network tells apart")
        if int(text) in found:
            raise ValueError(f"class {int(text)} is named twice")
        found[int(text)] = _of_item(item, f"class {int(text)}")
    return [found.get(n, (str(n), None, "")) for n in range(max(found, default=-1) + 1)]


def _of_item(item: Any, where: str) -> _Entry:
    if isinstance(item, dict):
        name, colour = item.get("name"), item.get("colour", item.get("color"))
        return _name(name, where), _colour(colour, where), ""
    if isinstance(item, list):
        colours = [part for part in item if isinstance(part, list)]
        names = [part for part in item if not isinstance(part, list)]
        if not 1 <= len(names) <= 2 or len(colours) > 1:
            raise ValueError(f"{where} is no name, id and name, or name and colour")
        ident = str(names[0]) if len(names) == 2 else ""
        return _name(names[-1], where), _colour(next(iter(colours), None), where), ident
    return _name(item, where), None, ""


def _name(value: Any, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        if isinstance(value, bool):
            # YAML reads a bare yes, no, on or off so.
            raise ValueError(f"the name of {where} was read as {value}; put it in quotes")
        raise ValueError(f"the name of {where} is a {type(value).__name__}, no text")
    name = str(value).strip()
    if not name:
        raise ValueError(f"{where} has an empty name")
    return name


def _colour(value: Any, where: str) -> tuple[int, int, int] | None:
    if value is None:
        return None
    if isinstance(value, str):
        digits = value.strip().removeprefix("#")
        if not re.fullmatch(r"[0-9a-fA-F]{6}", digits):
            raise ValueError(f"the colour of {where}, “{shortened(value, 40)}”, is no #rrggbb")
        value = list(bytes.fromhex(digits))
    if not (isinstance(value, list) and len(value) in (3, 4) and all(map(_is_byte, value))):
        raise ValueError(f"the colour of {where} is no three numbers of 0..255")
    return tuple(value[:3])


def _is_byte(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


def _of_line(line: str) -> _Entry:
    parts = [part for part in re.split(r"[\t,;]|\s+", line.strip()) if part]
    for colour, rest in ((parts[:3], parts[3:]), (parts[-3:], parts[:-3])):
        if rest and len(colour) == 3 and all(p.isdecimal() and p.isascii() for p in colour):
            where = f"“{shortened(line.strip(), 40)}”"
            numbers = [int(part) if len(part) < 4 else 256 for part in colour]
            return " ".join(rest), _colour(numbers, where), ""
    if len(parts) > 1 and _WORDNET.fullmatch(parts[0]):
        return line.strip().split(None, 1)[1].strip(), None, parts[0]
    return line.strip(), None, ""


def _told_apart(entries: Sequence[_Entry]) -> list[ClassSpec]:
    """Return the classes, those of one name with their ids or numbers added."""
    count = Counter(name for name, _, _ in entries)
    taken = {name for name, times in count.items() if times == 1}
    classes = []
    for number, (name, colour, ident) in enumerate(entries):
        unique = name
        if count[name] > 1:
            unique = f"{name} ({ident or number})"
            if unique in taken:
                unique = f"{name} ({ident} {number})".replace("( ", "(")
            while unique in taken:
                unique += "′"
            taken.add(unique)
        classes.append(ClassSpec(name=unique, colour=colour))
    return classes
