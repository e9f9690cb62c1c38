"""The report of a batch: a page that shows what was made of each image, and what was not."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Sequence
from html import escape
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from napari_neuroscope.engine.batch.folder import (
    CSV,
    MAPS,
    PARQUET,
    RECIPE,
    REPORT,
    THUMBNAILS,
    BatchFolder,
)
from napari_neuroscope.engine.batch.journal import ImageRecord
from napari_neuroscope.engine.batch.report_style import SCRIPT, STYLE
from napari_neuroscope.engine.batch.summary import Summary
from napari_neuroscope.engine.errors import in_digits
from napari_neuroscope.engine.explain.recipe import Recipe
from napari_neuroscope.engine.files.atomic_write import write_whole
from napari_neuroscope.engine.images.pairing.pair import SkippedFile
from napari_neuroscope.engine.methods.registry import methods

MOST_ROWS = 10_000
"""How many images the report shows at most; the summary has all."""
_MOST_COLUMNS = 16
_OF_NO_INTEREST = ("image", "notes", "problem", "device", "seconds", "file")


def write_report(
    folder: BatchFolder, recipe: Recipe, summary: Summary, skipped: Sequence[SkippedFile], left: int
) -> None:
    """Write the page; its pictures lie beside it, and are loaded as they come into sight.

    Parameters
    ----------
    folder, recipe, summary
        The batch.
    skipped
        Files that are no images of it, and why.
    left
        How many images are still to be done.

    Raises
    ------
    NeuroscopeError
        Where it can't be written.
    """

    def write(path: Path) -> None:
        with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(_page(folder, recipe, summary, skipped, left))

    write_whole(folder.path / REPORT, write)


def _page(
    folder: BatchFolder, recipe: Recipe, summary: Summary, skipped: Sequence[SkippedFile], left: int
) -> Iterator[str]:
    problems, done = [], 0
    for record, row in summary.rows():
        if record.problem:
            problems.append((row["image"], record.problem))
        else:
            done += 1
    title = f"{methods[recipe.method].title} of “{recipe.network.name}”"
    yield (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>\n"
        f"<h1>{escape(title)}</h1>\n<p class=counts><b>{done:,}</b> done"
    )
    if problems:
        yield f' · <b class=bad>{len(problems):,}</b> with a <a href="#problems">problem</a>'
    if left:
        yield f" · <b class=bad>{left:,}</b> still to be done: run the batch again to go on"
    yield (
        f' · <a href="{CSV}">{CSV}</a> · <a href="{PARQUET}">{PARQUET}</a>'
        f' · <a href="{RECIPE}">recipe</a></p>\n'
    )
    yield from _made(recipe)
    yield from _reasons("problems", "Problems", problems)
    yield from _reasons("skipped", "Left out", [(file.name, file.reason) for file in skipped])
    columns = _telling(summary)
    yield from _in_all(summary, columns)
    yield from _images(folder, summary, columns[:_MOST_COLUMNS], done)
    yield f"<script>{SCRIPT}</script></body></html>\n"


def _made(recipe: Recipe) -> Iterator[str]:
    layer = ", ".join(recipe.layer) if isinstance(recipe.layer, tuple) else recipe.layer
    targets = [
        f"{'the predicted class' if target.class_ is None else target.class_}, "
        f"{str(target.region).replace('_', ' ')}, {target.score.replace('_', ' ')}"
        for target in recipe.targets
    ]
    here = {
        "napari-neuroscope": version("napari-neuroscope"),
        "torch": version("torch"),
        "python": platform.python_version(),
    }
    rows = [
        ("method", methods[recipe.method].title),
        ("options", ", ".join(f"{name} = {value}" for name, value in recipe.options.items())),
        ("layer", layer or ""),
        ("targets", "; ".join(targets)),
        ("network", f"{recipe.network.name} ({recipe.network.source or 'in memory'})"),
        ("made with", ", ".join(f"{name} {number}" for name, number in here.items())),
        ("written", time.strftime("%Y-%m-%d %H:%M")),
    ]
    yield "<table class=made>"
    yield from (
        f"<tr><th>{name}</th><td>{escape(str(value))}</td></tr>" for name, value in rows if value
    )
    yield (
        "</table>\n<details><summary>The whole recipe</summary>"
        f"<pre>{escape(recipe.to_yaml())}</pre></details>\n"
    )


def _reasons(name: str, title: str, reasons: Sequence[tuple[str, str]]) -> Iterator[str]:
    if not reasons:
        return
    yield f"<h2 id={name}>{title} <small>{len(reasons):,}</small></h2>\n<table class=reasons>"
    yield from (
        f"<tr><th>{escape(item)}</th><td>{escape(reason)}</td></tr>\n"
        for item, reason in reasons[:MOST_ROWS]
    )
    yield "</table>\n"


def _telling(summary: Summary) -> list[str]:
    """Return the columns that are shown: those that don't say the same of all images."""
    values_of: dict[str, set[Any]] = {
        name: set() for name in summary.columns if name not in _OF_NO_INTEREST
    }
    for record, row in summary.rows():
        for name, values in values_of.items():
            if not record.problem and len(values) < 2:
                values.add(row.get(name))
    return [
        name
        for name, values in values_of.items()
        if len(values) > 1 or (summary.columns[name] is not str and values != {None})
    ]


def _in_all(summary: Summary, columns: Sequence[str]) -> Iterator[str]:
    """Yield a table of what all images have together."""
    numbers = {name: _Span() for name in columns if summary.columns[name] is not str}
    for _, row in summary.rows():
        for name, span in numbers.items():
            span.add(row.get(name))
    spans = {name: span for name, span in numbers.items() if span.count}
    if not spans:
        return
    yield "<h2>All images</h2>\n<table class=figures><thead><tr><th></th><th>mean</th>"
    yield "<th>least</th><th>most</th><th>images</th></tr></thead>\n"
    for name, span in spans.items():
        cells = (in_digits(span.sum / span.count), in_digits(span.least), in_digits(span.most))
        yield f"<tr><th>{escape(name)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}"
        yield f"<td>{span.count:,}</td></tr>\n"
    yield "</table>\n"


class _Span:
    """The sum, the least and the most of numbers."""

    def __init__(self) -> None:
        self.count, self.sum = 0, 0.0
        self.least, self.most = float("inf"), float("-inf")

    def add(self, value: float | None) -> None:
        if value is not None:
            self.count += 1
            self.sum += value
            self.least, self.most = min(self.least, value), max(self.most, value)


def _images(
    folder: BatchFolder, summary: Summary, columns: Sequence[str], done: int
) -> Iterator[str]:
    shown = (
        f"the first {MOST_ROWS:,} of {done:,}; {CSV} has all" if done > MOST_ROWS else f"{done:,}"
    )
    yield f"<h2>Images <small>{shown}</small></h2>\n"
    yield '<p><input id=filter type=search placeholder="part of a name…"> a click on a heading sorts'
    yield "</p>\n<div class=wide><table class=images><thead><tr><th></th><th>image</th>"
    for name in columns:
        number = summary.columns[name] is not str
        yield f"<th{' class=number' if number else ''}>{escape(name)}</th>"
    yield "<th class=number>seconds</th><th>notes</th></tr></thead><tbody>\n"
    rows = ((record, row) for record, row in summary.rows() if not record.problem)
    for record, row in islice(rows, MOST_ROWS):
        yield f"<tr><td>{_picture(record)}</td><th>{escape(row['image'])}{_links(record)}</th>"
        yield "".join(_cell(row.get(name)) for name in columns)
        yield f"{_cell(row.get('seconds'))}<td class=notes>{escape(row.get('notes') or '')}</td></tr>\n"
    yield "</tbody></table></div>\n"


def _picture(record: ImageRecord) -> str:
    small = f"{THUMBNAILS}/{record.name}.jpg"
    if small not in record.outputs:
        return ""
    large = f"{MAPS}/{record.name}.png"
    target = large if large in record.outputs else small
    return f'<a href="{quote(target)}"><img loading=lazy alt="" src="{quote(small)}"></a>'


def _links(record: ImageRecord) -> str:
    maps = [place for place in record.outputs if place.startswith(f"{MAPS}/")]
    links = (f'<a href="{quote(place)}">{escape(Path(place).suffix)}</a>' for place in maps)
    return f"<small>{' '.join(links)}</small>"


def _cell(value: Any) -> str:
    if isinstance(value, int | float):
        shown = f"{value:,}" if isinstance(value, int) else in_digits(value)
        return f'<td data-v="{value!r}">{shown}</td>'
    return f"<td class=text>{escape('' if value is None else str(value))}</td>"
