"""Extents of images that are not passed as a whole: tile by tile, or a crop of one."""

from __future__ import annotations

import errno
import tempfile
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError, Progress
from napari_neuroscope.engine.explain.crop import explain_crop, is_large, why_not_tiled
from napari_neuroscope.engine.explain.tiled import explain_tiled
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.overlays.kind import LayerData
from napari_neuroscope.engine.images.pyramid import Part, Pyramid
from napari_neuroscope.engine.tiles.geometry import Geometry, Window
from napari_neuroscope.engine.tiles.reader import TiledInput
from napari_neuroscope.engine.tiles.tiling import Tiling
from napari_neuroscope.session.question import Extent, Offer, Question
from napari_neuroscope.viewer.layers.maps.multiscale_map import grown_data, make_room


class TiledInputCache:
    """Keeps of the image that was asked about last what hangs on all of it, such as percentiles.

    That takes a reading of the whole image, so each new view of it goes without.
    """

    def __init__(self) -> None:
        self._key: tuple[Any, ...] = ()
        self._input: TiledInput | None = None

    def input_of(self, question: Question, progress: Progress) -> TiledInput:
        """Return a question's image to be read in tiles, which may take a while."""
        network, shown = question.network, question.shown
        key = (network.spec, network.channels, shown.array, question.plane(), _sample(shown.array))
        if self._input is None or not _is_same(key, self._key):
            self._key = ()
            sizes = Tiling().sizes(network.spec)
            stride = Geometry.of(network.layers, network.spec).block
            self._input = TiledInput(
                shown.lazily(network), network.spec, network.channels, sizes,
                lambda: progress(0, 0, "Reading the whole image, once"), stride=stride,
            )  # fmt: skip
            self._key = key
        return self._input

    def forget_all_but(self, array: Any) -> None:
        """Let go of an image that is not this array."""
        if self._key and self._key[2] is not array:
            self._key, self._input = (), None


def _is_same(key: tuple[Any, ...], before: tuple[Any, ...]) -> bool:
    # Arrays are the same, or not; only what is said of them is compared.
    return len(key) == len(before) and all(
        a is b or (not hasattr(a, "shape") and a == b) for a, b in zip(key, before, strict=True)
    )


def _sample(array: Any) -> bytes:
    """Return some of the pixels of an array in memory, which may be painted on meanwhile."""
    if type(array) is not np.ndarray:
        return b""
    steps = tuple(slice(None, None, max(1, n // 64)) for n in array.shape)
    return np.ascontiguousarray(array[steps]).tobytes()


@dataclass(frozen=True, eq=False)
class Tiles(Extent):
    """An image, or a window of it, tile by tile; the map grows in its layer.

    Attributes
    ----------
    inputs
        What is kept of the image.
    window
        Which of its pixels; None: all.
    """

    is_shown_plane: ClassVar[bool] = False

    inputs: TiledInputCache = field(default_factory=TiledInputCache)
    window: Window | None = None
    # The map that grows, since it was asked for.
    _pyramids: list[Pyramid] = field(default_factory=list)

    @property
    def slot(self) -> tuple[str, ...]:
        """What is in view is shown in a layer of its own."""
        return () if self.window is None else ("in view",)

    def answer(self, question: Question, progress: Progress, offer: Offer | None) -> Explanation:
        """Compute the map, offering it while it grows."""
        space = len(question.network.spec.input.space)

        def room(shape: tuple[int, ...]) -> Any:
            self._pyramids[:] = [make_room(shape, space)]
            return self._pyramids[0].levels[0]

        def written(part: Part) -> None:
            self._pyramids[0].written(part)

        def in_tiles(done: int, total: int, what: str) -> None:
            progress(done, total, f"{what} · %v of %m tiles" if total else what)

        try:
            return explain_tiled(
                question.network,
                self.inputs.input_of(question, progress),
                *question.arguments(),
                window=self.window,
                out=room,
                written=written,
                partial=offer,
                progress=in_tiles,
                **question.options,
            )
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise NeuroscopeError(
                f"The disk of {tempfile.gettempdir()}, where the map is kept while it is shown, is "
                f"full; make room there, or explain what is in view."
            ) from error

    def layer_data(self, question: Question, explanation: Explanation) -> list[LayerData]:
        """Return the map, perhaps not yet all of it, as layer data."""
        place = self.place(question)
        layers = grown_data(explanation, self._pyramids[0], question.source, place)
        return layers if self.window is None else _named_in_view(layers)


@dataclass(frozen=True, eq=False)
class Crop(Extent):
    """A window of an image, taken as an image of its own."""

    is_shown_plane: ClassVar[bool] = False

    window: Window

    @property
    def slot(self) -> tuple[str, ...]:
        """It is shown in a layer of its own, beside that of the whole."""
        return ("in view",)

    def answer(self, question: Question, progress: Progress, offer: Offer | None) -> Explanation:
        """Compute the map."""
        return explain_crop(
            question.network,
            question.shown.lazily(question.network),
            self.window,
            *question.arguments(),
            progress=progress,
            partial=offer,
            **question.options,
        )

    def layer_data(self, question: Question, explanation: Explanation) -> list[LayerData]:
        """Return the map as layer data."""
        return _named_in_view(super().layer_data(question, explanation))


def _named_in_view(layers: list[LayerData]) -> list[LayerData]:
    """Say in a layer's name that it shows a part of the image."""
    for _, attributes, _ in layers:
        attributes["name"] += " · in view"
    return layers


def about_window(
    question: Question, sides: tuple[int, ...], window: Window | None, inputs: TiledInputCache
) -> Question:
    """Return a question as one about a window of its image, or about a large image in tiles.

    Parameters
    ----------
    question
        About the whole image.
    sides
        The image's pixels.
    window
        Which of them; None: all.
    inputs
        What is kept of the image.
    """
    if window == tuple((0, n) for n in sides):
        window = None
    by_tiles = not why_not_tiled(question.network, question.method, sides)
    if window is None and not (by_tiles and is_large(question.network, sides)):
        return question
    if window is None or by_tiles:
        return question.about(Tiles(inputs, window))
    return question.about(Crop(window))
