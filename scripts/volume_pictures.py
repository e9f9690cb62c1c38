"""The pictures and numbers of ``docs/volumes.md``, from the real program.

    xvfb-run -a -s "-screen 0 1600x1000x24 +extension GLX" python scripts/volume_pictures.py

Trains the network of ``volume_network.py`` the first time, and keeps it in the user's cache. It
fails where the numbers no longer bear out a sentence of the page that stands in *italics*.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

import napari_neuroscope as ns
import volume_network
from napari_neuroscope.widgets.app.demo import settle, wait_for
from volume_network import CLASSES, SPEC, make_volume

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
PAGE = ROOT / "docs" / "volumes.md"
SEED = 3
LAYER = "up1"

Thing = tuple[str, np.ndarray, tuple[int, ...]]


def whole_things(classes: np.ndarray) -> dict[str, Thing]:
    """Return the largest cell and disc that lie well inside: name, mask and the middle voxel."""
    labels, _ = ndimage.label(classes)
    found: dict[str, Thing] = {}
    sizes: dict[str, int] = {}
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        mask = labels == number
        counts = np.bincount(classes[mask], minlength=len(CLASSES))
        name = CLASSES[int(counts.argmax())]
        inside = box[0].start > 2 and box[0].stop < len(classes) - 2
        # Two that touch are no single thing.
        alone = counts.max() == counts.sum()
        if inside and alone and counts.max() > sizes.get(name, 0):
            sizes[name] = int(counts.max())
            middle = np.rint(ndimage.center_of_mass(mask)).astype(int)
            found[name] = (name, mask, tuple(middle.tolist()))
    return found


def scores_with(
    network: ns.Network, volume: np.ndarray, thing: Thing
) -> dict[str, tuple[float, float, float]]:
    """Return what is said of a thing with planes hidden: set to the volume's median.

    The scores of “cell” and “disc” at its middle voxel, and the share of its own plane, as far as
    it lies there, that is predicted to be what it is.
    """
    name, mask, (z, y, x) = thing
    planes = np.arange(len(volume))
    found = {}
    for words, hidden in (
        ("nothing", planes < 0),
        ("the plane above", planes == z - 1),
        ("the plane below", planes == z + 1),
        ("all planes above", planes < z),
        ("all planes below", planes > z),
        ("all planes but its own", planes != z),
        ("its own plane", planes == z),
    ):
        changed = volume.copy()
        changed[hidden] = np.median(volume)
        answer = network.predict(changed)
        right = float((answer.labels[z][mask[z]] == CLASSES.index(name)).mean())
        cell, disc = (float(answer.scores[n, z, y, x]) for n in (1, 2))
        found[words] = cell, disc, right
    return found


def densities(made: ns.Explanation, classes: np.ndarray) -> np.ndarray:
    """Return the mean of a map on each class, as a multiple of its mean over all."""
    fine = made.on_image()
    means = [fine[classes == number].mean() for number in range(len(CLASSES))]
    return np.array(means) / fine.mean()


def tables(network: ns.Network) -> dict[str, list[str]]:
    """Return the lines of the page's tables, each sentence of the page checked."""
    volume, classes = make_volume(SEED)
    things = whole_things(classes)
    hidden = ["| hidden | cell: score of “cell” | of “disc” | its plane right "
              "| disc: score of “cell” | of “disc” | its plane right |", "|" + " --- |" * 7]  # fmt: skip
    said = {name: scores_with(network, volume, things[name]) for name in CLASSES[1:]}
    for words in said["cell"]:
        figures = [f"{a:.1f} | {b:.1f} | {right:.0%}" for a, b, right in
                   (said[name][words] for name in CLASSES[1:])]  # fmt: skip
        hidden.append(f"| {words} | " + " | ".join(figures) + " |")
    maps = ["| map | on cells | on discs | on the background |", "|" + " --- |" * 4]
    strength = {}
    for title, method, layer in (
        ("Saliency", "saliency", None),
        (f"Grad-CAM of `{LAYER}`", "grad_cam", LAYER),
        ("Grad-CAM of `bottom`", "grad_cam", "bottom"),
    ):
        for name in CLASSES[1:]:
            target = ns.Target(name, "predicted")
            found = densities(ns.explain(network, volume, method, target, layer), classes)
            strength[method, layer, name] = found
            maps.append(f"| {title}, “{name}” | {found[1]:.1f} | {found[2]:.1f} | {found[0]:.1f} |")
    _check(said, strength)
    return {"planes": hidden, "maps": maps}


def _check(said: Any, strength: Any) -> None:
    """Fail where a sentence of the page is no longer true."""
    cell, disc = said["cell"], said["disc"]
    true = {
        "alone in its plane, the cell is a disc": cell["all planes but its own"][2] == 0
        and cell["all planes but its own"][1] > cell["all planes but its own"][0],
        "the disc stays a disc": all(
            one[2] > 0.9 for words, one in disc.items() if words != "its own plane"
        ),
        "one plane hidden changes nothing of what is said": all(
            cell[f"the plane {side}"][2] > 0.9 for side in ("above", "below")
        ),
        "saliency lies on what is asked for": strength["saliency", None, "cell"][1] > 10
        and strength["saliency", None, "cell"][2] < 0.5
        and strength["saliency", None, "disc"][2] > 10
        and strength["saliency", None, "disc"][1] < 0.5,
        "Grad-CAM of the last block lies on both": strength["grad_cam", LAYER, "cell"][2] > 5,
        "Grad-CAM of the bottom lies on the background": all(
            strength["grad_cam", "bottom", name][0] > 0.9 for name in CLASSES[1:]
        ),
    }
    if wrong := [words for words, holds in true.items() if not holds]:
        raise SystemExit(f"No longer true: {'; '.join(wrong)}.")


def window(viewer: Any, name: str) -> None:
    settle()
    viewer.screenshot(str(PICTURES / f"{name}.png"), canvas_only=False, flash=False)


def windows() -> None:
    """Take the pictures."""
    _, classes = make_volume(SEED)
    things = whole_things(classes)
    viewer, inspector = volume_network.open_viewer(SEED, volume_network.cached())
    viewer.window.resize(1400, 880)
    wait_for(inspector.ready, 120)

    def explain(method: str, *layers: str) -> None:
        inspector.choose_method(method)
        inspector.choose_layers(layers)
        inspector.choose_classes([CLASSES.index("cell")])
        inspector.explain()
        wait_for(lambda: not inspector.jobs.busy, 300)

    inspector.choose_region("predicted")
    explain("saliency")
    viewer.dims.set_current_step(0, things["cell"][2][0])
    viewer.reset_view()
    window(viewer, "volumes_plane")
    viewer.dims.ndisplay = 3
    viewer.camera.angles = (10, -25, 70)
    viewer.camera.zoom *= 0.85
    window(viewer, "volumes_saliency")
    viewer.layers[-1].visible = False
    explain("grad_cam", LAYER)
    window(viewer, "volumes_grad_cam")
    viewer.close()


def main() -> None:
    """Put the tables into the page, and make the pictures."""
    network = ns.wrap(volume_network.train(volume_network.cached()), SPEC)
    text = PAGE.read_text("utf-8")
    for name, lines in tables(network).items():
        print("\n".join(lines))
        before, _, rest = text.partition(f"<!-- {name} -->")
        after = rest.partition(f"<!-- /{name} -->")[2]
        text = "\n".join([f"{before}<!-- {name} -->", *lines, f"<!-- /{name} -->{after}"])
    PAGE.write_text(text, "utf-8")
    windows()


if __name__ == "__main__":
    main()
