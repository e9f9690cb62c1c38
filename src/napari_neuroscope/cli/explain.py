"""``napari-neuroscope explain`` and ``run``: explain one image, and save the map."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_neuroscope.cli.arguments import (
    add_device_and_trust,
    load,
    options,
    progress_bar,
    refuse_taken,
    say,
    telling_warnings,
)
from napari_neuroscope.engine.errors import NeuroscopeError, in_digits, nearest_names
from napari_neuroscope.engine.files import limits

if TYPE_CHECKING:
    from napari_neuroscope.engine.explanation.explanation import Explanation
    from napari_neuroscope.engine.images.formats.lazy_image import LazyImage


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add what `explain` reads; the network's own arguments are there already."""
    _add_image(command)
    command.add_argument("--method", default="grad_cam", help="default: %(default)s")
    command.add_argument("--layer", action="append", metavar="LAYER",
                         help="a name, a pattern such as 'enc*', or all; may be repeated")  # fmt: skip
    command.add_argument("--class", dest="classes", action="append", metavar="CLASS",
                         help="a name or an index; may be repeated")  # fmt: skip
    command.add_argument("--region", choices=["everywhere", "predicted"],
                         help="where a segmentation's class is asked about; default: where it is "
                         "predicted, or everywhere where it is predicted nowhere")  # fmt: skip
    command.add_argument(
        "--score", default="logit", choices=["logit", "probability", "log_probability"]
    )
    command.add_argument("--option", action="append", default=[], metavar="NAME=VALUE",
                         help="an option of the method; may be repeated")  # fmt: skip
    command.add_argument("--tile", type=_at_least(1), metavar="PIXELS",
                         help="run tile by tile, with tiles of so many pixels at most; to .ome.zarr "
                         "the map is written as it grows")  # fmt: skip
    command.add_argument("--overlap", type=_at_least(0), metavar="PIXELS",
                         help="how many pixels of each side of a tile are thrown away; default: as "
                         "many as make the result that of the whole, or the spec's halo")  # fmt: skip
    command.add_argument("--weights", choices=["global", "tile"],
                         help="whether channels are weighted by the whole image (default) or by "
                         "each tile")  # fmt: skip
    command.add_argument("--save-recipe", type=Path, metavar="RECIPE",
                         help="save how it was made, too, for napari-neuroscope run")  # fmt: skip
    _add_out(command)


def add_arguments_of_run(command: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    command.add_argument(
        "recipe", metavar="RECIPE", help="a .neuroscope-recipe.yaml; -: what is piped"
    )
    _add_image(command)
    command.add_argument("--ground-truth", type=Path, metavar="FILE",
                         help="classes of the image's pixels, where the recipe asks for them")  # fmt: skip
    add_device_and_trust(command)
    command.add_argument(
        "--allow-changed", action="store_true", help="go on where the network has changed"
    )
    _add_out(command, "; a folder: what the recipe says, named as the image")


def _add_image(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "image", type=Path, metavar="IMAGE", help="TIFF, OME-Zarr, PNG, JPEG or .npy"
    )
    command.add_argument("--planes", metavar="PLANES",
                         help="of a stack: all, 0:10 or 't=0:10:2, z=3'; counted from 0, without "
                         "the last")  # fmt: skip


def _add_out(command: argparse.ArgumentParser, more: str = "") -> None:
    command.add_argument("--force", action="store_true", help="write over existing files")
    command.add_argument("-o", "--out", type=Path, required=True, metavar="OUT",
                         help=".tif: OME-TIFF; .zarr: OME-Zarr; .npy: NumPy; .png: a picture with "
                         f"its bars{more}")  # fmt: skip


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if (number := int(text)) < least:
            raise argparse.ArgumentTypeError(f"{number} is less than {least}")
        return number

    # What argparse calls a value that is none.
    number.__name__ = "whole number"
    return number


def _refuse_out(out: Path, *, force: bool) -> None:
    """Refuse what can't be written before anything is computed."""
    from napari_neuroscope.engine.results.save import SUFFIXES

    if out.suffix.lower() not in SUFFIXES:
        raise NeuroscopeError(
            f"“{out.name}” ends in no known kind of file; {nearest_names(out.suffix, SUFFIXES)}"
        )
    refuse_taken(out, force=force)


def _written(
    ask: Callable[[Path | None], Explanation],
    image: LazyImage,
    outs: Sequence[Path],
    *,
    force: bool,
    grows: bool,
) -> Explanation:
    """Explain, and write the explanation: where it `grows`, to an OME-Zarr while it is made."""
    from napari_neuroscope.engine.files.atomic_write import write_whole_folder
    from napari_neuroscope.engine.results.save import read_result, refuse_over, save

    folder = next((out for out in outs if grows and out.suffix.lower() == ".zarr"), None)
    if folder is None:
        explanation = ask(None)
    elif folder.exists():
        # What is there stays until the new one is whole.
        refuse_over(folder, overwrite=force)
        write_whole_folder(folder, ask)
        explanation = read_result(folder).explanation
    else:
        explanation = ask(folder)
    for out in outs:
        if out != folder:
            save(explanation, image, out, spacing=image.spacing, overwrite=force)
    return explanation


def explain(parsed: argparse.Namespace) -> None:
    """Explain what a network says about an image, and save the map."""
    from napari_neuroscope.engine.images.formats.image_file import open_image

    _refuse_out(parsed.out, force=parsed.force)
    if parsed.save_recipe is not None:
        from napari_neuroscope.engine.explanation.recipe_document import refuse_path

        refuse_path(parsed.save_recipe, overwrite=parsed.force)
    image = open_image(parsed.image)

    from napari_neuroscope.engine.explain.stacked_planes import explain_stack, grows
    from napari_neuroscope.engine.methods.interface import Needs
    from napari_neuroscope.engine.methods.registry import methods
    from napari_neuroscope.engine.passes.target import DEFAULT_REGION, Target
    from napari_neuroscope.engine.tiles.tiling import Tiling

    network = load(parsed)
    method = methods[parsed.method]
    chosen = options(parsed.option)
    segments = network.spec.task == "segmentation"
    region = parsed.region if segments and parsed.region else DEFAULT_REGION
    targets: Any = [Target(name, region, parsed.score) for name in parsed.classes or []]
    if not targets and Needs.TARGET in method.needs and network.spec.task == "classification":
        targets = [Target(None, region, parsed.score)]
    how = Tiling(parsed.tile, parsed.overlap, parsed.weights or "global")
    tiling = None if how == Tiling() and parsed.weights is None else how
    with progress_bar() as progress:

        def ask(out: Path | None) -> Explanation:
            return explain_stack(
                network,
                image,
                method.name,
                _one_or_many(targets),
                _one_or_many(parsed.layer),
                planes=parsed.planes,
                tiling=tiling,
                out=out,
                progress=progress,
                **chosen,
            )

        explanation = _written(
            ask, image, [parsed.out], force=parsed.force, grows=grows(network, image, tiling)
        )
    say(*_summary(explanation, parsed.out))
    if parsed.save_recipe is not None:
        from napari_neuroscope.engine.explain.recipe import Recipe

        kind: Any = parsed.out.suffix.lower().replace(".tiff", ".tif")
        Recipe.of(explanation, [kind]).save(parsed.save_recipe, overwrite=parsed.force)
        say(f"  its recipe saved as {parsed.save_recipe}")


def _one_or_many(items: Sequence[Any] | None) -> Any:
    return None if not items else items[0] if len(items) == 1 else list(items)


def _summary(explanation: Explanation, *outs: Path) -> list[str]:
    record = explanation.record
    lines = [
        f"{record.title}: {' × '.join(map(str, explanation.values.shape))} "
        f"({', '.join(explanation.axes)}) saved as {', '.join(map(str, outs))}"
    ]
    lines += [
        f"  {target.in_words()} ({target.score_in_words} {in_digits(target.value)})"
        for target in record.targets
    ]
    table = record.table or {}
    if "probability" not in table:
        lines += [f"  {line}" for line in explanation.table_in_words()]
    else:
        lines += [
            f"  {name}: {value:.1%}"
            for name, value in zip(table["class"], table["probability"], strict=True)
        ]
    return [*lines, *(f"  note: {note}" for note in record.notes)]


def run(parsed: argparse.Namespace) -> None:
    """Explain an image as a recipe says, and save the map."""
    from napari_neuroscope.engine.explain.recipe import Recipe
    from napari_neuroscope.engine.explain.stacked_planes import grows
    from napari_neuroscope.engine.images.formats.image_file import open_image
    from napari_neuroscope.engine.results.save import file_name

    with telling_warnings():
        piped = parsed.recipe == "-"
        recipe = Recipe.from_yaml(_piped()) if piped else Recipe.load(parsed.recipe)
    outs = [parsed.out]
    if parsed.out.is_dir() and parsed.out.suffix.lower() != ".zarr":
        outs = [parsed.out / file_name(parsed.image.stem, kind) for kind in recipe.outputs]
    for out in outs:
        _refuse_out(out, force=parsed.force)
    image = open_image(parsed.image)
    truth = None if parsed.ground_truth is None else open_image(parsed.ground_truth)
    with telling_warnings(), progress_bar() as progress:
        network, notes = recipe.fitted(
            None, device=parsed.device, trust=parsed.trust, allow_changed=parsed.allow_changed
        )
        explanation = _written(
            lambda out: recipe.explained(
                network,
                image,
                notes,
                ground_truth=truth,
                planes=parsed.planes,
                out=out,
                progress=progress,
            ),
            image,
            outs,
            force=parsed.force,
            grows=grows(network, image, recipe.tiling),
        )
    say(*_summary(explanation, *outs))


def _piped() -> str:
    # In UTF-8, as recipes are, whatever the terminal speaks.
    content = sys.stdin.buffer.read(limits.MOST_TEXT + 1)
    if len(content) > limits.MOST_TEXT:
        raise NeuroscopeError(
            f"The recipe that is piped has more than {limits.MOST_TEXT:,} bytes, which none needs."
        )
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NeuroscopeError("The recipe that is piped is no text in UTF-8.") from error
