"""A prediction beside its ground truth: layers of where they agree and where not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explanation.overlays.kind import LayerData
from napari_neuroscope.engine.explanation.overlays.label_maps import labels_data
from napari_neuroscope.engine.explanation.overlays.place import Place
from napari_neuroscope.engine.explanation.overlays.placement import Placement
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.prediction import Prediction

Part = Literal["errors", "intersection", "union", "difference"]
PARTS: dict[Part, str] = {
    "errors": "Agreement, missed, false",
    "intersection": "Intersection",
    "union": "Union",
    "difference": "Difference",
}
# Apart for colour-blind eyes, and on light and dark images.
_AGREEMENT, _MISSED, _FALSE = (0, 158, 115), (213, 94, 0), (204, 121, 167)
_ONE = (240, 228, 66)
ERROR_COLOURS = (_AGREEMENT, _MISSED, _FALSE, _ONE)
"""Agreement, missed, false; and what is shown alone."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """An image's predicted and true classes.

    Attributes
    ----------
    name
        The image's.
    network
        What predicted.
    source, plane
        The layer of the image in the viewer, and where on its axes the plane lies.
    prediction
        The network's answer.
    truth
        The true class of each pixel, int32 (*space); −1 where there is none. None where there is
        no ground truth.
    """

    name: str
    network: Network
    source: Any
    plane: Place
    prediction: Prediction
    truth: np.ndarray | None

    def pixels(self, true: int, predicted: int) -> np.ndarray:
        """Return where a class was taken for another, bool (*space)."""
        return np.asarray((self.known_truth == true) & (self.prediction.labels == predicted))

    @property
    def known_truth(self) -> np.ndarray:
        """The true classes.

        Raises
        ------
        NeuroscopeError
            Where there is no ground truth.
        """
        if self.truth is None:
            raise NeuroscopeError(
                f"“{self.name}” has no ground truth to compare with; add it in the dock “Images”."
            )
        return self.truth


def cell_data(comparison: Comparison, true: int, predicted: int) -> list[LayerData]:
    """Return the pixels of one cell of the confusion matrix as a labels layer."""
    names = comparison.prediction.class_names
    what = f"true {names[true]}, predicted {names[predicted]}"
    pixels = comparison.pixels(true, predicted)
    layers = _as_labels(comparison, pixels.astype(np.int32), what.capitalize(), [(what, _MISSED)])
    for _, attributes, _ in layers:
        attributes["metadata"][KEY]["cell"] = [true, predicted]
    return layers


def is_of_cell(layer: Any, cell: tuple[int, int]) -> bool:
    """Whether a layer shows the pixels of a cell of the confusion matrix."""
    return bool(layer.metadata.get(KEY, {}).get("cell") == list(cell))


def error_data(comparison: Comparison, index: int, part: Part = "errors") -> list[LayerData]:
    """Return where prediction and ground truth agree about a class, and where not, as labels.

    Parameters
    ----------
    comparison
        What is compared.
    index
        The class.
    part
        "errors": agreement, missed and false pixels, each in a colour of its own; or the
        intersection, union or difference (one without the other) of both. Pixels of which the
        truth is unknown, or that the network did not see, are in none.
    """
    truth, labels = comparison.known_truth, comparison.prediction.labels
    is_known = (truth >= 0) & (labels >= 0)
    true, predicted = (truth == index) & is_known, (labels == index) & is_known
    name = comparison.prediction.class_names[index]
    if part == "errors":
        values = np.select([true & predicted, true & ~predicted, predicted & ~true], [1, 2, 3])
        classes = [
            (f"{name}: agreement", _AGREEMENT),
            (f"{name}: missed", _MISSED),
            (f"{name}: false", _FALSE),
        ]
    else:
        values = {
            "intersection": true & predicted,
            "union": true | predicted,
            "difference": true ^ predicted,
        }[part]
        classes = [(f"{name}: {part}", _ONE)]
    return _as_labels(comparison, values.astype(np.int32), f"{PARTS[part]} · {name}", classes)


def _as_labels(
    comparison: Comparison,
    values: np.ndarray,
    name: str,
    classes: list[tuple[str, tuple[int, int, int]]],
) -> list[LayerData]:
    space = comparison.network.spec.input.space
    placement = Placement.of(comparison.source, space, comparison.plane)
    metadata = {
        "method": "comparison",
        "network": {"name": comparison.network.name},
        "image": {"name": comparison.name},
        "counts": {label: int((values == n + 1).sum()) for n, (label, _) in enumerate(classes)},
    }
    grid = comparison.prediction.image
    return [labels_data(values, grid, placement, name, [("background", (0, 0, 0)), *classes],
                        metadata)]  # fmt: skip
