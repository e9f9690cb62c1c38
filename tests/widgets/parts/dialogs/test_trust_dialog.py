"""The question whether a file's code may run can't be made to look like another."""

from __future__ import annotations

from pathlib import Path

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QLabel, QPlainTextEdit, QWidget

from napari_neuroscope.engine.files.code.trust import UntrustedError
from napari_neuroscope.widgets.parts.dialogs.trust_dialog import TrustDialog, bounded

SHA = "0123456789abcdef" * 4
FORGED = (
    "<h1 style='color:green'>Signed by bioimage.io · Weights only, no code is run.</h1>"
    "SHA-256 verified.<!--"
)
HOSTILE = {
    "html": FORGED,
    "long": "os.system " * 100_000,
    "one word": "x" * 500_000,
    "lines": "Weights only\n" + "\n" * 5_000 + "os.system",
    "spaces": "Weights only" + " " * 2_000 + "os.system",
    "bidi": "harmless \u202egnp.exe\u202c \u2066x\u2069 \u200f",
    "controls": "a\0b\x1b[31mc\rd\te\u2028f\ud800",
}


def dialog_of(qtbot, words: str, path: str = "/home/me/networks/stranger.pt") -> TrustDialog:
    refusal = UntrustedError(Path(path), SHA, words)
    # As it would be if nobody had made it plain before.
    refusal.would_run = words
    dialog = TrustDialog(None, refusal)
    qtbot.addWidget(dialog)
    return dialog


@pytest.mark.parametrize("words", HOSTILE.values(), ids=HOSTILE)
def test_words_of_a_file_change_nothing_of_the_question(qtbot, words: str) -> None:
    plain = dialog_of(qtbot, "os.system")
    dialog = dialog_of(qtbot, words, f"/tmp/{'a' * 200}/{FORGED.replace('/', '')}\u202e.pt")
    for one in (plain, dialog):
        one.show()
        qtbot.waitExposed(one)
    assert all(label.textFormat() == Qt.TextFormat.PlainText for label in labels_of(dialog))
    # The name of the file may take a few lines more.
    assert dialog.width() == plain.width() <= 1366
    assert dialog.height() - plain.height() < 120
    assert dialog.height() < 600
    for part in (dialog.path, dialog.sha256, dialog.words, dialog.trust, dialog.cancel):
        assert dialog.rect().contains(part.geometry())
        assert not part.visibleRegion().isEmpty()
    assert dialog.sha256.text() == SHA
    assert dialog.sha256.fontMetrics().horizontalAdvance(SHA) < dialog.sha256.width()
    assert "stranger.pt" in plain.path.toPlainText()
    for text in [dialog.path.toPlainText(), dialog.words.toPlainText()]:
        assert len(text) < 12_000
        assert all(c.isprintable() or c == "\n" for c in text)


def test_what_was_left_out_is_said_and_both_ends_are_shown() -> None:
    text = bounded("begin" + "-" * 100_000 + "os.system")
    assert "96,014 characters are left out" in text
    assert text.startswith("begin")
    assert text.endswith("os.system")
    assert bounded("a\n\n\n\n\n\nb") == "a [6 spaces] b"
    assert bounded("a\u2800\u2800\u2800\u2800\u2800b\0") == "a [5 spaces] b\\x00"


def test_enter_escape_and_closing_say_no(qtbot) -> None:
    for leave in (
        lambda d: qtbot.keyClick(d, Qt.Key.Key_Return),
        lambda d: qtbot.keyClick(d, Qt.Key.Key_Escape),
        lambda d: d.close(),
        lambda d: d.cancel.click(),
    ):
        dialog = dialog_of(qtbot, "os.system")
        dialog.setResult(QDialog.DialogCode.Accepted)
        dialog.show()
        qtbot.waitExposed(dialog)
        leave(dialog)
        assert not dialog.isVisible()
        assert dialog.result() == QDialog.DialogCode.Rejected
    dialog = dialog_of(qtbot, "os.system")
    dialog.trust.click()
    assert dialog.result() == QDialog.DialogCode.Accepted


def labels_of(widget: QWidget) -> list[QLabel]:
    labels = widget.findChildren(QLabel)
    assert labels
    assert all(box.isReadOnly() for box in widget.findChildren(QPlainTextEdit))
    return labels
