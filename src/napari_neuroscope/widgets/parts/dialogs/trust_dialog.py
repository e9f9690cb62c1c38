"""The question whether a file's code may run, which no word of the file can change the look of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QFontDatabase, QGuiApplication, QTextOption
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLineEdit,
    QPlainTextEdit,
    QStyle,
    QVBoxLayout,
    QWidget,
)

from napari_neuroscope.engine.files.code.trust import UntrustedError
from napari_neuroscope.engine.plain_text import visible
from napari_neuroscope.widgets.parts.labels import PlainLabel

_WIDTH = 760
# So many letters of a path are on a line at least.
_PATH_ON_LINE = 75
_MOST = 4000
# What comes last may be what matters, so of a long text both ends are shown.
_HEAD, _TAIL = 3000, 1000
# Many spaces would push what follows them out of sight.
_GAP = re.compile(r"[\s\u2800\u115f\u1160\u3164\uffa0]{4,}")
_ADVICE = (
    "Trust it only if you know where it comes from: what it runs can do all that you can do on "
    "this computer. A yes is remembered for this very content."
)


class TrustDialog(QDialog):
    """Shows which file it is and what it would run, as plain text in boxes of bounded size.

    Parameters
    ----------
    parent
        The window's part that asks.
    refusal
        What is asked about.
    """

    def __init__(self, parent: QWidget | None, refusal: UntrustedError) -> None:
        super().__init__(parent)
        self.setObjectName("neuroscope-trust")
        self.setWindowTitle("Trust this file?")
        heading = PlainLabel("This file would run code of its own on this computer.")
        font = heading.font()
        font.setBold(True)
        font.setPointSizeF(font.pointSizeF() * 1.2)
        heading.setFont(font)
        heading.setWordWrap(True)
        advice = PlainLabel(_ADVICE)
        advice.setWordWrap(True)
        told = PlainLabel("It would run (in the words of the file, which may lie):")
        self.words = _box("What it would run", bounded(refusal.would_run), lines=8)
        path = visible(str(refusal.path))
        self.path = _box("File", path, lines=min(-(-len(path) // _PATH_ON_LINE), 6))
        self.sha256 = QLineEdit(visible(refusal.sha256, 128))
        self.sha256.setReadOnly(True)
        self.sha256.setAccessibleName("SHA-256")
        self.sha256.setFont(_monospaced())
        self.sha256.setCursorPosition(0)
        of_file = QFormLayout()
        of_file.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        of_file.addRow(PlainLabel("Name"), _bold(visible(Path(refusal.path).name, 120)))
        of_file.addRow(PlainLabel("File"), self.path)
        of_file.addRow(PlainLabel("SHA-256"), self.sha256)
        buttons = QDialogButtonBox()
        self.trust = buttons.addButton("Trust this file", QDialogButtonBox.ButtonRole.AcceptRole)
        self.cancel = buttons.addButton(QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        for part in (heading, advice):
            layout.addWidget(part)
        layout.addLayout(of_file)
        for widget in (told, self.words, buttons):
            layout.addWidget(widget)
        self._prefer_cancel()
        self.setFixedWidth(_fitting_width())

    def _prefer_cancel(self) -> None:
        """Let Enter, Escape and a closed window say no."""
        assert self.trust is not None
        assert self.cancel is not None
        self.trust.setAutoDefault(False)
        self.trust.setDefault(False)
        self.cancel.setAutoDefault(True)
        self.cancel.setDefault(True)
        self.cancel.setFocus()
        style = self.style()
        if style is not None:
            icon = style.standardIcon(QStyle.StandardPixmap.SP_MessageBoxWarning)
            self.setWindowIcon(icon)


def bounded(text: str) -> str:
    """Return words of a file as one run of plain text, of which nothing is unseen or endless."""
    left = len(text) - _HEAD - _TAIL
    if len(text) <= _MOST:
        return _compact(text)
    return (
        f"{_compact(text[:_HEAD])}\n[… {left:,} characters are left out here …]\n"
        f"{_compact(text[-_TAIL:])}"
    )


def _compact(text: str) -> str:
    return visible(_GAP.sub(lambda gap: f" [{len(gap[0]):,} spaces] ", text))


def _bold(text: str) -> PlainLabel:
    label = PlainLabel(text)
    label.setWordWrap(True)
    font = label.font()
    font.setBold(True)
    label.setFont(font)
    return label


def _box(name: str, text: str, *, lines: int) -> QPlainTextEdit:
    """Return a box of so many lines, in which the rest is scrolled to."""
    box = QPlainTextEdit()
    box.setReadOnly(True)
    box.setAccessibleName(name)
    box.setFont(_monospaced())
    # The theme leaves such a box without an edge, so its words would seem to be the dialog's.
    box.setStyleSheet("QPlainTextEdit { border: 1px solid #808080; }")
    box.setWordWrapMode(QTextOption.WrapMode.WrapAnywhere)
    box.setTabChangesFocus(True)
    box.setPlainText(text)
    frame: Any = box.document()
    height = box.fontMetrics().lineSpacing() * lines + 2 * int(frame.documentMargin()) + 8
    box.setFixedHeight(height)
    box.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
    return box


def _monospaced() -> Any:
    return QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)


def _fitting_width() -> int:
    screen = QGuiApplication.primaryScreen()
    return _WIDTH if screen is None else min(_WIDTH, screen.availableGeometry().width() - 40)
