"""Which explanation of a viewer is seen: one at a time, the others kept, and marked where out of date."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from psygnal import Signal

from napari_neuroscope.engine.explanation.overlays.registry import is_map, kind_of
from napari_neuroscope.viewer.state.viewer_state import without_proxy

KEPT = " (kept)"
OUT_OF_DATE = " (out of date)"


class ShownMaps:
    """The explanations of one viewer.

    Attributes
    ----------
    changed
        Another one is out of date, or none any more.
    """

    changed = Signal()

    def __init__(self) -> None:
        self._kept: WeakSet[Any] = WeakSet()
        self._outdated: WeakSet[Any] = WeakSet()
        # Of layers that were hidden: whether they were seen with their map.
        self._were_visible: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
        # What each map was made of, as its maker compares it.
        self._made_of: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()

    def present(self, viewer: Any, layers: Sequence[Any]) -> None:
        """Show the layers of one explanation, the map first, and hide those of all others."""
        shown = [without_proxy(layer) for layer in layers]
        for layer in map(without_proxy, viewer.layers):
            if layer not in shown and kind_of(layer.metadata) is not None and layer.visible:
                self._were_visible[layer] = True
                layer.visible = False
        for number, layer in enumerate(shown):
            if not layer.visible and (number == 0 or self._were_visible.pop(layer, False)):
                layer.visible = True
        for layer in shown:
            self._set_outdated(layer, False)

    def keep(self, layer: Any) -> None:
        """Mark a map as kept: it is left as it is, and says what it was."""
        layer = without_proxy(layer)
        if layer in self._kept:
            return
        self._set_outdated(layer, False)
        self._kept.add(layer)
        layer.name = f"{layer.name}{KEPT}"
        self.changed.emit()

    def is_kept(self, layer: Any) -> bool:
        """Whether a layer was kept."""
        return without_proxy(layer) in self._kept

    def is_outdated(self, layer: Any) -> bool:
        """Whether a layer's map no longer is what is chosen."""
        return without_proxy(layer) in self._outdated

    def made_of(self, layer: Any, choices: Any) -> None:
        """Remember what the map of a layer was made of."""
        self._made_of[without_proxy(layer)] = choices

    def choices_of(self, layer: Any) -> Any:
        """Return what the map of a layer was made of; None where that is not known."""
        return self._made_of.get(without_proxy(layer))

    def current(self, viewer: Any) -> list[Any]:
        """Return the maps that follow what is chosen: not kept ones, and none from files."""
        return [
            layer
            for layer in map(without_proxy, viewer.layers)
            if layer in self._made_of and layer not in self._kept and is_map(layer.metadata)
        ]

    def mark(self, viewer: Any, is_outdated: Callable[[Any], bool | None]) -> bool:
        """Mark the maps that are out of date, and unmark the others.

        Parameters
        ----------
        viewer
            The viewer.
        is_outdated
            Of what a map was made of: whether that is no longer what is chosen; None where that
            is another's to say.

        Returns
        -------
        bool
            Whether one of these that is out of date is seen.
        """
        before, seen = set(map(id, self._outdated)), False
        for layer in self.current(viewer):
            outdated = is_outdated(self._made_of[layer])
            if outdated is not None:
                self._set_outdated(layer, outdated)
                seen |= outdated and layer.visible
        if set(map(id, self._outdated)) != before:
            self.changed.emit()
        return seen

    def _set_outdated(self, layer: Any, outdated: bool) -> None:
        plain = layer.name.removesuffix(OUT_OF_DATE)
        if outdated:
            self._outdated.add(layer)
        else:
            self._outdated.discard(layer)
        name = f"{plain}{OUT_OF_DATE}" if outdated else plain
        if layer.name != name:
            layer.name = name

    def hide(self, viewer: Any, which: Callable[[Any], bool]) -> None:
        """Hide the maps, and what was made with them, of which what they were made of is such."""
        for layer in self.current(viewer):
            if which(self._made_of[layer]) and layer.visible:
                self._were_visible[layer] = True
                layer.visible = False
