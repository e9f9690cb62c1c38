"""Maps in a viewer as files: which layers belong together, and what napari's own files lose."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explanation.overlays.kind import LayerData
from napari_neuroscope.engine.explanation.overlays.registry import is_map, kind_of
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.results.formats import FORMATS
from napari_neuroscope.viewer.io.writers import write_npy, write_picture, write_tiff, write_zarr
from napari_neuroscope.viewer.state.layer_origin import explained_by
from napari_neuroscope.viewer.state.viewer_state import without_proxy

Writer = Callable[[str, Sequence[LayerData]], list[str]]

WRITERS: dict[str, tuple[str, Writer]] = {
    ".neuroscope.tif": ("Explanation as OME-TIFF", write_tiff),
    ".ome.zarr": ("Explanation as OME-Zarr", write_zarr),
    ".neuroscope.npy": ("Explanation as NumPy", write_npy),
    ".neuroscope.png": ("Picture of the map over its image", write_picture),
}
"""The kinds of file, by ending: what people call each, and what writes it."""

# What tells maps of one record apart: of the label maps beside a map all else is the map's.
_SAID_ALIKE = ("method", "title", "network", "image", "targets", "layers", "options", "labels")


def writer_for(path: Path) -> Writer | None:
    """Return what writes a file of a name; None where its ending is none of ours."""
    return next((w for ending, (_, w) in WRITERS.items() if path.name.endswith(ending)), None)


def map_with_companions(viewer: Any, layer: Any) -> list[LayerData]:
    """Return a map as layer data, and with it the label maps that were made with it.

    Parameters
    ----------
    viewer
        The viewer.
    layer
        The layer of the map.

    Raises
    ------
    NeuroscopeError
        Where the layer shows no map.
    """
    layer = without_proxy(layer)
    if not is_map(layer.metadata):
        raise NeuroscopeError(f"“{layer.name}” is no map; select the layer of a map to save it.")
    record, shown = layer.metadata[KEY], explained_by(layer)
    beside = {}
    for companion in map(without_proxy, viewer.layers):
        said = companion.metadata.get(KEY, {})
        name = said.get("companion")
        if name in record.get("companions", {}) and all(
            said.get(part) == record.get(part) for part in _SAID_ALIKE
        ):
            beside[name] = companion.as_layer_data_tuple()
    if shown is not None:
        # What was taken out of the viewer is saved with its map all the same.
        for data in shown.explanation.to_layer_data(shown.source, shown.place):
            name = data[1]["metadata"][KEY].get("companion")
            if name is not None:
                beside.setdefault(name, data)
    return [layer.as_layer_data_tuple(), *beside.values()]


def save_map(path: Path, layers: Sequence[LayerData]) -> Path:
    """Write a map with its label maps to a file whose ending says the kind; return the file.

    Raises
    ------
    NeuroscopeError
        Where the ending is none of ours, or the file can't be written.
    """
    writer = writer_for(path)
    if writer is None:
        raise NeuroscopeError(
            f"“{path.name}” doesn't say what kind of file it is; end it in {', '.join(WRITERS)}."
        )
    return Path(writer(str(path), layers)[0])


def with_ending(path: Path, ending: str) -> Path:
    """Return a file's name with one of our endings: that of a chosen kind, unless it has one."""
    if writer_for(path) is not None:
        return path
    known = (*WRITERS, *(kind for kind in FORMATS), ".ome.tif", ".neuroscope")
    stem = path.name
    for part in sorted(known, key=len, reverse=True):
        stem = stem.removesuffix(part)
    return path.with_name(f"{stem}{ending}")


def watch_saving(viewer: Any, tell: Callable[[str], None]) -> None:
    """Keep napari's File > Save from losing what a map is, or have it told.

    napari writes by the kind of file that its dialog offers first, a plain picture of the values,
    whatever the name. Where the name ends in one of ours, the map is written as ours; otherwise
    what is not in the file is told. To watch a viewer twice changes nothing.

    Parameters
    ----------
    viewer
        The viewer whose layers are saved.
    tell
        Shows a sentence.
    """
    layers, its_viewer = without_proxy(viewer.layers), weakref.ref(without_proxy(viewer))
    if "save" in vars(layers):
        return
    napari_save = layers.save

    def save(path: str, *, selected: bool = False, **how: Any) -> list[str]:
        to_save = [x for x in layers if not selected or x in layers.selection]
        maps = [layer for layer in to_save if is_map(layer.metadata)]
        are_ours = all(kind_of(layer.metadata) is not None for layer in to_save)
        if len(maps) == 1 and are_ours and writer_for(Path(path)) is not None:
            return [str(save_map(Path(path), map_with_companions(its_viewer(), maps[0])))]
        saved: list[str] = napari_save(path, selected=selected, **how)
        if maps and saved and not _is_by_us(how):
            tell(
                f"“{Path(path).name}” holds values alone: how “{maps[0].name}” was made, its scale, "
                f"units and colours are not in it. “Save map…” keeps them, and so does a name that "
                f"ends in .neuroscope.tif."
            )
        return saved

    # napari tells nobody that it saves.
    layers.save = save


def _is_by_us(how: dict[str, Any]) -> bool:
    """Whether a writer of ours was chosen in napari's dialog, or by its name."""
    command = str(getattr(how.get("_writer"), "command", ""))
    return command.startswith("napari-neuroscope.") or how.get("plugin") == "napari-neuroscope"
