"""Opening a network from a file: which file, what builds it, and whether its code may run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QDialog, QFileDialog, QWidget

from napari_neuroscope.engine.errors import NeuroscopeError, first_line
from napari_neuroscope.engine.files.code.trust import TrustStore, UntrustedError
from napari_neuroscope.engine.files.reading.plain_data import PlainDataError, parse_yaml
from napari_neuroscope.engine.frameworks.registry import suffixes
from napari_neuroscope.engine.plain_text import visible
from napari_neuroscope.widgets.parts.dialogs.question_box import ask_for_text
from napari_neuroscope.widgets.parts.dialogs.trust_dialog import TrustDialog
from napari_neuroscope.widgets.parts.notices import tell_error


def ask_for_file(parent: QWidget) -> Path | None:
    """Ask for the file of a network; None where the user thinks better of it."""
    patterns = " ".join(f"*{suffix}" for suffix in suffixes())
    chosen, _ = QFileDialog.getOpenFileName(
        parent, "Open network", "", f"Networks ({patterns});;All files (*)"
    )
    return Path(chosen) if chosen else None


def ask_for_factory(parent: QWidget, path: Path) -> tuple[str, dict[str, Any]] | None:
    """Ask what builds the network whose weights a file holds: its factory and arguments.

    Raises
    ------
    NeuroscopeError
        Where the arguments can't be read.
    """
    text = ask_for_text(
        parent,
        "What builds this network?",
        f"{path.name} holds weights alone. Which function or class of an installed package, or of "
        f"a script beside it, builds the network?\nSuch as  package.module:UNet  or  ./unet.py:UNet "
        f"{{classes: 3}}",
    )
    if not text:
        return None
    name, _, arguments = text.partition(" ")
    try:
        given = parse_yaml(arguments) if arguments.strip() else {}
    except PlainDataError:
        given = None
    if not isinstance(given, dict):
        raise NeuroscopeError(
            f"The arguments “{arguments.strip():.80}” can't be read; write them as "
            f"{{name: value, name: value}}."
        )
    return name, given


def ask_for_trust(parent: QWidget, refusal: UntrustedError) -> bool:
    """Show what a file would run, and ask whether it may; remember a yes by the file's hash."""
    if TrustDialog(parent, refusal).exec() != QDialog.DialogCode.Accepted:
        return False
    try:
        TrustStore().add(refusal.sha256, visible(refusal.path.name, 200))
    except (NeuroscopeError, OSError) as error:
        tell_error(f"That you trust “{refusal.path.name}” can't be remembered: {first_line(error)}")
        return False
    return True
