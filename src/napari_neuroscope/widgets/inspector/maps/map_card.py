"""How a map was made, to be read: its method's card, then all that was asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QTextBrowser, QVBoxLayout, QWidget

from napari_neuroscope.engine.explanation.record import Record
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.widgets.parts.labels import in_html, on_line
from napari_neuroscope.widgets.parts.method_tips import method_tip

_HEIGHT, _WIDTH = 420, 460


def card_of(metadata: Mapping[str, Any]) -> str:
    """Return how a layer's map was made, in HTML that shows words of files as they stand.

    Parameters
    ----------
    metadata
        The layer's metadata.
    """
    record = Record.from_json(metadata[KEY])
    rows = "".join(
        f"<tr><td><b>{in_html(name)}</b>&nbsp;&nbsp;</td><td>{in_html(words)}</td></tr>"
        for name, words in _rows(record)
        if words
    )
    method = methods.get(record.method)
    card = "" if method is None else method_tip(method)
    return f"<h3>{in_html(record.full_title)}</h3>{card}<table>{rows}</table>"


def _rows(record: Record) -> list[tuple[str, str]]:
    """Return what was asked, as pairs of what it is and what it was."""
    network, image = record.network, record.image
    regions = {target.region or "" for target in record.targets}
    scores = {target.score_in_words for target in record.targets if target.score}
    method = methods.get(record.method)
    options = []
    for name, value in (record.options or {}).items():
        option = None if method is None else method.options.get(name)
        title = name.replace("_", " ") if option is None else option.title
        words = str(value) if option is None else option.words.get(str(value), str(value))
        options.append(f"{title}: {words}")
    return [
        ("Network", "" if network is None else _network_in_words(network.name, network.digest)),
        ("Image", "" if image is None else " × ".join(map(str, image.shape))),
        ("Classes", ", ".join(target.class_ for target in record.targets)),
        ("Region", ", ".join(sorted(filter(None, regions)))),
        ("Score", ", ".join(sorted(scores))),
        ("Layers", ", ".join(record.layers)),
        ("Options", "; ".join(options)),
        ("Notes", "; ".join(record.notes)),
        ("Made with", ", ".join(f"{n} {v}" for n, v in (record.versions or {}).items())),
    ]


def _network_in_words(name: str, digest: str | None) -> str:
    return f"{name}, weights {digest[:12]}" if digest else name


def show_card(parent: QWidget, layer: Any) -> QDialog:
    """Show how a layer's map was made, in a window beside; return the window."""
    dialog = QDialog(parent)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.setWindowTitle(f"How “{on_line(layer.name)}” was made")
    text = QTextBrowser()
    text.setHtml(card_of(layer.metadata))
    text.setAccessibleName("How the map was made")
    buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
    buttons.rejected.connect(dialog.reject)
    layout = QVBoxLayout(dialog)
    layout.addWidget(text)
    layout.addWidget(buttons)
    dialog.resize(_WIDTH, _HEIGHT)
    dialog.show()
    return dialog
