"""Words of a file in what napari itself shows: names of layers, and text on the canvas."""

from __future__ import annotations

import re
from typing import Any

from napari_neuroscope.engine.plain_text import visible

_LONGEST_NAME, _LONGEST_TITLE = 250, 160
# napari shows names in tooltips and in its status bar, which take what looks like a tag for HTML.
_TAG = re.compile(r"<(?=[A-Za-z/!?])|&(?=lt;)")


def plain_name(text: str) -> str:
    """Return a name for a layer, which napari shows as it stands wherever it shows it."""
    return _TAG.sub("\\g<0>\u200b", visible(text, _LONGEST_NAME))


def named(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return a layer's attributes with its name as plain text."""
    name = attributes.get("name")
    return {**attributes, "name": plain_name(name)} if isinstance(name, str) else attributes


def on_canvas(text: str) -> str:
    """Return a line of the text on the canvas."""
    return visible(text, _LONGEST_TITLE)
