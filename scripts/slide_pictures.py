"""Make the pictures of docs/large_images.md: a slide of nuclei whose map grows tile by tile.

The slide is put together from the images of ../shared/data, once, in a folder. Needs a screen,
real or virtual::

    python scripts/slide_pictures.py --size 16384 --folder /tmp/slide
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import napari
import numpy as np
import zarr
from skimage.io import imread

from napari_neuroscope.engine.images.pyramid import coarsen, level_shapes
from napari_neuroscope.session.network_catalog import DEMO_TITLES
from napari_neuroscope.widgets.app.demo import settle, wait_for

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT.parent / "shared" / "data" / "nuclei" / "train" / "images"
PICTURES = ROOT / "docs" / "pictures"
CELL = 256
PIXEL_UM = 0.5
PATIENCE_S = 4 * 3600


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


@contextmanager
def opened(path: Path) -> Iterator[tuple[napari.Viewer, Any]]:
    """Show a slide and the dock, with the demo's network looking at it."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1480, 940)
    open_slide(viewer, path)
    viewer.canvas.overlays.scale_bar.visible = True
    _, inspector = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Neuroscope")
    try:
        inspector.choose_network(DEMO_TITLES["nuclei"])
        wait_for(inspector.ready, 600)
        inspector.choose_layers(["dec1"])
        viewer.reset_view()
        yield viewer, inspector
    finally:
        viewer.close()


def share(viewer: napari.Viewer) -> float:
    """Return how much of the map there is."""
    records = [layer.metadata.get("neuroscope", {}) for layer in viewer.layers]
    reached = [record["unfinished"] for record in records if "unfinished" in record]
    return reached[0]["done"] / reached[0]["total"] if reached else 0.0


def growing(path: Path, until: float) -> None:
    """Make the picture of a score map that grows, and stop it there."""
    with opened(path) as (viewer, inspector):
        inspector.choose_method("score_map")
        inspector.choose_score("probability")
        inspector.explain()
        wait_for(lambda: share(viewer) >= until or not inspector.jobs.busy, PATIENCE_S)
        picture("slide_growing", viewer)
        inspector.cancel()


def whole(path: Path) -> None:
    """Make the picture of Grad-CAM of a whole slide."""
    with opened(path) as (viewer, inspector):
        begun = time.perf_counter()
        inspector.explain()
        wait_for(lambda: not inspector.jobs.busy, PATIENCE_S)
        print(f"Grad-CAM of {path.name}: {time.perf_counter() - begun:.0f} s")
        picture("slide", viewer)


def in_view(path: Path) -> None:
    """Make the picture of Grad-CAM of what is in view, twice: the slide is read whole once."""
    with opened(path) as (viewer, inspector):
        inspector.form.extent.choose("in view")
        for zoom in (2.5, 3):
            viewer.scene.camera.zoom = zoom / PIXEL_UM / 2
            settle()
            begun = time.perf_counter()
            inspector.explain()
            wait_for(lambda: not inspector.jobs.busy, PATIENCE_S)
            print(f"in view, of {path.name}: {time.perf_counter() - begun:.1f} s")
        picture("slide_in_view", viewer)


def main() -> None:
    """Make them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=16384)
    parser.add_argument("--finished", type=int, default=16384, help="of the slide of “slide.png”")
    parser.add_argument("--until", type=float, default=0.4, help="the share in “slide_growing.png”")
    parser.add_argument("--folder", type=Path, required=True, help="where slides are kept")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    slide = make_slide(given.folder, given.size)
    in_view(slide)
    growing(slide, given.until)
    whole(make_slide(given.folder, given.finished))


if __name__ == "__main__":
    main()
