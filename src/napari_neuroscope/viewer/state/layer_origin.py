"""Which explanation a layer shows, and of what, for as long as the layer lives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary, ref

from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.overlays.place import Place
from napari_neuroscope.engine.explanation.overlays.registry import kind_of
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.viewer.image.shown_image import ShownImage
from napari_neuroscope.viewer.state.viewer_state import without_proxy


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
    shown: ShownImage
    source: Any
    place: Place


@dataclass(frozen=True, eq=False)
class _HeldOrigin:
    """An origin whose network and image are let go where nothing else holds them."""

    explanation: Explanation
    network: ref[Network]
    shown: ShownImage
    source: ref[Any]
    place: Place


_origins: WeakKeyDictionary[Any, _HeldOrigin] = WeakKeyDictionary()


def remember(layers: Iterable[Any], origin: LayerOrigin) -> None:
    """Keep what layers show, for as long as they live."""
    source = ref(without_proxy(origin.source))
    for layer in map(without_proxy, layers):
        of_layer = ref(layer)

        def forget(_: Any, of_layer: ref[Any] = of_layer) -> None:
            # Without its network, an explanation says nothing that is not in the layer.
            if (living_layer := of_layer()) is not None:
                _origins.pop(living_layer, None)

        network = ref(origin.network, forget)
        _origins[layer] = _HeldOrigin(
            origin.explanation, network, origin.shown, source, origin.place
        )


def explained_by(layer: Any) -> LayerOrigin | None:
    """Return what a layer shows; None where that, its network or its image is not there."""
    layer = without_proxy(layer)
    held = _origins.get(layer)
    if held is None:
        return None
    network, source, kind = held.network(), held.source(), kind_of(layer.metadata)
    # The layer may show something else since.
    if network is None or source is None or kind is None:
        return None
    if not kind.still_shows(layer, held.explanation.values):
        return None
    return LayerOrigin(held.explanation, network, held.shown, source, held.place)


def image_under(values: Any) -> Any:
    """Return the image that the map of a layer is of, by the layer's data; None: not known."""
    layer = next((layer for layer in list(_origins) if layer.data is values), None)
    origin = None if layer is None else explained_by(layer)
    if origin is None:
        return None
    if origin.explanation.record.planes is not None:
        return origin.shown.array
    return origin.shown.image(origin.network)
