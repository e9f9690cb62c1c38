"""What differs between the maps of two networks, as a layer and in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from qtpy.QtWidgets import QCheckBox

from napari_neuroscope.engine.errors import in_digits
from napari_neuroscope.engine.explain.difference import difference
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.overlays.place import Place
from napari_neuroscope.viewer.layers.maps.layer_manager import LayerManager
from napari_neuroscope.widgets.parts.form import choice
from napari_neuroscope.widgets.parts.jobs.jobs import Jobs
from napari_neuroscope.widgets.parts.labels import note
from napari_neuroscope.widgets.parts.sentences import in_a_sentence

_SCALES = {"raw": "Values as they are", "largest": "Each up to its own largest"}


class NetworkDifference:
    """Shows one map less another over their image.

    Parameters
    ----------
    viewer, jobs
        The dock's.
    changed
        Called where something else is to be shown.

    Attributes
    ----------
    switch, scale
        Whether the difference is shown, and what of the values: to be placed side by side.
    words
        What it says: to be placed below.
    """

    def __init__(self, viewer: Any, jobs: Jobs, changed: Callable[[], None]) -> None:
        self._viewer, self._jobs = viewer, jobs
        self._layer_manager = LayerManager(viewer)
        # The layer of the difference, and the same while it is hidden since there is none.
        self._layer: Any = None
        self._hidden: Any = None
        self.switch = QCheckBox("Difference")
        self.switch.setChecked(True)
        self.switch.setToolTip(
            "Show this network's map less the first's: orange where this one has more, blue where "
            "the first has."
        )
        self.switch.toggled.connect(lambda *_: changed())
        self.scale = choice(
            "Values of the difference",
            _SCALES,
            "Scores of two networks may be of different sizes, and so are their maps; each may be "
            "divided by its own largest absolute value first.",
        )
        self.scale.currentIndexChanged.connect(lambda *_: changed())
        self.words = note()

    def close_work(self) -> None:
        """Follow the viewer no longer."""
        self._layer_manager.close()

    def compare(
        self,
        first: Explanation | None,
        second: Explanation | None,
        where: tuple[Any, Place] | None,
    ) -> None:
        """Show the difference of two maps; none where they are no pair.

        Parameters
        ----------
        first, second
            The maps, where they are there.
        where
            The image's layer, and where on its axes the second lies.
        """
        if not self.switch.isChecked():
            self._show_none("")
        elif first is None or second is None or where is None:
            self._show_none("Explain with both networks to see what differs.")
        else:
            scale = self.scale.currentData()
            self._jobs.submit(
                "Difference",
                lambda _: difference(first, second, scale),
                lambda explanation: self._show(explanation, *where),
                lambda error: self._show_none(in_a_sentence(error)),
            )

    def _show(self, explanation: Explanation, source: Any, place: Place) -> None:
        if source not in self._viewer.layers:
            self._show_none("The image was removed.")
            return
        slot = ("difference", str(source.unique_id))
        layers = explanation.to_layer_data(source, place)
        if self._layer_manager.layer((*slot, "0")) is None:
            # Just what differs is to be seen at first; the user may show the maps again.
            assert explanation.record.first is not None
            self._layer_manager.hide_others(explanation.record.first.method)
        for layer in self._layer_manager.show(layers, slot):
            if layer is self._hidden:
                layer.visible = True
            self._layer = layer
        self._hidden = None
        self.words.setText(_in_words(explanation))

    def _show_none(self, words: str) -> None:
        """Hide the difference that is shown no longer of what is explained, until there is one."""
        self._jobs.cancel()
        self.words.setText(words)
        layer = self._layer
        if layer is not None and layer in self._viewer.layers and layer.visible:
            layer.visible = False
            self._hidden = layer

    def keep(self) -> None:
        """Leave the layer as it is; the next difference has one of its own."""
        self._layer_manager.release()
        self._layer = self._hidden = None


def _in_words(explanation: Explanation) -> str:
    size = np.abs(explanation.values[np.isfinite(explanation.values)]).max(initial=0.0)
    words = [
        "The two maps are equal." if not size else f"They differ by {in_digits(size)} at most."
    ]
    words += [f"Note: {note}." for note in explanation.record.notes]
    return "\n".join(words)
