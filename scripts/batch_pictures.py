"""The pictures of ``docs/batch_example.md``: a folder of nuclei as a batch, in the real program.

    xvfb-run -a -s "-screen 0 1600x1000x24 +extension GLX" python scripts/batch_pictures.py OUT

Explains the real images beside the project with two workers and writes into the folder OUT, where a
run that was stopped goes on. The picture of the report needs a browser: see ``report_picture.py``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import napari
import numpy as np
import tifffile

import napari_neuroscope as ns
from napari_neuroscope.widgets.app.demo import settle, wait_for
from napari_neuroscope.widgets.batch.dock import Batch

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data" / "nuclei" / "val"
PICTURES = ROOT / "docs" / "pictures"
SHOWN = "5bda829acd82"
# A busy machine takes its time.
PATIENCE_S = 1800


def _images(folder: Path) -> Path:
    """Return a folder with links to the images, and one that is cut off."""
    folder.mkdir(parents=True, exist_ok=True)
    for image in sorted((DATA / "images").iterdir()):
        link = folder / image.name
        if not link.exists():
            link.symlink_to(image)
    whole = folder.parent / "whole.tif"
    tifffile.imwrite(whole, np.arange(256 * 256, dtype=np.uint16).reshape(256, 256))
    (folder / "cut_off.tif").write_bytes(whole.read_bytes()[:40_000])
    return folder


def main() -> None:
    """Run the batch from its dock, and take the dock's picture half-way and at the end."""
    out = Path(sys.argv[1]).resolve()
    images = _images(out / "images")
    recipe = out / "nuclei.neuroscope-recipe.yaml"
    if not recipe.exists():
        target = ns.Target("nucleus", "predicted")
        network = ns.load("demo:nuclei", device="cpu")
        ns.Recipe.asking(network, "grad_cam", [target], ["dec1"]).save(recipe)
    viewer = napari.Viewer(title="napari · a batch", show=True)
    viewer.window.resize(1480, 940)
    dock: Batch
    _, dock = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Batch")
    dock.choose_recipe(recipe)
    dock.add_images(images)
    dock.form.truth.set_path(str(DATA / "instances"))
    dock.choose_out(out / "batch")
    dock.form.choose_workers(2)
    wait_for(dock.ready, PATIENCE_S)
    dock.choose_kinds(".tif", ".png")
    dock.run()
    wait_for(lambda: not dock.running, PATIENCE_S)
    settle()
    dock.show_image(str(images / f"{SHOWN}.png"))
    wait_for(lambda: len(viewer.layers) > 1, PATIENCE_S)
    viewer.reset_view()
    # What could not be read is to be seen, with its reason.
    dock.table.show_row(str(images / "cut_off.tif"))
    settle()
    viewer.screenshot(str(PICTURES / "batch_dock.png"), canvas_only=False, flash=False)
    figure = (out / "batch" / "maps" / f"{SHOWN}.png").read_bytes()
    (PICTURES / "batch_figure.png").write_bytes(figure)
    viewer.close()


if __name__ == "__main__":
    main()
