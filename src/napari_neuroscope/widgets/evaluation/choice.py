"""What is to be measured: layers, methods, metrics and the ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QFormLayout,
    QGridLayout,
    QVBoxLayout,
    QWidget,
)

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.evaluation.metric_registry import metrics
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.record import Record
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.methods.interface import Needs
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.baselines import Baseline
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.image.image_pixels import Pixels
from napari_neuroscope.viewer.image.layer_regions import LayerRegion
from napari_neuroscope.viewer.image.painted_labels import TrueClassLabels
from napari_neuroscope.viewer.image.region_checks import kind_of
from napari_neuroscope.viewer.image.shown_image import axes_of_layer
from napari_neuroscope.viewer.state.layer_origin import explained_by
from napari_neuroscope.widgets.evaluation.case import TruthOf
from napari_neuroscope.widgets.evaluation.metric_table import tip_of
from napari_neuroscope.widgets.parts.boxes import fill, narrow
from napari_neuroscope.widgets.parts.form import choice, number_box, section
from napari_neuroscope.widgets.parts.labels import PlainLabel, plain_tooltip
from napari_neuroscope.widgets.parts.method_tips import method_tip
from napari_neuroscope.widgets.parts.pickers import PickList

_AT_FIRST = ("deletion", "insertion", "sanity_check")
_BASELINE_WORDS: dict[Baseline, str] = {
    "blur": "the image, blurred",
    "mean": "its mean colour",
    "zero": "zero, as the network takes it",
    "black": "black",
    "white": "white",
}


@dataclass(frozen=True)
class LabelClasses:
    """Labels of a layer that say the class of each pixel."""

    layer: Any

    @property
    def title(self) -> str:
        """What people call it."""
        return f"{self.layer.name}: labels as classes"


@dataclass(frozen=True)
class ImageTruth:
    """The true classes that the dock “Images” has of the image."""

    name: str

    @property
    def title(self) -> str:
        """What people call it."""
        return f"Ground truth of “{self.name}”"


class EvaluationChoice(QWidget):
    """Chooses what is measured, and by what.

    Parameters
    ----------
    viewer, session
        The dock's.
    """

    changed = Signal()

    def __init__(self, viewer: Any, session: Session) -> None:
        super().__init__()
        self._viewer, self._session = viewer, session
        quick = {"All": lambda values: values, "None": lambda values: []}
        self.layer_list = PickList("maps in the viewer", quick)
        self.method_list = PickList("methods to compare", quick)
        self.boxes: dict[str, QCheckBox] = {}
        grid = QGridLayout()
        for number, (name, metric) in enumerate(metrics.items()):
            box = self.boxes[name] = QCheckBox(metric.title)
            box.setChecked(name in _AT_FIRST)
            box.setToolTip(tip_of(metric))
            box.toggled.connect(lambda _: self.changed.emit())
            grid.addWidget(box, number // 2, number % 2)
        self.truth_box = narrow(
            choice(
                "Ground truth",
                {},
                "Where the class truly is, for the pointing game and the energy in the mask.",
            )
        )
        form = QFormLayout()
        form.addRow("Truth", self.truth_box)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(PlainLabel("Maps in the viewer"))
        layout.addWidget(self.layer_list, 1)
        layout.addWidget(PlainLabel("Methods to compare"))
        layout.addWidget(self.method_list, 2)
        layout.addLayout(grid)
        layout.addLayout(form)
        layout.addWidget(self._settings())
        for signal in (self.layer_list.changed, self.method_list.changed):
            signal.connect(lambda *_: self.changed.emit())
        self.truth_box.currentIndexChanged.connect(lambda _: self.changed.emit())

    def _settings(self) -> QWidget:
        self.steps = number_box(
            "Steps", 2, 1000, 50, "In how many parts the image is removed and restored."
        )
        self.stages = number_box(
            "Stages", 1, 100, 8, "In how many steps the network becomes random."
        )
        self.seed = number_box(
            "Seed", 0, 9999, 0, "The same seed, the same random numbers and figures."
        )
        self.baseline = choice("Removed pixels become", _BASELINE_WORDS)
        for box in (self.steps, self.stages, self.seed):
            box.valueChanged.connect(lambda _: self.changed.emit())
        self.baseline.currentIndexChanged.connect(lambda _: self.changed.emit())
        inside = QWidget()
        fields = QFormLayout(inside)
        fields.setContentsMargins(0, 0, 0, 0)
        fields.addRow("Removed pixels become", self.baseline)
        fields.addRow("Steps", self.steps)
        fields.addRow("Random stages", self.stages)
        fields.addRow("Seed", self.seed)
        return section("Settings", inside)

    # --- what is chosen ---

    def layers(self) -> tuple[Any, ...]:
        """Return the layers of explanations that are chosen."""
        return self.layer_list.chosen()

    def methods(self) -> tuple[str, ...]:
        """Return the names of the methods that are chosen."""
        return self.method_list.chosen()

    def metrics(self) -> tuple[str, ...]:
        """Return the names of the metrics that are chosen."""
        return tuple(name for name, box in self.boxes.items() if box.isChecked())

    def options(self) -> dict[str, Any]:
        """Return the settings, as `evaluate` takes them."""
        return {
            "steps": self.steps.value(),
            "stages": self.stages.value(),
            "seed": self.seed.value(),
            "baseline": self.baseline.currentData(),
        }

    def truth(self, network: Network, source: Any) -> TruthOf | None:
        """Return what says where classes truly are on an image, taken as it is now.

        Raises
        ------
        NeuroscopeError
            Where the layer that says it is empty or gone.
        """
        chosen = self.truth_box.currentData()
        if chosen is None:
            return None
        if isinstance(chosen, ImageTruth):
            comparison = self._session.comparison
            if comparison is None or comparison.source is not source or comparison.truth is None:
                raise NeuroscopeError(
                    f"The ground truth of “{chosen.name}” is not shown any more; choose another."
                )
            labels = comparison.truth
            return lambda _: labels
        pixels = Pixels.of(source, axes_of_layer(source, network).space, self._viewer)
        if isinstance(chosen, LayerRegion):
            region = chosen.take(pixels, self._viewer)
            return lambda _: region.mask.values
        void, names = network.spec.ignore_label, network.class_names
        truth = TrueClassLabels.of(chosen.layer, pixels, self._viewer, void)
        return lambda explanation: _class_numbers(truth, names, explanation)

    # --- what is offered ---

    def list_all(self) -> None:
        """Offer the layers, methods and regions that there are."""
        self._list_layers()
        self._list_methods()
        self._list_truths()

    def _list_layers(self) -> None:
        rows = []
        for layer in reversed(self._viewer.layers):
            made = layer.metadata.get(KEY, {})
            if made.get("method") not in methods or {"companion", "randomised"} & set(made):
                continue
            reason = _why_not(layer)
            tip = plain_tooltip(reason or _in_words(Record.from_json(made)))
            rows.append((layer, layer.name, tip, not reason))
        self.layer_list.set_rows(rows)

    def _list_methods(self) -> None:
        network = self._session.network
        rows = []
        for name, method in methods.items():
            if Needs.TARGET not in method.needs:
                continue
            reason = network.why_not(method) if network is not None else None
            rows.append((name, method.title, method_tip(method, reason), not reason))
        self.method_list.set_rows(rows)

    def _list_truths(self) -> None:
        regions: list[Any] = []
        comparison = self._session.comparison
        if comparison is not None and comparison.truth is not None:
            regions.append(ImageTruth(comparison.name))
        for layer in self._viewer.layers:
            if not kind_of(layer) or layer.metadata.get(KEY, {}).get("method") is not None:
                continue
            regions += [LayerRegion(layer, "all"), LayerRegion(layer, "selected")]
            if kind_of(layer) == "labels":
                regions.append(LabelClasses(layer))
        offered = {None: "None", **{region: region.title for region in regions}}
        fill(self.truth_box, offered, self.truth_box.currentData())


def _why_not(layer: Any) -> str:
    """Return why what a layer shows can't be measured; "" where it can."""
    explained = explained_by(layer)
    if explained is None:
        return "It was not made in this session, or its network or image is gone; explain the image anew."
    if explained.explanation.is_part:
        return "It is of a part of the image."
    if explained.explanation.request is None or not explained.explanation.request.targets:
        return "It explains no class, so nothing tells whether it is right."
    if explained.explanation.unfinished:
        return f"It was stopped after {explained.explanation.unfinished}."
    if explained.explanation.record.planes is not None:
        return "It is of a stack; explain the slice that is to be judged."
    if set(explained.explanation.leading) - {"class", "layer"}:
        return "It has several values a position."
    return ""


def _in_words(record: Record) -> str:
    targets = ", ".join(
        f"{target.class_} ({target.region}, {target.score_in_words})" for target in record.targets
    )
    lines = [record.title, f"of {targets}"]
    if record.layers:
        lines.append(f"at {', '.join(record.layers)}")
    if record.options:
        lines.append(", ".join(f"{name}: {value}" for name, value in record.options.items()))
    return "\n".join(lines)


def _class_numbers(
    truth: TrueClassLabels, names: Sequence[str], explanation: Explanation
) -> np.ndarray:
    """Return the true class of each pixel, as far as the explanation asks for it; else −1."""
    numbers = np.full(explanation.image.shape, -1, np.int32)
    for target in explanation.record.targets:
        index = target.index
        if index is None:
            continue
        numbers[truth.mask(index, names).values] = index
    return numbers
