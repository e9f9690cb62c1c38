"""Which explanation a layer shows, and of what, for as long as the layer lives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from napari_neuroscope.engine.explanation import Explanation
from napari_neuroscope.engine.network import Network
from napari_neuroscope.viewer.planes import Shown


@dataclass(frozen=True, eq=False)
class Explained:
    """An explanation, and what it is of.

    Attributes
    ----------
    explanation
        What a layer shows.
    network
        What was explained.
    shown
        The image that it was asked about.
    source, place
        The image's layer, and where on its other axes the map lies.
    """

    explanation: Explanation
    network: Network
    shown: Shown
    source: Any
    place: tuple[int, ...]


_explained: WeakKeyDictionary[Any, Explained] = WeakKeyDictionary()


def remember(layers: Iterable[Any], explained: Explained) -> None:
    """Keep what layers show, for as long as they live."""
    for layer in layers:
        _explained[_itself(layer)] = explained


def explained_by(layer: Any) -> Explained | None:
    """Return what a layer shows; None where that was not explained in this session."""
    return _explained.get(_itself(layer))


def _itself(layer: Any) -> Any:
    # A plugin is given proxies of layers, new ones each time.
    return getattr(layer, "__wrapped__", layer)
