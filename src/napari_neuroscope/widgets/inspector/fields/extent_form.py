"""The inspector's choice of how much of an image is explained: all, or what is in view."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explain.crop import is_large, why_not_tiled
from napari_neuroscope.engine.methods.interface import ChannelWeights
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.tiles.geometry import Window
from napari_neuroscope.session.question import Question
from napari_neuroscope.session.session import Session
from napari_neuroscope.session.tiled_extent import TiledInputCache, about_window
from napari_neuroscope.viewer.image.camera import window_in_view
from napari_neuroscope.viewer.image.shown_image import by, finest
from napari_neuroscope.widgets.parts.labels import note, plain_tooltip

_CHOICES = {
    "whole": ("Whole image", "Large images are passed tile by tile, with the result of the whole."),
    "in view": (
        "What is in view",
        "Only the pixels that the canvas shows now. Zoom and move; with “Update as I choose” "
        "the map follows.",
    ),
}


class ExtentForm(QWidget):
    """Chooses a session's extent, and says how that is computed.

    Parameters
    ----------
    viewer, session
        The dock's.
    """

    def __init__(self, viewer: Any, session: Session) -> None:
        super().__init__()
        self._viewer, self._session = viewer, session
        self._inputs = TiledInputCache()
        self.box = QComboBox()
        self.box.setAccessibleName("Extent")
        for row, (value, (text, tip)) in enumerate(_CHOICES.items()):
            self.box.addItem(text, value)
            self.box.setItemData(row, tip, 3)
        tips = "\n\n".join(f"{text}: {tip}" for text, tip in _CHOICES.values())
        self.box.setToolTip(plain_tooltip(tips))
        self.box.setCurrentIndex(self.box.findData(session.extent))
        self.box.currentIndexChanged.connect(
            lambda: setattr(session, "extent", self.box.currentData())
        )
        self.note = note()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.box)
        layout.addWidget(self.note)

    def choose(self, extent: str) -> None:
        """Choose "whole" or "in view"."""
        self.box.setCurrentIndex(self.box.findData(extent))

    def question(self, question: Question) -> Question:
        """Return a question about the whole image as one about what is chosen of it.

        Raises
        ------
        NeuroscopeError
            Where nothing of the image is in view.
        """
        # The camera may still move, and this is what is said of the view now.
        self.refresh()
        sides, window = self._looked_at(question.network)
        if self._session.extent == "in view" and window is None:
            raise NeuroscopeError(self._nothing_in_view())
        return about_window(question, sides, window, self._inputs)

    def refresh(self) -> bool:
        """Say how what is chosen is computed; return whether it begins only when it is asked for."""
        session, words, long = self._session, "", False
        image = session.image
        self._inputs.forget_all_but(None if image is None else finest(image))
        network = session.network
        if network is not None and session.network_summary is not None and image is not None:
            try:
                words, long = self._in_words(network)
            except NeuroscopeError:
                # The image has too few axes, which the dock says by itself.
                words = ""
        if long and session.live:
            words += " It begins with Explain, not as you choose."
        if words != self.note.text():
            self.note.setText(words)
        self.note.setVisible(bool(words))
        return long

    def chosen(self) -> tuple[Any, ...]:
        """Return how much of the image is asked about, and what of it is in view where that counts."""
        network = self._session.network
        if not self.follows_camera() or network is None or self._session.image is None:
            return (self._session.extent,)
        try:
            return (self._session.extent, self._looked_at(network)[1])
        except NeuroscopeError:
            return (self._session.extent, None)

    def follows_camera(self) -> bool:
        """Whether what is explained changes with the camera."""
        return self._session.extent == "in view"

    def _looked_at(self, network: Network) -> tuple[tuple[int, ...], Window | None]:
        """Return the image's pixels, and which of them are looked at; None: all, or none in view."""
        pixels = self._session.pixels(network, self._viewer)
        if self._session.extent == "whole":
            return pixels.shape, None
        return pixels.shape, window_in_view(pixels, self._viewer)

    def _in_words(self, network: Network) -> tuple[str, bool]:
        sides, window = self._looked_at(network)
        reason = why_not_tiled(network, self._session.method, sides)
        large = is_large(network, sides)
        if self._session.extent == "whole":
            if not large:
                return "", False
            if not reason:
                return f"{by(sides)} pixels, tile by tile; the map grows in its layer.", True
            return (
                f"All {by(sides)} pixels go at once, which may not fit the memory: {reason}. "
                f"Choose what is in view, or another method.",
                True,
            )
        if window is None:
            return self._nothing_in_view(), False
        in_view = tuple(stop - first for first, stop in window)
        if in_view == sides:
            return "All of the image is in view.", large
        words = f"{by(in_view)} of {by(sides)} pixels"
        if reason:
            return f"{words}, as an image of their own: {reason}.", False
        as_whole = "as in the map of the whole"
        if isinstance(self._session.chosen_method().tiles, ChannelWeights):
            as_whole += ", but for channels' weights, which are theirs alone"
        return f"{words}, {as_whole}.", is_large(network, in_view)

    def _nothing_in_view(self) -> str:
        name = self._session.image.name
        return f"Nothing of “{name}” is in view; move there, or choose the whole image."
