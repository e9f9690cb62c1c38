"""Which explanation a layer shows, and of what, for as long as the layer lives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary, ref

import numpy as np

from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.viewer.image.shown_image import Shown
from napari_neuroscope.viewer.layers.place import Place


@dataclass(frozen=True, eq=False)
class LayerOrigin:
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
        The image's layer, and where on its axes the map lies.
    """

    explanation: Explanation
    network: Network
    shown: Shown
    source: Any
    place: Place


# Networks and images that nothing else holds are let go.
_explained: WeakKeyDictionary[Any, tuple[ref[Network], ref[Any], LayerOrigin]] = WeakKeyDictionary()


def remember(layers: Iterable[Any], explained: LayerOrigin) -> None:
    """Keep what layers show, for as long as they live."""
    source = _itself(explained.source)
    held = replace(explained, network=None, source=None)  # type: ignore[arg-type]
    for layer in map(_itself, layers):
        of_layer = ref(layer)

        def forget(_: Any, of_layer: ref[Any] = of_layer) -> None:
            # Without its network, an explanation says nothing that is not in the layer.
            if (shows := of_layer()) is not None:
                _explained.pop(shows, None)

        _explained[layer] = ref(explained.network, forget), ref(source), held


def explained_by(layer: Any) -> LayerOrigin | None:
    """Return what a layer shows; None where that, its network or its image is not there."""
    layer = _itself(layer)
    network, source, held = _explained.get(layer, (lambda: None, lambda: None, None))
    found, image = network(), source()
    if held is None or found is None or image is None:
        return None
    # It may show something else since.
    if not np.may_share_memory(layer.data, held.explanation.values):
        return None
    return replace(held, network=found, source=image)


def image_under(data: Any) -> Any:
    """Return the image that the map of a layer is of, by the layer's data; None: not known."""
    layer = next((one for one in list(_explained) if one.data is data), None)
    shows = None if layer is None else explained_by(layer)
    if shows is None:
        return None
    if "planes" in shows.explanation.provenance:
        return shows.shown.data
    return shows.shown.image(shows.network)


def _itself(layer: Any) -> Any:
    # A plugin is given proxies of layers, new ones each time.
    return getattr(layer, "__wrapped__", layer)
