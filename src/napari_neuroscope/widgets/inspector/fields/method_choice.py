"""The inspector's choice of a method, and of its options."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from magicgui.widgets import Container, Widget
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.state.randomisation_warnings import FailedChecks
from napari_neuroscope.viewer.state.viewer_state import state_of
from napari_neuroscope.widgets.parts.labels import note
from napari_neuroscope.widgets.parts.method_box import MethodBox
from napari_neuroscope.widgets.parts.pickers import options_widget
from napari_neuroscope.widgets.parts.window.wheel_guard import guard_from_wheel


class MethodChoice(QObject):
    """Chooses a session's method and options.

    Attributes
    ----------
    box, note, options_area
        The method, what it is, and its options: to be placed one below the other.
    options
        The widget of the options.
    digests
        Those of the network and the image that warnings are about.
    doubts
        What was found out about maps that say little.
    changed
        Another method is chosen.
    """

    changed = Signal()

    def __init__(self, viewer: Any, session: Session) -> None:
        super().__init__()
        self._session = session
        self._suggested_batch = 0
        self.doubts = state_of(viewer, FailedChecks)
        self.digests = ("", "")
        self.box = MethodBox()
        self.box.choose(session.method)
        self.box.currentIndexChanged.connect(self.take_method)
        self.note = note()
        self.options: Container[Widget] = Container()
        self.options_area = QWidget()
        self._options_layout = QVBoxLayout(self.options_area)
        self._options_layout.setContentsMargins(0, 0, 0, 0)

    def choose(self, name: str) -> None:
        """Choose a method by its name."""
        self.box.choose(name)

    def choose_options(self, options: Mapping[str, Any]) -> None:
        """Choose these of the method's own options, as far as they can be chosen here."""
        for name, value in options.items():
            if name in self._session.options and self._session.options[name] != value:
                # What another method knows under the same name may be no value of this one.
                with contextlib.suppress(ValueError, TypeError):
                    widget: Any = self.options[name]
                    widget.value = value

    def take_method(self, *_: Any) -> None:
        """Take over the method that the box says, with the options that it has by default."""
        name = self.box.currentData()
        method = methods[name]
        while self._options_layout.count():
            item = self._options_layout.takeAt(0)
            if item is not None and (old := item.widget()) is not None:
                old.deleteLater()
        options: dict[str, Any] = {}
        if method.options:
            self.options = options_widget(method, self._take_options)
            if len(self.options):
                options = self.options.asdict()
                self._options_layout.addWidget(self.options.native)
                guard_from_wheel(self.options.native)
        self.note.setText(method.summary)
        self.box.tell_tip()
        # Whoever follows never sees a method with the options of another.
        self._session.options = {}
        self._session.method = name
        self._session.options = options
        self.suggest_batch()
        self.changed.emit()

    def _take_options(self, options: dict[str, Any]) -> None:
        self._session.options = options

    def suggest_batch(self) -> None:
        """Make batches that are over soon, unless the user has said how large they are."""
        summary, options = self._session.network_summary, self._session.options
        if summary is None or summary.pace is None or "batch" not in options:
            return
        default = self._session.chosen_method().options["batch"].default
        if options["batch"] in (default, self._suggested_batch):
            self._suggested_batch = summary.pace.batch
            self.choose_options({"batch": summary.pace.batch})

    # --- what can be chosen ---

    def mark(self, *_: Any) -> None:
        """Grey out the methods that the network can't be explained by, and warn of some."""
        network = self._session.network
        self.box.mark(
            lambda method: network.why_not(method) if network is not None else None,
            lambda method: self.doubts.about_method(*self.digests, method.name),
        )

    def mark_for(self, digests: tuple[str, str]) -> None:
        """Warn of the methods that say little of a network and an image, by their digests."""
        # A live update is of the same two mostly, and the list is marked already.
        if digests != self.digests:
            self.digests = digests
            self.mark()
