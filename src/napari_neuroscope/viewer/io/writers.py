"""napari's writers of explanations: the layer of a map, with its label maps, as a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explanation.overlays.kind import LayerData
from napari_neuroscope.engine.explanation.overlays.registry import is_map, kind_of
from napari_neuroscope.engine.results.save import SUFFIXES, save
from napari_neuroscope.viewer.io.saved_layers import result_of
from napari_neuroscope.viewer.state.layer_origin import image_under


def write_tiff(path: str, layers: Sequence[LayerData]) -> list[str]:
    """Write an explanation as OME-TIFF."""
    return _write(path, layers, ".neuroscope.tif")


def write_zarr(path: str, layers: Sequence[LayerData]) -> list[str]:
    """Write an explanation as OME-Zarr."""
    return _write(path, layers, ".ome.zarr")


def write_npy(path: str, layers: Sequence[LayerData]) -> list[str]:
    """Write an explanation as NumPy's, with its record beside it."""
    return _write(path, layers, ".neuroscope.npy")


def write_picture(path: str, layers: Sequence[LayerData]) -> list[str]:
    """Write an explanation as a picture."""
    return _write(path, layers, ".neuroscope.png")


def _write(path: str, layers: Sequence[LayerData], ending: str) -> list[str]:
    maps, beside = [], []
    for layer in layers:
        metadata = layer[1].get("metadata", {})
        if is_map(metadata):
            maps.append(layer)
        elif layer[2] == "labels" or kind_of(metadata) is not None:
            beside.append(layer)
        else:
            raise NeuroscopeError(
                f"“{layer[1]['name']}” is no explanation; save it as another kind of file."
            )
    if len(maps) != 1:
        raise NeuroscopeError("Select one explanation to save, and with it its label maps if any.")
    result = result_of(maps[0], beside)
    explanation = result.explanation
    explanation = replace(
        explanation,
        record=replace(
            explanation.record, more={**explanation.record.more, "look": dict(result.look)}
        ),
    )
    # Only the last part of the ending tells the kind.
    kind = Path(ending).suffix
    out = Path(path if Path(path).suffix.lower() in SUFFIXES else f"{path}{ending}")
    if out.suffix.lower() != kind:
        raise NeuroscopeError(f"“{out.name}” doesn't end in {kind}; choose the kind by its ending.")
    image = image_under(maps[0][0]) if kind == ".png" else None
    # napari's dialog has asked about a file that is there, but not about a folder.
    save(explanation, image, out, spacing=result.spacing, overwrite=kind != ".zarr")
    return [str(out)]
