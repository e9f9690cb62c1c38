"""Words and pictures in a dock: words of a file are plain text, whatever stands in them."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QLabel

from napari_neuroscope.engine.errors import shortened
from napari_neuroscope.engine.plain_text import visible

_MOST = 4000
_MOST_ON_LINE = 300
_MOST_IN_TOOLTIP = 2000
# A tooltip of a longer line would be as wide as the screen.
_LONGEST_LINE = 120
# A word with no place to break it would make its dock as wide as itself.
_UNBREAKABLE = re.compile(r"[^\s/\\\-\u200b]{40}")
_BREAK = "\u200b"
# To be read on dark and on light.
_LINK = "#3f8fe0"


class PlainLabel(QLabel):
    """A label whose text is never taken for HTML, shows what is hidden in it, and is not endless."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self._text = ""
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setText(text)

    def setText(self, text: str | None) -> None:
        """Show a text, line by line."""
        self._text = in_lines(text or "")
        super().setText(_UNBREAKABLE.sub(rf"\g<0>{_BREAK}", self._text))

    def text(self) -> str:
        """Return what is shown."""
        return self._text

    def clear(self) -> None:
        """Show nothing."""
        self.setText("")


class LinkLabel(QLabel):
    """A label with a link that a click opens in the browser."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setOpenExternalLinks(True)

    def show_link(self, words: str, link: str) -> None:
        """Show words before a link to a page; what is no page's address is shown as plain text."""
        shown = in_html(link)
        if link.startswith(("http://", "https://")):
            href = html.escape(visible(link))
            shown = f'<a href="{href}" style="color: {_LINK}">{shown}</a>'
        self.setText(f"{in_html(words)} {shown}")


class HeadedLabel(QLabel):
    """A label with a heading in bold above lines of text."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

    def show_lines(self, heading: str, lines: Iterable[str]) -> None:
        """Show a heading and lines, as they stand."""
        self.setText("<br>".join([f"<b>{in_html(heading)}</b>", *map(in_html, lines)]))


def note(*, selectable: bool = False) -> PlainLabel:
    """Return a label for sentences, whose text can be selected where it is worth copying."""
    label = PlainLabel()
    label.setWordWrap(True)
    if selectable:
        label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def in_lines(text: str, most: int = _MOST) -> str:
    """Return a text of several lines, of at most so many characters, its hidden ones escaped."""
    if len(text) > most:
        text = text[: most - 1] + "…"
    return "\n".join(map(visible, text.split("\n")))


def on_line(text: str) -> str:
    """Return a text for one line, such as an entry of a list or a table."""
    return visible(text, _MOST_ON_LINE)


def on_button(text: str) -> str:
    """Return a text for a button, where a lone & would be taken for a shortcut."""
    return on_line(text).replace("&", "&&")


def in_html(text: str) -> str:
    """Return a text as HTML that shows it as it stands."""
    return html.escape(in_lines(text), quote=False).replace("\n", "<br>")


def plain_tooltip(text: str) -> str:
    """Return a text as a tooltip, which Qt takes for HTML where it looks like that."""
    text = in_lines(text, _MOST_IN_TOOLTIP)
    is_wide = any(len(line) > _LONGEST_LINE for line in text.split("\n"))
    return f"<qt>{in_html(text)}</qt>" if is_wide or "<" in text or "&" in text else text


def headed_tooltip(heading: str, kind: str, lines: Iterable[str]) -> str:
    """Return a tooltip of lines below a heading in bold, with its kind beside it."""
    title = f"<b>{in_html(shortened(heading, 300))}</b> · {in_html(kind)}"
    return f"<qt>{'<br>'.join([title, *(in_html(shortened(line, 1000)) for line in lines)])}</qt>"


def plain_notice(text: str) -> str:
    """Return a text for napari's notifications, which are taken for HTML where they look like that.

    They show escapes as they stand, so an unseen space takes the look of a tag away.
    """
    return re.sub("[<&]", rf"\g<0>{_BREAK}", in_lines(text))


def file_name(text: str) -> str:
    """Return a text as a part of the name that is offered for a file."""
    return "".join(c if c.isalnum() or c == "-" else "_" for c in text[:80])


def pixmap(picture: np.ndarray) -> QPixmap:
    """Return a picture, uint8 (y, x, 3) or with opacity (y, x, 4), for Qt."""
    height, width, channels = picture.shape
    kind = QImage.Format.Format_RGB888 if channels == 3 else QImage.Format.Format_RGBA8888
    image = QImage(picture.tobytes(), width, height, channels * width, kind)
    # Qt does not keep the bytes.
    return QPixmap.fromImage(image.copy())
