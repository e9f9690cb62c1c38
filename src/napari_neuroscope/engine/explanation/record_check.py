"""Records of strangers: each field that is used is looked at before it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.reading.inside_folder import is_plain_name

_MOST_AXES = 32
_MOST_SIDE = 2**31
_SPACE = frozenset("zyx")


def check_record(record: Mapping[str, Any]) -> None:
    """Refuse a record whose fields are not what they must be.

    Raises
    ------
    ValueError
        Where one is not; it says which, as the end of a sentence.
    """
    _each(record, _FIELDS)
    for name in ("spacing", "look", "most", "unfinished", "planes", "tiling", "table", "growing"):
        if record.get(name) is not None:
            _each(record, {name: _OPTIONAL[name]})
    axes, shape, space = record["axes"], record["shape"], record["space"]
    _need(len(axes) == len(shape) and len(set(axes)) == len(axes), "its axes and its shape differ")
    _need(list(space) == list(axes[len(axes) - len(space) :]), "its axes of space are not its last")
    # A table has a grid as well, on which nothing lies.
    _need(bool(space) or not axes or axes[-1] not in _SPACE, "its axes of space are not told")
    grid, image = record["grid"], record["image_grid"]
    _need(len(grid["shape"]) == len(image["shape"]), "its grids have several numbers of axes")
    if space:
        _need(list(grid["shape"]) == list(shape[-len(space) :]), "its grid is not of its shape")
    for name, said in record["companions"].items():
        same = not space or list(said["shape"][-len(space) :]) == list(shape[-len(space) :])
        _need(
            same and len(said["shape"]) <= len(shape),
            f"the label map “{name:.60}” has another shape",
        )
    if (spacing := record.get("spacing")) is not None:
        count = {len(spacing[part]) for part in ("axes", "steps", "origin", "units")}
        _need(len(count) == 1, "its spacing has several numbers of axes")


def _need(good: bool, what: str) -> None:
    if not good:
        raise ValueError(f"its record is damaged: {what}")


Test = Callable[[Any], bool]


def _each(held: Mapping[str, Any], tests: Mapping[str, Test]) -> None:
    for name, test in tests.items():
        _need(name in held, f"“{name}” is missing")
        _need(test(held[name]), f"“{name}” is not what it must be")


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _truth(value: Any) -> bool:
    return isinstance(value, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    # Larger ones make no place on an image, and whole ones may be too large for a float.
    return -1e100 < value < 1e100


def _step(value: Any) -> bool:
    return _number(value) and value != 0 and math.isfinite(1 / value)


def _side(value: Any) -> bool:
    return _whole(value) and 0 <= value < _MOST_SIDE


def _list_of(test: Test, most: int = limits.MOST_CLASSES) -> Test:
    return lambda value: (
        isinstance(value, list | tuple) and len(value) <= most and all(map(test, value))
    )


def _mapping_of(**tests: Test) -> Test:
    return lambda value: (
        isinstance(value, Mapping)
        and all(name in value and test(value[name]) for name, test in tests.items())
    )


def _shape(value: Any) -> bool:
    return _list_of(_side, _MOST_AXES)(value) and math.prod(value) < 2**60


def _grid(value: Any) -> bool:
    if not _mapping_of(shape=_shape, scale=_list_of(_step), offset=_list_of(_number))(value):
        return False
    sizes = {len(value[part]) for part in ("shape", "scale", "offset")}
    return len(sizes) == 1 and 0 not in value["shape"] and all(part > 0 for part in value["scale"])


def _class(value: Any) -> bool:
    pair = isinstance(value, list | tuple) and len(value) == 2
    return pair and _text(value[0]) and _colour(value[1])


def _colour(value: Any) -> bool:
    shade = _list_of(lambda n: _whole(n) and 0 <= n <= 255, 3)
    return shade(value) and len(value) == 3


def _companions(value: Any) -> bool:
    is_companion = _mapping_of(ordered=_truth, shape=_shape)
    return isinstance(value, Mapping) and all(
        is_plain_name(name) and not name.startswith(".") and is_companion(said)
        for name, said in value.items()
    )


def _labels(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_list_of(_text), value.values()))


def _target(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("class"), str | int)


def _table(value: Any) -> bool:
    numbers = _list_of(lambda n: n is None or isinstance(n, int | float))
    return (
        isinstance(value, Mapping)
        and _list_of(_text)(value.get("class", []))
        and numbers(value.get("probability", []))
        and _list_of(numbers)(value.get("similarity", []))
    )


def _range(value: Any) -> bool:
    return _list_of(_number, 2)(value) and len(value) == 2


def _between(low: float, high: float) -> Test:
    return lambda value: _number(value) and low <= value <= high


def _matrix(value: Any) -> bool:
    return _number(value) or _list_of(_matrix, 1000)(value)


def _colormap(value: Any) -> bool:
    shade = _list_of(_between(0, 1), 4)
    return _mapping_of(
        name=_text, colors=_list_of(shade, 10_000), controls=_list_of(_number, 10_001),
        interpolation=_text,
    )(value)  # fmt: skip


_LOOK: dict[str, Test] = {
    "name": _text,
    "visible": _truth,
    "opacity": _between(0, 1),
    "blending": _text,
    "contrast_limits": _range,
    "gamma": _between(0, 1e6),
    "interpolation2d": _text,
    "colormap": _colormap,
    "rotate": _matrix,
    "shear": _matrix,
    "affine": _matrix,
    "axis_labels": _list_of(_text, _MOST_AXES),
    "axis_order": _list_of(_whole, _MOST_AXES),
}


def _look(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    if not all(test(value[name]) for name, test in _LOOK.items() if name in value):
        return False
    beside = [value.get(name, {}) for name in ("companions", "overlays")]
    return all(isinstance(looks, Mapping) and all(map(_look, looks.values())) for looks in beside)


_FIELDS: dict[str, Test] = {
    "format": lambda value: _whole(value) and value >= 1,
    "method": _text,
    "title": _text,
    "axes": _list_of(lambda name: _text(name) and name != "", _MOST_AXES),
    "shape": _shape,
    "space": _list_of(_text, _MOST_AXES),
    "labels": _labels,
    "signed": _truth,
    "unit": _text,
    "grid": _grid,
    "image_grid": _grid,
    "classes": _list_of(_class),
    "companions": _companions,
    "layers": _list_of(_text),
    "targets": _list_of(_target),
    "notes": _list_of(_text),
}
_OPTIONAL: dict[str, Test] = {
    "spacing": _mapping_of(
        axes=_list_of(_text, _MOST_AXES), steps=_list_of(_step), origin=_list_of(_number),
        units=_list_of(_text),
    ),
    "look": _look,
    "most": _number,
    "unfinished": _mapping_of(done=_whole, total=_whole),
    "planes": lambda value: isinstance(value, Mapping) and _list_of(_text)(value.get("axes", [])),
    "tiling": lambda value: isinstance(value, Mapping),
    "table": _table,
    "growing": _truth,
}  # fmt: skip
