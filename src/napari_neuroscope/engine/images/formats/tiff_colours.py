"""Colours of TIFF files, which are stored in many ways, as red, green and blue or as gray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_neuroscope.engine.images.formats.orientation import UPRIGHT, is_turned, turned_upright

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

# What tags say, by the TIFF specification.
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _PALETTE, _CMYK, _YCBCR = 0, 1, 3, 5, 6
_CIE_LAB, _ICC_LAB = 8, 9
_INKS_OF_CMYK = 1
_ALPHA = (1, 2)
_JPEG = (6, 7, 33007, 34892)
# As JPEG files have them, and TIFF files without a tag of their own.
_LUMA = (0.299, 0.587, 0.114)


class TiffColours:
    """How the values of an image are seen: its colours, and which way up it is.

    Parameters
    ----------
    file, series
        The image, in its open file.
    """

    def __init__(self, file: TiffFile, series: TiffPageSeries) -> None:
        page = series.keyframe
        self._page = page
        self._kind = int(page.photometric) if page.photometric is not None else _BLACK_IS_ZERO
        self._samples = int(page.samplesperpixel)
        # Microscopes' programs keep measured values, whatever colours they are shown in.
        measured = file.is_imagej or file.is_ome or page.dtype is None or page.dtype.kind != "u"
        turns = not measured and len(series.levels) == 1 and {"Y", "X"} <= set(series.axes)
        self._orientation = _number(page, "Orientation") if turns else UPRIGHT
        self._converts = None if measured else self._conversion()

    @property
    def are_plain(self) -> bool:
        """Whether the values are gray or red, green and blue as they stand."""
        return self._converts is None and not is_turned(self._orientation)

    @property
    def palette(self) -> np.ndarray | None:
        """The colours, uint8 (colour, 3), of an image that numbers them."""
        if self._converts != self._from_palette:
            return None
        colours = np.asarray(self._page.colormap).T
        return (colours // 257 if colours.dtype.itemsize > 1 else colours).astype(np.uint8)

    def seen(self, values: np.ndarray, axes: str) -> tuple[np.ndarray, str]:
        """Return the values as they are seen, and the letters of their axes."""
        values, axes = self.upright(values, axes)
        if self._converts is None:
            return values, axes
        if "S" in axes:
            values = np.moveaxis(values, axes.index("S"), -1)
            axes = axes.replace("S", "")
        values = self._converts(values)
        return values, axes + "S" * (values.ndim - len(axes))

    def upright(self, values: np.ndarray, axes: str) -> tuple[np.ndarray, str]:
        """Return the values turned as the file says; the letters of the axes stay."""
        if not is_turned(self._orientation):
            return values, axes
        return turned_upright(values, self._orientation, axes.index("Y"), axes.index("X")), axes

    def _conversion(self) -> Any:
        extra = tuple(map(int, self._page.extrasamples or ()))
        inks = _number(self._page, "InkSet") or _INKS_OF_CMYK
        if self._kind == _WHITE_IS_ZERO and self._samples == 1:
            return self._from_white_is_zero
        if self._kind == _BLACK_IS_ZERO and self._samples == 2 and extra and extra[0] in _ALPHA:
            return self._without_alpha
        if self._kind == _PALETTE and self._samples == 1 and self._page.colormap is not None:
            return self._from_palette
        if self._kind == _CMYK and self._samples >= 4 and inks == _INKS_OF_CMYK:
            return self._from_cmyk
        if self._samples < 3:
            return None
        if self._kind == _YCBCR and int(self._page.compression) not in _JPEG:
            return self._from_ycbcr
        return self._from_lab if self._kind in (_CIE_LAB, _ICC_LAB) else None

    def _from_white_is_zero(self, values: np.ndarray) -> np.ndarray:
        bits = int(self._page.bitspersample)
        inverted: np.ndarray = ((1 << bits) - 1 - values).astype(values.dtype)
        return inverted

    def _without_alpha(self, values: np.ndarray) -> np.ndarray:
        return values[..., 0]

    def _from_palette(self, values: np.ndarray) -> np.ndarray:
        colours = self.palette
        assert colours is not None
        seen: np.ndarray = colours[np.minimum(values, len(colours) - 1)]
        return seen

    def _from_cmyk(self, values: np.ndarray) -> np.ndarray:
        most = float(np.iinfo(values.dtype).max)
        left = most - values[..., :4].astype(np.float64)
        return _rounded(left[..., :3] * left[..., 3:] / most, values.dtype)

    def _from_ycbcr(self, values: np.ndarray) -> np.ndarray:
        most = float(np.iinfo(values.dtype).max)
        luma, *chroma = np.moveaxis(values[..., :3].astype(np.float64), -1, 0)
        blue, red = (part - (most + 1) / 2 for part in chroma)
        tag = self._page.tags.get("YCbCrCoefficients")
        parts = [float(part) for part in np.ravel(tag.value)] if tag is not None else []
        if len(parts) == 6 and all(parts[1::2]):
            parts = [parts[n] / parts[n + 1] for n in (0, 2, 4)]
        of_red, of_green, of_blue = parts if len(parts) == 3 and parts[1] else _LUMA
        seen_red = luma + (2 - 2 * of_red) * red
        seen_blue = luma + (2 - 2 * of_blue) * blue
        seen_green = (luma - of_red * seen_red - of_blue * seen_blue) / of_green
        return _rounded(np.stack([seen_red, seen_green, seen_blue], -1), values.dtype)

    def _from_lab(self, values: np.ndarray) -> np.ndarray:
        from skimage.color import lab2rgb

        step = 1 << (8 * values.dtype.itemsize - 8)
        light = values[..., :1] * (100 / np.iinfo(values.dtype).max)
        if self._kind == _CIE_LAB:
            hues = values[..., 1:3].view(f"i{values.dtype.itemsize}") / step
        else:
            hues = values[..., 1:3] / step - 128
        colours = lab2rgb(np.concatenate([light, hues], -1))
        return _rounded(colours * np.iinfo(values.dtype).max, values.dtype)


def _rounded(values: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    rounded: np.ndarray = np.clip(np.rint(values), 0, np.iinfo(dtype).max).astype(dtype)
    return rounded


def _number(page: Any, tag: str) -> int:
    stored = page.tags.get(tag)
    try:
        return int(stored.value) if stored is not None else 0
    except (TypeError, ValueError):
        return 0
