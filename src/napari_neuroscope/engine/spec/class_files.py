"""Files that name classes: text, YAML, and JSON decoding files, with colours where they have them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari_neuroscope.engine.errors import shortened
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.reading.bounded_file import read_text
from napari_neuroscope.engine.files.reading.plain_data import PlainDataError, parse_json, parse_yaml
from napari_neuroscope.engine.files.told import told_in_a_sentence
from napari_neuroscope.engine.spec.model_spec import ClassSpec

SUFFIXES = (".txt", ".csv", ".tsv", ".names", ".yaml", ".yml", ".json")
# Where other programs' files keep their classes.
_KEYS = ("classes", "names", "id2label", "label2id", "labels", "categories")
_MOST_NAME = 400
# With the numbers of a colour.
_MOST_LINE = 1_000
_WORDNET = re.compile(r"n\d{8}")


def read_classes(path: str | Path) -> tuple[ClassSpec, ...]:
    """Read names of classes, and their colours, in the order of a network's outputs.

    Parameters
    ----------
    path
        One of

        - text: one name a line, with red, green and blue before or after it where it has them, or
          with its number before it, as in ``0 sky``;
        - YAML or JSON: a list of names; names and numbers, such as ``{"sky": 0}``, or
          numbers and names, such as ``{"0": "sky"}``,
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
    with told_in_a_sentence(path, "a list of classes"):
        text = read_text(path, limits.MOST_TEXT)
        suffix = path.suffix.lower()
        if suffix in (".yaml", ".yml", ".json"):
            classes = _of_document(_parsed(text, suffix))
        else:
            classes = [_of_line(line) for line in _without_numbers(list(_lines(text)))]
        if not classes:
            raise ValueError("it names none")
        return tuple(_told_apart(classes))


_Entry = tuple[str, tuple[int, int, int] | None, str]
"""A name, its colour, and an id that tells it from others of that name."""


def _parsed(text: str, suffix: str) -> Any:
    text = text.replace("\t", " ")
    if suffix != ".json":
        return parse_yaml(text)
    try:
        return parse_json(text)
    except PlainDataError:
        # What looks like it is often YAML: with comments, or a comma at its end.
        with suppress(PlainDataError):
            return parse_yaml(text)
        raise


_NUMBERED = re.compile(r"(?P<number>\d{1,6})(\s*[:,;]\s*|\s+)(?P<name>\S.*)")
# All that ends lines, so that a file of nothing else is not cut into millions of pieces.
_LINE = re.compile(r"[^\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")


def _lines(text: str) -> Iterator[str]:
    count = 0
    for match in _LINE.finditer(text):
        if match.end() - match.start() > _MOST_LINE:
            raise ValueError(f"a line of it has more than {_MOST_LINE:,} letters")
        line = match[0].strip()
        if line:
            count += 1
            if count > limits.MOST_CLASSES:
                raise _too_many()
            yield line


def _without_numbers(lines: list[str]) -> list[str]:
    """Return lines without the numbers of their classes, where each begins with its own."""
    matches = [_NUMBERED.fullmatch(line) for line in lines]
    names = [match["name"] for match in matches if match]
    are_numbered = all(match and int(match["number"]) == n for n, match in enumerate(matches))
    # Numbers behind them are of colours.
    coloured = all(sum(part.isdecimal() for part in re.split(r"\W+", name)) > 1 for name in names)
    return names if are_numbered and not coloured else lines


def _too_many() -> ValueError:
    return ValueError(
        f"it names more than {limits.MOST_CLASSES:,}, and no network tells so many apart"
    )


def _of_document(document: Any) -> list[_Entry]:
    if isinstance(document, dict):
        inner = next((document[key] for key in _KEYS if document.get(key)), None)
        return _of_document(inner) if isinstance(inner, dict | list) else _of_numbers(document)
    if isinstance(document, list):
        if len(document) > limits.MOST_CLASSES:
            raise _too_many()
        return [_of_item(item, f"entry {number + 1}") for number, item in enumerate(document)]
    raise ValueError("it is neither a list nor numbers with names")


def _of_numbers(mapping: dict[Any, Any]) -> list[_Entry]:
    if mapping and not any(str(key).strip().isdecimal() for key in mapping):
        numbers = list(mapping.values())
        if all(isinstance(n, int) and not isinstance(n, bool) for n in numbers):
            if len(set(numbers)) < len(numbers):
                raise ValueError("two of its names have one number")
            mapping = {number: name for name, number in mapping.items()}
    entries: dict[int, _Entry] = {}
    for key, item in mapping.items():
        text = key.strip() if isinstance(key, str) else str(key)
        if isinstance(key, bool) or not text.isdecimal() or not text.isascii():
            raise ValueError(f"“{shortened(text, 40)}” is no number of a class, 0, 1, 2, …")
        if len(text) > 6 or int(text) >= limits.MOST_CLASSES:
            raise ValueError(f"class {shortened(text, 40)} is more than any network tells apart")
        if int(text) in entries:
            raise ValueError(f"class {int(text)} is named twice")
        entries[int(text)] = _of_item(item, f"class {int(text)}")
    return [entries.get(n, (str(n), None, "")) for n in range(max(entries, default=-1) + 1)]


def _of_item(item: Any, where: str) -> _Entry:
    if isinstance(item, dict):
        name, colour = item.get("name"), item.get("colour", item.get("color"))
        return _name(name, where), _colour(colour, where), ""
    if isinstance(item, list):
        colours = [part for part in item if isinstance(part, list)]
        names = [part for part in item if not isinstance(part, list)]
        if not 1 <= len(names) <= 2 or len(colours) > 1:
            raise ValueError(f"{where} is no name, id and name, or name and colour")
        ident = _name(names[0], where) if len(names) == 2 else ""
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
    if len(name) > _MOST_NAME:
        raise ValueError(f"the name of {where} has {len(name):,} letters")
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
    parts = [part for part in re.split(r"[\t,;]|\s+", line) if part]
    for colour, rest in ((parts[:3], parts[3:]), (parts[-3:], parts[:-3])):
        if rest and len(colour) == 3 and all(p.isdecimal() and p.isascii() for p in colour):
            where = f"“{shortened(line, 40)}”"
            numbers = [int(part) if len(part) < 4 else 256 for part in colour]
            return _name(" ".join(rest), where), _colour(numbers, where), ""
    where = f"“{shortened(line, 40)}”"
    if len(parts) > 1 and _WORDNET.fullmatch(parts[0]):
        return _name(line.split(None, 1)[1], where), None, parts[0]
    return _name(line, where), None, ""


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
