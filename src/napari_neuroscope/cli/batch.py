"""``napari-neuroscope batch``: explain many images as a recipe says."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from napari_neuroscope.cli.arguments import say
from napari_neuroscope.cli.running import refuse_when_stopping, stopping
from napari_neuroscope.engine.plain_text import visible

if TYPE_CHECKING:
    from napari_neuroscope.engine.batch.run import BatchEvent, BatchResult

SOME_FAILED = 3
"""The exit status of a batch that was done but for images that have a problem."""
_LONGEST = 2000


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add what `run` reads; device and trust are there already."""
    command.add_argument("recipe", metavar="RECIPE", help="a .neuroscope-recipe.yaml")
    command.add_argument("images", nargs="+", metavar="IMAGES", help="files, folders or patterns")
    command.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help="a folder")
    command.add_argument("--truth", action="append", metavar="TRUTH",
                         help="ground truth: files, folders or patterns; may be repeated")  # fmt: skip
    command.add_argument("--outputs", nargs="+", metavar="ENDING",
                         help="such as .tif .png; default: what the recipe says")  # fmt: skip
    command.add_argument("--workers", type=int, default=1, metavar="N",
                         help="processes on this machine; default: 1")  # fmt: skip
    command.add_argument("--threads", type=int, metavar="N",
                         help="of each worker; default: the cores are shared")  # fmt: skip
    command.add_argument("--scheduler", metavar="ADDRESS",
                         help="a Dask cluster in their place, such as tcp://10.0.0.1:8786")  # fmt: skip
    command.add_argument(
        "--allow-changed", action="store_true", help="go on where the network has changed"
    )
    command.add_argument("--force", action="store_true",
                         help="begin anew, and write over what is in OUT")  # fmt: skip
    command.add_argument("--progress", choices=["bar", "json"], default="bar",
                         help="json: a line on the output for each image")  # fmt: skip


def run(parsed: argparse.Namespace) -> int:
    """Run the batch; return the exit status."""
    from napari_neuroscope.engine.batch.run import run_batch

    show = _Lines() if parsed.progress == "json" else _Bar()
    with show:
        result = run_batch(
            parsed.recipe,
            parsed.images,
            parsed.out,
            truths=parsed.truth,
            outputs=parsed.outputs,
            workers=parsed.workers,
            threads=parsed.threads,
            scheduler=parsed.scheduler,
            device=parsed.device,
            trust=parsed.trust,
            allow_changed=parsed.allow_changed,
            force=parsed.force,
            progress=show,
            cancel=stopping,
        )
    refuse_when_stopping()
    if parsed.progress == "bar":
        say(*_summed_up(result))
    return SOME_FAILED if result.failed else 0


def stopped(parsed: argparse.Namespace) -> str:
    """Return what is told where the batch was stopped."""
    place = shlex.quote(str(parsed.out))
    return (
        f"Stopped; what is done lies in {place}. The same command goes "
        f"on{' (without --force)' if parsed.force else ''}."
    )


def _summed_up(result: BatchResult) -> list[str]:
    count = result.kept + result.done
    parts = [f"{count:,} of {result.total:,} images done"]
    if result.kept:
        parts.append(f"{result.kept:,} of them before")
    if result.failed:
        parts.append(f"{len(result.failed):,} with a problem")
    lines = [", ".join(parts)]
    if result.skipped:
        count = len(result.skipped)
        files = "1 file was" if count == 1 else f"{count:,} files were"
        lines.append(f"  {files} left out; the report says why")
    return [*lines, f"  report: {result.report}", f"  summary: {result.summary}"]


class _Lines:
    """Prints each event as a line of JSON."""

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, event: BatchEvent) -> None:
        print(json.dumps(asdict(event)), flush=True)


class _Bar:
    """Shows a progress bar on the terminal, and problems as they come."""

    def __enter__(self) -> _Bar:
        from tqdm import tqdm

        self._bar = tqdm(total=1, leave=False, disable=None, unit="image")
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def __call__(self, event: BatchEvent) -> None:
        bar = self._bar
        if event.kind == "started":
            bar.reset(event.total)
            bar.update(event.kept)
            if event.dashboard:
                bar.write(f"dashboard: {event.dashboard}", file=sys.stderr)
        elif event.kind == "image":
            bar.update()
            bar.set_postfix_str(visible(Path(event.image).name, 30), refresh=False)
            if event.problem:
                said = visible(f"{event.image}: {event.problem}", _LONGEST)
                bar.write(f"napari-neuroscope: {said}", file=sys.stderr)
