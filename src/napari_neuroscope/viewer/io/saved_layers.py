"""Between layers and saved explanations: what a layer shows as an explanation, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explanation.colormaps import limits
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.overlays.kind import OVERLAY, LayerData
from napari_neuroscope.engine.explanation.overlays.label_maps import as_classes
from napari_neuroscope.engine.explanation.overlays.place import (
    ONE_STEP,
    Place,
    in_order,
    one_step_axes,
)
from napari_neuroscope.engine.explanation.overlays.placement import Placement
from napari_neuroscope.engine.explanation.overlays.registry import is_map, kind_of
from napari_neuroscope.engine.explanation.overlays.registry import layers_of as overlay_layers
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.explanation.record_json import explanation_in
from napari_neuroscope.engine.images.spacing import Spacing
from napari_neuroscope.engine.results.read import Result
from napari_neuroscope.viewer.io.layer_look import look_of, with_look

# What a layer's record says of the layer alone.
_OF_LAYERS = (ONE_STEP, OVERLAY)
_TURNED = ("rotate", "shear", "affine")
# A larger map is read piece by piece, as it is looked at.
_IN_MEMORY_BYTES = 500_000_000


def result_of(layer: LayerData, beside: Sequence[LayerData] = ()) -> Result:
    """Return what a layer shows as an explanation, with how the layer looks.

    Parameters
    ----------
    layer
        The layer data of a map.
    beside
        Those of its label maps, and of other overlays that are made of it.

    Raises
    ------
    NeuroscopeError
        Where the layer's data are no longer those of its record, or another layer isn't of it.
    """
    array, attributes, _ = layer
    record = {n: v for n, v in attributes["metadata"][KEY].items() if n not in _OF_LAYERS}
    values = array[0] if attributes.get("multiscale", isinstance(array, list | tuple)) else array
    rgb = bool(attributes.get("rgb", False))
    leading = len(record["axes"]) - len(record["space"])
    if rgb:
        values = np.moveaxis(np.asarray(values), -1, 0)
    single = one_step_axes(attributes["metadata"][KEY], values.ndim)
    names = _names_of(single, record, attributes, 0 if rgb else leading)
    record = _with_single(record, single, names)
    if list(values.shape[leading:]) != record["grid"]["shape"]:
        raise NeuroscopeError(
            f"The layer “{attributes['name']}” no longer holds what was explained; explain it anew."
        )
    companions, looks_beside = _taken_beside(layer, record, beside)
    record["companions"] = {name: record["companions"][name] for name in companions}
    source = _source(attributes, record)
    spacing = Spacing(
        tuple(record["space"]), tuple(source.scale), tuple(source.translate), source.units
    )
    turned = {
        name: np.asarray(getattr(source, name)).tolist()
        for name in _TURNED
        if not np.array_equal(getattr(source, name), np.eye(len(getattr(source, name))))
    }
    look = {**look_of(layer), **turned, "axis_labels": list(source.axis_labels), **looks_beside}
    order = _order_in_file(record, single)
    if order != tuple(range(len(order))):
        # The axes of space are a file's last; how they came in the layer is told.
        look["axis_order"] = list(order)
        record, values = in_order(record, order), _last_in_order(values, order)
        companions = {name: _last_in_order(labels, order) for name, labels in companions.items()}
        spacing = spacing.along(record["space"])
    return Result(explanation_in(record, values, companions), spacing, look)


def _taken_beside(
    layer: LayerData, record: Mapping[str, Any], beside: Sequence[LayerData]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the label maps among layers beside a map, by name, and how all of them look."""
    grid = record["grid"]["shape"]
    companions, looks, overlay_looks = {}, {}, {}
    for other_layer in beside:
        array, attributes, layer_type = other_layer
        said = attributes.get("metadata", {}).get(KEY, {})
        kind = kind_of(attributes.get("metadata", {}))
        if layer_type != "labels" and kind is not None and said["method"] == record["method"]:
            # It is made of the values again when they are read.
            overlay_looks[kind.name] = look_of(other_layer)
            continue
        name = said.get("companion")
        if name not in record["companions"] or list(array.shape[-len(grid) :]) != grid:
            raise NeuroscopeError(
                f"The {layer_type} “{attributes['name']}” don't belong to “{layer[1]['name']}”; "
                f"select the map alone, or with its own label maps."
            )
        labels = np.asarray(array)
        if not record["companions"][name]["ordered"]:
            labels = as_classes(labels, record["classes"])
        companions[name], looks[name] = labels, look_of(other_layer)
    return companions, {
        "companions": looks,
        **({"overlays": overlay_looks} if overlay_looks else {}),
    }


def layers_of(result: Result) -> list[LayerData]:
    """Return a saved explanation as layer data, which look as they did when they were saved."""
    explanation, look = result.explanation, dict(result.look)
    spacing = (result.spacing or Spacing.of_pixels(explanation.space)).along(explanation.space)
    place = _place_in_layer(explanation, look.pop("axis_order", None))
    back = [(*place.stack, *place.space).index(n) for n in range(place.ndim)]
    source: dict[str, Any] = {
        "scale": [spacing.steps[n] for n in back],
        "translate": [spacing.origin[n] for n in back],
        "units": [spacing.units[n] for n in back],
        **{name: look.pop(name) for name in (*_TURNED, "axis_labels") if name in look},
    }
    large = 4 * math.prod(explanation.values.shape) > _IN_MEMORY_BYTES
    # How a map looks hangs on its axes and its record, not on its values.
    pixel = np.zeros((1,) * len(explanation.axes), np.float32)
    overlay = replace(
        explanation.overlay_source(source, place),
        values=pixel if large else np.asarray(explanation.values),
        companions={name: np.asarray(labels) for name, labels in explanation.companions.items()},
    )
    overlay_looks = {} if large else look.get("overlays", {})
    layers = []
    for array, attributes, layer_type in overlay_layers(overlay):
        metadata = attributes["metadata"]
        kind, companion = kind_of(metadata), metadata[KEY].get("companion")
        if kind is None:
            continue
        if is_map(metadata):
            array, more = _whole_map(result, place, array, large=large)  # noqa: PLW2901
            layers.append((array, with_look({**attributes, **more}, kind, look), layer_type))
        elif companion is not None:
            saved = look.get("companions", {}).get(companion, {})
            layers.append((array, with_look(attributes, kind, saved), layer_type))
        elif kind.name in overlay_looks:
            saved = overlay_looks[kind.name]
            layers.append((array, with_look(attributes, kind, saved), layer_type))
    return layers


def _whole_map(
    result: Result, place: Place, array: Any, *, large: bool
) -> tuple[Any, dict[str, Any]]:
    """Return a map as it is shown, and its attributes: of a large one levels that aren't read yet."""
    explanation = result.explanation
    attributes: dict[str, Any] = {}
    if large:
        several = len(result.levels) > 1
        levels = [place.laid(level, len(explanation.leading))
                  for level in (result.levels if several else [explanation.values])]  # fmt: skip
        attributes["multiscale"] = several
    if not explanation.is_picture and (large or explanation.leading):
        # One contrast for all maps of a stack: nothing follows the sliders here.
        most = np.array([result.most]) if large else array
        attributes["contrast_limits"] = limits(
            most, signed=explanation.signed, unit=explanation.unit
        )
    if large:
        array = levels if several else levels[0]
    return array, attributes


def _names_of(
    single: Sequence[int], record: Mapping[str, Any], attributes: Mapping[str, Any], first: int
) -> list[str]:
    """Return the names of a layer's axes that its map has one step of: on which plane it lies."""
    labels = [str(label) for label in attributes.get("axis_labels") or ()]
    names = [labels[first + n] for n in single if first + n < len(labels)]
    distinct = len(set(names)) == len(single) and not set(names) & set(record["axes"])
    free = (f"axis {n}" for n in range(len(record["axes"]) + len(single)))
    numbered = [name for name in free if name not in record["axes"]][: len(single)]
    return names if distinct and not any(n.lstrip("-").isdigit() for n in names) else numbered


def _with_single(
    record: dict[str, Any], single: Sequence[int], names: Sequence[str]
) -> dict[str, Any]:
    """Return a record whose grid has the axes of one step, too, at their places in the layer."""
    axes, space = list(record["axes"]), list(record["space"])
    first = len(axes) - len(space)
    grids = {which: {name: list(record[which][name]) for name in ("shape", "scale", "offset")}
             for which in ("grid", "image_grid")}  # fmt: skip
    for at, name in sorted(zip(single, names, strict=True)):
        axes.insert(first + at, name)
        space.insert(at, name)
        for grid in grids.values():
            for quantity, of_one_step in (("shape", 1), ("scale", 1.0), ("offset", 0.0)):
                grid[quantity].insert(at, of_one_step)
    return {**record, "axes": axes, "space": space, **grids}


def _order_in_file(record: Mapping[str, Any], single: Sequence[int]) -> tuple[int, ...]:
    """Return a layer's axes, behind the leading ones, as they come in a file.

    Those of a stack come first, then those of one step, the axes of space last.
    """
    stack = record.get("planes", {}).get("axes", ())
    numbers = range(len(record["space"]))
    named = dict(enumerate(record["space"]))
    of_stack = [n for n in numbers if named[n] in stack and n not in single]
    of_one = [n for n in numbers if n not in of_stack and (n in single or named[n] not in "zyx")]
    return (*of_stack, *of_one, *(n for n in numbers if n not in of_stack and n not in of_one))


def _last_in_order(values: Any, order: Sequence[int]) -> Any:
    """Return values with their last axes in an order."""
    before = values.ndim - len(order)
    return values.transpose((*range(before), *(before + n for n in order)))


def _place_in_layer(explanation: Explanation, order: Sequence[int] | None) -> Place:
    """Return which of a layer's axes those of a saved explanation are, behind the leading ones."""
    count = len(explanation.space)
    stack = len(explanation.record.stack_axes)
    if order is None or sorted(order) != list(range(count)):
        return Place.behind((), count - stack, stack)
    return Place(tuple(order[stack:]), tuple(order[:stack]))


def _source(attributes: Mapping[str, Any], record: Mapping[str, Any]) -> Placement:
    """Return where the image lies whose map a layer is: the layer's place without that of the grid."""
    said = record["grid"]
    count = len(said["shape"])
    names = [*("" for _ in attributes["scale"][count:]), *record["space"]]
    whole = Placement.of(attributes, names)
    last = slice(len(whole.scale) - count, None)
    square = (last, last)
    scale = whole.scale[last] / np.asarray(said["scale"], float)
    rotate, shear = whole.rotate[square], whole.shear[square]
    moved = rotate @ shear @ np.diag(scale) @ np.asarray(said["offset"], float)
    corner = slice(len(whole.affine) - count - 1, None)
    return Placement(
        scale=scale,
        translate=whole.translate[last] - moved,
        rotate=rotate,
        shear=shear,
        affine=whole.affine[corner, corner],
        units=whole.units[last],
        axis_labels=whole.axis_labels[last],
    )
