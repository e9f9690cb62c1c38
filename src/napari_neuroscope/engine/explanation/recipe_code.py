"""A recipe as a script in Python, and as a command for a shell."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from pprint import pformat
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explanation.recipe_document import RecipeDocument, spec_in_words
from napari_neuroscope.engine.tiles.tiling import Tiling


def python_script(
    recipe: RecipeDocument,
    options: Mapping[str, Any],
    image: str | Path = "image.tif",
    ground_truth: str | Path = "truth.tif",
) -> str:
    """Return a script that makes it of an image file, its result in ``explanation``.

    Raises
    ------
    NeuroscopeError
        Where the network was made in memory, or the method is not there.
    """
    made = recipe.network
    if made.source is None:
        raise NeuroscopeError(
            f"The network “{made.name}” was made in memory, which no script can do again; save "
            f"it to a file, and load that."
        )
    loading = [repr(made.source), pformat(spec_in_words(recipe.spec), sort_dicts=False)]
    if made.factory is not None:
        loading += [f"factory={made.factory!r}", f"arguments={made.arguments!r}"]
    segments = recipe.spec.task == "segmentation"
    targets = [target.as_python(with_region=segments) for target in recipe.targets]
    target = f"[{', '.join(targets)}]" if recipe.several else next(iter(targets), "None")
    layer = list(recipe.layer) if isinstance(recipe.layer, tuple) else recipe.layer
    asking = ["network", "image", repr(recipe.method), target, repr(layer)]
    lines = [
        "import napari_neuroscope as ns",
        "",
        f"image = ns.read_image({str(image)!r})",
    ]
    if recipe.planes is not None:
        lines[-1] = f"image = ns.open_image({str(image)!r})"
        asking.append(f"planes={recipe.planes!r}")
    how: dict[str, Any] = asdict(recipe.tiling) if recipe.tiling else {}
    how = {name: value for name, value in how.items() if value != getattr(Tiling(), name)}
    if recipe.tiling is not None and recipe.planes is not None:
        arguments = ", ".join(f"{name}={value!r}" for name, value in how.items())
        asking.append(f"tiling=ns.Tiling({arguments})")
    elif recipe.tiling is not None:
        lines[-1] = f"image = ns.open_image({str(image)!r})"
        asking += [f"{name}={value!r}" for name, value in how.items()]
    if recipe.needs_ground_truth:
        lines.append(f"ground_truth = ns.read_image({str(ground_truth)!r})")
        asking.append("ground_truth=ground_truth")
    asking += [f"{name}={value!r}" for name, value in options.items()]
    explaining = "ns.explain" if recipe.tiling is None else "ns.explain_tiled"
    explaining = explaining if recipe.planes is None else "ns.explain_stack"
    lines += [f"network = {_call('ns.load', loading)}",
              f"explanation = {_call(explaining, asking)}"]  # fmt: skip
    return "\n".join(lines) + "\n"


def shell_command(
    document: RecipeDocument,
    image: str | Path = "image.tif",
    out: str | Path = "explanation.tif",
    *,
    recipe: str | Path | None = None,
    ground_truth: str | Path = "truth.tif",
) -> str:
    """Return the command that makes it of an image file, for a POSIX shell.

    Parameters
    ----------
    image, out, ground_truth
        The files.
    recipe
        The recipe's own file; None: the recipe itself stands in the command.
    """
    words = ["napari-neuroscope", "run", _word(recipe or "-"), _word(image)]
    if document.needs_ground_truth:
        words += ["--ground-truth", _word(ground_truth)]
    words += ["-o", _word(out)]
    command = " ".join(words)
    # Lines of a recipe that belong to longer texts are indented: none is the last one.
    return command if recipe else f"{command} <<'RECIPE'\n{document.to_yaml()}RECIPE\n"


def _call(function: str, arguments: Sequence[str]) -> str:
    """Write a call, an argument a line."""
    lines = (line for text in arguments for line in f"{text},".splitlines())
    return "\n".join([f"{function}(", *(f"    {line}" for line in lines), ")"])


def _word(text: str | Path) -> str:
    """Quote a word of a command, which is no option whatever it begins with."""
    text = str(text)
    return shlex.quote(f"./{text}" if text.startswith("-") and text != "-" else text)
