"""The figures of the Neuroscope paper, made anew (Schorr et al., Appl. Sci. 2021, figures 7 to 10).

    python scripts/paper_figures.py            # nuclei and blood cells, into docs/pictures
    python scripts/paper_figures.py --streets  # street scenes, into the user's cache

The first run with ``--streets`` trains a network (about ten minutes on two cores) and keeps it; one
that is interrupted goes on with the next run. The street pictures are for research only, so they are
never written into the project.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from napari.utils import Colormap

import napari_neuroscope as ns
import street_network as streets
from napari_neuroscope.engine.explanation.colormaps import limits, map_colormap
from napari_neuroscope.viewer.io.samples import blood_cells, nuclei

ROOT = Path(__file__).resolve().parent.parent
CAMVID = ROOT.parent / "shared" / "data" / "camvid"
METHODS = ("saliency", "guided_backprop", "grad_cam", "guided_grad_cam")
LEAST_IOU = 0.3
HEAT = ListedColormap(Colormap(**map_colormap(signed=False)).map(np.linspace(0, 1, 256)))


def draw(axes: Any, image: np.ndarray, explanation: ns.Explanation, values: np.ndarray) -> None:
    """Draw a map (y, x) on the image's grid: over the image, or alone where it is fine and signed."""
    if explanation.signed:
        # A few pixels are by far the strongest: up to them, nothing else would be seen.
        most = float(np.nanpercentile(np.abs(values), 99.5)) or 1.0
        axes.imshow(values, cmap="RdBu_r", vmin=-most, vmax=most)
        bare(axes)
        return
    gray = image if image.ndim == 2 else image.mean(-1)
    axes.imshow(gray, cmap="gray", interpolation="nearest")
    low, high = limits(values, signed=False)
    axes.imshow(values, cmap=HEAT, vmin=low, vmax=high)
    bare(axes)


def bare(axes: Any) -> None:
    axes.set_xticks([])
    axes.set_yticks([])


def figure_of(columns: int, rows: int, image: np.ndarray, width: float = 2.4) -> tuple[Figure, Any]:
    """Return a figure of equal panels of an image's shape, and its axes (row, column)."""
    height = width * image.shape[0] / image.shape[1]
    figure = Figure(figsize=(columns * width, rows * (height + 0.3)), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def picture(axes: Any, image: np.ndarray, title: str) -> None:
    axes.imshow(image, cmap="gray", interpolation="nearest")
    axes.set_title(title, fontsize=9)
    bare(axes)


def four_methods(network: ns.Network, image: np.ndarray, target: ns.Target, layer: str) -> Figure:
    """Draw four methods for one class (figure 7)."""
    figure, ((first, *others),) = figure_of(1 + len(METHODS), 1, image)
    picture(first, image, "image")
    for axes, name in zip(others, METHODS, strict=True):
        needs = ns.methods[name].needs
        made = ns.explain(network, image, name, target, layer if ns.Needs.LAYER in needs else None)
        draw(axes, image, made, made.on_image())
        axes.set_title(made.provenance["title"], fontsize=9)
    return figure


def evolution(
    network: ns.Network, image: np.ndarray, method: str, target: ns.Target, layers: Sequence[str]
) -> Figure:
    """Draw a method through early, middle and final layers (figures 8 and 9)."""
    figure, ((first, *others),) = figure_of(1 + len(layers), 1, image)
    picture(first, image, "image")
    made = ns.explain(network, image, method, target, list(layers))
    for axes, name, values in zip(others, made.labels["layer"], made.on_image(), strict=True):
        draw(axes, image, made, values)
        axes.set_title(name, fontsize=9)
    return figure


def regions(network: ns.Network, image: np.ndarray, target: ns.Target) -> Figure:
    """Draw the fusion, segmented and guided segmented score maps (figure 10)."""
    figure, ((first, *others),) = figure_of(4, 1, image)
    picture(first, image, "image")
    fusion = ns.explain(network, image, "fusion_score_map")
    labels = fusion.companion_on_image(next(iter(fusion.companions)))
    table = np.array([colour for _, colour in fusion.classes], float) / 255
    shown = np.where(labels[..., None] >= 0, table[labels.clip(0)], 0)
    # Each class in its colour, as bright as it is probable.
    others[0].imshow((shown * fusion.on_image()[..., None]).clip(0, 1))
    others[0].set_title("Fusion score map", fontsize=9)
    bare(others[0])
    for axes, name in zip(
        others[1:], ("segmented_score_map", "guided_segmented_score_map"), strict=True
    ):
        made = ns.explain(network, image, name, target)
        values = made.on_image()
        low, high = limits(values, signed=made.signed)
        axes.imshow(values, cmap="RdBu_r" if made.signed else "magma", vmin=low, vmax=high)
        axes.set_title(made.provenance["title"], fontsize=9)
        bare(axes)
    return figure


def save(figure: Figure, path: Path, most: int = 300_000) -> None:
    """Write a figure as a PNG, with fewer dots where it would be larger than `most` bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for dpi in (130, 100, 80, 60):
        figure.savefig(path, dpi=dpi)
        if path.stat().st_size <= most:
            break
    print(f"{path} ({path.stat().st_size // 1000} kB)")


def scene_of(
    name: str, network: ns.Network, scenes: Sequence[streets.Scene]
) -> tuple[str, np.ndarray]:
    """Return the scene with the most pixels of a class among those where it is found.

    Found is where the prediction's IoU for the class is at least `LEAST_IOU`, or else, for classes
    that never are, the one with the highest IoU.
    """
    index = streets.CLASSES.index(name)
    rated = []
    for title, image, labels in scenes:
        truth = labels == index
        if truth.sum() < 0.002 * truth.size:
            continue
        predicted = network.predict(image).labels == index
        share = (truth & predicted).sum() / max((truth | predicted).sum(), 1)
        rated.append(
            (share >= LEAST_IOU, truth.sum() if share >= LEAST_IOU else share, title, image)
        )
    if not rated:
        raise SystemExit(f"No scene shows enough of “{name}”.")
    *_, title, image = max(rated, key=lambda one: one[:2])
    return title, image


def street_figures(out: Path, epochs: int, force: bool = False) -> None:
    """Train the street network where it is not there yet, and make figures 7 to 10."""
    if not CAMVID.is_dir():
        raise SystemExit(
            f"The street scenes are not in {CAMVID}; only the other figures can be made."
        )
    if force:
        streets.cached(epochs).unlink(missing_ok=True)
    model = streets.train(
        streets.read_scenes(CAMVID / "train"), streets.cached(epochs), epochs=epochs
    )
    scenes = streets.read_scenes(CAMVID / "val")
    shares = streets.iou(model, scenes)
    for name, share in zip(streets.CLASSES, shares, strict=True):
        print(f"IoU of {name}: {share:.3f}")
    print(f"mean IoU over {len(scenes)} scenes that it was not trained with: {shares.mean():.3f}")
    network = ns.wrap(model, streets.SPEC, device="cpu", name="street network")
    depth = ("down.0", "down.1", "down.2", "down.3", "up.0", "up.1", "up.2")
    for number, name in ((7, "bicyclist"), (8, "car"), (9, "pole"), (10, "car")):
        title, image = scene_of(name, network, scenes)
        print(f"figure {number}: “{name}” in scene {title}")
        target = ns.Target(name, region="predicted")
        if number == 7:
            made = four_methods(network, image, target, "up.2")
        elif number in (8, 9):
            method = "grad_cam" if number == 8 else "guided_grad_cam"
            made = evolution(network, image, method, target, depth)
        else:
            made = regions(network, image, ns.Target(name))
        save(made, out / f"figure_{number}_{name}.png", most=10_000_000)


def microscopy_figures(out: Path) -> None:
    """Make the same figures of nuclei and blood cells, by the networks of the demo."""
    network, image = ns.load("demo:nuclei"), np.asarray(nuclei()[0][0])
    target = ns.Target("nucleus", region="predicted")
    depth = ("enc1", "enc2", "enc3", "enc4", "dec3", "dec2", "dec1")
    save(four_methods(network, image, target, "dec1"), out / "paper_methods_nuclei.png")
    save(evolution(network, image, "grad_cam", target, depth), out / "paper_grad_cam_nuclei.png")
    save(
        evolution(
            network, image, "guided_grad_cam", ns.Target("border", region="predicted"), depth
        ),
        out / "paper_guided_grad_cam_nuclei.png",
    )
    save(regions(network, image, ns.Target("nucleus")), out / "paper_regions_nuclei.png")

    network, image = ns.load("demo:blood-cells"), np.asarray(blood_cells()[0][0][0])
    answer = network.predict(image)
    name = network.class_names[int(answer.labels)]
    print(f"blood cell: “{name}”, probability {answer.probabilities.max():.4f}")
    stages = network.layers.select("stage?")
    save(four_methods(network, image, ns.Target(name), stages[-1]), out / "paper_methods_cells.png")
    save(
        evolution(network, image, "grad_cam", ns.Target(name), stages),
        out / "paper_grad_cam_cells.png",
    )
    save(
        evolution(network, image, "guided_grad_cam", ns.Target(name), stages),
        out / "paper_guided_grad_cam_cells.png",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    matplotlib.use("Agg")
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--streets", action="store_true", help="street scenes in place of cells")
    parser.add_argument("--epochs", type=int, default=12, help="how long the network is trained")
    parser.add_argument("--force", action="store_true", help="train the network anew")
    parser.add_argument("--out", type=Path, help="the folder of the pictures")
    parsed = parser.parse_args(arguments)
    if parsed.streets:
        street_figures(
            parsed.out or streets.cached(parsed.epochs).parent / "paper_figures",
            parsed.epochs,
            parsed.force,
        )
    else:
        microscopy_figures(parsed.out or ROOT / "docs" / "pictures")


if __name__ == "__main__":
    main()
