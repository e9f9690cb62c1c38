"""The inspector's choice of an image layer, and whether its pixels are of the right size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox
from superqt.utils import signals_blocked

from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.image.pixel_size import size_note
from napari_neuroscope.widgets.parts.boxes import narrow, row_of
from napari_neuroscope.widgets.parts.labels import note, on_line


class ImageChoice(QComboBox):
    """Chooses one of the viewer's image layers for a session.

    Parameters
    ----------
    viewer, session
        The dock's.
    follow
        Calls a method at each event of a layer, until the dock is closed.

    Attributes
    ----------
    layer_chosen
        A layer is chosen here.
    size_note
        To be placed below.
    """

    layer_chosen = Signal()

    def __init__(
        self,
        viewer: Any,
        session: Session,
        follow: Callable[[Any, Callable[..., Any]], None],
    ) -> None:
        super().__init__()
        self._viewer, self._session = viewer, session
        self._follow = follow
        self.setAccessibleName("Image")
        narrow(self)
        self.size_note = note()
        self.currentIndexChanged.connect(self._take_layer)

    def layers(self) -> list[Image]:
        """Return the image layers that can be explained."""
        return [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Image) and KEY not in layer.metadata
        ]

    def layer(self) -> Any:
        """Return the image layer that is chosen; None where there is none."""
        return self.currentData()

    def choose(self, layer: Any) -> None:
        """Choose a layer."""
        self.setCurrentIndex(row_of(self, layer))

    def choose_silently(self, layer: Any) -> None:
        """Choose a layer of which the session knows already."""
        with signals_blocked(self):
            self.choose(layer)

    def list_layers(self, *_: Any) -> None:
        """Offer the viewer's image layers; what is chosen stays so, as long as it is there."""
        chosen, layers = self.layer(), self.layers()
        with signals_blocked(self):
            self.clear()
            for layer in layers:
                self.addItem(on_line(layer.name), layer)
            if chosen in layers:
                self.setCurrentIndex(layers.index(chosen))
        for layer in layers:
            self._follow(layer.events.name, self._rename)
            for event in (layer.events.scale, layer.events.units, layer.events.affine):
                self._follow(event, self.tell_size)
        if self.layer() is not chosen:
            self._take_layer()

    def _rename(self, *_: Any) -> None:
        for row in range(self.count()):
            self.setItemText(row, on_line(self.itemData(row).name))

    def _take_layer(self, *_: Any) -> None:
        self._session.image = self.layer()
        self.layer_chosen.emit()

    def tell_size(self, *_: Any) -> None:
        """Warn where the image's pixels are of another size than those the network learnt from."""
        layer, network = self.layer(), self._session.network
        words = "" if layer is None or network is None else size_note(network, layer)
        self.size_note.setText(words)
        self.size_note.setVisible(bool(words))
