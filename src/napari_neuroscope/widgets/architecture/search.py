"""Layers that are looked for by a part of their name or operation, gone through one by one."""

from __future__ import annotations

from napari_neuroscope.engine.graph.layer_graph import LayerGraph


class LayerSearch:
    """The layers that match a text, and at which of them one is."""

    def __init__(self) -> None:
        self._matches: list[str] = []
        self._number = 0

    def look_for(self, text: str, graph: LayerGraph | None) -> bool:
        """Look for a text among a network's layers; return whether it is one to look for."""
        wanted = text.strip().casefold()
        self._matches, self._number = [], 0
        if graph is None or not wanted:
            return False
        self._matches = [
            name
            for name, layer in graph.items()
            if wanted in name.casefold() or wanted in layer.operation.casefold()
        ]
        return True

    @property
    def current(self) -> str | None:
        """The layer at which one is; None where none matches."""
        return self._matches[self._number] if self._matches else None

    def go_on(self) -> None:
        """Go on to the next match, after the last to the first."""
        self._number = (self._number + 1) % len(self._matches)

    def in_words(self, holder: str) -> str:
        """Return at which match one is, and inside of which block that is seen."""
        if self.current is None:
            return "No layer is called like that."
        inside = f", inside {holder}: Enter opens it" if holder != self.current else ""
        return f"{self._number + 1} of {len(self._matches)}: {self.current}{inside}"
