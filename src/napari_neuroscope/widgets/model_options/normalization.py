"""Choosing how images are normalised."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QLineEdit, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from napari_neuroscope.engine.spec.input_spec import PRESETS, Normalization
from napari_neuroscope.widgets.model_options.spec_texts import numbers_of, numbers_text

_WAYS = {
    "zero_one": "Not: values of 0 to 1",
    "zero_255": "To 0 to 255",
    "minus_one_one": "To −1 to 1, as MobileNet",
    "imagenet": "ImageNet's mean and deviation",
    "mnist": "MNIST's mean and deviation",
    "caffe": "Caffe: mean of 0 to 255 (with BGR)",
    "per_image": "Each image to mean 0, deviation 1",
    "percentile": "Each image between percentiles",
    "own": "Mean and deviation…",
    "given": "In several steps, as given",
}


class NormalizationEditor(QWidget):
    """A preset, or the numbers of one's own.

    Attributes
    ----------
    way
        Which preset, or how else.
    mean, std, percentiles, each
        The numbers of ways that need some, and whether each channel has its own.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.way = QComboBox()
        for name, words in _WAYS.items():
            self.way.addItem(words, name)
        self.way.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.way.setMinimumContentsLength(14)
        self.way.setToolTip(
            "What is done with values of 0 to 1 before the network gets them: as in its training."
        )
        self.mean, self.std = QLineEdit(), QLineEdit()
        self.percentiles = QLineEdit()
        self.each = QCheckBox("Each channel by itself")
        self._given = Normalization()
        for line, words in (
            (self.mean, "Mean, one a channel or one for all, of values of 0 to 1"),
            (self.std, "Deviation, one a channel or one for all"),
            (self.percentiles, "The percentiles that become 0 and 1"),
        ):
            line.setToolTip(words)
            line.setAccessibleName(words)
            line.textChanged.connect(self._changed)
        self._form = QFormLayout()
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.addRow("Mean", self.mean)
        self._form.addRow("Deviation", self.std)
        self._form.addRow("Percentiles", self.percentiles)
        self._form.addRow(self.each)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.way)
        layout.addLayout(self._form)
        self.way.currentIndexChanged.connect(self._choose)
        self.each.toggled.connect(self._changed)
        self.show_value(Normalization())

    def show_value(self, value: Normalization) -> None:
        """Show how images are normalised now."""
        self._given = value
        way = _way_of(value)
        parts = (self.way, self.mean, self.std, self.percentiles, self.each)
        with signals_blocked(self):
            for part in parts:
                part.blockSignals(True)
            self.way.setCurrentIndex(list(_WAYS).index(way))
            self.mean.setText(numbers_text(value.mean or (0.0,)))
            self.std.setText(numbers_text(value.std or (1.0,)))
            self.percentiles.setText(numbers_text(value.percentile or (1.0, 99.8)))
            self.each.setChecked(value.per_channel)
            for part in parts:
                part.blockSignals(False)
        self._lay_out()

    def read(self) -> Any:
        """Return the normalisation that is chosen, as plain data.

        Raises
        ------
        ValueError
            Where numbers are asked for that are none.
        """
        way = self.way.currentData()
        if way == "given":
            return self._given
        if way == "own":
            mean, std = numbers_of(self.mean.text()), numbers_of(self.std.text())
            return {"mean": mean or (0.0,), "std": std or (1.0,)}
        each = {"per_channel": True} if self.each.isChecked() else {}
        if way == "percentile":
            numbers = numbers_of(self.percentiles.text())
            if numbers is None or len(numbers) != 2:
                raise ValueError("write two percentiles, such as 1, 99.8")
            return {"percentile": numbers, **each}
        if way == "per_image":
            return {"per_image": True, **each}
        return PRESETS[way]

    def _choose(self) -> None:
        self._lay_out()
        self._changed()

    def _changed(self, *_: Any) -> None:
        self.changed.emit()

    def _lay_out(self) -> None:
        way = self.way.currentData()
        for part, ways in (
            (self.mean, ("own",)),
            (self.std, ("own",)),
            (self.percentiles, ("percentile",)),
            (self.each, ("percentile", "per_image")),
        ):
            part.setVisible(way in ways)
            label = self._form.labelForField(part)
            if label is not None:
                label.setVisible(way in ways)


def _way_of(value: Normalization) -> str:
    for name in PRESETS:
        if value == Normalization.model_validate(name):
            return name
    if value.then or value.clip or value.eps:
        return "given"
    if value.per_image:
        return "per_image"
    return "percentile" if value.percentile else "own"
