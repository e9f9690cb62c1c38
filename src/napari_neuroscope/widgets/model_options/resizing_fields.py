"""The fields that say how an image of another size is brought to one that a network takes."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QComboBox, QWidget

from napari_neuroscope.widgets.model_options.spec_fields import SpecFields

_RESIZES = {
    "stretch": "Stretch to the size",
    "fit": "Fit within it, pad the rest",
    "crop": "Fill it, cut off the rest",
    "pad": "Keep the pixels, pad to it",
    "tile": "Keep the pixels, tile by tile",
}
_INTERPOLATIONS = {
    "bilinear": "Bilinear",
    "bicubic": "Bicubic",
    "nearest": "Nearest pixel",
    "lanczos": "Lanczos",
}
_PADDINGS = {
    "replicate": "The border, continued",
    "reflect": "The image, mirrored",
    "zero": "Zeros, after normalising",
    "black": "Black, before normalising",
}
_PLACES = {"end": "On the right and below", "centre": "On all sides"}
_RESAMPLED = ("stretch", "fit", "crop")
_SMOOTHED = ("bilinear", "bicubic")
_PADDED = ("fit", "pad")

RESIZING = tuple(
    ("input", name)
    for name in ("resize", "shorter_side", "interpolation", "antialias", "padding", "padding_place")
)
"""Where these fields stand in a spec."""


class ResizingFields:
    """The choice of how images are resized, and what each way has to be told besides.

    Those that mean nothing for what is chosen are hidden, and are no part of the spec that is read.

    Parameters
    ----------
    fields
        The fields of the form, to which these are added.

    Attributes
    ----------
    rows
        The widgets, by what stands before them.
    """

    def __init__(self, fields: SpecFields) -> None:
        self._fields = fields
        self.rows: dict[str, QWidget] = {
            "Resize": fields.choice(
                ("input", "resize"), _RESIZES,
                "How an image of another size becomes one that the network takes.",
            ),
            "Shorter side": fields.line(
                ("input", "shorter_side"), str, self._shorter_side, "as small as it may be",
                "The shorter side of the image is made this many pixels, before the size is cut out "
                "of its middle. Classifiers of ImageNet often take 256, of which 224 × 224 are cut.",
            ),
            "Between pixels": fields.choice(
                ("input", "interpolation"), _INTERPOLATIONS,
                "How values between the pixels are found when an image is made larger or smaller.",
            ),
            "Made smaller": fields.check(
                ("input", "antialias"), "Smooth first",
                "An image that is made smaller is smoothed first, as Pillow and torchvision do. "
                "OpenCV and TensorFlow don't, unless they are told to.",
            ),
            "Pad with": fields.choice(
                ("input", "padding"), _PADDINGS,
                "What is added where the image is smaller than the size.",
            ),
            "Pad where": fields.choice(
                ("input", "padding_place"), _PLACES,
                "At which sides that is added.",
            ),
        }  # fmt: skip
        applies = {
            "shorter_side": lambda: self._chosen("resize") == "crop",
            "interpolation": lambda: self._chosen("resize") in _RESAMPLED,
            "antialias": self._is_smoothed,
            "padding": lambda: self._chosen("resize") in _PADDED,
            "padding_place": lambda: self._chosen("resize") in _PADDED,
        }
        for name, holds in applies.items():
            fields.at("input", name).applies = holds
        interpolation = fields.at("input", "interpolation")
        choose = interpolation.read
        interpolation.read = lambda: self._interpolation(choose())

    def lay_out(self) -> None:
        """Show those that mean something for what is chosen."""
        for place in RESIZING:
            self._fields.at(*place).show_where_it_applies()

    def _chosen(self, name: str) -> Any:
        box = self._fields.at("input", name).widget
        assert isinstance(box, QComboBox)
        return box.currentData()

    def _is_smoothed(self) -> bool:
        # Lanczos always smooths, and the nearest pixel is never a mean of several.
        return self._chosen("resize") in _RESAMPLED and self._chosen("interpolation") in _SMOOTHED

    def _shorter_side(self, text: str) -> int | None:
        if not text:
            return None
        if not text.isdecimal() or int(text) < 1:
            raise ValueError("write a number of pixels, such as 256")
        size = self._fields.at("input", "size").read()
        if not isinstance(size, tuple) or max(size) > int(text):
            raise ValueError("it goes with a size such as 224 × 224, of which no side is longer")
        return int(text)

    def _interpolation(self, chosen: str) -> str:
        axes = self._fields.at("input", "axes").read()
        if chosen in ("bicubic", "lanczos") and "z" in axes:
            raise ValueError(f"{_INTERPOLATIONS[chosen]} is for images over y and x alone")
        return chosen
