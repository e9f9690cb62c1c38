"""Opening a network from a file: which file, what builds it, and whether its code may run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from qtpy.QtWidgets import QFileDialog, QInputDialog, QMessageBox, QWidget

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.files.trust import TrustStore, UntrustedError
from napari_neuroscope.engine.frameworks.base import suffixes


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
    text, agreed = QInputDialog.getText(
        parent,
        "What builds this network?",
        f"{path.name} holds weights alone. Which function or class of an installed package builds "
        f"the network?\nSuch as  package.module:UNet  or  package.module:UNet {{classes: 3}}",
    )
    if not agreed or not text.strip():
        return None
    name, _, arguments = text.strip().partition(" ")
    try:
        given = yaml.safe_load(arguments) if arguments.strip() else {}
    except yaml.YAMLError:
        given = None
    if not isinstance(given, dict):
        raise NeuroscopeError(
            f"The arguments “{arguments.strip():.80}” can't be read; write them as "
            f"{{name: value, name: value}}."
        )
    return name, given


def ask_for_trust(parent: QWidget, refusal: UntrustedError) -> bool:
    """Show what a file would run, and ask whether it may; remember a yes by the file's hash."""
    box = QMessageBox(parent)
    box.setIcon(QMessageBox.Icon.Warning)
    box.setWindowTitle("Trust this file?")
    box.setText(f"“{refusal.path.name}” would run code of its own on this computer.")
    box.setInformativeText(
        f"It would run: {refusal.would_run}.\n\nFile: {refusal.path}\nSHA-256: {refusal.sha256}\n\n"
        f"Trust it only if you know where it comes from. A yes is remembered for this very content."
    )
    yes = box.addButton("Trust this file", QMessageBox.ButtonRole.AcceptRole)
    no = box.addButton(QMessageBox.StandardButton.Cancel)
    box.setDefaultButton(no)
    box.exec()
    if box.clickedButton() is not yes:
        return False
    TrustStore().add(refusal.sha256, refusal.path.name)
    return True
