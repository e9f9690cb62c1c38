"""The inspector's form: what can be chosen, laid out."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QCheckBox, QFormLayout, QVBoxLayout, QWidget

from napari_neuroscope.engine.methods.interface import Needs
from napari_neuroscope.session.network_summary import NetworkSummary
from napari_neuroscope.widgets.inspector.answer_view import AnswerView
from napari_neuroscope.widgets.inspector.canvas.legend import LegendBox
from napari_neuroscope.widgets.inspector.canvas.prediction_button import PredictionButton
from napari_neuroscope.widgets.inspector.fields.extent_form import ExtentForm
from napari_neuroscope.widgets.inspector.fields.image_choice import ImageChoice
from napari_neuroscope.widgets.inspector.fields.layer_and_class_lists import ClassList, LayerList
from napari_neuroscope.widgets.inspector.fields.method_choice import MethodChoice
from napari_neuroscope.widgets.inspector.fields.network_choice import NetworkChoice
from napari_neuroscope.widgets.inspector.fields.planes_form import PlanesForm
from napari_neuroscope.widgets.inspector.fields.target_form import TargetForm
from napari_neuroscope.widgets.parts.dock import Dock
from napari_neuroscope.widgets.parts.form import button, row, scrolled
from napari_neuroscope.widgets.parts.jobs.long_work import CostNote, TimeLeft
from napari_neuroscope.widgets.parts.labels import note
from napari_neuroscope.widgets.parts.progress import JobProgress


class InspectorForm(QWidget):
    """The fields of an inspector, each of which follows and changes the session.

    Parameters
    ----------
    dock, viewer
        The dock that it is in, and its viewer.
    ask_tool, map_actions
        What is placed below the buttons.
    answers
        What came of a question.

    Attributes
    ----------
    least_width
        So wide the dock has to be, its margins with it.
    """

    def __init__(
        self,
        dock: Dock,
        viewer: Any,
        *,
        ask_tool: QWidget,
        map_actions: QWidget,
        answers: AnswerView,
    ) -> None:
        super().__init__()
        session = self._session = dock.session
        # What the lists were filled for.
        self._needs_listed = Needs.NOTHING
        self.networks = NetworkChoice(session, answers.fail)
        self.image = ImageChoice(viewer, session, dock.follow)
        self.extent = ExtentForm(viewer, session)
        self.planes = PlanesForm(viewer, session)
        self.method = MethodChoice(viewer, session)
        self.layers = LayerList(session)
        self.classes = ClassList(session)
        self.target = TargetForm(viewer, session)
        self.live = QCheckBox("Update as I choose")
        self.live.setToolTip("Explain anew after each change, with the latest choice first.")
        self.live.setChecked(session.live)
        self.live.toggled.connect(lambda on: setattr(session, "live", on))
        self.legend = LegendBox(dock, viewer)
        self.cost_note = CostNote()
        self.explain_button = button("Explain")
        self.explain_button.setDefault(True)
        self.cancel_button = button("Cancel")
        self.keep_button = button(
            "Keep map",
            "Leave the maps shown so far as they are: the next explanation makes new layers instead "
            "of changing these.",
        )
        self.prediction_button = PredictionButton(dock, viewer, answers)
        self.reason = note()
        self._reveal = QTimer(self)
        self._reveal.setSingleShot(True)
        # Unfolding takes 0.3 s.
        self._reveal.setInterval(350)
        self.progress = JobProgress(
            lambda: dock.jobs.busy, self.cancel_button, words=_WordsOfProgress()
        )
        self.progress.follow(dock.jobs)
        fields = self._fields()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        scroll = scrolled(fields)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        # What unfolds below the edge is scrolled to, once it is laid out.
        self.target.toggled.connect(lambda is_open: is_open and self._reveal.start())
        self._reveal.timeout.connect(lambda: scroll.ensureWidgetVisible(self.target))
        layout.addWidget(scroll, 1)
        layout.addLayout(row(self.live, self.legend))
        layout.addWidget(self.cost_note)
        layout.addLayout(
            row(self.explain_button, self.cancel_button, self.keep_button, self.prediction_button)
        )
        for widget in (map_actions, ask_tool, self.reason, self.progress, dock.message):
            layout.addWidget(widget)
        # The scrolled column never scrolls sideways, so the dock is as wide as it needs.
        self.least_width = max(340, fields.minimumSizeHint().width() + 28)

    def _fields(self) -> QWidget:
        top = QFormLayout()
        top.setContentsMargins(0, 0, 0, 0)
        top.addRow("Network", self.networks)
        top.addRow("", self.networks.note)
        top.addRow("", self.networks.trust_button)
        top.addRow("Image", self.image)
        top.addRow("Extent", self.extent)
        top.addRow(self.planes.title, self.planes)
        top.addRow("", self.image.size_note)
        top.addRow("Method", self.method.box)
        top.addRow("", self.method.note)
        fields = QWidget()
        column = QVBoxLayout(fields)
        column.addLayout(top)
        column.addWidget(self.method.options_area)
        column.addWidget(self.layers.title)
        column.addWidget(self.layers, 3)
        column.addWidget(self.classes.title)
        column.addWidget(self.classes.every)
        column.addWidget(self.target.region_row)
        column.addWidget(self.classes, 2)
        column.addWidget(self.target)
        return fields

    # --- what the method needs ---

    def list_layers(self) -> None:
        """Offer what the chosen method needs: layers, classes and a target, or none of these."""
        method = self._session.chosen_method()
        needs = self._needs_listed = method.needs_with(self._session.options)
        for widget in (self.layers.title, self.layers):
            widget.setVisible(Needs.LAYER in needs)
        # Score maps of segmentations need a class, fusion maps take those that are chosen.
        has_classes = (
            bool(method.needs & Needs.TARGET)
            or "classes" in method.options
            or "rank" in method.options
        )
        for part in (self.classes.title, self.classes, self.target):
            part.setVisible(has_classes)
        self.classes.join("classes" in method.options and Needs.TARGET not in needs)
        # A classifier answers once for the whole image.
        network = self._session.network
        is_classifier = network is not None and network.spec.task != "segmentation"
        self.target.region_row.setVisible(Needs.TARGET in needs and not is_classifier)
        if self._session.network is not None:
            self.layers.list_layers(self._session.network.layers, needs)

    def follow_options(self) -> None:
        """Offer layers anew where an option has come to ask for a layer, or for none."""
        if self._needs_listed != self._session.chosen_method().needs_with(self._session.options):
            self.list_layers()

    # --- which network ---

    def clear(self) -> None:
        """Offer nothing of a network: another one is yet to be looked at."""
        self.layers.set_rows([])
        self.classes.set_rows([])
        self.networks.clear()

    def show_network(self, summary: NetworkSummary) -> None:
        """Offer the methods, layers and classes of a network that was looked at."""
        network = summary.network
        self.networks.describe(network)
        self.method.mark_for(summary.digests)
        self.target.allow_regions(network.spec.task == "segmentation")
        self.list_layers()
        self.layers.choose_first(network.layers)
        self.classes.list_classes(summary)
        self.method.suggest_batch()

    # --- whether it can be explained ---

    def tell(self, problem: str | None) -> bool:
        """Say why nothing can be explained yet, and how long it takes where it can.

        Return whether it is so much that it begins only when it is asked for.
        """
        self.explain_button.setEnabled(problem is None)
        self.reason.setText(problem or "")
        self.reason.setVisible(bool(problem))
        self.image.tell_size()
        is_costly = self.cost_note.tell(self._session)
        return self.extent.refresh() or is_costly


class _WordsOfProgress:
    """Says what is done, how far it is, and about how long it still takes."""

    def __init__(self) -> None:
        self._time_left = TimeLeft()

    def __call__(self, done: int, total: int, what: str) -> str:
        words = f"{what}  %p%" if total and "%" not in what else what
        left = self._time_left(done, total, what)
        return f"{words} · {left} left" if left else words
