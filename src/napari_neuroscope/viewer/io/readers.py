"""napari's readers of saved explanations: overlays as they were."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.explanation.overlays.kind import LayerData
from napari_neuroscope.engine.files.told import told_in_a_sentence
from napari_neuroscope.engine.results.save import is_result, read_result
from napari_neuroscope.viewer.io.saved_layers import layers_of

Paths = str | Sequence[str]


def result_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """Return what reads saved explanations; None where a file is none, which is others' to read."""
    try:
        paths = [path] if isinstance(path, str) else list(path)
        return read if paths and all(map(is_result, paths)) else None
    except Exception:  # noqa: BLE001  napari asks all readers, and one that raises stops the others
        return None


def read(path: Paths, **_: Any) -> list[LayerData]:
    """Return saved explanations as layers, the label maps above."""
    paths = [path] if isinstance(path, str) else list(path)
    layers: list[LayerData] = []
    for file in paths:
        result = read_result(file)
        if result.explanation.is_table:
            title = shortened(result.explanation.record.title, 100)
            raise NeuroscopeError(
                f"“{title}” is a table of scores, which has no place on an image; read it in Python "
                f"with ns.read_result."
            )
        with told_in_a_sentence(file, "a saved explanation"):
            # The first is the topmost in a dock, and the last in napari.
            layers += layers_of(result)[::-1]
    return layers
