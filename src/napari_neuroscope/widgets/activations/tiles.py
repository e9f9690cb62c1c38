"""Channels side by side, as a picture whose tiles can be clicked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from napari_neuroscope.engine.explanation.colormaps import stops
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.viewer.layers.mosaic import Mosaic
from napari_neuroscope.widgets.parts.plots import canvas, cleared, on_plot


class ChannelTiles:
    """Draws a mosaic of channels, and tells of a tile that is clicked.

    Parameters
    ----------
    clicked
        Is called with the channel, and whether the click was double.

    Attributes
    ----------
    mosaic
        What is drawn; None where nothing is.
    figure, canvas
        The figure, and the widget that shows it.
    """

    def __init__(self, clicked: Callable[[int, bool], None]) -> None:
        self.mosaic: Mosaic | None = None
        self.figure, self.canvas = canvas("Mosaic of channels", 200, None)
        self.canvas.setToolTip("A click selects the channel; a double click adds it as a layer.")
        self.canvas.mpl_connect("button_press_event", self._click)
        self.canvas.hide()
        self._clicked = clicked

    def show(self, mosaic: Mosaic | None, theme: str) -> None:
        """Draw a mosaic in the colours of a theme; nothing where there is none."""
        self.mosaic = mosaic
        cleared(self.figure, theme)
        if mosaic is not None:
            axes = self.figure.add_axes((0, 0, 1, 1))
            axes.set_axis_off()
            # The maps' colours are clear at zero, for images; here black lies behind.
            black = np.isfinite(mosaic.values).astype(float)
            axes.imshow(np.zeros((*black.shape, 3)), alpha=black, interpolation="nearest")
            colours = np.float32(stops(signed=mosaic.signed))
            look = LinearSegmentedColormap.from_list("", colours).with_extremes(bad=(0, 0, 0, 0))
            low = -1 if mosaic.signed else 0
            axes.imshow(mosaic.values, look, vmin=low, vmax=1, interpolation="nearest")
            for name, (y, x) in zip(mosaic.names, mosaic.corners, strict=True):
                axes.annotate(on_plot(name), (x - 0.5, y - 0.5), xytext=(2, -2), va="top",
                              textcoords="offset points", color="white", fontsize=7)  # fmt: skip
        self.canvas.draw_idle()

    def _click(self, event: Any) -> None:
        if self.mosaic is None or event.xdata is None:
            return
        tile = self.mosaic.at(event.ydata + 0.5, event.xdata + 0.5)
        if tile is not None:
            self._clicked(int(self.mosaic.names[tile]), bool(event.dblclick))


def mosaic_of(channels: Explanation, depth: tuple[int, ...]) -> Mosaic:
    """Return channels side by side, of a volume the plane at a pixel of its leading axes."""
    grid = channels.grid
    pixel = np.zeros(len(grid.shape))
    pixel[: len(depth)] = depth
    cells = np.floor(grid.to_cells(pixel) + 0.5).astype(int)
    plane = cells.clip(0, np.array(grid.shape) - 1)[: len(depth)]
    return Mosaic.of(channels.values, channels.labels["channel"], plane.tolist())
