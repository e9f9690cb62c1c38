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
from napari_neuroscope.engine.explanation.record_json import KEY, explanation_in
from napari_neuroscope.engine.images.spacing import Spacing
from napari_neuroscope.engine.plain_text import visible
from napari_neuroscope.engine.results.read import Result
from napari_neuroscope.viewer.layers.layer_data import LayerData, layer_data
from napari_neuroscope.viewer.layers.place import ONE_STEP, Place, in_order, one_step_axes
from napari_neuroscope.viewer.layers.placement import Placement

_LOOKS = {
    "image": ("name", "visible", "opacity", "blending", "contrast_limits", "gamma",
              "interpolation2d"),
    "labels": ("name", "visible", "opacity", "blending"),
}  # fmt: skip
# What napari knows; another word in a file would be an error of it.
_WORDS = {
    "blending": ("translucent", "translucent_no_depth", "additive", "minimum", "opaque",
                 "multiplicative"),
    "interpolation2d": ("bessel", "cubic", "linear", "blackman", "catrom", "gaussian", "hamming",
                        "hanning", "hermite", "kaiser", "lanczos", "mitchell", "nearest",
                        "spline16", "spline36"),
}  # fmt: skip
_TURNED = ("rotate", "shear", "affine")
# A larger map is read piece by piece, as it is looked at.
_IN_MEMORY_BYTES = 500_000_000
_LONGEST_NAME = 300


def is_map(layer: LayerData) -> bool:
    """Whether layer data are the map of an explanation."""
    _, attributes, kind = layer
    record = attributes.get("metadata", {}).get(KEY, {})
    return kind == "image" and {"axes", "grid", "image_grid"} <= record.keys()


def result_of(layer: LayerData, labels: Sequence[LayerData] = ()) -> Result:
    """Return what a layer shows as an explanation, with how the layer looks.

    Parameters
    ----------
    layer
        The layer data of a map (`is_map`).
    labels
        Those of its label maps.

    Raises
    ------
    NeuroscopeError
        Where the layer's data are no longer those of its record, or a label map isn't of it.
    """
    data, attributes, _ = layer
    record = dict(attributes["metadata"][KEY])
    values = data[0] if attributes.get("multiscale", isinstance(data, list | tuple)) else data
    rgb = bool(attributes.get("rgb", False))
    first = len(record["axes"]) - len(record["space"])
    if rgb:
        values = np.moveaxis(np.asarray(values), -1, 0)
    single = one_step_axes(record, values.ndim)
    record.pop(ONE_STEP, None)
    names = _names_of(single, record, attributes, 0 if rgb else first)
    record = _with_single(record, single, names)
    grid = record["grid"]["shape"]
    if list(values.shape[first:]) != grid:
        raise NeuroscopeError(
            f"The layer “{attributes['name']}” no longer holds what was explained; explain it anew."
        )
    companions, looks = {}, {}
    for one in labels:
        name = one[1].get("metadata", {}).get(KEY, {}).get("companion")
        if name not in record["companions"] or list(one[0].shape[-len(grid) :]) != grid:
            raise NeuroscopeError(
                f"The labels “{one[1]['name']}” don't belong to “{attributes['name']}”; select the "
                f"map alone, or with its own label maps."
            )
        companions[name], looks[name] = np.asarray(one[0]), _look(one)
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
    look = {**_look(layer), **turned, "axis_labels": list(source.axis_labels), "companions": looks}
    order = _order_in_file(record, single)
    if order != tuple(range(len(order))):
        # The axes of space are a file's last; how they came in the layer is told.
        look["axis_order"] = list(order)
        record, values = in_order(record, order), _last_in_order(values, order)
        companions = {name: _last_in_order(one, order) for name, one in companions.items()}
        spacing = spacing.along(record["space"])
    return Result(explanation_in(record, values, companions), spacing, look)


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
    companions = look.pop("companions", {})
    large = 4 * math.prod(explanation.values.shape) > _IN_MEMORY_BYTES
    if large:
        # How a map looks hangs on its axes and its record, not on its values.
        shown = np.zeros((1,) * len(explanation.axes), np.float32)
    else:
        shown = np.asarray(explanation.values)
    labels = {name: np.asarray(one) for name, one in explanation.companions.items()}
    layers = layer_data(replace(explanation, values=shown, companions=labels), source, place)
    values, attributes, kind = layers[0]
    if large:
        several = len(result.levels) > 1
        attributes["multiscale"] = several
        levels = [place.laid(one, len(explanation.leading))
                  for one in (result.levels if several else [explanation.values])]  # fmt: skip
        layers[0] = (levels if several else levels[0], attributes, kind)
    if explanation.method != "input" and (large or explanation.leading):
        # One contrast for all maps of a stack: nothing follows the sliders here.
        most = np.array([result.most]) if large else values
        attributes["contrast_limits"] = limits(most, signed=explanation.signed)
    for _, attributes, kind in layers:
        name = attributes["metadata"][KEY].get("companion")
        saved = look if kind == "image" else companions.get(name, {})
        known = (one for one in _LOOKS[kind] if one in saved)
        attributes.update(
            {one: saved[one] for one in known if one not in _WORDS or saved[one] in _WORDS[one]}
        )
        if kind == "image" and "colormap" in saved and not attributes["rgb"]:
            attributes["colormap"] = _colours(saved["colormap"])
        # It is a file's word.
        attributes["name"] = visible(str(attributes["name"]), _LONGEST_NAME)
    return layers


def _names_of(
    single: Sequence[int], record: Mapping[str, Any], attributes: Mapping[str, Any], first: int
) -> list[str]:
    """Return the names of a layer's axes that its map has one step of: on which plane it lies."""
    labels = [str(one) for one in attributes.get("axis_labels") or ()]
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
            for said, one in (("shape", 1), ("scale", 1.0), ("offset", 0.0)):
                grid[said].insert(at, one)
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
    stack = len(explanation.provenance.get("planes", {}).get("axes", ()))
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


def _look(layer: LayerData) -> dict[str, Any]:
    """Return how a layer looks, as plain JSON."""
    _, attributes, kind = layer
    found = {name: _plain(attributes[name]) for name in _LOOKS[kind] if name in attributes}
    if kind == "image" and isinstance(colours := attributes.get("colormap"), Mapping):
        found["colormap"] = {
            "name": str(colours["name"]),
            "colors": np.asarray(colours["colors"], float).tolist(),
            "controls": np.asarray(colours["controls"], float).tolist(),
            "interpolation": str(_plain(colours["interpolation"])),
        }
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple | np.ndarray):
        return [float(one) for one in value]
    return value.item() if isinstance(value, np.generic) else getattr(value, "value", value)


def _colours(said: Mapping[str, Any]) -> Any:
    from napari.utils import Colormap

    return Colormap(
        said["colors"],
        name=str(said["name"]),
        controls=said["controls"],
        interpolation=said["interpolation"],
    )
