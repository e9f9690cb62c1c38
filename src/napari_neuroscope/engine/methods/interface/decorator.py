"""The decorator that makes a function a method, its docstring its card."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from napari_neuroscope.engine.methods.interface.family import Family
from napari_neuroscope.engine.methods.interface.method_class import Method
from napari_neuroscope.engine.methods.interface.needs import Needs
from napari_neuroscope.engine.methods.interface.option import Option
from napari_neuroscope.engine.methods.interface.pass_count import PassCount
from napari_neuroscope.engine.methods.interface.tiling import ChannelWeights, Local
from napari_neuroscope.engine.spec.model_spec import Task

_HEADING = re.compile(r"^(\w+)\n-{3,}\n", re.MULTILINE)


def _sections(function: Callable[..., Any]) -> dict[str, str]:
    """Return a docstring's first line as "summary", what follows it, and each of its sections."""
    opening, *rest = _HEADING.split(inspect.getdoc(function) or "")
    summary, _, description = opening.partition("\n")
    sections = dict(zip(map(str.lower, rest[::2]), rest[1::2], strict=True))
    lines = {name: " ".join(text.split()) for name, text in sections.items()}
    return {"summary": summary, "description": description.strip(), **lines}


def _options_of(function: Callable[..., Any]) -> dict[str, Option]:
    """Return the options of a method's function: its keyword-only arguments."""
    plain = typing.get_type_hints(function)
    limited = typing.get_type_hints(function, include_extras=True)
    return {
        name: Option(name, plain.get(name, Any), limited.get(name, Any), parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def method(
    title: str,
    *,
    family: Family = "other",
    needs: Needs = Needs.NOTHING,
    tasks: tuple[Task, ...] = ("classification", "segmentation"),
    reference: str = "",
    needs_more: Callable[[Mapping[str, Any]], Needs] = lambda options: Needs.NOTHING,
    signed: bool | Callable[[Mapping[str, Any]], bool] = False,
    instead: Sequence[str] = ("occlusion",),
    passes: PassCount | None = None,
    tiles: Local | ChannelWeights | None = None,
) -> Callable[[Callable[..., Any]], Method]:
    """Make a function a method.

    The function takes ``(trace, target, layer)``, with `ChannelWeights` also the weights, and its
    own options as keywords with types and defaults, of which the dock makes its widgets. It returns
    a `Tensor` (*space) on any grid that divides the network's input evenly, or a `Map`.

    One of many passes is a generator: it takes ``(trace, targets, layer)``, so that the same passes
    serve all targets, if any, and yields a `Step` after each batch; the last has the result.

    Its docstring is its card: the first line says what the map shows, the text below how it is made,
    the section “Cost” what is to be known besides `passes`, “Misleads” when it does. What an option
    means stands with its type, as pydantic's ``Field(description=…)``.

    Parameters
    ----------
    title
        What people call it.
    family
        Among which methods it is offered.
    needs
        What it must be given.
    tasks
        For which tasks it is.
    reference
        The papers, parted by semicolons, each with its identifier, such as arXiv:1610.02391, last.
    needs_more
        What some of its options need besides: called with the options by name.
    signed
        Whether its values are about zero, or a function of its options that tells.
    instead
        The names of the methods that come near where it can't be used, the nearest first.
    passes
        How many passes it takes; None: its cost is not known.
    tiles
        How its maps are made tile by tile; None: they can't be.
    """

    def decorate(function: Callable[..., Any]) -> Method:
        card = _sections(function)
        is_signed = signed if callable(signed) else lambda options: bool(signed)
        return Method(
            function.__name__, title, function, tasks, needs, needs_more, _options_of(function),
            reference, card["summary"], card["description"], card.get("cost", ""),
            card.get("misleads", ""), is_signed, tuple(instead), passes, tiles, family,
        )  # fmt: skip

    return decorate
