"""A batch in a process of its own, for a program that goes on meanwhile.

``python -m napari_neuroscope.engine.batch.process`` reads a line of JSON from its input: what
`run_batch` takes, with the recipe as plain values. It prints a line of JSON for each `BatchEvent`, and
in the end one of the kind "result" or "error". Another line on the input, or its end, stops the batch.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from napari_neuroscope.engine.batch.run import BatchEvent, BatchResult, run_batch
from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explain.recipe import Recipe
from napari_neuroscope.engine.files.code.trust import UntrustedError

COMMAND = ("-P", "-m", "napari_neuroscope.engine.batch.process")
"""What Python is started with; the current folder, a stranger's perhaps, is no place for modules."""


def main() -> int:
    """Run a batch that is asked for on the input; return the exit status."""
    asked = json.loads(_line())
    cancel = threading.Event()
    # The input is read beside Python's own buffer, whose lock such a thread would keep to the end.
    threading.Thread(target=_wait_for_a_word, args=(cancel,), daemon=True).start()
    try:
        recipe = Recipe.parse(asked.pop("recipe"))
        if asked.pop("network_is_given", False):
            recipe = recipe.model_copy(update={"network": recipe.network.given()})
        result = run_batch(recipe, **asked, progress=_tell, cancel=cancel)
    except NeuroscopeError as error:
        _print(_as_event(error))
        return 1
    except BrokenPipeError:
        # Nobody is there any more; what is done is kept.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    _print({"kind": "result", **_as_plain(result)})
    return 0


def _line() -> bytes:
    """Return the next line of the input; what there is, where it ends."""
    line = b""
    while not line.endswith(b"\n") and (more := os.read(0, 1 << 16)):
        line += more
    return line


def _wait_for_a_word(cancel: threading.Event) -> None:
    _line()
    cancel.set()


def _tell(event: BatchEvent) -> None:
    _print(asdict(event))


def _print(event: Mapping[str, Any]) -> None:
    print(json.dumps(event), flush=True)


def _as_plain(result: BatchResult) -> dict[str, Any]:
    return {
        "total": result.total,
        "kept": result.kept,
        "done": result.done,
        "failed": len(result.failed),
        "left": result.left,
        "report": str(result.report),
        "skipped": [[file.name, file.reason] for file in result.skipped],
    }


def _as_event(error: NeuroscopeError) -> dict[str, Any]:
    event = {"kind": "error", "type": type(error).__name__, "message": str(error)}
    if isinstance(error, UntrustedError):
        event |= {
            "path": str(error.path),
            "sha256": error.sha256,
            "would_run": error.would_run,
        }
    return event


if __name__ == "__main__":
    sys.exit(main())
