"""The command line: ``napari-neuroscope demo | explain | run | batch | evaluate | layers | check``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from napari_neuroscope import cli_batch
from napari_neuroscope.cli_evaluate import add_arguments, evaluate_images
from napari_neuroscope.engine.errors import (
    NeuroscopeError,
    NeuroscopeWarning,
    Progress,
    in_digits,
    nearest_names,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_neuroscope.engine.explanation import Explanation
    from napari_neuroscope.engine.lazy_images import LazyImage
    from napari_neuroscope.engine.network import Network


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parsed = _parser().parse_args(arguments)
    try:
        status = parsed.run(parsed)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output, such as “head”, has read enough; Python would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except NeuroscopeError as error:
        print(f"napari-neuroscope: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    else:
        return status or 0
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="napari-neuroscope",
        description="See why an image classification or segmentation network decides as it does.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="open napari with a real image and its explanations")
    demo.add_argument(
        "--screenshot",
        type=Path,
        metavar="FILE",
        help="save a picture of the window there, and close it",
    )
    demo.set_defaults(run=_demo)

    explain = commands.add_parser(
        "explain", help="explain what a network says about an image, and save the map"
    )
    _add_network(explain)
    _add_image(explain)
    explain.add_argument("--method", default="grad_cam", help="default: %(default)s")
    explain.add_argument(
        "--layer",
        action="append",
        metavar="LAYER",
        help="a name, a pattern such as 'enc*', or all; may be repeated",
    )
    explain.add_argument(
        "--class",
        dest="classes",
        action="append",
        metavar="CLASS",
        help="a name or an index; may be repeated",
    )
    explain.add_argument("--region", default="everywhere", choices=["everywhere", "predicted"])
    explain.add_argument(
        "--score", default="logit", choices=["logit", "probability", "log_probability"]
    )
    explain.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the method; may be repeated",
    )
    explain.add_argument(
        "--tile",
        type=_at_least(1),
        metavar="PIXELS",
        help="run tile by tile, with tiles of so many pixels at most; to .ome.zarr the map is "
        "written as it grows",
    )
    explain.add_argument(
        "--overlap",
        type=_at_least(0),
        metavar="PIXELS",
        help="how many pixels of each side of a tile are thrown away; default: as many as make the "
        "result that of the whole, or the spec's halo",
    )
    explain.add_argument(
        "--weights",
        choices=["global", "tile"],
        help="whether channels are weighted by the whole image (default) or by each tile",
    )
    explain.add_argument(
        "--save-recipe",
        type=Path,
        metavar="RECIPE",
        help="save how it was made, too, for napari-neuroscope run",
    )
    _add_out(explain)
    explain.set_defaults(run=_explain)

    run = commands.add_parser("run", help="explain an image as a recipe says, and save the map")
    run.add_argument("recipe", metavar="RECIPE", help="a .neuroscope-recipe.yaml; -: what is piped")
    _add_image(run)
    run.add_argument(
        "--ground-truth",
        type=Path,
        metavar="FILE",
        help="classes of the image's pixels, where the recipe asks for them",
    )
    _add_device_and_trust(run)
    run.add_argument(
        "--allow-changed", action="store_true", help="go on where the network has changed"
    )
    _add_out(run, "; a folder: what the recipe says, named as the image")
    run.set_defaults(run=_run)

    batch = commands.add_parser("batch", help="explain many images as a recipe says")
    cli_batch.add_arguments(batch)
    _add_device_and_trust(batch)
    batch.set_defaults(run=cli_batch.run)

    evaluate = commands.add_parser(
        "evaluate", help="measure which explanations of images can be believed, into a table"
    )
    _add_network(evaluate)
    add_arguments(evaluate)
    evaluate.set_defaults(run=_evaluate)

    layers = commands.add_parser("layers", help="list the layers of a network")
    _add_network(layers)
    layers.add_argument("--json", action="store_true", help="print JSON")
    layers.set_defaults(run=_layers)

    check = commands.add_parser(
        "check", help="say what a network is, try it, and say what its spec lacks"
    )
    _add_network(check)
    check.set_defaults(run=_check)
    return parser


def _add_image(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "image", type=Path, metavar="IMAGE", help="TIFF, OME-Zarr, PNG, JPEG or .npy"
    )
    command.add_argument(
        "--planes",
        metavar="PLANES",
        help="of a stack: all, 0:10 or 't=0:10:2, z=3'; counted from 0, without the last",
    )


def _add_out(command: argparse.ArgumentParser, more: str = "") -> None:
    command.add_argument("--force", action="store_true", help="write over existing files")
    command.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="OUT",
        help=f".tif: OME-TIFF; .zarr: OME-Zarr; .npy: NumPy; .png: a picture with its bars{more}",
    )


def _add_device_and_trust(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    command.add_argument(
        "--trust", action="store_true", help="let code that comes with the file run"
    )


def _add_network(command: argparse.ArgumentParser) -> None:
    command.add_argument("network", metavar="NETWORK", help="a file, or such as demo:nuclei")
    command.add_argument("--spec", type=Path, help="a spec in place of the network's own")
    _add_device_and_trust(command)
    command.add_argument(
        "--factory",
        metavar="PACKAGE.MODULE:FUNCTION",
        help="what builds the network, for a file of weights alone",
    )
    command.add_argument(
        "--argument",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an argument of the factory; may be repeated",
    )


def _load(parsed: argparse.Namespace) -> Network:
    from napari_neuroscope.engine.loading import load

    with _telling_warnings():
        return load(
            parsed.network,
            parsed.spec,
            device=parsed.device,
            trust=parsed.trust,
            factory=parsed.factory,
            arguments=dict(_option(text) for text in parsed.argument),
        )


@contextmanager
def _telling_warnings() -> Iterator[None]:
    """Print what there is to know of a network or a recipe."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", NeuroscopeWarning)
        yield
    for warning in caught:
        if issubclass(warning.category, NeuroscopeWarning):
            print(f"napari-neuroscope: {warning.message}", file=sys.stderr)


# --- demo -----------------------------------------------------------------------------------------


def _demo(parsed: argparse.Namespace) -> None:
    no_screen = sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    if no_screen:
        raise NeuroscopeError(
            "There is no screen here; run “make demo”, or: xvfb-run -a -s '-screen 0 1600x1000x24 "
            "+extension GLX' napari-neuroscope demo --screenshot demo.png"
        )
    from napari_neuroscope.widgets.demo import run_demo

    run_demo(parsed.screenshot)
    if parsed.screenshot:
        print(f"Saved {parsed.screenshot}.")


# --- explain --------------------------------------------------------------------------------------


def _refuse_out(out: Path, *, force: bool) -> None:
    """Refuse what can't be written before anything is computed."""
    from napari_neuroscope.engine.saving import SUFFIXES

    if out.suffix.lower() not in SUFFIXES:
        raise NeuroscopeError(
            f"“{out.name}” ends in no known kind of file; {nearest_names(out.suffix, SUFFIXES)}"
        )
    if out.exists() and not force:
        raise NeuroscopeError(f"{out} exists already; choose another name, or add --force.")
    if not out.absolute().parent.is_dir():
        raise NeuroscopeError(f"The folder {out.absolute().parent} does not exist; make it first.")


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
    from napari_neuroscope.engine.saving import read_result, refuse_over, save

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


def _explain(parsed: argparse.Namespace) -> None:
    from napari_neuroscope.engine.lazy_images import open_image

    _refuse_out(parsed.out, force=parsed.force)
    if parsed.save_recipe is not None:
        from napari_neuroscope.engine.recipe import refuse_path

        refuse_path(parsed.save_recipe, overwrite=parsed.force)
    image = open_image(parsed.image)

    from napari_neuroscope.engine.methods.registry import Needs, methods
    from napari_neuroscope.engine.stacks import explain_stack, grows
    from napari_neuroscope.engine.target import Target
    from napari_neuroscope.engine.tiles import Tiling

    network = _load(parsed)
    method = methods[parsed.method]
    options = dict(_option(text) for text in parsed.option)
    region = parsed.region if network.spec.task == "segmentation" else "everywhere"
    targets: Any = [Target(name, region, parsed.score) for name in parsed.classes or []]
    if not targets and Needs.TARGET in method.needs and network.spec.task == "classification":
        targets = [Target(None, region, parsed.score)]
    how = Tiling(parsed.tile, parsed.overlap, parsed.weights or "global")
    tiling = None if how == Tiling() and parsed.weights is None else how
    with _bar() as progress:

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
                **options,
            )

        explanation = _written(
            ask, image, [parsed.out], force=parsed.force, grows=grows(network, image, tiling)
        )
    print(_summary(explanation, parsed.out))
    if parsed.save_recipe is not None:
        from napari_neuroscope.engine.recipe import Recipe

        kind: Any = parsed.out.suffix.lower().replace(".tiff", ".tif")
        Recipe.of(explanation, [kind]).save(parsed.save_recipe, overwrite=parsed.force)
        print(f"  its recipe saved as {parsed.save_recipe}")


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if (found := int(text)) < least:
            raise argparse.ArgumentTypeError(f"{found} is less than {least}")
        return found

    number.__name__ = "whole number"
    return number


def _one_or_many(items: Sequence[Any] | None) -> Any:
    return None if not items else items[0] if len(items) == 1 else list(items)


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise NeuroscopeError(f"The option “{text}” needs the form NAME=VALUE.")
    return name.strip(), yaml.safe_load(value)


@contextmanager
def _bar() -> Iterator[Progress]:
    """Show a progress bar on the terminal."""
    from tqdm import tqdm

    with tqdm(total=1, leave=False, disable=None, bar_format="{desc} |{bar}| {percentage:3.0f}%"
              ) as bar:  # fmt: skip

        def progress(done: int, total: int, what: str) -> None:
            bar.set_description(what, refresh=False)
            bar.total = max(total, 1)
            bar.n = min(done, bar.total)
            bar.refresh()

        yield progress


def _summary(explanation: Explanation, *outs: Path) -> str:
    made = explanation.provenance
    lines = [
        f"{made['title']}: {' × '.join(map(str, explanation.values.shape))} "
        f"({', '.join(explanation.axes)}) saved as {', '.join(map(str, outs))}"
    ]
    lines += [
        f"  {t['class']}, {t['region']}: {t['score'].replace('_', ' ')} {in_digits(t['value'])}"
        for t in made["targets"]
    ]
    table = made.get("table", {})
    if "probability" not in table:
        lines += [f"  {line}" for line in explanation.table_in_words()]
    else:
        lines += [
            f"  {name}: {value:.1%}"
            for name, value in zip(table["class"], table["probability"], strict=True)
        ]
    return "\n".join([*lines, *(f"  note: {note}" for note in made["notes"])])


# --- run ------------------------------------------------------------------------------------------


def _run(parsed: argparse.Namespace) -> None:
    from napari_neuroscope.engine.lazy_images import open_image
    from napari_neuroscope.engine.recipe import Recipe
    from napari_neuroscope.engine.saving import file_name
    from napari_neuroscope.engine.stacks import grows

    with _telling_warnings():
        piped = parsed.recipe == "-"
        recipe = Recipe.from_yaml(_piped()) if piped else Recipe.load(parsed.recipe)
    outs = [parsed.out]
    if parsed.out.is_dir() and parsed.out.suffix.lower() != ".zarr":
        outs = [parsed.out / file_name(parsed.image.stem, kind) for kind in recipe.outputs]
    for out in outs:
        _refuse_out(out, force=parsed.force)
    image = open_image(parsed.image)
    truth = None if parsed.ground_truth is None else open_image(parsed.ground_truth)
    with _telling_warnings(), _bar() as progress:
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
    print(_summary(explanation, *outs))


def _piped() -> str:
    # In UTF-8, as recipes are, whatever the terminal speaks.
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise NeuroscopeError("The recipe that is piped is no text in UTF-8.") from error


# --- evaluate -------------------------------------------------------------------------------------


def _evaluate(parsed: argparse.Namespace) -> None:
    network = _load(parsed)
    with _bar() as progress:
        evaluate_images(parsed, network, progress)


# --- layers ---------------------------------------------------------------------------------------


def _layers(parsed: argparse.Namespace) -> None:
    network = _load(parsed)
    layers = network.layers
    if parsed.json:
        print(json.dumps([
            {"name": layer.name, "kind": layer.kind, "operation": layer.operation,
             "output_shape": layer.output_shape, "parameters": layer.parameters,
             "inputs": layer.inputs, "outputs": layer.outputs, "block": layer.block}
            for layer in layers.values()], indent=2))  # fmt: skip
        return
    rows = [("layer", "kind", "output", "parameters", "from")]
    for layer in layers.values():
        rows.append((layer.name, layer.kind, " × ".join(map(str, layer.output_shape)),
                     f"{layer.parameters:,}" if layer.parameters else "",
                     ", ".join(layer.inputs) or "input"))  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    for row in rows:
        print(
            "  ".join(
                cell.rjust(width) if i == 3 else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
        )
    learnt = sum(layer.parameters for layer in layers.values() if layer.kind != "block")
    print(
        f"\n{network.name}: {network.spec.task}, {learnt:,} parameters, "
        f"classes {', '.join(network.class_names)}"
    )


# --- check ----------------------------------------------------------------------------------------


def _check(parsed: argparse.Namespace) -> None:
    from napari_neuroscope.engine.inference import unsaid
    from napari_neuroscope.engine.methods.registry import methods

    network = _load(parsed)
    layers = network.layers
    spec, names = network.spec, network.class_names
    final = layers.final_activation
    learnt = sum(layer.parameters for layer in layers.values() if layer.kind != "block")
    rows = [
        ("network", f"{network.name}, {network.framework} on {network.device}"),
        ("task", spec.task),
        ("input", f"{network.channels} channels, {_size_in_words(spec)}"),
        ("classes", f"{len(names)}: {', '.join(names[:8])}{', …' if len(names) > 8 else ''}"),
        ("ends in", f"{final[1]}, cut off at “{final[0]}”" if final else "scores"),
        ("layers", f"{len(layers)}, {learnt:,} parameters"),
    ]
    for label, value in rows:
        print(f"{label:<10}{value}")
    refused = [reason for method in methods.values()
               if (reason := network.why_not(method))]  # fmt: skip
    for reason in refused:
        print(f"{'method':<10}{reason}")
    lacks = unsaid(network.stated, spec)
    if lacks:
        from napari_neuroscope.engine.loading import spec_path

        place = spec_path(network.path) if network.path else "a spec"
        print(f"\nWhat can't be found out; say it in {place}:")
        for field, lack in lacks.items():
            print(f"  - {lack} ({_AS_YAML[field]})")
    if network.published is not None:
        _check_published(network)


def _check_published(network: Network) -> None:
    from napari_neuroscope.engine.bioimageio.published import check_published

    found = check_published(network)
    allowed = found.tolerance
    print(
        f"\npublished answer: differs by {found.max_abs:.2g} at most ({found.max_rel:.2g} of the "
        f"value), {found.differing:.2%} of the values by more than {allowed.absolute_tolerance:g} + "
        f"{allowed.relative_tolerance:g} of the value: {'agrees' if found.passed else 'DISAGREES'}"
    )
    if not found.passed:
        raise NeuroscopeError(
            "The network doesn't answer as its package says; check the spec beside it, and whether "
            "its framework's version is the one that the package was made with."
        )


_AS_YAML = {
    "classes": "classes: [...]",
    "normalization": "input: {normalization: imagenet | percentile | {mean: [...], std: [...]} | ...}",
    "size": "input: {size: [224, 224]}",
}


def _size_in_words(spec: Any) -> str:
    size = spec.input.size
    if size is None:
        return "any size"
    if isinstance(size, tuple):
        return " × ".join(map(str, size)) + f" ({spec.input.resize})"
    rules = [f"{least} + n · {step}" if step else str(least)
             for least, step in size.each(len(spec.input.space))]  # fmt: skip
    alike = len(set(rules)) == 1
    rule = f"{rules[0]} along each axis" if alike else " × ".join(f"({rule})" for rule in rules)
    return f"{rule} ({spec.input.resize})"


if __name__ == "__main__":
    sys.exit(main())
