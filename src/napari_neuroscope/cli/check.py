"""``napari-neuroscope layers`` and ``check``: what a network is."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from napari_neuroscope.cli.answer import refuse_picture, say_answer
from napari_neuroscope.cli.arguments import load, say
from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.passes.output_notes import usual_output_notes
from napari_neuroscope.engine.plain_text import visible

if TYPE_CHECKING:
    from napari_neuroscope.engine.networks.network import Network

_LONGEST_CELL = 200


def list_layers(parsed: argparse.Namespace) -> None:
    """Print the layers of a network."""
    network = load(parsed)
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
    cells = [[visible(cell, _LONGEST_CELL) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(5)]
    for row in cells:
        say(
            "  ".join(
                cell.rjust(width) if i == 3 else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
        )
    learnt = sum(layer.parameters for layer in layers.values() if layer.kind != "block")
    say(
        "",
        f"{network.name}: {network.spec.task}, {learnt:,} parameters, "
        f"classes {', '.join(network.class_names)}",
    )


def check(parsed: argparse.Namespace) -> None:
    """Print what a network is, and what its spec lacks."""
    from napari_neuroscope.engine.methods.registry import methods
    from napari_neuroscope.engine.passes.model import BYTES
    from napari_neuroscope.engine.spec.inference import unsaid

    refuse_picture(parsed)
    network = load(parsed)
    layers = network.layers
    spec, names = network.spec, network.class_names
    final, beside = layers.final_activation, network.classes_from
    learnt = sum(layer.parameters for layer in layers.values() if layer.kind != "block")
    rows = [
        ("network", f"{network.name}, {network.framework} on {network.device}"),
        ("task", spec.task),
        ("input", f"{network.channels} channels, {_size_in_words(network)}"),
        *([("values", BYTES)] if network.range_was_found else []),
        (
            "classes",
            f"{len(names)}: {', '.join(names[:8])}{', …' if len(names) > 8 else ''}"
            f"{f' (of {beside.name} beside it)' if beside else ''}",
        ),
        *(("output", said) for said in usual_output_notes(network)),
        ("ends in", f"{final[1]}, cut off at “{final[0]}”" if final else _end(network)),
        ("layers", f"{len(layers)}, {learnt:,} parameters"),
    ]
    for label, value in rows:
        say(f"{label:<10}{value}")
    refused = [reason for method in methods.values()
               if (reason := network.why_not(method))]  # fmt: skip
    for reason in refused:
        say(f"{'method':<10}{reason}")
    lacks = unsaid(network.stated, spec)
    if network.classes_from is not None:
        lacks.pop("classes", None)
    if spec.factory is not None and network.path is not None and not _remembers(network.path):
        lacks["factory"] = "what builds it"
    if lacks:
        from napari_neuroscope.engine.networks.load import spec_path

        place = spec_path(network.path) if network.path else "a spec"
        say("", f"What can't be found out; say it in {place}:")
        for field, lack in lacks.items():
            words = f"factory: {spec.factory}" if field == "factory" else _AS_YAML[field]
            say(f"  - {lack} ({words})")
    if parsed.image is not None:
        say_answer(network, parsed.image, parsed.out)
    if network.published is not None:
        _check_published(network)


def _end(network: Network) -> str:
    """Return what a network answers that was not cut."""
    if network.output_end.was_measured:
        return "values of 0..1, taken for probabilities"
    if network.output_end.was_told:
        return "values of 0..1, as the package says"
    if network.output_end.is_softmax_by_sum:
        return "values that sum to 1, taken for a softmax's"
    stated = network.stated.output.activation
    return f"{stated}, as stated" if stated in ("softmax", "sigmoid") else "scores"


def _remembers(path: Path) -> bool:
    """Whether the spec beside a network's file says what builds it."""
    from napari_neuroscope.engine.networks.load import spec_path
    from napari_neuroscope.engine.spec.model_spec import ModelSpec

    beside = spec_path(path)
    return beside.is_file() and ModelSpec.load(beside).factory is not None


def _check_published(network: Network) -> None:
    from napari_neuroscope.engine.networks.check_published import check_published

    agreement = check_published(network)
    allowed = agreement.tolerance
    say(
        "",
        f"published answer: differs by {agreement.max_abs:.2g} at most ({agreement.max_rel:.2g} of the "
        f"value), {agreement.differing:.2%} of the values by more than {allowed.absolute_tolerance:g} + "
        f"{allowed.relative_tolerance:g} of the value: {'agrees' if agreement.passed else 'DISAGREES'}",
    )
    if not agreement.passed:
        raise NeuroscopeError(
            "The network doesn't answer as its package says; check the spec beside it, and whether "
            "its framework's version is the one that the package was made with."
        )


_AS_YAML = {
    "classes": "classes: [...]",
    "normalization": "input: {normalization: imagenet | percentile | {mean: [...], std: [...]} | ...}",
    "size": "input: {size: [224, 224]}",
}


def _size_in_words(network: Network) -> str:
    spec, size = network.spec, network.spec.input.size
    if size is None:
        return "any size"
    if isinstance(size, tuple):
        larger = ""
        if spec.task == "segmentation" and spec.input.resize != "tile":
            by_tiles = network.spec_of_tiles is not None
            larger = "; larger images tile by tile" if by_tiles else "; larger images are shrunk"
        return " × ".join(map(str, size)) + f" ({spec.input.resize}{larger})"
    rules = [f"{least} + n · {step}" if step else str(least)
             for least, step in size.each(len(spec.input.space))]  # fmt: skip
    alike = len(set(rules)) == 1
    rule = f"{rules[0]} along each axis" if alike else " × ".join(f"({rule})" for rule in rules)
    return f"{rule} ({spec.input.resize})"
