"""The short forms of a method's card, as tooltips."""

from __future__ import annotations

import re

from napari_neuroscope.engine.methods.interface import Method, Option
from napari_neuroscope.widgets.parts.labels import in_html


def method_tip(method: Method, reason: str | None = None) -> str:
    """Return what a method shows, costs and when it misleads, in HTML.

    Parameters
    ----------
    method
        The method.
    reason
        Why it can't be used now.
    """
    parts = [
        f"<b>{_in_html(reason)}</b>" if reason else "",
        _in_html(method.summary),
        f"<b>Cost:</b> {_in_html(method.cost or 'not known')}",
        f"<b>When it misleads:</b> {_in_html(method.caution)}" if method.caution else "",
        f"<i>{_in_html(method.reference)}</i>" if method.reference else "",
    ]
    return "".join(f"<p>{part}</p>" for part in parts if part)


def option_tip(option: Option) -> str:
    """Return what an option does, in HTML, whose lines Qt breaks; empty where nothing is told."""
    meaning = option.meaning
    for code in option.words:
        # It is offered by its words here.
        meaning = meaning.replace(f" ({code})", "")
    return f"<p>{_in_html(meaning)}</p>" if meaning else ""


def _in_html(text: str) -> str:
    return re.sub("``(.+?)``", r"<i>\1</i>", in_html(text))
