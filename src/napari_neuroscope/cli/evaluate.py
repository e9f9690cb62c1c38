"""``napari-neuroscope evaluate``: measure explanations of many images into one table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from napari_neuroscope.cli.arguments import load, note, progress_bar, say
from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.files.csv_table import CsvFile, refuse_unwritable

if TYPE_CHECKING:
    from napari_neuroscope.engine.images.pairing.pair import Pair
    from napari_neuroscope.engine.networks.network import Network


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add what `evaluate_images` reads; the network's own arguments are there already."""
    command.add_argument("images", nargs="+", metavar="IMAGES", help="files, folders or patterns")
    command.add_argument("--truth", action="append", metavar="TRUTH",
                         help="ground truth: files, folders or patterns; may be repeated")  # fmt: skip
    command.add_argument("--method", action="append", required=True, help="may be repeated")
    command.add_argument("--metric", action="append", metavar="METRIC",
                         help="default: deletion and insertion; may be repeated")  # fmt: skip
    command.add_argument("--layer", metavar="LAYER", help="for methods that look at one")
    command.add_argument("--class", dest="class_", metavar="CLASS", help="a name or an index")
    command.add_argument("--region", choices=["everywhere", "predicted"],
                         help="where a segmentation's class is asked about; default: where it is "
                         "predicted, or everywhere where it is predicted nowhere")  # fmt: skip
    command.add_argument("--seed", type=int, default=0, help="of all random numbers")
    command.add_argument("--batch", type=int, default=16, help="inputs at once; default: 16")
    command.add_argument("--force", action="store_true", help="write over an existing OUT")
    command.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help="a .csv file")


def run(parsed: argparse.Namespace) -> None:
    """Measure each method on each image, and write the table as it grows.

    An image that can't be read or explained has its reason in the table, and stops nothing.

    Raises
    ------
    NeuroscopeError
        Where nothing can be measured, or the table can't be written.
    """
    from napari_neuroscope.engine.evaluation.evaluation import table_header
    from napari_neuroscope.engine.evaluation.metric_registry import metrics
    from napari_neuroscope.engine.evaluation.plane_pairs import plane_pairs
    from napari_neuroscope.engine.images.pairing.find_pairs import pairs_of

    out: Path = parsed.out
    if out.suffix.lower() != ".csv":
        raise NeuroscopeError(f"“{out.name}” is no .csv file; the table is written as one.")
    if out.exists() and not parsed.force:
        raise NeuroscopeError(f"{out} exists already; choose another name, or add --force.")
    network = load(parsed)
    names = parsed.metric or ["deletion", "insertion"]
    pairs = pairs_of(parsed.images, parsed.truth)
    for skipped in pairs.skipped:
        note(f"{skipped.name}: {skipped.reason}")
    header = ["image", *table_header(names), "problem"]
    with progress_bar() as progress:
        images = plane_pairs(pairs, network)
        table = _Table(out, header)
        with table:
            for number, pair in enumerate(images):
                progress(number, len(images), pair.name)
                try:
                    measured = _measured(parsed, network, pair, names)
                except NeuroscopeError as error:
                    note(f"{pair.name}: {error}")
                    table.add_problem(pair.name, str(error))
                else:
                    table.add([[pair.name, *row, ""] for row in measured])
    failed = len(images) - table.measured
    if not table.measured:
        raise NeuroscopeError(
            f"None of the {failed} images could be measured: {table.problem or 'there are none'}"
        )
    say(f"{table.measured} of {len(images)} images measured, saved as {out}")
    say(*(f"  {line}" for line in _means(header, table.rows,
                                         [name for name in names if name in metrics])))  # fmt: skip


def stopped(parsed: argparse.Namespace) -> str:
    """Return what is told where it was stopped."""
    return (
        f"Stopped; what was measured lies in {parsed.out}." if parsed.out.exists() else "Stopped."
    )


class _Table:
    """A table that is in its file as far as it is known, whatever ends the work.

    It comes to be with its first image that could be measured.
    """

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        self._path, self._header = path, header
        self._file: CsvFile | None = None
        self._waiting: list[list[Any]] = []
        self.rows: list[list[Any]] = []
        self.measured, self.problem = 0, ""

    def __enter__(self) -> _Table:
        # What can't be written is told before anything is measured.
        refuse_unwritable(self._path)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, rows: list[list[Any]]) -> None:
        """Write what was measured of an image."""
        self.measured += 1
        if self._file is None:
            self._file = CsvFile(self._path)
            self._file.add([self._header, *self._waiting])
        self._file.add(rows)
        self.rows += rows

    def add_problem(self, name: str, problem: str) -> None:
        """Write why an image could not be measured."""
        self.problem = self.problem or problem
        row = [name, *[""] * (len(self._header) - 2), problem]
        if self._file is None:
            self._waiting.append(row)
        else:
            self._file.add([row])


def _measured(
    parsed: argparse.Namespace, network: Network, pair: Pair, names: Sequence[str]
) -> list[list[Any]]:
    from napari_neuroscope.engine.evaluation.evaluate import evaluate
    from napari_neuroscope.engine.evaluation.metric_registry import metrics
    from napari_neuroscope.engine.evaluation.plane_pairs import truth_labels
    from napari_neuroscope.engine.explain.explain import explain
    from napari_neuroscope.engine.methods.interface import Needs
    from napari_neuroscope.engine.methods.registry import methods
    from napari_neuroscope.engine.passes.target import DEFAULT_REGION, Target

    image = pair.image.in_memory()
    truth = None
    if any(name in metrics and metrics[name].needs_truth for name in names):
        labelled = truth_labels(network, pair, network.predict(image))
        truth = None if labelled is None else labelled.labels
    segments = network.spec.task == "segmentation"
    region = parsed.region if segments and parsed.region else DEFAULT_REGION
    target = Target(parsed.class_, region)
    explanations = []
    for name in parsed.method:
        needs = methods[name].needs
        layer = parsed.layer if Needs.LAYER in needs else None
        explanations.append(explain(network, image, name, target, layer))
    evaluation = evaluate(
        network, image, explanations, names, ground_truth=truth, seed=parsed.seed,
        batch=parsed.batch,
    )  # fmt: skip
    return evaluation.table()[1:]


def _means(header: Sequence[str], rows: list[list[Any]], metric_names: Sequence[str]) -> list[str]:
    """Return the mean of each metric over the images, a line a method."""
    lines = []
    for method in dict.fromkeys(row[1] for row in rows if row[1]):
        parts = []
        for name in metric_names:
            cells = [row[header.index(name)] for row in rows if row[1] == method]
            values = [cell for cell in cells if isinstance(cell, float)]
            parts.append(f"{name} {fmean(values):.3f}" if values else f"{name} –")
        lines.append(f"{method}: {', '.join(parts)}")
    return lines
