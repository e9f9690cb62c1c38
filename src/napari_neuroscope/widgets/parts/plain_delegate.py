"""How the words of lists and tables are drawn."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QStyledItemDelegate

from napari_neuroscope.widgets.parts.labels import on_line


class PlainDelegate(QStyledItemDelegate):
    """Draws words with what is hidden in them; to edit them, they are as they are."""

    def displayText(self, value: Any, locale: Any) -> str:
        """Return what is drawn of a value."""
        return on_line(super().displayText(value, locale))
