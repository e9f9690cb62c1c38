"""Write the tables of docs/files.md from what the program really answers.

    python scripts/make_files_page.py

Each file is made small, and opened as it is, with no spec but where its title says so.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import files_of_keras_and_onnx
import files_of_torch
import napari_neuroscope as ns
from files_of_people import IMAGES, NETWORKS
from files_of_pictures import VALUES
from make_security_page import lasting, replaced, table
from napari_neuroscope.engine.errors import FactoryNeededError, shortened
from napari_neuroscope.engine.files.code.trust import UntrustedError
from napari_neuroscope.engine.passes.output_notes import usual_output_notes

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "files.md"
_LONGEST = 260
# These add their files to those of people.
MORE = (files_of_torch, files_of_keras_and_onnx)
_ORDER = ("PyTorch", "Keras", "TensorFlow", "ONNX", "bioimage.io", "an ending")


def network_answer(folder: Path, title: str) -> tuple[str, str]:
    """Return what comes out of opening a network's file, and what is said of it."""
    make, told = NETWORKS[title]
    arguments = {
        name: value.format(folder=folder) if isinstance(value, str) else value
        for name, value in told.items()
    }

    def opened() -> str:
        network = ns.load(make(folder), device="cpu", **arguments)
        layers, spec = network.layers, network.spec
        ends = (spec.output.activation or (layers.final_activation or ("", "none"))[1]).replace(
            "none", "values that sum to 1" if network.output_end.is_softmax_by_sum else "scores"
        )
        words = [
            spec.task, f"input {spec.input.axes} of {network.channels} channels",
            f"{len(network.class_names)} classes ({', '.join(network.class_names)})", f"ends in {ends}",
        ]  # fmt: skip
        if spec.output.axes is not None:
            words.append(f"output {spec.output.axes}")
        notes = [*usual_output_notes(network), *(["it is given 0..255"] * network.range_was_found)]
        return "; ".join([*words, *notes])

    return _answered(opened, folder)


def image_answer(folder: Path, title: str) -> tuple[str, str]:
    """Return what comes out of opening an image's file, and what is said of it."""

    def opened() -> str:
        with ns.open_image(IMAGES[title](folder)) as image:
            values = image[...]
            axes = ", ".join(map(str, getattr(image.spacing, "axes", None) or ())) or "not named"
            first = values.reshape(-1, values.shape[-1])[0] if values.shape[-1] == 3 else None
            colour = "" if first is None else f"; the first pixel is {', '.join(map(str, first))}"
            return f"{' × '.join(map(str, values.shape))} of {values.dtype}; axes {axes}{colour}"

    return _answered(opened, folder)


def values_answer(folder: Path, title: str) -> tuple[str, str]:
    """Return which values a network gets of an image, and what is said of that."""

    def opened() -> str:
        network = ns.wrap(lambda x: x.mean((2, 3)), {"input": {"channels": 1}})
        with ns.open_image(VALUES[title](folder)) as image:
            given = network.prepare(image).input
            notes = network.predict(image).notes
        return "; ".join([f"{given.min():.3g} to {given.max():.3g}", *notes])

    return _answered(opened, folder)


def _answered(opened: Callable[[], str], folder: Path) -> tuple[str, str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return "opens", shortened(opened(), _LONGEST)
    except (UntrustedError, FactoryNeededError) as error:
        return "asks", _words(error, folder)
    except ns.NeuroscopeError as error:
        # What a spec, or an extra, would mend is asked for.
        asks = any(word in str(error) for word in ("spec's", "install it with", "give a factory"))
        return "asks" if asks else "refused", _words(error, folder)


def _words(error: Exception, folder: Path) -> str:
    return shortened(lasting(str(error), folder.resolve(), folder), _LONGEST)


def rows(
    answer: Callable[[Path, str], tuple[str, str]], titles: Iterable[str]
) -> list[tuple[Any, ...]]:
    """Return a row for each file."""
    found = []
    for title in titles:
        with tempfile.TemporaryDirectory() as folder:
            found.append((title, *answer(Path(folder), title)))
    return found


def _place(title: str) -> int:
    """Return at which of the places of the table a network's file stands, by its framework."""
    return next(n for n, framework in enumerate(_ORDER) if title.startswith(framework))


HEADER = ("file", "what comes out", "what is said")
TABLES: dict[str, tuple[Callable[[Path, str], tuple[str, str]], list[str]]] = {
    "networks": (network_answer, sorted(NETWORKS, key=_place)),
    "images": (image_answer, sorted(IMAGES, key=lambda title: title.partition(",")[0])),
    "values": (values_answer, list(VALUES)),
}


def main() -> None:
    """Write the page."""
    page = PAGE.read_text("utf-8")
    for name, (answer, titles) in TABLES.items():
        page = replaced(page, name, table(rows(answer, titles), HEADER))
    PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
