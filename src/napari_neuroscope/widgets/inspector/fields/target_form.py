"""The inspector's part for the target: where, by which labels, and which score."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QSpinBox, QWidget
from superqt import QCollapsible

from napari_neuroscope.session.session import Session
from napari_neuroscope.session.true_labels import fits, only_true_labels
from napari_neuroscope.viewer.image.layer_regions import (
    GROUND_TRUTH,
    LayerRegion,
    may_be_true,
    regions_of,
    shows,
)
from napari_neuroscope.widgets.parts.boxes import choose, fill, narrow

_NAMED = {
    "everywhere": "Everywhere",
    "predicted": "Where it is predicted",
    "ground_truth": "Where it truly is",
}
_SCORES = {
    "logit": "Logit",
    "probability": "Probability",
    "log_probability": "Log probability",
}
# What changes the region that a layer says.
_EDITS = ("data", "paint", "labels_update", "selected_label", "features",
          "scale", "translate", "rotate", "shear", "affine")  # fmt: skip


class TargetForm(QCollapsible):
    """Chooses the region, the labels, the score and the margin of a session.

    Attributes
    ----------
    region_row
        The region with its name: half of the question, and so placed beside the class.
    edited
        The layer that says the region was changed.
    """

    edited = Signal()

    def __init__(self, viewer: Any, session: Session) -> None:
        super().__init__("Target", expandedIcon="▼", collapsedIcon="▶")
        self._viewer = viewer
        self._session = session
        self._followed: list[tuple[Any, Any]] = []
        self._declined = False
        self.region_box = _box("Region", "Where the class is asked about.")
        self.labels_box = _box(
            "Labels",
            "Ground truth or instances: says where a class truly is, which instance a click is "
            "on, and which instances there are.",
        )
        self.score_box = _box("Score", "What is explained: before or after softmax or sigmoid.")
        self.margin_box = QSpinBox()
        self.margin_box.setRange(0, 999)
        self.margin_box.setSuffix(" pixels")
        self.margin_box.setValue(session.margin)
        self.margin_box.setAccessibleName("Margin")
        self.margin_box.setToolTip("What lies this near to an instance is near, in its table.")
        for value, text in _SCORES.items():
            self.score_box.addItem(text, value)
        self.score_box.setCurrentIndex(self.score_box.findData(session.score))
        inside = QWidget()
        form = QFormLayout(inside)
        form.setContentsMargins(0, 0, 0, 0)
        self.region_row = QWidget()
        beside = QFormLayout(self.region_row)
        beside.setContentsMargins(0, 0, 0, 0)
        beside.addRow("Region", self.region_box)
        for name, widget in (
            ("Labels", self.labels_box),
            ("Margin", self.margin_box),
            ("Score", self.score_box),
        ):
            form.addRow(name, widget)
        self.addWidget(inside)
        self.region_box.currentIndexChanged.connect(
            lambda: setattr(session, "region", self.region_box.currentData())
        )
        self.labels_box.currentIndexChanged.connect(
            lambda: setattr(session, "labels", self.labels_box.currentData())
        )
        self.score_box.currentIndexChanged.connect(
            lambda: setattr(session, "score", self.score_box.currentData())
        )
        self.margin_box.valueChanged.connect(lambda value: setattr(session, "margin", value))
        self.labels_box.activated.connect(self._decline)
        session.events.region.connect(self._follow)
        session.events.labels.connect(self._follow)
        for signal in self._truth_signals():
            signal.connect(self._take_truth)
        for event in self._layer_events():
            event.connect(self._list_layers)
        self._list_layers()

    def close_work(self) -> None:
        """Follow the viewer and the session no longer; it may be called twice."""
        for signal in (self._session.events.region, self._session.events.labels):
            signal.disconnect(self._follow, missing_ok=True)
        for signal in self._truth_signals():
            signal.disconnect(self._take_truth, missing_ok=True)
        for event in self._layer_events():
            event.disconnect(self._list_layers)
        for event in _events_of_names(self._viewer.layers):
            event.disconnect(self._list_layers)
        self._unfollow()

    def choose_region(self, region: str | LayerRegion) -> None:
        """Choose where: "everywhere", "predicted", "ground_truth", or a layer's."""
        choose(self.region_box, region)

    def choose_labels(self, layer: Any) -> None:
        """Choose the layer of labels; None for none."""
        choose(self.labels_box, layer)
        self.expand(animate=False)

    def choose_score(self, score: str) -> None:
        """Choose the score that is explained, by its name."""
        choose(self.score_box, score)

    def take(self, session: Session) -> None:
        """Choose what is chosen in another session, as far as it is offered here."""
        choose(self.labels_box, session.labels)
        choose(self.region_box, session.region)
        choose(self.score_box, session.score)
        self.margin_box.setValue(session.margin)

    def allow_regions(self, allowed: bool) -> None:
        """Offer regions, or only show that there are none."""
        why = "" if allowed else " A classifier answers once for the whole image: it has no region."
        for box in (self.region_box, self.labels_box, self.margin_box):
            box.setEnabled(allowed)
            box.setToolTip(box.toolTip().split(" A classifier")[0] + why)

    def _layer_events(self) -> list[Any]:
        events = self._viewer.layers.events
        return [events.inserted, events.removed, events.reordered]

    def _truth_signals(self) -> list[Any]:
        events = self._session.events
        return [events.image, events.comparison, events.region]

    def _list_layers(self, *_: Any) -> None:
        offered = {layer: regions_of(layer) for layer in self._viewer.layers}
        layers = [layer for layer, regions in offered.items() if regions]
        regions: list[Any] = [*_NAMED, *(region for layer in layers for region in offered[layer])]
        labels = [layer for layer in layers if may_be_true(layer)]
        fill(self.region_box, {r: _NAMED.get(r) or r.title for r in regions}, self._session.region)
        names = {None: "None", **{layer: layer.name for layer in labels}}
        fill(self.labels_box, names, self._session.labels)
        for event in _events_of_names(layers):
            event.disconnect(self._list_layers)
            event.connect(self._list_layers)
        # A layer that is gone is chosen no longer.
        self._session.region = self.region_box.currentData()
        self._session.labels = self.labels_box.currentData()
        self._take_truth()
        self._follow()

    def _take_truth(self, *_: Any) -> None:
        """Choose the ground truth where one layer alone fits, and none that no longer does."""
        session, labels = self._session, self._session.labels
        if labels is not None and shows(labels, GROUND_TRUTH) and not fits(session, labels):
            choose(self.labels_box, None)
        if session.labels is None and not self._declined:
            choose(self.labels_box, only_true_labels(session, self._viewer))

    def _decline(self, *_: Any) -> None:
        """Choose no labels by itself, where the user has chosen “None”."""
        self._declined = self.labels_box.currentData() is None

    def _follow(self, *_: Any) -> None:
        """Follow what is edited in the layer that says the region."""
        self._unfollow()
        region = self._session.region
        layer = region.layer if isinstance(region, LayerRegion) else None
        if region == "ground_truth":
            layer = self._session.labels
        if layer is None:
            return
        events = [getattr(layer.events, name) for name in _EDITS if name in layer.events.emitters]
        if isinstance(region, LayerRegion) and region.extent == "selected":
            chosen = getattr(layer, "selected_data", None)
            if chosen is not None:
                events.append(chosen.events.items_changed)
        for event in events:
            event.connect(self._tell)
            self._followed.append((event, self._tell))

    def _unfollow(self) -> None:
        for event, slot in self._followed:
            event.disconnect(slot)
        self._followed.clear()

    def _tell(self, *_: Any) -> None:
        self.edited.emit()


def _events_of_names(layers: Iterable[Any]) -> Iterator[Any]:
    """Return what tells that the names of regions change: their layer's, and those of its labels."""
    for layer in layers:
        yield layer.events.name
        if "features" in layer.events.emitters:
            yield layer.events.features


def _box(name: str, tip: str) -> QComboBox:
    box = QComboBox()
    box.setAccessibleName(name)
    box.setToolTip(tip)
    return narrow(box)
