"""The inspector: a network, a layer, a class and a method become layers over the image."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
from qtpy.QtCore import Qt
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QStyle,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_neuroscope.engine.errors import FactoryNeededError, NeuroscopeError, in_digits
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.files.code.trust import UntrustedError
from napari_neuroscope.engine.methods.interface import Needs
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.spec.inference import unsaid
from napari_neuroscope.session.network_summary import NetworkSummary
from napari_neuroscope.session.question import Question
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.image.camera import camera_of
from napari_neuroscope.viewer.image.layer_regions import LayerRegion
from napari_neuroscope.viewer.image.pixel_size import size_note
from napari_neuroscope.viewer.image.shown_image import ShownImage
from napari_neuroscope.viewer.layers.layer_manager import LayerManager
from napari_neuroscope.viewer.layers.prediction_layers import prediction_data
from napari_neuroscope.viewer.state.layer_origin import remember
from napari_neuroscope.viewer.state.randomisation_warnings import FailedChecks, with_warning
from napari_neuroscope.viewer.state.viewer_state import state_of
from napari_neuroscope.widgets.inspector.ask_tool import AskTool
from napari_neuroscope.widgets.inspector.extent_form import Extent
from napari_neuroscope.widgets.inspector.recipe_menu import RecipeMenu
from napari_neuroscope.widgets.inspector.replay import Replay
from napari_neuroscope.widgets.inspector.slices_form import StackPart
from napari_neuroscope.widgets.inspector.target_form import TargetPart
from napari_neuroscope.widgets.parts.boxes import narrow, row_of
from napari_neuroscope.widgets.parts.dock import Dock
from napari_neuroscope.widgets.parts.jobs.long_work import CostNote, TimeLeft
from napari_neuroscope.widgets.parts.jobs.progressive_answer import Answer, ProgressiveAnswer
from napari_neuroscope.widgets.parts.jobs.soon import Soon
from napari_neuroscope.widgets.parts.labels import PlainLabel, note, on_line, plain_tooltip
from napari_neuroscope.widgets.parts.method_tips import method_tip
from napari_neuroscope.widgets.parts.notices import tell_error
from napari_neuroscope.widgets.parts.open_network import (
    ask_for_factory,
    ask_for_file,
    ask_for_trust,
)
from napari_neuroscope.widgets.parts.pickers import PickList, options_widget
from napari_neuroscope.widgets.parts.sentences import for_the_window, in_a_sentence

if TYPE_CHECKING:
    import napari.layers

_PATIENCE_MS = 200
_SETTLED_MS = 250
# Rendering takes one value along each line of sight, and the highest is never below zero.
_SIGNED_IN_3D = (
    "\nIn 3D the highest values are seen: the layer's rendering “minip” shows those that speak "
    "against the class."
)
_WARNING = QStyle.StandardPixmap.SP_MessageBoxWarning


class Inspector(Dock):
    """Asks what to explain, has it computed, and shows it over the image.

    Parameters
    ----------
    napari_viewer
        The viewer whose images are explained.
    session
        What is chosen; the viewer's, which its other docks share, if not given.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        self._layer_manager = self._make_layer_manager()
        self._refining = ProgressiveAnswer(
            self._viewer, self.jobs, self._layer_manager, self.cancel
        )
        self._inspected: tuple[Any, ...] = ()
        self._doubts = state_of(self._viewer, FailedChecks)
        self._digests = ("", "")
        self._listed = Needs.NOTHING
        self._trouble = ""
        self._suggested_batch = 0
        self._time_left = TimeLeft()
        self._replay = Replay(self, self._viewer, self._show, self._show_failure)
        self._opening: tuple[str, Path, str | None, dict[str, Any] | None] | None = None
        self._build()
        self._live.setChecked(self.session.live)
        self._connect()
        self._list_networks()
        self._list_images()
        self._mark_methods()
        self._choose_method()
        self._take_findings(self.session.network_summary)

    def _make_layer_manager(self) -> LayerManager:
        return LayerManager(self._viewer)

    # --- what it looks like ---

    def _build(self) -> None:
        self.setObjectName("neuroscope-inspector")
        self._network_box = narrow(QComboBox())
        self._network_box.setAccessibleName("Network")
        self._options_button = QPushButton("Options…")
        self._options_button.setToolTip(
            "What the network expects of an image, and what its answers mean."
        )
        self._open_button = QPushButton("Open…")
        self._open_button.setToolTip("Open the network of a file. Nothing in it runs unasked.")
        self._network_note = note()
        self._trust_button = QPushButton("Trust it to see more…")
        self._trust_button.setToolTip("Shows what the file would run, and asks.")
        self._trust_button.setVisible(False)
        self._image_box = narrow(QComboBox())
        self._image_box.setAccessibleName("Image")
        self._size_note = note()
        self.extent = Extent(self._viewer, self.session)
        self.slices = StackPart(self._viewer, self.session)
        self._method_box = narrow(QComboBox())
        self._method_box.setAccessibleName("Method")
        for name, method in methods.items():
            self._method_box.addItem(method.title, name)
        self._method_box.setCurrentIndex(self._method_box.findData(self.session.method))
        self._method_note = note()
        self._options = QWidget()
        self._options_layout = QVBoxLayout(self._options)
        self._options_layout.setContentsMargins(0, 0, 0, 0)

        self._layer_list = PickList(
            "layers",
            {
                "All": lambda values: values,
                "Blocks": self._blocks,
                "Last": lambda values: values[-1:],
            },
        )
        self._class_list = PickList(
            "classes",
            {
                "All": lambda values: values,
                "First": lambda values: values[:1],
            },
        )
        self._target_part = TargetPart(self._viewer, self.session)

        self._run = QPushButton("Explain")
        self._run.setDefault(True)
        self._cancel = QPushButton("Cancel")
        self._cancel.setEnabled(False)
        self._keep = QPushButton("Keep map")
        self._keep.setToolTip(
            "Leave the maps shown so far as they are: the next explanation "
            "makes new layers instead of changing these."
        )
        self._live = QCheckBox("Update as I choose")
        self._live.setToolTip("Explain anew after each change, with the latest choice first.")
        self.ask_tool = AskTool(
            self._viewer,
            self.session,
            self.jobs,
            self._layer_manager,
            self._refining,
            lambda: self.question(with_target=False),
            self._say,
            self._show_failure,
        )
        self.recipe_menu = RecipeMenu(
            self._viewer, self.session, self.open_recipe, self._say, self._show_failure
        )
        self._cost_note = CostNote()
        self._reason = note()
        self._progress = QProgressBar()
        self._progress.setTextVisible(True)
        self._progress.setVisible(False)
        self._answer = note(selectable=True)

        top = QFormLayout()
        top.setContentsMargins(0, 0, 0, 0)
        network_row = QHBoxLayout()
        network_row.addWidget(self._network_box, 1)
        network_row.addWidget(self._open_button)
        network_row.addWidget(self._options_button)
        top.addRow("Network", network_row)
        top.addRow("", self._network_note)
        top.addRow("", self._trust_button)
        top.addRow("Image", self._image_box)
        top.addRow("Extent", self.extent)
        top.addRow(self.slices.title, self.slices)
        top.addRow("", self._size_note)
        top.addRow("Method", self._method_box)
        top.addRow("", self._method_note)
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.addLayout(top)
        column.addWidget(self._options)
        stretch: dict[QWidget, int] = {self._layer_list: 3, self._class_list: 2}
        self._graph_button = QPushButton("Graph…")
        self._graph_button.setToolTip("See the network as a graph, and choose layers there.")
        self._layer_title = QWidget()
        title_row = QHBoxLayout(self._layer_title)
        title_row.setContentsMargins(0, 0, 0, 0)
        title_row.addWidget(PlainLabel("Layers"), 1)
        title_row.addWidget(self._graph_button)
        self._class_title = PlainLabel("Classes")
        for widget in (
            self._layer_title,
            self._layer_list,
            self._class_title,
            self._class_list,
            self._target_part,
        ):
            column.addWidget(widget, stretch.get(widget, 0))
        scroll = QScrollArea()
        scroll.setWidget(inside)
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setFrameShape(QScrollArea.Shape.NoFrame)

        buttons = QHBoxLayout()
        for button in (self._run, self._cancel, self._keep, self.recipe_menu):
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(scroll, 1)
        layout.addWidget(self._live)
        layout.addWidget(self._cost_note)
        layout.addLayout(buttons)
        layout.addWidget(self.ask_tool)
        for line in (self._reason, self._progress, self._answer):
            layout.addWidget(line)
        self._column = layout
        # The scrolled column never scrolls sideways, so the dock is as wide as it needs.
        self.setMinimumWidth(max(340, inside.minimumSizeHint().width() + 28))

    def _connect(self) -> None:
        self._network_box.currentIndexChanged.connect(self._choose_network)
        self._open_button.clicked.connect(self._open_file)
        self._options_button.clicked.connect(lambda: self._open_dock("Model options"))
        self._graph_button.clicked.connect(lambda: self._open_dock("Architecture"))
        self._trust_button.clicked.connect(self._trust_more)
        self._image_box.currentIndexChanged.connect(self._choose_image)
        self._method_box.currentIndexChanged.connect(self._choose_method)
        self._layer_list.changed.connect(lambda names: setattr(self.session, "layers", names))
        self._class_list.changed.connect(lambda found: setattr(self.session, "classes", found))
        self._target_part.edited.connect(self._changed)
        self.slices.changed.connect(self._changed)
        self._live.toggled.connect(lambda on: setattr(self.session, "live", on))
        self._run.clicked.connect(self.explain)
        self._cancel.clicked.connect(self.cancel)
        self._keep.clicked.connect(self._keep_maps)

        self._soon = Soon(self._explain_if_live, self.jobs, _PATIENCE_MS)
        self.at_end(weakref.WeakMethod(self._soon.cancel))
        events = self.session.events
        self.follow(events.networks, self._list_networks)
        self.follow(events.network_summary, self._take_findings)
        self.follow(events.image, self._take_image)
        self.follow(events.network, self._mark_methods)
        self.follow(self._doubts.changed, self._mark_methods)
        self.follow(events.layers, self._take_layers)
        for signal in (events.network, events.method, events.options, events.layers,
                       events.classes, events.region, events.labels, events.score, events.extent,
                       events.live):  # fmt: skip
            self.follow(signal, self._changed)

        self.jobs.started.connect(self._show_start)
        self.jobs.progressed.connect(self._show_progress)
        self.jobs.idle.connect(self._show_idle)

        layers = self._viewer.layers.events
        for event in (layers.inserted, layers.removed, layers.reordered):
            self.follow(event, self._list_images)
        self.follow(layers.removed, self._refining.stop_if_removed)
        self.follow(self._viewer.dims.events.current_step, self._plane_changed)
        # A move of the camera is many events, and what is in view is explained where it ends.
        self._view_settled = self.debounced(self._view_changed, _SETTLED_MS)
        camera = camera_of(self._viewer).events
        for event in (camera.center, camera.zoom):
            self.follow(event, self._view_changes)
        self.at_end(self._layer_manager.close)
        for part in (self._target_part, self.ask_tool, self.recipe_menu):
            self.at_end(weakref.WeakMethod(part.close_work))

    # --- what is chosen ---

    def add_network(self, network: Network) -> None:
        """Offer a network that exists in memory, such as one made in the console, and choose it."""
        title = self.session.add_network(network)
        self._list_networks()
        self._network_box.setCurrentText(title)

    def open_file(
        self, path: Path, factory: str | None = None, arguments: dict[str, Any] | None = None
    ) -> None:
        """Offer the network of a file, and choose it."""
        title = self.session.add_file(path, factory, arguments)
        self._opening = (title, path, factory, arguments)
        self._list_networks()
        if self._network_box.currentText() == title:
            self._choose_network()
        self._network_box.setCurrentText(title)

    def open_recipe(self, path: Path) -> None:
        """Explain the current image as the recipe in a file says, and choose what it says."""
        self._replay.open(path)

    def _open_file(self) -> None:
        path = ask_for_file(self)
        if path is not None:
            self.open_file(path)

    def _open_dock(self, name: str) -> None:
        dock, _ = self._viewer.window.add_plugin_dock_widget("napari-neuroscope", name, tabify=True)
        dock.raise_()

    def _ask_more(self, error: Exception) -> bool:
        """Ask what opening a file still needs, and open it again; whether that was done."""
        if self._opening is None or self._network_box.currentText() != self._opening[0]:
            return False
        _, path, factory, arguments = self._opening
        if isinstance(error, UntrustedError) and ask_for_trust(self, error):
            self.open_file(path, factory, arguments)
            return True
        if isinstance(error, FactoryNeededError):
            try:
                answer = ask_for_factory(self, path)
            except NeuroscopeError as mistake:
                self._show_failure(mistake)
                return False
            if answer is not None:
                self.open_file(path, *answer)
                return True
        return False

    def _trust_more(self) -> None:
        """Ask whether code in the package may run, and open its best weights if so."""
        network = self.session.network
        if network is None or network.published is None or network.published.untrusted is None:
            return
        if ask_for_trust(self, network.published.untrusted):
            self.open_file(network.published.path)

    def choose_network(self, title: str) -> None:
        """Choose one of the networks that are offered."""
        self._network_box.setCurrentText(title)

    def choose_layers(self, names: Sequence[str]) -> None:
        """Choose these layers of the network, and no others."""
        self._layer_list.choose(names)

    def choose_classes(self, indices: Sequence[int]) -> None:
        """Choose these classes of the network, and no others."""
        self._class_list.choose(indices)

    def choose_region(self, region: str | LayerRegion) -> None:
        """Choose where: "everywhere", "predicted", "ground_truth", or what a layer holds."""
        self._target_part.choose_region(region)

    def choose_score(self, score: str) -> None:
        """Choose the score that is explained, by its name."""
        self._target_part.choose_score(score)

    def choose_labels(self, layer: Any) -> None:
        """Choose the labels that say the ground truth or the instances; None for none."""
        self._target_part.choose_labels(layer)

    def choose_method(self, name: str) -> None:
        """Choose a method by its name."""
        name = methods[name].name
        self._method_box.setCurrentIndex(self._method_box.findData(name))

    def choose_options(self, options: Mapping[str, Any]) -> None:
        """Choose these of the method's own options, as far as they can be chosen here."""
        for name, value in options.items():
            if name in self.session.options and self.session.options[name] != value:
                # What another method knows under the same name may be no value of this one.
                with contextlib.suppress(ValueError, TypeError):
                    self._options_container[name].value = value

    def ready(self) -> bool:
        """Whether everything is chosen that an explanation needs."""
        return self._run.isEnabled()

    def _list_networks(self, *_: Any) -> None:
        chosen = self._network_box.currentText() or self.session.title()
        with signals_blocked(self._network_box):
            self._network_box.clear()
            self._network_box.addItem("Choose a network…")
            self._network_box.addItems(list(self.session.networks))
            self._network_box.setCurrentText(chosen or "Choose a network…")

    def _list_images(self, *_: Any) -> None:
        chosen = self.image_layer()
        images = self.images()
        with signals_blocked(self._image_box):
            self._image_box.clear()
            for layer in images:
                self._image_box.addItem(on_line(layer.name), layer)
            if chosen in images:
                self._image_box.setCurrentIndex(images.index(chosen))
        for layer in images:
            self.follow(layer.events.name, self._rename_images)
            for event in (layer.events.scale, layer.events.units, layer.events.affine):
                self.follow(event, self._tell_size)
        if self.image_layer() is not chosen:
            self._choose_image()

    def _rename_images(self, *_: Any) -> None:
        for row in range(self._image_box.count()):
            self._image_box.setItemText(row, on_line(self._image_box.itemData(row).name))

    def images(self) -> list[napari.layers.Image]:
        """Return the image layers that can be explained."""
        return [layer for layer in self._viewer.layers if _is_image(layer)]

    def image_layer(self) -> napari.layers.Image | None:
        """Return the image layer that is chosen."""
        return self._image_box.currentData()

    def _choose_network(self, *_: Any) -> None:
        self._trouble, self._inspected = "", ()
        self.session.network = self.session.network_summary = self.session.explanation = None
        self._layer_list.set_rows([])
        self._class_list.set_rows([])
        self._network_note.setText("")
        self._trust_button.setVisible(False)
        if self._network_box.currentIndex() > 0:
            self._inspect()
        self._changed()

    def _choose_image(self, *_: Any) -> None:
        self.session.image = self.image_layer()
        self._changed()

    def take_findings(self, title: str, findings: NetworkSummary, layer: Any) -> None:
        """Choose a network that is offered and an image, that were looked at together already."""
        with signals_blocked(self._network_box):
            # The image is not looked at once more.
            self._network_box.setCurrentIndex(0)
        self._image_box.setCurrentIndex(row_of(self._image_box, layer))
        with signals_blocked(self._network_box):
            self._network_box.setCurrentText(title)
        self._trouble, self._inspected = "", ()
        self.session.explanation = None
        self.session.network = findings.network
        self.session.network_summary = findings

    def look_again(self) -> None:
        """Look at what is chosen, where something else was done before that had ended."""
        if self.session.network_summary is None and self._network_box.currentIndex() > 0:
            self._inspect()
        self._changed()

    def _take_layers(self, layers: tuple[str, ...], *_: Any) -> None:
        """Choose the layers that were chosen in another dock."""
        if self.session.network_summary is not None and layers != self._layer_list.chosen():
            self._layer_list.choose(layers)

    def _take_image(self, layer: Any, *_: Any) -> None:
        """Look at the image that was chosen, here or in another dock."""
        if layer is not None and layer is not self.image_layer():
            with signals_blocked(self._image_box):
                self._image_box.setCurrentIndex(row_of(self._image_box, layer))
        if self._network_box.currentIndex() > 0:
            self._inspect()
        self._changed()

    def _mark_methods(self, *_: Any) -> None:
        """Grey out the methods that the network can't be explained by, and warn of some."""
        network = self.session.network
        style = self.style()
        sign = QIcon() if style is None else style.standardIcon(_WARNING)
        model: Any = self._method_box.model()
        for row, method in enumerate(methods.values()):
            reason = network.why_not(method) if network is not None else None
            doubt = self._doubts.about_method(*self._digests, method.name)
            self._method_box.setItemIcon(row, sign if doubt else QIcon())
            tip = method_tip(method, reason or (f"⚠ {doubt}" if doubt else None))
            self._method_box.setItemData(row, tip, Qt.ItemDataRole.ToolTipRole)
            model.item(row).setEnabled(not reason)

        self._tell_method()

    def _tell_method(self) -> None:
        row = self._method_box.currentIndex()
        self._method_box.setToolTip(self._method_box.itemData(row, Qt.ItemDataRole.ToolTipRole))

    def _tell_size(self, *_: Any) -> None:
        """Warn where the image's pixels are of another size than those the network learnt from."""
        layer, network = self.image_layer(), self.session.network
        words = "" if layer is None or network is None else size_note(network, layer)
        self._size_note.setText(words)
        self._size_note.setVisible(bool(words))

    def _choose_method(self, *_: Any) -> None:
        name = self._method_box.currentData()
        method = methods[name]
        while self._options_layout.count():
            item = self._options_layout.takeAt(0)
            if item is not None and (old := item.widget()) is not None:
                old.deleteLater()
        options: dict[str, Any] = {}
        if method.options:
            self._options_container = options_widget(
                method, lambda options: setattr(self.session, "options", options)
            )
            if len(self._options_container):
                options = self._options_container.asdict()
                self._options_layout.addWidget(self._options_container.native)
        self._method_note.setText(method.summary)
        self._tell_method()
        # Whoever follows never sees a method with the options of another.
        self.session.options = {}
        self.session.method = name
        self.session.options = options
        self._suggest_batch()
        self._list_layers()
        self._changed()

    def _suggest_batch(self) -> None:
        """Make batches that are over soon, unless the user has said how large they are."""
        findings, options = self.session.network_summary, self.session.options
        if findings is None or findings.pace is None or "batch" not in options:
            return
        default = self.session.chosen_method().options["batch"].default
        if options["batch"] in (default, self._suggested_batch):
            self._suggested_batch = findings.pace.batch
            self.choose_options({"batch": findings.pace.batch})

    def _blocks(self, values: list[Any]) -> list[Any]:
        """Return the outermost of the layers: whole blocks, and layers that are in none."""
        network = self.session.network
        if network is None:
            return []
        graph = network.layers
        return [
            name
            for name in values
            if not graph[name].block and graph[name].kind in ("block", "convolution")
        ]

    def _list_layers(self) -> None:
        method = self.session.chosen_method()
        needs = method.needs_with(self.session.options)
        uses = Needs.LAYER in needs
        self._listed = needs
        for widget in (self._layer_title, self._layer_list):
            widget.setVisible(uses)
        # Score maps of segmentations need a class, fusion maps take those that are chosen.
        has_classes = (
            bool(method.needs & Needs.TARGET)
            or "classes" in method.options
            or "rank" in method.options
        )
        for part in (self._class_title, self._class_list, self._target_part):
            part.setVisible(has_classes)
        network = self.session.network
        if network is None:
            return
        graph = network.layers
        rows = []
        for layer in graph.values():
            shape = " × ".join(str(n) for n in layer.output_shape)
            usable = Needs.POSITIONS not in needs or graph.has_positions(layer.name)
            tip = layer.description or layer.operation
            if not usable:
                tip += "\nIt has no positions, so there is no map of it."
            elif layer.parameters:
                tip += f"\n{layer.parameters:,} parameters"
            words = f"{layer.name}   {layer.kind}, {shape}"
            rows.append((layer.name, words, plain_tooltip(tip), usable))
        self._layer_list.set_rows(rows)

    def _list_classes(self, findings: NetworkSummary) -> None:
        segments = findings.network.spec.task == "segmentation"
        what = "of the pixels" if segments else "probable"
        ranked = sorted(findings.classes, key=lambda row: -row[2])
        wanted = [index for index in self.session.classes if index < len(ranked)]
        self._class_list.set_rows(
            [
                (
                    index,
                    name if findings.prediction is None else f"{name}   {share:.1%} {what}",
                    f"Class {index}",
                    True,
                )
                for index, name, share in ranked
            ]
        )
        likely = [i for i, name, _ in ranked if not (segments and name == "background")]
        self._class_list.choose(wanted or (likely or [index for index, _, _ in ranked])[:1])

    def _changed(self, *_: Any) -> None:
        if self.closed:
            return
        if self._listed != self.session.chosen_method().needs_with(self.session.options):
            # An option may ask for a layer.
            self._list_layers()
        several = self.slices.refresh()
        problem = self.session.problem(self.image_layer()) or self.slices.problem() or None
        if problem is None and self.session.network_summary is None:
            problem = "The network looks at the image."
        if self._trouble:
            problem = self._trouble
        self._run.setEnabled(problem is None)
        self.ask_tool.refresh()
        self._reason.setText(problem or "")
        self._reason.setVisible(bool(problem))
        self._tell_size()
        long = self._cost_note.tell(self.session) | self.extent.refresh() | several
        if problem is None and self.session.live and not long:
            self._soon()

    def _plane_changed(self, *_: Any) -> None:
        layer = self.image_layer()
        if layer is None or self.session.network is None or not self.session.live:
            return
        try:
            plane = ShownImage.of(layer, self._viewer).plane(self.session.network)
        except NeuroscopeError:
            # It has just been given other axes, of which the next look tells.
            return
        if plane != self._inspected[2:]:
            self._changed()

    def _view_changes(self, *_: Any) -> None:
        if self.extent.follows_camera():
            self._view_settled()

    def _view_changed(self) -> None:
        if self.extent.follows_camera():
            self._changed()

    # --- what is computed ---

    def _inspect(self) -> None:
        """Load the network and look at the image with it, in the compute thread."""
        title, layer = self._network_box.currentText(), self.image_layer()
        shown = None if layer is None else ShownImage.of(layer, self._viewer)
        self.session.network_summary, self._trouble = None, ""

        def work(progress: Any) -> NetworkSummary:
            network = self.session.catalog.open(title)
            if shown is None:
                return NetworkSummary.of(network, None, progress)
            image, window = shown.glance(network)
            return NetworkSummary.of(network, image, progress, window)

        def done(findings: NetworkSummary) -> None:
            self.session.network = findings.network
            self.session.network_summary = findings

        def failed(error: Exception) -> None:
            if self._ask_more(error):
                return
            self._show_failure(error)
            self._trouble = self._answer.text()
            self._answer.clear()
            self._changed()

        self.jobs.submit("Looking at the network", work, done, failed)

    def _take_findings(self, findings: NetworkSummary | None) -> None:
        """Offer the layers and classes of the network that was looked at."""
        if findings is None or self.closed:
            return
        self._describe(findings.network)
        self._digests = findings.digests
        self._mark_methods()
        self._target_part.allow_regions(findings.network.spec.task == "segmentation")
        graph = findings.network.layers
        wanted = [name for name in self.session.layers if name in graph]
        last = graph.last_with_positions()
        self._list_layers()
        self._layer_list.choose(wanted or ([last] if last else []))
        self._list_classes(findings)
        self._suggest_batch()
        self._changed()

    def _describe(self, network: Network) -> None:
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
        self._network_note.setText(words)
        self._trust_button.setVisible(published is not None and published.untrusted is not None)

    def question(self, *, with_target: bool = True) -> Question:
        """Return what would be explained now, or all of it but the target.

        Raises
        ------
        NeuroscopeError
            Where something is still to be chosen.
        """
        layer, network = self.image_layer(), self.session.network
        problem = self.session.problem(layer, with_target=with_target)
        if problem or layer is None or network is None:
            raise NeuroscopeError(problem or "Choose a network and an image.")
        shown = ShownImage.of(layer, self._viewer)
        method = self.session.chosen_method()
        options = dict(self.session.options)
        needs = method.needs_with(options)
        uses_target = with_target and (Needs.TARGET in needs or "classes" in method.options)
        question = Question(
            network,
            shown,
            layer,
            method.name,
            options,
            self.session.layers if Needs.LAYER in needs else (),
            self.session.targets(network, self._viewer) if uses_target else (),
        )
        # A click asks about the whole image.
        if not with_target:
            return question
        if self.slices.asks_several():
            return self.slices.question(question)
        return self.extent.question(question)

    def explain(self) -> None:
        """Compute what is chosen, and show it when it is there."""
        try:
            question = self.question()
        except NeuroscopeError as error:
            self._show_failure(error)
            return
        self._layer_manager.give_way(question.covered, question.slot)
        self.have_answered(question, question.answer, lambda answer: self._show(question, answer))

    def have_answered(
        self, question: Question, answer: Answer, done: Callable[[Explanation], None]
    ) -> None:
        """Have a question answered, in a way of its own, in the place of what is computed.

        Parameters
        ----------
        question
            What is asked.
        answer
            Called in the compute thread with the progress, and with what takes maps so far.
        done
            Called with the answer.
        """
        self._inspected = (question.network, question.source, *question.plane())
        self._refining.submit(
            methods[question.method].title,
            question,
            answer,
            question.slot,
            done,
            self._show_failure,
        )
        # Nothing that was chosen before is asked anew.
        self._soon.cancel()

    def cancel(self) -> None:
        """Stop what is computed, at its next step."""
        self.jobs.cancel()
        if words := self._refining.stopped():
            self._say(words)
        if self.session.network_summary is None and self._network_box.currentIndex() > 0:
            self._trouble = "Stopped. Choose the network or the image again to go on."
        self._changed()
        # Not what was stopped anew.
        self._soon.cancel()

    def _explain_if_live(self) -> None:
        if not self.closed and self.session.live and self._run.isEnabled():
            self.explain()

    # --- what is shown ---

    def _show(self, question: Question, answer: Explanation, words: str = "") -> None:
        if question.source not in self._viewer.layers:
            self._answer.setText("The image was removed while its explanation was computed.")
            return
        record = answer.provenance
        layers = with_warning(question.layer_data(answer), self._doubts.about(record))
        shown = self._layer_manager.show(layers, question.slot)
        remember(shown[:1], question.origin(answer))
        self._digests = (record["network"]["digest"], record["image"].get("digest", ""))
        self._mark_methods()
        if question.network is self.session.network and question.extent.is_shown_plane:
            self.session.explanation = answer
        self._say("\n".join(filter(None, (words, self._words(answer)))))

    def _words(self, answer: Explanation) -> str:
        signed_in_3d = answer.signed and self._viewer.dims.ndisplay == 3
        return _in_words(answer) + (_SIGNED_IN_3D if signed_in_3d else "")

    def _say(self, answer: Explanation | str) -> None:
        self._answer.setText(answer if isinstance(answer, str) else self._words(answer))
        self._answer.setVisible(True)

    def show_prediction(self) -> None:
        """Show the network's predicted classes over the image."""
        layer, network = self.image_layer(), self.session.network
        if (
            layer is None
            or network is None
            or self.session.network_summary is None
            or self.session.network_summary.prediction is None
        ):
            raise NeuroscopeError("Choose a network and an image first.")
        plane = ShownImage.of(layer, self._viewer).place(network)
        self._layer_manager.show(
            prediction_data(network, self.session.network_summary.prediction, layer, plane),
            (network.name, str(layer.unique_id), "prediction"),
        )

    def _keep_maps(self) -> None:
        kept = self._layer_manager.release()
        self._refining.forget()
        self._answer.setText(
            f"{kept} layers are kept as they are." if kept else "There is no map to keep yet."
        )
        self._answer.setVisible(True)

    def _show_start(self, what: str) -> None:
        self._progress.setRange(0, 0)
        self._progress.setFormat(on_line(what))
        self._progress.setVisible(True)
        self._cancel.setEnabled(True)

    def _show_progress(self, done: int, total: int, what: str) -> None:
        left = self._time_left(done, total, what)
        words = f"{what}  %p%" if total and "%" not in what else what
        if left:
            words += f" · {left} left"
        words = on_line(words)
        if (self._progress.maximum(), self._progress.format()) != (total, words):
            self._progress.setRange(0, total)
            self._progress.setFormat(words)
        self._progress.setValue(done)

    def _show_idle(self) -> None:
        self._progress.setVisible(False)
        self._cancel.setEnabled(False)

    def _show_failure(self, error: Exception) -> None:
        if self.closed:
            return
        text = in_a_sentence(error)
        self._answer.setText(text)
        self._answer.setVisible(True)
        tell_error(text)


def _is_image(layer: Any) -> bool:
    from napari.layers import Image

    return isinstance(layer, Image) and "neuroscope" not in layer.metadata


def _in_words(answer: Explanation) -> str:
    """Return what an explanation says besides its picture."""
    parts = answer.table_in_words()
    if "probability" not in answer.provenance.get("table", {}):
        for target in answer.provenance["targets"][:4]:
            parts.append(
                f"{target['score'].replace('_', ' ')} of {target['class']}"
                f" ({target['region']}): {in_digits(target['value'])}"
            )
    # The notes say it of tiles, whose map is not read once more.
    tiled = "tiling" in answer.provenance
    if not answer.is_table and not tiled and answer.values.size and not answer.values.any():
        parts.append("The map is zero everywhere: nothing speaks for the class here.")
    parts.extend(f"Note: {note}." for note in answer.provenance["notes"])
    return "\n".join(parts)
