"""The command line: ``napari-neuroscope demo | explain | run | batch | evaluate | layers | check``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from napari_neuroscope.cli import answer as cli_answer
from napari_neuroscope.cli import batch as cli_batch
from napari_neuroscope.cli import check as cli_check
from napari_neuroscope.cli import evaluate as cli_evaluate
from napari_neuroscope.cli import explain as cli_explain
from napari_neuroscope.cli.arguments import add_device_and_trust, add_network, in_its_words, say
from napari_neuroscope.cli.running import STOPPED, run_to_its_end
from napari_neuroscope.engine.errors import NeuroscopeError, first_line
from napari_neuroscope.engine.plain_text import visible

_TRACEBACK = "NAPARI_NEUROSCOPE_TRACEBACK"
"""Set to anything, it has the place of an unexpected error told."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A letter that the terminal doesn't know is no reason to stop.
            stream.reconfigure(errors="backslashreplace")
    try:
        parsed = _parser().parse_args(arguments)
        if parsed.run is _demo:
            # Windows belong to the main thread.
            status = parsed.run(parsed)
        else:
            status = run_to_its_end(lambda: parsed.run(parsed), lambda: parsed.stopped(parsed))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output, such as “head”, has read enough; Python would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except NeuroscopeError as error:
        print(f"napari-neuroscope: {in_its_words(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return STOPPED
    except Exception as error:
        if os.environ.get(_TRACEBACK):
            raise
        said = visible(first_line(error), 300)
        print(
            f"napari-neuroscope: {type(error).__name__}: {said.rstrip('.')}. That should not "
            f"happen: set {_TRACEBACK}=1 to see where it does, and tell us.",
            file=sys.stderr,
        )
        return 1
    else:
        return status or 0
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="napari-neuroscope",
        description="See why an image classification or segmentation network decides as it does.",
    )
    parser.set_defaults(stopped=lambda _: "Stopped.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="open napari with a real image and its explanations")
    demo.add_argument("--screenshot", type=Path, metavar="FILE",
                      help="save a picture of the window there, and close it")  # fmt: skip
    demo.set_defaults(run=_demo)

    explain = commands.add_parser(
        "explain", help="explain what a network says about an image, and save the map"
    )
    add_network(explain)
    cli_explain.add_arguments(explain)
    explain.set_defaults(run=cli_explain.explain)

    run = commands.add_parser("run", help="explain an image as a recipe says, and save the map")
    cli_explain.add_arguments_of_run(run)
    run.set_defaults(run=cli_explain.run)

    batch = commands.add_parser("batch", help="explain many images as a recipe says")
    cli_batch.add_arguments(batch)
    add_device_and_trust(batch)
    batch.set_defaults(run=cli_batch.run, stopped=cli_batch.stopped)

    evaluate = commands.add_parser(
        "evaluate", help="measure which explanations of images can be believed, into a table"
    )
    add_network(evaluate)
    cli_evaluate.add_arguments(evaluate)
    evaluate.set_defaults(run=cli_evaluate.run, stopped=cli_evaluate.stopped)

    layers = commands.add_parser("layers", help="list the layers of a network")
    add_network(layers)
    layers.add_argument("--json", action="store_true", help="print JSON")
    layers.set_defaults(run=cli_check.list_layers)

    check = commands.add_parser(
        "check", help="say what a network is, try it, and say what its spec lacks"
    )
    add_network(check)
    cli_answer.add_image(check)
    check.set_defaults(run=cli_check.check)
    return parser


def _demo(parsed: argparse.Namespace) -> None:
    no_screen = sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    if no_screen:
        raise NeuroscopeError(
            "There is no screen here; run “make demo”, or: xvfb-run -a -s '-screen 0 1600x1000x24 "
            "+extension GLX' napari-neuroscope demo --screenshot demo.png"
        )
    from napari_neuroscope.widgets.app.demo import run_demo

    run_demo(parsed.screenshot)
    if parsed.screenshot:
        say(f"Saved {parsed.screenshot}.")
