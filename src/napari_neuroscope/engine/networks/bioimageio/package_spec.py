"""From the description of a package to a spec."""

from __future__ import annotations

import re
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.networks.bioimageio.description import (
    Axis,
    Description,
    SizeReference,
    Sizes,
)
from napari_neuroscope.engine.networks.bioimageio.description import Tensor as Described
from napari_neuroscope.engine.networks.bioimageio.processing import (
    NormalizationOf,
    activation_of,
    changes_after,
)
from napari_neuroscope.engine.spec.model_spec import ModelSpec

_OTHER_TASKS = {"denoising", "image-restoration", "restoration", "super-resolution",
                "image-reconstruction", "image-to-image", "in-silico-labeling",
                "modality-transfer", "stardist"}  # fmt: skip
_ORDERS = {"rgb": "rgb", "redgreenblue": "rgb", "bgr": "bgr", "bluegreenred": "bgr"}
# The largest values of images whose type is known; others are taken as they are.
_UNITS = {"uint8": 255.0, "uint16": 65535.0}
# How long the units of axes are, in micrometres.
_LENGTHS = {"angstrom": 1e-4, "nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3,
            "centimeter": 1e4, "meter": 1e6}  # fmt: skip
_NUMBERED = re.compile(r"(channel|class|output|ch|c)?[ _-]*\d+", re.IGNORECASE)


def spec_of(description: Description, where: str) -> tuple[ModelSpec, list[str]]:
    """Return the spec of a described model, and what to know of how it was understood.

    Parameters
    ----------
    description
        The description.
    where
        The package, as the beginning of a sentence.

    Raises
    ------
    NeuroscopeError
        Where the model takes several images, or is of another kind that has no spec.
    """
    if len(description.inputs) > 1:
        raise NeuroscopeError(
            f"{where} takes {len(description.inputs)} inputs "
            f"({', '.join(t.id for t in description.inputs[:4])}), and networks of one image are "
            f"explained here."
        )
    taken, answered = description.inputs[0], description.outputs[0]
    letters = _letters(taken, where)
    space = [letter for letter in letters if letter in "zyx"]
    segments = _is_segmentation(answered, space, where)
    # Images are given rows first, to networks that are said to take x first as well: most of them
    # were trained on such arrays, and what is published was made with them.
    renamed = dict(zip(space, sorted(space, reverse=True), strict=True))
    axes = _renamed(letters, renamed)
    names = _names(taken.axis("c"))
    channels = _channels(taken.axis("c"), where)
    unit = _UNITS.get(taken.type or "", 1.0)
    steps = NormalizationOf(taken, channels, unit, where)
    along = [axis for axis in taken.axes if axis.type == "space"]
    size = _size(along, taken, where)
    # A rule of sizes keeps the pixels of a segmentation as they are.
    fixed = isinstance(size, list)
    of_input = {
        "axes": axes,
        "size": size,
        "channels": channels,
        "order": _order(names),
        "resize": ("fit" if fixed else "pad") if segments else "stretch",
        "value_range": (0.0, unit),
        "normalization": steps.plain(),
    }
    spec: dict[str, Any] = {
        "task": "segmentation" if segments else "classification",
        "input": of_input,
        "output": _output(description, answered),
        "classes": _class_names(answered.axis("c")),
    }
    if along and all(axis.unit in _LENGTHS and axis.scale > 0 for axis in along):
        spec["pixel_size"] = [axis.scale * _LENGTHS[axis.unit or ""] for axis in along]
    if segments:
        if halo := max(axis.halo for axis in answered.axes):
            of_input["halo"] = halo
        spec["output"]["axes"] = _renamed(answered.letters, renamed)
        if (crop := _crop(answered, taken, space)) is not None:
            spec["output"]["crop"] = crop
    notes = steps.notes + _notes(description, answered)
    if axes != letters:
        notes.append(
            f"it says that it takes images along {', '.join(space)}; they are handed to it as they "
            f"are, the first axis first"
        )
    return ModelSpec.parse(spec, where=where), notes


def _renamed(letters: str, names: dict[str, str]) -> str:
    return "".join(names.get(letter, letter) for letter in letters)


def _letters(tensor: Described, where: str) -> str:
    letters = [axis.letter for axis in tensor.axes]
    for axis in tensor.axes:
        if axis.letter not in ("b", "c", "z", "y", "x"):
            raise NeuroscopeError(
                f"{where} has the {axis.type} axis “{axis.name}”, which images here have not "
                f"(batch, channel, z, y, x)."
            )
    if len(set(letters)) < len(letters):
        raise NeuroscopeError(f"{where} has one axis twice: {', '.join(letters)}.")
    return "".join(letters)


def _size(axes: list[Axis], tensor: Described, where: str) -> Any:
    """Return a fixed size, or a rule of sizes."""
    rules = []
    for axis in axes:
        size = axis.size
        if isinstance(size, SizeReference):
            reference = next((a for a in tensor.axes if a.name == size.axis_id), None)
            base = reference.size if reference is not None and size.tensor_id == tensor.id else None
            if not isinstance(base, int) or reference is None:
                raise NeuroscopeError(
                    f"{where} ties the size of its axis “{axis.name}” to another's "
                    f"(“{size.axis_id}”), which can't be kept here; give a spec with fixed sizes."
                )
            size = max(1, int(base * reference.scale / (axis.scale or 1.0)) + size.offset)
        if size is None:
            raise NeuroscopeError(f"{where} says no size for its axis “{axis.name}”.")
        rules.append((size.min, size.step) if isinstance(size, Sizes) else (size, 0))
    if not any(step for _, step in rules):
        return [least for least, _ in rules]
    if len(set(rules)) == 1:
        return {"min": rules[0][0], "step": rules[0][1]}
    return {"min": [least for least, _ in rules], "step": [step for _, step in rules]}


def _crop(answered: Described, taken: Described, space: list[str]) -> list[float] | None:
    """Return how many pixels an output leaves out on each side along each axis; None: it says none."""
    crops = []
    for letter in space:
        of_output, of_input = answered.axis(letter), taken.axis(letter)
        size = of_output.size if of_output is not None else None
        if of_output is None or of_input is None or not isinstance(size, SizeReference):
            return None
        # Sizes are told in pixels of the output.
        crops.append(-size.offset * of_output.scale / (of_input.scale or 1.0) / 2)
    return crops if any(crops) else None


def _names(axis: Axis | None) -> tuple[str, ...]:
    names = axis.channel_names if axis is not None else None
    return names if isinstance(names, tuple) else ()


def _channels(axis: Axis | None, where: str) -> int:
    if axis is None:
        return 1
    if _names(axis):
        return len(_names(axis))
    if isinstance(axis.size, int):
        return axis.size
    raise NeuroscopeError(f"{where} doesn't say how many channels it takes.")


def _is_segmentation(tensor: Described, space: list[str], where: str) -> bool:
    spatial = [axis.letter for axis in tensor.axes if axis.type == "space" and axis.size != 1]
    if not spatial:
        return False
    every = {axis.letter for axis in tensor.axes} - {"b", "c"}
    if every != set(space):
        raise NeuroscopeError(
            f"{where} answers along {', '.join(sorted(every))}, but takes images along "
            f"{', '.join(space)}; networks that answer along the same axes, or with one list of "
            f"scores, are explained here."
        )
    return True


def _output(description: Description, tensor: Described) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if len(description.outputs) > 1:
        fields["index"] = 0
    activation = activation_of(tensor.postprocessing)
    if activation is not None:
        # It comes after the network, which so ends in scores.
        fields.update(activation="none", multi_label=activation == "sigmoid")
    return fields


def _order(names: tuple[str, ...]) -> str | None:
    order = _ORDERS.get("".join(names).lower())
    return order or (None if _are_numbers(names) or len(names) == 1 else "n")


def _class_names(axis: Axis | None) -> list[str]:
    names = _names(axis)
    # Neither are names that don't tell classes apart.
    return [] if _are_numbers(names) or len(set(names)) < len(names) else list(names)


def _are_numbers(names: tuple[str, ...]) -> bool:
    """Whether names such as channel0 and channel1 are none."""
    return all(_NUMBERED.fullmatch(name) for name in names)


def _notes(description: Description, tensor: Described) -> list[str]:
    notes = []
    changes = changes_after(tensor.postprocessing)
    if changes:
        notes.append(
            f"what it does after the network ({', '.join(changes)}) is left out: the network's own "
            f"scores are explained"
        )
    other_tasks = sorted({tag.lower() for tag in description.tags} & _OTHER_TASKS)
    if other_tasks:
        notes.append(
            f"by its tags ({', '.join(other_tasks)}) it answers with other than classes: its channels "
            f"are taken for classes"
        )
    if len(description.outputs) > 1:
        notes.append(
            f"of its {len(description.outputs)} outputs the first, “{tensor.id}”, is explained "
            f"(the spec's output.index chooses another)"
        )
    return notes
