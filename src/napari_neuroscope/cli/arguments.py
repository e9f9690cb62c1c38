"""What all commands do alike: they load a network, show how far they are, and say things."""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_neuroscope.cli.running import refuse_when_stopping
from napari_neuroscope.engine.errors import NeuroscopeError, NeuroscopeWarning, Progress
from napari_neuroscope.engine.plain_text import visible

if TYPE_CHECKING:
    from napari_neuroscope.engine.networks.network import Network

_LONGEST = 2000
"""Letters of a line: names in files may have any number."""


def say(*lines: str) -> None:
    """Print lines: words of a file in them stand as plain text, each within its line."""
    if lines:
        print("\n".join(visible(line, _LONGEST) for line in lines))


def note(text: str) -> None:
    """Print what there is to know beside the answer."""
    print(f"napari-neuroscope: {visible(in_its_words(text), _LONGEST)}", file=sys.stderr)


def in_its_words(text: str) -> str:
    """Return a sentence with the command's options in place of Python's arguments."""
    text = re.sub(r"\btrust=True\b", "--trust", text)
    return re.sub(r"\bfactory=\"([^\"]*)\"", r"--factory \1", text)


@contextmanager
def telling_warnings() -> Iterator[None]:
    """Print what there is to know of a network or a recipe."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", NeuroscopeWarning)
        yield
    for warning in caught:
        if issubclass(warning.category, NeuroscopeWarning):
            note(str(warning.message))


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Show a progress bar on the terminal, and stop the work where the command is stopped."""
    from tqdm import tqdm

    with tqdm(total=1, leave=False, disable=None, bar_format="{desc} |{bar}| {percentage:3.0f}%"
              ) as bar:  # fmt: skip

        def progress(done: int, total: int, what: str) -> None:
            refuse_when_stopping()
            bar.set_description(visible(what, 80), refresh=False)
            bar.total = max(total, 1)
            bar.n = min(done, bar.total)
            bar.refresh()

        yield progress


def add_device_and_trust(command: argparse.ArgumentParser) -> None:
    """Add what says where a network runs, and whether it is trusted."""
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    command.add_argument(
        "--trust", action="store_true", help="let code that comes with the file run"
    )


def add_network(command: argparse.ArgumentParser) -> None:
    """Add what `load` reads."""
    command.add_argument("network", metavar="NETWORK", help="a file, or such as demo:nuclei")
    command.add_argument("--spec", type=Path, help="a spec in place of the network's own")
    add_device_and_trust(command)
    command.add_argument(
        "--factory",
        metavar="PACKAGE.MODULE:FUNCTION",
        help="what builds the network, for a file of weights alone; or ./script.py:FUNCTION",
    )
    command.add_argument(
        "--argument",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an argument of the factory; may be repeated",
    )


def load(parsed: argparse.Namespace) -> Network:
    """Load the network that is named."""
    from napari_neuroscope.engine.networks.load import load as load_network

    with telling_warnings():
        return load_network(
            parsed.network,
            parsed.spec,
            device=parsed.device,
            trust=parsed.trust,
            factory=parsed.factory,
            arguments=options(parsed.argument),
        )


def options(texts: Sequence[str]) -> dict[str, Any]:
    """Return what options such as ``n=3`` say.

    Raises
    ------
    NeuroscopeError
        Where one is none, or its value can't be read.
    """
    from napari_neuroscope.engine.files.reading.plain_data import PlainDataError, parse_yaml

    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise NeuroscopeError(f"The option “{text:.80}” needs the form NAME=VALUE.")
        try:
            values[name.strip()] = parse_yaml(value)
        except PlainDataError as error:
            raise NeuroscopeError(
                f"The value of the option “{text:.80}” can't be read: {error}; put it in quotes."
            ) from error
    return values


def refuse_taken(out: Path, *, force: bool) -> None:
    """Refuse a place where nothing can be written, before anything is computed.

    Raises
    ------
    NeuroscopeError
        Where something is there already, unless it is written over by `force`, or no folder is.
    """
    if out.exists() and not force:
        raise NeuroscopeError(f"{out} exists already; choose another name, or add --force.")
    if not out.absolute().parent.is_dir():
        raise NeuroscopeError(f"The folder {out.absolute().parent} does not exist; make it first.")
