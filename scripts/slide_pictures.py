"""Make the pictures of docs/large_images.md: a slide of nuclei whose map grows tile by tile.

The slide is put together from the images of ../shared/data, once, in a folder. Needs a screen,
real or virtual::

    python scripts/slide_pictures.py --size 16384 --folder /tmp/slide
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import napari
import numpy as np
import zarr
from skimage.io import imread

from napari_neuroscope.engine.pyramid import coarsen, level_shapes
from napari_neuroscope.widgets.demo import settle, wait_for
from napari_neuroscope.widgets.session import DEMO_TITLES

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT.parent / "shared" / "data" / "nuclei" / "train" / "images"
PICTURES = ROOT / "docs" / "pictures"
CELL = 256
PIXEL_UM = 0.5


def fields() -> list[np.ndarray]:
    """Return microscopy images of nuclei, dark with bright nuclei, each up to its own brightest."""
    found = []
    for path in sorted(IMAGES.glob("*.png")):
        image = imread(path)
        if image.shape == (CELL, CELL) and np.median(image) < 40 < image.max():
            found.append((image / image.max() * 255).astype(np.uint8))
    return found


def make_slide(folder: Path, size: int) -> Path:
    """Write a slide of size × size pixels as OME-Zarr, and return where it is."""
    path = folder / f"slide-{size}.ome.zarr"
    if path.exists():
        return path
    shapes = level_shapes((size, size), 2)
    group = zarr.open_group(path, mode="w", zarr_format=3)
    levels = [
        group.create_array(str(number), shape=shape, chunks=(512, 512), dtype="uint8")
        for number, shape in enumerate(shapes)
    ]
    tiles, rng = fields(), np.random.default_rng(0)
    for top in range(0, size, 1024):
        for left in range(0, size, 1024):
            sides = [min(1024, size - start) for start in (top, left)]
            whole = np.block([[_turned(tiles, rng) for _ in range(4)] for _ in range(4)])
            part = (slice(top, top + sides[0]), slice(left, left + sides[1]))
            levels[0][part] = whole[: sides[0], : sides[1]]
            for fine, coarse in itertools.pairwise(levels):
                part = coarsen(fine, coarse, part, 2)
    axes = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"]
    datasets = [
        {
            "path": str(number),
            "coordinateTransformations": [
                {"type": "scale", "scale": [PIXEL_UM * 2**number] * 2},
                {"type": "translation", "translation": [PIXEL_UM * (2**number - 1) / 2] * 2},
            ],
        }
        for number in range(len(levels))
    ]
    multiscale = {"name": "Slide", "axes": axes, "datasets": datasets}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale]}
    return path


def _turned(tiles: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    return np.rot90(tiles[rng.integers(len(tiles))], rng.integers(4))


def open_slide(viewer: napari.Viewer, path: Path) -> Any:
    """Show a slide; nothing of it is read but what is seen."""
    group = zarr.open_group(path, mode="r")
    levels = [group[name] for name in sorted(group.array_keys())]
    return viewer.add_image(
        levels, multiscale=True, name="Slide", colormap="gray", contrast_limits=(0, 255),
        scale=(PIXEL_UM, PIXEL_UM), units=("um", "um"), axis_labels=("y", "x"),
    )  # fmt: skip


def picture(name: str, viewer: napari.Viewer) -> None:
    settle()
    viewer.screenshot(str(PICTURES / f"{name}.png"), canvas_only=False, flash=False)


def explain(inspector: Any, seconds: float, seen: Callable[[], bool] = lambda: False) -> float:
    """Explain, and wait until it is done or seen; return how long that took."""
    begun = time.perf_counter()
    inspector.explain()
    wait_for(lambda: seen() or not inspector.jobs.busy, seconds)
    return time.perf_counter() - begun


def longest_wait(seconds: float) -> Iterator[float]:
    """Yield how long each round of the window's events took, for so many seconds."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.perf_counter()
        napari.qt.get_qapp().processEvents()
        yield time.perf_counter() - begun


def main() -> None:
    """Make them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=16384)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    path = make_slide(given.folder, given.size)
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1480, 940)
    open_slide(viewer, path)
    viewer.scale_bar.visible = True
    _, inspector = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Neuroscope")
    inspector.choose_network(DEMO_TITLES["nuclei"])
    wait_for(inspector.ready, 600)
    inspector.choose_layers(["dec1"])
    viewer.reset_view()

    def half_way() -> bool:
        maps = [layer for layer in viewer.layers if layer.name.startswith("Grad-CAM")]
        return bool(maps) and _share(maps[0]) > 0.45

    took = explain(inspector, 60 * given.minutes, half_way)
    picture("slide_growing", viewer)
    begun = time.perf_counter()
    wait_for(lambda: not inspector.jobs.busy, 60 * given.minutes)
    print(f"{given.size} × {given.size}: {took + time.perf_counter() - begun:.0f} s")
    picture("slide", viewer)

    inspector.extent.choose("in view")
    viewer.camera.zoom = 3
    settle()
    print(f"in view: {explain(inspector, 60 * given.minutes):.1f} s")
    for layer in viewer.layers:
        layer.visible = layer.name == "Slide" or layer.name.endswith("in view")
    picture("slide_in_view", viewer)
    viewer.close()


def _share(layer: Any) -> float:
    reached = layer.metadata["neuroscope"].get("unfinished", {"done": 1, "total": 1})
    return reached["done"] / reached["total"]


if __name__ == "__main__":
    main()
