"""The inspector's choice of a network: of those offered, or of a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QWidget
from superqt.utils import signals_blocked

from napari_neuroscope.engine.errors import FactoryNeededError, NeuroscopeError
from napari_neuroscope.engine.files.code.trust import UntrustedError
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.spec.inference import unsaid
from napari_neuroscope.session.session import Session
from napari_neuroscope.widgets.parts.boxes import narrow
from napari_neuroscope.widgets.parts.form import button
from napari_neuroscope.widgets.parts.labels import note
from napari_neuroscope.widgets.parts.open_network import (
    ask_for_factory,
    ask_for_file,
    ask_for_trust,
)
from napari_neuroscope.widgets.parts.sentences import for_the_window

_NONE = "Choose a network…"


class NetworkChoice(QWidget):
    """Chooses a network by its title, opens files, and says what the chosen network is.

    Parameters
    ----------
    session
        The dock's.
    fail
        Shows what went wrong.

    Attributes
    ----------
    note, trust_button
        To be placed below.
    changed
        Another network is chosen, or the same file is to be opened anew.
    """

    changed = Signal()

    def __init__(self, session: Session, fail: Callable[[Exception], None]) -> None:
        super().__init__()
        self._session, self._fail = session, fail
        # The title of the file that was opened last, and what it was opened with.
        self._opened: tuple[str, Path, str | None, dict[str, Any] | None] | None = None
        self.box = narrow(QComboBox())
        self.box.setAccessibleName("Network")
        # Two buttons stand beside it, and the dock is to be narrow.
        self.box.setMinimumContentsLength(1)
        self.box.currentIndexChanged.connect(lambda *_: self.changed.emit())
        self.open_button = button(
            "Open…", "Open the network of a file. Nothing in it runs unasked.", self._ask_for_file
        )
        self.options_button = button(
            "Options…", "What the network expects of an image, and what its answers mean."
        )
        self.note = note()
        self.trust_button = button(
            "Trust it to see more…", "Shows what the file would run, and asks.", self._trust_more
        )
        self.trust_button.setVisible(False)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.box, 1)
        row.addWidget(self.open_button)
        row.addWidget(self.options_button)

    # --- which network ---

    @property
    def title(self) -> str:
        """The title of the chosen network; "" where none is chosen."""
        return self.box.currentText() if self.box.currentIndex() > 0 else ""

    def choose(self, title: str) -> None:
        """Choose one of the networks that are offered."""
        self.box.setCurrentText(title)

    def choose_silently(self, title: str) -> None:
        """Choose a network, or none for "", of which nobody needs to be told."""
        with signals_blocked(self.box):
            self.box.setCurrentText(title or _NONE)

    def add_network(self, network: Network) -> None:
        """Offer a network that exists in memory, and choose it."""
        title = self._session.add_network(network)
        self.list_networks()
        self.choose(title)

    def open_file(
        self, path: Path, factory: str | None = None, arguments: dict[str, Any] | None = None
    ) -> None:
        """Offer the network of a file, and choose it."""
        title = self._session.add_file(path, factory, arguments)
        self._opened = (title, path, factory, arguments)
        self.list_networks()
        if self.title == title:
            self.changed.emit()
        self.choose(title)

    def list_networks(self, *_: Any) -> None:
        """Offer the networks of the session."""
        chosen = self.box.currentText() or self._session.title()
        with signals_blocked(self.box):
            self.box.clear()
            self.box.addItem(_NONE)
            self.box.addItems(list(self._session.networks))
            self.box.setCurrentText(chosen or _NONE)

    # --- what is asked before a file is opened ---

    def _ask_for_file(self) -> None:
        path = ask_for_file(self)
        if path is not None:
            self.open_file(path)

    def ask_more(self, error: Exception) -> bool:
        """Ask what opening a file still needs, and open it again; whether that was done."""
        if self._opened is None or self.box.currentText() != self._opened[0]:
            return False
        _, path, factory, arguments = self._opened
        if isinstance(error, UntrustedError) and ask_for_trust(self, error):
            self.open_file(path, factory, arguments)
            return True
        if isinstance(error, FactoryNeededError):
            try:
                answer = ask_for_factory(self, path)
            except NeuroscopeError as mistake:
                self._fail(mistake)
                return False
            if answer is not None:
                self.open_file(path, *answer)
                return True
        return False

    def _trust_more(self) -> None:
        """Ask whether code in the package may run, and open its best weights if so."""
        network = self._session.network
        if network is None or network.published is None or network.published.untrusted is None:
            return
        if ask_for_trust(self, network.published.untrusted):
            self.open_file(network.published.path)

    # --- what is said of it ---

    def clear(self) -> None:
        """Say nothing of a network."""
        self.note.setText("")
        self.trust_button.setVisible(False)

    def describe(self, network: Network) -> None:
        """Say what a network is."""
        parameters = sum(n.parameters for n in network.layers.values() if n.kind != "block")
        words = (
            f"{network.spec.task}, {len(network.class_names)} classes, {parameters:,} parameters, "
            f"on {network.device}"
        )
        if left := unsaid(network.stated, network.spec):
            words += f"\nStill to say under Options…: {', '.join(left.values())}."
        if (choice := network.output_choice) is not None and choice.is_of_several:
            said = choice.in_words()
            words += f"\n{said[0].upper()}{said[1:]}."
        published = network.published
        if published is not None and published.notes:
            words += f"\nThe package: {for_the_window('; '.join(published.notes))}."
        self.note.setText(words)
        self.trust_button.setVisible(published is not None and published.untrusted is not None)
