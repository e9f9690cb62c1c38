"""Questions about images that are not passed as a whole: tile by tile, or a part of one."""

from __future__ import annotations

import errno
import tempfile
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError, Progress
from napari_neuroscope.engine.explain.crop import explain_crop, is_large, why_not_tiled
from napari_neuroscope.engine.explain.tiled import explain_tiled
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.images.pyramid import Part, Pyramid
from napari_neuroscope.engine.tiles.geometry import Geometry, Tiling, Window
from napari_neuroscope.engine.tiles.reader import TiledInput
from napari_neuroscope.session.session import Offer, Question, one_or_many
from napari_neuroscope.viewer.layers.layer_data import LayerData
from napari_neuroscope.viewer.layers.multiscale_map import grown_data, make_room


class Readings:
    """What hangs on all of the image that was asked about last, such as its percentiles.

    It takes a reading of the whole image, so each new view of it goes without.
    """

    def __init__(self) -> None:
        self._key: tuple[Any, ...] = ()
        self._last: TiledInput | None = None

    def of(self, question: Question, progress: Progress) -> TiledInput:
        """Return a question's image with what hangs on all of it, which may take a while."""
        network, shown = question.network, question.shown
        key = (network.spec, network.channels, shown.data, question.plane(), _sample(shown.data))
        if self._last is None or not _alike(key, self._key):
            self._key = ()
            sizes = Tiling().sizes(network.spec)
            stride = Geometry.of(network.layers, network.spec).block
            self._last = TiledInput(
                shown.lazily(network), network.spec, network.channels, sizes,
                lambda: progress(0, 0, "Reading the whole image, once"), stride=stride,
            )  # fmt: skip
            self._key = key
        return self._last

    def forget_all_but(self, data: Any) -> None:
        """Let go of an image that is not this array."""
        if self._key and self._key[2] is not data:
            self._key, self._last = (), None


def _alike(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    # Arrays are the same, or not; only what is said of them is compared.
    return len(one) == len(other) and all(
        a is b or (not hasattr(a, "shape") and a == b) for a, b in zip(one, other, strict=True)
    )


def _sample(data: Any) -> bytes:
    """Return some of the pixels of an array in memory, which may be painted on meanwhile."""
    if type(data) is not np.ndarray:
        return b""
    steps = tuple(slice(None, None, max(1, n // 64)) for n in data.shape)
    return np.ascontiguousarray(data[steps]).tobytes()


@dataclass(frozen=True, eq=False)
class TiledQuestion(Question):
    """A question about an image, or a window of it, that is answered tile by tile.

    Its map grows in its layer.
    """

    window: Window | None = None
    readings: Readings = field(default_factory=Readings)
    _rooms: list[Pyramid] = field(default_factory=list)

    def answer(self, progress: Progress, offer: Offer | None = None) -> Explanation:
        """Compute it, offering the map while it grows."""
        space = len(self.network.spec.input.space)

        def room(shape: tuple[int, ...]) -> Any:
            self._rooms[:] = [make_room(shape, space)]
            return self._rooms[0].levels[0]

        def written(part: Part) -> None:
            self._rooms[0].written(part)

        def in_tiles(done: int, total: int, what: str) -> None:
            progress(done, total, f"{what} · %v of %m tiles" if total else what)

        try:
            return explain_tiled(
                self.network,
                self.readings.of(self, progress),
                self.method,
                one_or_many(tuple(self.resolved(target) for target in self.targets)),
                one_or_many(self.layers),
                window=self.window,
                out=room,
                written=written,
                partial=offer,
                progress=in_tiles,
                **self.options,
            )
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise NeuroscopeError(
                f"The disk of {tempfile.gettempdir()}, where the map is kept while it is shown, is "
                f"full; make room there, or explain what is in view."
            ) from error

    def layer_data(self, found: Explanation) -> list[LayerData]:
        """Return what was found, perhaps not yet all, as layer data."""
        return _named(grown_data(found, self._rooms[0], self.source, self.place()), self.window)

    @property
    def slot(self) -> tuple[str, ...]:
        """Where it is shown: what is in view in a layer of its own, beside that of the whole."""
        return super().slot if self.window is None else (*super().slot, "in view")


@dataclass(frozen=True, eq=False)
class CropQuestion(Question):
    """A question about a part of an image, taken as an image of its own."""

    window: Window = ()

    def answer(self, progress: Progress, offer: Offer | None = None) -> Explanation:
        """Compute it."""
        return explain_crop(
            self.network,
            self.shown.lazily(self.network),
            self.window,
            self.method,
            one_or_many(tuple(self.resolved(target) for target in self.targets)),
            one_or_many(self.layers),
            progress=progress,
            partial=offer,
            **self.options,
        )

    def layer_data(self, found: Explanation) -> list[LayerData]:
        """Return what was found as layer data."""
        return _named(super().layer_data(found), self.window)

    @property
    def slot(self) -> tuple[str, ...]:
        """Where it is shown: in a layer of its own, beside that of the whole."""
        return (*super().slot, "in view")


def _named(layers: list[LayerData], window: Window | None) -> list[LayerData]:
    """Say in a layer's name that it shows a part of the image."""
    for _, attributes, _ in layers if window is not None else ():
        attributes["name"] += " · in view"
    return layers


def about_part(
    question: Question, sides: tuple[int, ...], window: Window | None, readings: Readings
) -> Question:
    """Return a question as one about a part of its image, or about a large image in tiles.

    Parameters
    ----------
    question
        About the whole image.
    sides
        The image's pixels.
    window
        Which of them; None: all.
    readings
        What is known of the image.
    """
    values = {name: getattr(question, name) for name in Question.__dataclass_fields__}
    if window == tuple((0, n) for n in sides):
        window = None
    tiled = not why_not_tiled(question.network, question.method, sides)
    if window is None:
        large = is_large(question.network, sides)
        return TiledQuestion(**values, readings=readings) if tiled and large else question
    if tiled:
        return TiledQuestion(**values, window=window, readings=readings)
    return CropQuestion(**values, window=window)
