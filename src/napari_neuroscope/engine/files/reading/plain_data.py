"""YAML and JSON of strangers: plain values, of a bounded number and depth, and nothing else."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from napari_neuroscope.engine.files import limits

# Whole numbers in all the ways of YAML, and what looks like them.
_MOST_DIGITS, _NUMBER = 1_000, re.compile(r"[-+]?(0x)?[0-9a-fA-F_:.]+")
# The parser that is written in C is ten times as fast; not every PyYAML has it.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class PlainDataError(ValueError):
    """Why a text holds no plain values: the end of a sentence, without its full stop."""


def parse_yaml(text: str) -> Any:
    """Return the plain values of a YAML text.

    Aliases are counted as what they stand for, before anything is made of them.

    Raises
    ------
    PlainDataError
        Where it is no YAML, asks for Python objects, or is larger or deeper than the limits.
    """
    _refuse_long(text)
    try:
        _count_events(text)
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise PlainDataError(f"it is no plain YAML: {_problem(error)}") from error
    except RecursionError as error:
        raise PlainDataError("it is nested too deeply") from error
    except PlainDataError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        # Such as a date with a month 99, or a list as the key of a mapping.
        raise PlainDataError(
            f"it holds a value that can't be: {str(error).strip()[:200]}"
        ) from error


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # the one in C may be missing
    """Writes what every parser reads as the same."""


def _represent_text(dumper: Any, text: str) -> yaml.ScalarNode:
    # Between single quotes, parsers take these for ends of lines.
    style = '"' if any(end in text for end in "\x85\u2028\u2029") else None
    node: yaml.ScalarNode = dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)
    return node


_Dumper.add_representer(str, _represent_text)
_ENDLESS = (1 << 31) - 1


def yaml_of(value: Any, *, broken: bool = True) -> str:
    """Return plain values as YAML, which `parse_yaml` reads as the same.

    Parameters
    ----------
    value
        The values, mappings in their order.
    broken
        Whether long texts are broken into lines.
    """
    width = None if broken else _ENDLESS
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width)


def parse_json(text: str) -> Any:
    """Return the plain values of a JSON text.

    Raises
    ------
    PlainDataError
        Where it is no JSON, or is larger or deeper than the limits.
    """
    _refuse_long(text)
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise PlainDataError("it is nested too deeply") from error
    except ValueError as error:
        raise PlainDataError(f"it is no JSON: {str(error)[:200]}") from error
    refuse_large(value)
    return value


def refuse_large(value: Any) -> None:
    """Refuse plain values that are too many or too deep: lists of lists of lists, ….

    A list that stands in several places counts in each of them.

    Raises
    ------
    PlainDataError
        Where they are.
    """
    count, waiting = 0, [(value, 1)]
    while waiting:
        inner, depth = waiting.pop()
        count += 1
        if isinstance(inner, dict):
            parts = [*inner.keys(), *inner.values()]
        elif isinstance(inner, list | tuple):
            parts = list(inner)
        else:
            continue
        if depth > limits.MOST_DEPTH:
            raise _too_deep()
        if count + len(waiting) + len(parts) > limits.MOST_NODES:
            raise _too_many()
        waiting.extend((part, depth + 1) for part in parts)


def _refuse_long(text: str) -> None:
    if len(text) > limits.MOST_TEXT:
        raise PlainDataError(f"it has more than {limits.MOST_TEXT:,} characters")


def _too_many() -> PlainDataError:
    return PlainDataError(f"it holds more than {limits.MOST_NODES:,} values")


def _too_deep() -> PlainDataError:
    return PlainDataError(f"it is nested more than {limits.MOST_DEPTH} deep")


def _count_events(text: str) -> None:
    """Count what a YAML text holds, from its events alone, with aliases as what they stand for."""
    sizes: dict[str, int] = {}
    # The size of each list or mapping that is open, and its anchor.
    open_nodes: list[tuple[int, str | None]] = []
    count = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                # It stands within what it is an alias of, or nowhere.
                raise PlainDataError(f"the alias “{str(event.anchor)[:40]}” stands for itself")
            count += sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            count += 1
            if len(event.value) > _MOST_DIGITS and _NUMBER.fullmatch(event.value):
                # Such as 1:1:1:…, in base 60: Python takes hours for it.
                raise PlainDataError(f"it holds a number of {len(event.value):,} digits")
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((count, event.anchor))
            count += 1
            if event.anchor:
                sizes.pop(event.anchor, None)
            if len(open_nodes) > limits.MOST_DEPTH:
                raise _too_deep()
        elif isinstance(event, yaml.CollectionEndEvent):
            before, anchor = open_nodes.pop()
            if anchor:
                sizes[anchor] = count - before
        if count > limits.MOST_NODES:
            raise _too_many()


def _problem(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or (str(error).strip() or "?").splitlines()[0]
    mark = getattr(error, "problem_mark", None)
    return f"{str(problem)[:200]}{f' in line {mark.line + 1}' if mark is not None else ''}"
