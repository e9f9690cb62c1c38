"""Explanations and predictions as napari layer data: where a map lies and how it looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_neuroscope.engine.explanation.colormaps import is_background, limits, stops
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.record_json import KEY, record_of
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.prediction import Prediction
from napari_neuroscope.viewer.layers.place import ONE_STEP, Place
from napari_neuroscope.viewer.layers.placement import Placement

LayerData = tuple[Any, dict[str, Any], str]


def heat(*, signed: bool) -> Any:
    """Return the colour map of maps from zero, or of maps about zero."""
    from napari.utils import Colormap

    name, display = ("neuroscope signed", "signed") if signed else ("neuroscope heat", "evidence")
    return Colormap(stops(signed=signed), name=name, display_name=display)


def class_colours(classes: Sequence[tuple[str, tuple[int, int, int]]]) -> Any:
    """Return the colour map of a label map of classes; a background is left clear."""
    from napari.utils import DirectLabelColormap

    colours: dict[int | None, Any] = {None: (0, 0, 0, 0)}
    for index, (name, colour) in enumerate(classes):
        colours[index] = (0, 0, 0, 0) if is_background(name) else (*(c / 255 for c in colour), 1)
    return DirectLabelColormap(color_dict=colours)


def class_features(classes: Sequence[tuple[str, tuple[int, int, int]]]) -> Any:
    """Return the features of a label map of classes: each label's name."""
    import pandas

    return pandas.DataFrame({"index": range(len(classes)), "class": [name for name, _ in classes]})


def labels_data(
    labels: np.ndarray,
    grid: Grid,
    placement: Placement,
    name: str,
    classes: Sequence[tuple[str, tuple[int, int, int]]],
    metadata: Any,
) -> LayerData:
    """Return a label map of classes as layer data."""
    attributes = {
        "name": name,
        "colormap": class_colours(classes),
        "features": class_features(classes),
        "metadata": {KEY: metadata},
        **placement.attributes(grid),
    }
    return _labels(labels, attributes, placement)


def _labels(
    labels: np.ndarray, attributes: dict[str, Any], placement: Placement, leading: int = 0
) -> LayerData:
    labels = placement.place.laid(labels, leading)
    look = {"opacity": 0.5, "blending": "translucent_no_depth"}
    return (labels, {**look, **attributes}, "labels")


def _order_data(
    explanation: Explanation, name: str, placement: Placement, metadata: Any
) -> LayerData:
    """Return the order of regions as layer data, hidden at first: the map itself comes first."""
    import pandas

    labels = explanation.companions[name]
    leading = explanation.axes[: labels.ndim - len(explanation.grid.shape)]
    features = {"index": np.unique(labels)}
    if not leading and not placement.place.stack:
        # One map: each region's value is told where the cursor is.
        first = np.unique(labels, return_index=True)[1]
        features[explanation.unit] = explanation.values.reshape(-1)[first]
    attributes = {
        "name": name.capitalize(),
        "features": pandas.DataFrame(features),
        "visible": False,
        "metadata": {KEY: metadata},
        **placement.attributes(explanation.grid, leading),
    }
    return _labels(labels, attributes, placement, len(leading))


def title(explanation: Explanation) -> str:
    """Return a layer's name: what is shown of which class and layer."""
    return explanation.record.full_title


def place_of(explanation: Explanation, plane: Sequence[int] | Place) -> Place:
    """Return where an explanation's map lies, as `layer_data` takes it."""
    stack = len(explanation.provenance.get("planes", {}).get("axes", ()))
    return Place.of(plane, len(explanation.space) - stack, stack)


def layer_data(
    explanation: Explanation, source: Any = None, plane: Sequence[int] | Place = ()
) -> list[LayerData]:
    """Return an explanation as napari layer data that lies exactly over its image.

    Parameters
    ----------
    explanation
        What is shown.
    source
        The image's layer, attributes of one as a mapping, or None.
    plane
        Where on the source's axes the map lies; or the index on each axis of the source before
        those that the network looks along, and after those of a stack.

    Returns
    -------
    list of (data, attributes, type)
        Empty for a table, which has no place on the image.
    """
    if explanation.is_table:
        return []
    leading, place = list(explanation.leading), place_of(explanation, plane)
    placement = Placement.of(source, explanation.space, place)
    values = explanation.values
    metadata = place.turned(record_of(explanation, hashed=False))
    if place.others:
        metadata[ONE_STEP] = list(place.one_step)
    rgb = explanation.method == "input" and len(values) == 3
    if rgb:
        values, leading = np.clip(np.moveaxis(values, 0, -1), 0, 1), []
    values = place.laid(values, len(leading))
    attributes = {
        "name": title(explanation),
        "rgb": rgb,
        "metadata": {KEY: metadata},
        "interpolation2d": "linear",
        "blending": "translucent_no_depth",
        **placement.attributes(explanation.grid, leading),
    }
    if explanation.method == "input":
        attributes["blending"] = "opaque"
        if not rgb:
            attributes.update(colormap="gray", contrast_limits=limits(values, signed=False))
    else:
        first = values[(-1,) * len(leading)] if leading else values
        attributes.update(
            colormap=heat(signed=explanation.signed),
            contrast_limits=limits(first, signed=explanation.signed),
        )
    layers: list[LayerData] = [(values, attributes, "image")]
    for name, labels in explanation.companions.items():
        about = {**metadata, "companion": name}
        if name in explanation.ordered:
            layers.append(_order_data(explanation, name, placement, about))
            continue
        title_ = name.capitalize()
        layers.append(
            labels_data(labels, explanation.grid, placement, title_, explanation.classes, about)
        )
    return layers


def prediction_data(
    network: Network,
    prediction: Prediction,
    source: Any = None,
    plane: Sequence[int] | Place = (),
    name: str = "Prediction",
) -> list[LayerData]:
    """Return a segmentation's predicted classes as a labels layer over its image."""
    if prediction.grid is None:
        return []
    spec = network.spec
    classes = [(label, spec.colour(i)) for i, label in enumerate(prediction.class_names)]
    placement = Placement.of(source, spec.input.space, plane)
    metadata = {"method": "prediction", "network": {"name": network.name}}
    return [labels_data(prediction.labels, prediction.image, placement, name, classes, metadata)]
