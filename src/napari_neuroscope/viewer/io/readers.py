"""napari's readers of saved explanations: overlays as they were."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_info

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.explanation.overlays.kind import LayerData
from napari_neuroscope.engine.files.told import told_in_a_sentence
from napari_neuroscope.engine.plain_text import visible
from napari_neuroscope.engine.results.save import is_result, read_result
from napari_neuroscope.viewer.io.saved_layers import layers_of

Paths = str | Sequence[str]
_NAMED_AS_OURS = (".neuroscope.tif", ".neuroscope.tiff", ".neuroscope.npy")


def result_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """Return what reads saved explanations; None where a file is none, which is others' to read."""
    try:
        paths = [path] if isinstance(path, str) else list(path)
        if paths and all(map(is_result, paths)):
            return read
        _tell_of_plain_values(paths)
        return None
    except Exception:  # noqa: BLE001  napari asks all readers, and one that raises stops the others
        return None


def _tell_of_plain_values(paths: Sequence[str]) -> None:
    """Say of files that are named as ours and hold no record that only values will be seen."""
    for path in map(Path, paths):
        if path.name.endswith(_NAMED_AS_OURS) and path.is_file():
            name = visible(shortened(path.name, 100)).replace("<", "‹").replace("&", "+")
            show_info(
                f"“{name}” is named as an explanation, but holds values alone: how they were made, "
                f"their scale and colours were lost when it was saved. It opens as a plain picture."
            )


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
