"""Judge five methods on nuclei and on a blood cell: the figures, numbers and pictures of a page.

    python scripts/judging_figures.py   # docs/judging.md, docs/judging and docs/pictures

The page's tables are written from the numbers, and what the page says of them is checked: where a
claim of it no longer holds, nothing is written. It takes a few minutes on one core.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from skimage.filters import sobel
from skimage.io import imread

import napari_neuroscope as ns
from napari_neuroscope.engine.evaluation.evaluation import MapResults
from napari_neuroscope.engine.evaluation.metric_registry import metrics
from napari_neuroscope.engine.evaluation.metrics.sanity_check import MOST_LIKE
from napari_neuroscope.engine.files.csv_table import write_csv
from paper_figures import bare, draw, figure_of, picture, save

DOCS = Path(__file__).resolve().parent.parent / "docs"
PICTURES = DOCS / "pictures"
SAMPLES = Path(ns.__file__).parent / "samples"
METHODS: dict[str, dict[str, Any]] = {
    "grad_cam": {},
    "guided_backprop": {},
    "integrated_gradients": {},
    "score_cam": {},
    "rise": {"masks": 300},
}
# What knows nothing of the network. Metrics that ask a method again are not for it.
CONTROLS = {"edges": "Edges of the image", "noise": "Noise"}
OF_MAPS = [name for name in metrics if name not in ("sanity_check", "max_sensitivity")]
CASES = ("nuclei", "cell")

Maps = Mapping[str, Mapping[str, float]]

# How the tables call the methods.
CAM, GUIDED, SCORE = "Grad-CAM", "Guided backpropagation", "Score-CAM"
PATH, RISE, EDGES, NOISE = "Integrated gradients", "RISE", *CONTROLS.values()
OURS = (CAM, GUIDED, PATH, SCORE, RISE)


def passing(maps: Maps) -> set[str]:
    """Return the methods that pass the sanity check."""
    return {title for title in OURS if maps[title]["sanity_check"] <= MOST_LIKE}


def order(maps: Maps, metric: str, titles: Any = OURS) -> list[str]:
    """Return maps from the least to the greatest number."""
    return sorted(titles, key=lambda title: maps[title][metric])


CLAIMS: dict[str, Callable[[Maps, Maps], bool]] = {
    "Both pass the sanity check, and nearly all of their positive values lie on nuclei.": (
        lambda n, c: (
            {CAM, SCORE} <= passing(n)
            and min(n[title]["energy_in_mask"] for title in (CAM, SCORE)) > 0.9
        )
    ),
    "It fails the check: it stays like itself while the network becomes random.": (
        lambda n, c: GUIDED not in passing(n)
    ),
    "They fail the check, have the best deletion of all maps and the worst insertion of the methods": (
        lambda n, c: (
            PATH not in passing(n)
            and order(n, "deletion", n)[0] == PATH == order(n, "insertion")[0]
        )
    ),
    "Hardly more of it lies on nuclei than of noise.": (
        lambda n, c: n[RISE]["energy_in_mask"] < n[NOISE]["energy_in_mask"] + 0.03
    ),
    "it fails the check": lambda n, c: RISE not in passing(n),
    "the only method that passes on both images.": lambda n, c: passing(n) & passing(c) == {CAM},
    "It fails again, and its deletion is worse than that of noise.": (
        lambda n, c: GUIDED not in passing(c) and order(c, "deletion", (GUIDED, NOISE))[1] == GUIDED
    ),
    "It fails here, though it passed on the nuclei.": (
        lambda n, c: SCORE in passing(n) - passing(c)
    ),
    "They pass here, though they failed on the nuclei, and RISE has the largest share of its positive "
    "values in the cell": (
        lambda n, c: (
            {PATH, RISE} <= passing(c) - passing(n) and order(c, "energy_in_mask")[-1] == RISE
        )
    ),
    "On the nuclei the edges of the image have a better deletion than three of the five methods, and on "
    "the cell a better insertion than Grad-CAM.": (
        lambda n, c: (
            order(n, "deletion", (*OURS, EDGES)).index(EDGES) == 2
            and order(c, "insertion", (CAM, EDGES))[1] == EDGES
        )
    ),
    "All five methods win it on both images, and on the nuclei the edges do.": (
        lambda n, c: (
            min(m[title]["pointing_game"] for m in (n, c) for title in OURS) == 1
            and n[EDGES]["pointing_game"] == 1
        )
    ),
    "On the cell noise has a lower one than any method": (
        lambda n, c: order(c, "infidelity", (*OURS, NOISE))[0] == NOISE
    ),
    "On the nuclei RISE is the least sensitive": lambda n, c: (
        order(n, "max_sensitivity")[0] == RISE
    ),
}
"""What the page says in italics, and whether it holds of the numbers of nuclei and cell."""


@dataclass(frozen=True)
class Case:
    """An image whose explanations are judged.

    Attributes
    ----------
    name
        What it is called in files.
    network, image, truth
        The network, the image, and where its class truly is, bool (y, x).
    target, layer
        What is explained, and the layer of the methods that look at one.
    """

    name: str
    network: ns.Network
    image: np.ndarray
    truth: np.ndarray
    target: ns.Target
    layer: str


def nuclei() -> Case:
    """Return a part of a microscope image with nine nuclei."""
    part = np.s_[112:208, 80:176]
    image, instances = (
        imread(SAMPLES / "nuclei" / kind / "05040e2e959c.png") for kind in ("images", "instances")
    )
    # The mean of the scores: Score-CAM's softmax of a sum over many pixels leaves one channel.
    target = ns.Target("nucleus", region="predicted", reduce="mean")
    network = ns.load("demo:nuclei", device="cpu")
    return Case("nuclei", network, image[part], instances[part] > 0, target, "dec1")


def cell() -> Case:
    """Return a white cell with what is around it, in a square of twice the side of its box."""
    smear = imread(SAMPLES / "blood-cells" / "smears" / "BloodImage_00086.jpg")
    left, top, right, bottom = 71, 126, 192, 245
    y, x, side = 64, 10, 242
    truth = np.zeros((side, side), bool)
    truth[top - y : bottom - y, left - x : right - x] = True
    network = ns.load("demo:blood-cells", device="cpu")
    part = smear[y : y + side, x : x + side]
    return Case("cell", network, part, truth, ns.Target("white cell"), "stage4")


def explained(case: Case, methods: Sequence[str] = tuple(METHODS)) -> list[ns.Explanation]:
    """Return the explanations of an image by the methods."""
    return [
        ns.explain(
            case.network, case.image, name, case.target,
            case.layer if ns.Needs.LAYER in ns.methods[name].needs else None,
            **METHODS[name],
        )
        for name in methods
    ]  # fmt: skip


def controls(case: Case) -> list[ns.Explanation]:
    """Return maps that know nothing of the network, as if they explained the image."""
    like = ns.explain(case.network, case.image, "saliency", case.target)
    gray = case.image.mean(-1) if case.image.ndim == 3 else case.image
    values = {
        "edges": sobel(gray.astype(np.float64)),
        "noise": np.random.default_rng(0).random(gray.shape),
    }
    return [
        replace(
            like,
            values=values[name].astype(np.float32),
            grid=like.image,
            record=replace(like.record, method=name, title=title, layers=()),
        )
        for name, title in CONTROLS.items()
    ]


def judged(
    case: Case, methods: Sequence[str] = tuple(METHODS), names: Sequence[str] = tuple(metrics)
) -> list[MapResults]:
    """Return the figures of the methods, then those of the controls."""
    rows: list[MapResults] = []
    for maps in (explained(case, methods), controls(case)):
        which = names if len(rows) == 0 else [name for name in names if name in OF_MAPS]
        found = ns.evaluate(case.network, case.image, maps, which, ground_truth=case.truth)
        rows += found.rows
    return rows


def table_of(rows: Sequence[MapResults]) -> list[list[Any]]:
    """Return the numbers as a table, its header first; nothing where there is none."""
    table: list[list[Any]] = [["map", *metrics, "passed"]]
    for row in rows:
        numbers = [row.values.get(name) for name in metrics]
        passed = None if row.sanity is None else row.sanity.passed
        title = row.class_map.explanation.provenance["title"]
        table.append([title, *(None if n is None or np.isnan(n) else n for n in numbers), passed])
    return table


def read(name: str) -> dict[str, dict[str, float]]:
    """Return the numbers of an image that were written: map to metric to number."""
    with (DOCS / "judging" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {row["map"]: {name: float(row[name]) for name in metrics if row[name]} for row in rows}


def shown(numbers: Maps) -> str:
    """Return numbers in Markdown, the best method of each metric in bold."""
    lines = [
        "| map | "
        + " | ".join(f"{m.title} {'↑' if m.better == 'higher' else '↓'}" for m in metrics.values())
        + " |",
        "| --- " * (1 + len(metrics)) + "|",
    ]
    own = {title: found for title, found in numbers.items() if title not in CONTROLS.values()}
    best = {
        name: (max if metric.better == "higher" else min)(
            found[name] for found in own.values() if name in found
        )
        for name, metric in metrics.items()
    }
    for title, found in numbers.items():
        cells = []
        for name in metrics:
            text = f"{found[name]:.2f}" if name in found else "–"
            bold = title in own and found.get(name) == best[name]
            text = f"**{text}**" if bold else text
            cells.append(
                f"{text} fails"
                if name == "sanity_check" and found.get(name, 0) > MOST_LIKE
                else text
            )
        lines.append(f"| {title if title in own else f'*{title}*'} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def page_with(tables: Mapping[str, str], page: str) -> str:
    """Return the page with other tables between their marks."""
    for name, table in tables.items():
        marks = re.compile(f"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)
        page = marks.sub(lambda _, table=table: table, page)
    return page


def draw_maps(case: Case, rows: Sequence[MapResults]) -> Figure:
    """Draw the image, the truth, and the maps of methods and controls."""
    figure, axes = figure_of(5, -(-(2 + len(rows)) // 5), case.image, width=2)
    first, second, *others = axes.flat
    picture(first, case.image, "image")
    picture(second, case.truth, "where the class truly is")
    for place, row in zip(others, rows, strict=False):
        explanation = row.class_map.explanation
        draw(place, case.image, explanation, explanation.on_image())
        place.set_title(explanation.provenance["title"], fontsize=9)
    for place in others[len(rows) :]:
        place.set_visible(False)
    return figure


def draw_curves(rows: Sequence[MapResults]) -> Figure:
    """Draw the score as pixels are taken away and put back."""
    figure = Figure(figsize=(9.6, 3.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, way in zip(panels, ("deletion", "insertion"), strict=True):
        for row in rows:
            explanation = row.class_map.explanation
            grey = {"edges": "0.2", "noise": "0.65"}.get(explanation.method)
            axes.plot(
                row.curves[way].share, row.curves[way].relative, color=grey, linewidth=1.3,
                linestyle="--" if grey else "-", label=explanation.provenance["title"],
            )  # fmt: skip
        axes.set_title(way, fontsize=9)
        axes.set_xlabel("share of pixels " + ("taken away" if way == "deletion" else "put back"))
    panels[0].set_ylabel("score: image 1, blurred 0")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    return figure


def draw_sanity(rows: Sequence[MapResults]) -> Figure:
    """Draw the maps as more and more of the network becomes random: every second stage."""
    tested = [row for row in rows if row.sanity is not None]
    stages = [*range(0, len(tested[0].sanity.stages), 2), len(tested[0].sanity.stages) - 1]
    figure = Figure(
        figsize=(1.3 * len(stages) + 1.8, 1.5 * len(tested) + 0.3), layout="constrained"
    )
    for line, row in zip(figure.subplots(len(tested), 1 + len(stages)), tested, strict=True):
        sanity = row.sanity
        for number, axes in enumerate(line):
            at = stages[number - 1] if number else -1
            paint(axes, sanity.maps[at + 1])
            if row is tested[0]:
                axes.set_title(
                    f"random to\n{sanity.stages[at]}" if number else "trained", fontsize=7
                )
            if number:
                axes.set_xlabel(f"{sanity.rank_correlation[at]:.2f}", fontsize=8, labelpad=1)
        verdict = f"{'passes' if sanity.passed else 'fails'}: {sanity.similarity:.2f}"
        title = row.class_map.explanation.provenance["title"].replace(" ", "\n", 1)
        line[0].set_ylabel(f"{title}\n{verdict}", fontsize=8)
    return figure


def paint(axes: Any, values: np.ndarray) -> None:
    """Draw a map by itself: about zero where it has both signs, else from zero."""
    most = float(np.percentile(np.abs(values), 99.5)) or 1.0
    if (values < 0).any():
        axes.imshow(values, cmap="RdBu_r", vmin=-most, vmax=most)
    else:
        axes.imshow(values, cmap="magma", vmin=0, vmax=most)
    bare(axes)


def main() -> None:
    """Judge, check what the page says, and write all of it."""
    matplotlib.use("Agg")
    torch.set_num_threads(1)
    (DOCS / "judging").mkdir(exist_ok=True)
    for case in (nuclei(), cell()):
        rows = judged(case)
        write_csv(DOCS / "judging" / f"{case.name}.csv", table_of(rows), overwrite=True)
        save(draw_maps(case, rows), PICTURES / f"judging_maps_{case.name}.png", most=500_000)
        save(draw_curves(rows), PICTURES / f"judging_curves_{case.name}.png")
        save(draw_sanity(rows), PICTURES / f"judging_sanity_{case.name}.png", most=400_000)
    numbers = {name: read(name) for name in CASES}
    wrong = [claim for claim, holds in CLAIMS.items() if not holds(*numbers.values())]
    page = DOCS / "judging.md"
    if page.exists():
        tables = {name: shown(found) for name, found in numbers.items()}
        page.write_text(page_with(tables, page.read_text("utf-8")), encoding="utf-8")
    if wrong:
        raise SystemExit("These claims of docs/judging.md no longer hold:\n" + "\n".join(wrong))


if __name__ == "__main__":
    main()
