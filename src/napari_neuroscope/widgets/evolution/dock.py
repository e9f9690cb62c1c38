"""The evolution of a map through the layers, as a plot whose marker is the slider."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import napari
import numpy as np
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
)
from superqt.utils import signals_blocked

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.evaluation.evolution import Evolution
from napari_neuroscope.engine.explanation.overlays.place import spatial_axes
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.passes.target import Mask
from napari_neuroscope.viewer.image.image_pixels import Pixels, go_to_step, shown_index
from napari_neuroscope.viewer.image.layer_regions import LayerRegion, TrueClassLabels, kind_of
from napari_neuroscope.viewer.layers.side_by_side import SideBySide
from napari_neuroscope.viewer.layers.stack_follower import steps_of
from napari_neuroscope.viewer.state.stack_contrast import StackContrast
from napari_neuroscope.viewer.state.viewer_state import state_of
from napari_neuroscope.widgets.parts.dock import Dock
from napari_neuroscope.widgets.parts.labels import note, on_line
from napari_neuroscope.widgets.parts.notices import tell, tell_error
from napari_neuroscope.widgets.parts.plots import canvas, cleared, dress, on_plot
from napari_neuroscope.widgets.parts.sentences import in_a_sentence

_DELAY_MS = 150
_SHARE, _LOW, _NEXT = "#56b4e9", "#d55e00", "#e69f00"


@dataclass(frozen=True)
class TrueClass:
    """Where a layer of labels says that the class is that is shown."""

    layer: Any

    @property
    def title(self) -> str:
        """What people call it."""
        return f"{self.layer.name}: the shown class"


def _tells_classes(layer: Any) -> bool:
    return kind_of(layer) == "labels" and "class" in layer.features


def _is_stack(layer: Any) -> bool:
    axes = layer.metadata.get(KEY, {}).get("axes", ())
    return bool(layer.visible and "layer" in axes and "channel" not in axes)


class EvolutionPlot(Dock):
    """Plots where each layer's map lies and how it changes, for the topmost visible stack of layers.

    A click on a layer moves the slider there; from where on the map misses the region is marked.

    Parameters
    ----------
    napari_viewer
        The viewer.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self.evolution: Evolution | None = None
        self._stack: Any = None
        self._shown: tuple[Any, ...] = ()
        self._axes: list[Any] = []
        self._markers: list[Any] = []
        self._contrast = state_of(napari_viewer, StackContrast)
        self._tiles = SideBySide(napari_viewer)
        self._build()
        self._soon = self.debounced(self._measure, _DELAY_MS)
        for signal, slot in (
            (self._viewer.layers.events.inserted, self._list_regions),
            (self._viewer.layers.events.removed, self._list_regions),
            (self._viewer.layers.events.reordered, self._look),
            (self._viewer.dims.events.current_step, self._look),
            (self._viewer.events.theme, self._draw),
            (self._contrast.changed, self._take_common),
        ):
            self.follow(signal, slot)
        self._list_regions()
        self._draw()

    def _build(self) -> None:
        self.setObjectName("neuroscope-evolution")
        self._region = QComboBox()
        self._region.setAccessibleName("Region")
        self._region.setToolTip("The share of each map that lies inside this is plotted.")
        self._region.currentIndexChanged.connect(self._look_anew)
        self._figure, self._canvas = canvas("Evolution through the layers", 320)
        self._canvas.mpl_connect("button_release_event", self._clicked)
        self._note = note()
        self._common = QCheckBox("One contrast for all layers")
        self._common.setToolTip(
            "Off: each layer is shown up to its own greatest value. On: colours mean the same in all "
            "layers, also side by side."
        )
        self._common.setChecked(self._contrast.common)
        self._common.toggled.connect(self._set_common)
        self._beside = QPushButton("Side by side")
        self._beside.setToolTip(
            "Show all layers of the stack next to each other, beside the image."
        )
        self._beside.clicked.connect(self.show_side_by_side)
        row = QHBoxLayout()
        row.addWidget(self._common, 1)
        row.addWidget(self._beside)
        form = QFormLayout()
        form.addRow("Inside of", self._region)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addLayout(form)
        layout.addLayout(row)
        layout.addWidget(self._canvas, 1)
        layout.addWidget(self._note)
        self.setMinimumWidth(320)

    # --- which stack and region ---

    def _list_regions(self, *_: Any) -> None:
        if self.closed:
            return
        drawn = [layer for layer in self._viewer.layers if kind_of(layer) and self._is_drawn(layer)]
        regions: list[LayerRegion | TrueClass] = [
            TrueClass(layer) for layer in drawn if _tells_classes(layer)
        ]
        regions += [LayerRegion(layer, part) for layer in drawn for part in ("all", "selected")]
        chosen = self._region.currentText()
        with signals_blocked(self._region):
            self._region.clear()
            for region in regions:
                self._region.addItem(on_line(region.title), region)
            self._region.setCurrentIndex(max(self._region.findText(chosen), 0))
        for layer in self._viewer.layers:
            self.follow(layer.events.visible, self._look)
            if KEY in layer.metadata:
                self.follow(layer.events.set_data, self._look)
        self._look()

    @staticmethod
    def _is_drawn(layer: Any) -> bool:
        """Whether a layer is the user's, or a prediction: no map of an explanation."""
        return layer.metadata.get(KEY, {}).get("method") in (None, "prediction", "ground truth")

    def _find_stack(self) -> Any:
        active = self._viewer.layers.selection.active
        stacks = [layer for layer in reversed(self._viewer.layers) if _is_stack(layer)]
        if active in stacks:
            return active
        # Those of a second network are looked at where they are chosen.
        return next((s for s in stacks if not s.metadata[KEY].get("beside")), None)

    def _look_anew(self, *_: Any) -> None:
        self._shown = ()
        self._look()

    def _look(self, *_: Any) -> None:
        """Follow the slider, and measure anew where another stack, class or plane is shown."""
        if self.closed:
            return
        self._stack = stack = self._find_stack()
        if stack is None:
            self._show(
                None, "Explain several layers: their maps are then a stack, and plotted here."
            )
            return
        steps = steps_of(self._viewer, stack)
        state = (
            stack,
            stack.data.shape,
            id(stack.data),
            steps.get("class"),
            self._seen(stack),
            self._region.currentText(),
        )
        if state == self._shown:
            self._mark()
            return
        self._shown = state
        self._soon()

    def _measure(self) -> None:
        stack = self._stack
        region: LayerRegion | TrueClass | None = self._region.currentData()
        if self.closed or stack is None or stack not in self._viewer.layers:
            return
        if region is None:
            self._show(None, "Add a Labels or Shapes layer, such as the ground truth: the plot shows "
                             "how much of each map lies inside of it.")  # fmt: skip
            return
        values, names = self._maps(stack)
        try:
            mask = self._mask(region, Pixels.of(stack, self._space(stack), self._viewer))
        except NeuroscopeError as error:
            self._show(None, str(error))
            return
        self.jobs.submit(
            "Measuring the evolution",
            lambda _: Evolution.of(values, names, mask.values),
            lambda found: self._show(found, ""),
            lambda error: self._show(None, in_a_sentence(error)),
        )

    def _maps(self, stack: Any) -> tuple[np.ndarray, list[str]]:
        """Return the maps of the shown class and slice, (layer, *space), and the layers' names."""
        made = stack.metadata[KEY]
        place: list[Any] = [slice(None)] * stack.ndim
        for axis, step in self._seen(stack):
            place[axis] = step
        if "class" in made["axes"]:
            place[made["axes"].index("class")] = steps_of(self._viewer, stack)["class"]
        return np.asarray(stack.data[tuple(place)]), made["labels"]["layer"]

    @staticmethod
    def _space(stack: Any) -> tuple[int, ...]:
        """Return along which of the maps' axes the network looks."""
        return spatial_axes(stack.metadata[KEY], stack.ndim)

    def _seen(self, stack: Any) -> tuple[tuple[int, int], ...]:
        """Return where the sliders stand on the image's axes that the network doesn't look along."""
        made, space = stack.metadata[KEY], self._space(stack)
        first = len(made["axes"]) - len(made["space"])
        index, sizes = shown_index(stack, self._viewer), stack.data.shape
        others = (n for n in range(first, stack.ndim) if n not in space)
        return tuple((n, min(max(index[n], 0), sizes[n] - 1)) for n in others)

    def _mask(self, region: LayerRegion | TrueClass, pixels: Pixels) -> Mask:
        if isinstance(region, LayerRegion):
            return region.take(pixels, self._viewer).mask
        stack, network = self._stack, self.session.network
        labels = stack.metadata[KEY]["labels"]
        step = steps_of(self._viewer, stack).get("class", 0)
        shown = (labels.get("class") or labels.get("target") or ("",))[step]
        names = network.class_names if network is not None else [shown]
        if shown not in names:
            raise NeuroscopeError(f"The network has no class “{shown}”; explain the image anew.")
        truth = TrueClassLabels.of(region.layer, pixels, self._viewer)
        return truth.mask(names.index(shown), names)

    # --- contrast, and side by side ---

    def _set_common(self, on: bool) -> None:
        self._contrast.common = on

    def _take_common(self, on: bool) -> None:
        with signals_blocked(self._common):
            self._common.setChecked(on)

    def show_side_by_side(self) -> None:
        """Show all layers of the stack in tiles beside the image."""
        stack, image = self._stack, self.session.image
        if stack is None or stack not in self._viewer.layers or image not in self._viewer.layers:
            tell_error("Explain several layers first: their maps are then laid side by side.")
            return
        values, names = self._maps(stack)
        first = not any(layer.name.startswith("Side by side") for layer in self._viewer.layers)
        try:
            count = self._tiles.show(stack, values, names, image, common=self._contrast.common)
        except NeuroscopeError as error:
            tell_error(str(error))
            return
        if first:
            self._viewer.reset_view()
        if count < len(names):
            tell(f"{count} of {len(names)} layers are shown, evenly chosen: more are too small.")

    # --- what is shown ---

    def _show(self, evolution: Evolution | None, words: str) -> None:
        if self.closed:
            return
        self.evolution = evolution
        if evolution is not None:
            wrong = evolution.wrong_from
            words = (
                f"At the end {evolution.share[-1]:.0%} of the map lies inside; "
                f"{evolution.by_chance:.0%} would by chance."
                if wrong is None
                else f"From “{evolution.layers[wrong]}” on little of the map lies inside: below half "
                f"of the best before, or no more than by chance ({evolution.by_chance:.1%})."
            )
        self._note.setText(words)
        self._draw()

    def _draw(self, *_: Any) -> None:
        if self.closed:
            return
        back, ink = cleared(self._figure, self._viewer.theme)
        self._axes, self._markers = [], []
        evolution = self.evolution
        if evolution is not None:
            at = np.arange(len(evolution.layers))
            above, below = self._figure.subplots(2, 1, sharex=True)
            self._axes = [above, below]
            above.plot(at, evolution.share, "o-", color=_SHARE, markersize=4)
            above.axhline(evolution.by_chance, color=ink, lw=0.8, ls="--")
            above.annotate("by chance", (0, evolution.by_chance), xytext=(2, 2),
                           textcoords="offset points", color=ink, fontsize=7)  # fmt: skip
            if (wrong := evolution.wrong_from) is not None:
                above.plot(at[wrong:], evolution.share[wrong:], "o", color=_LOW, markersize=6)
                above.axvspan(wrong - 0.5, at[-1] + 0.5, color=_LOW, alpha=0.15, lw=0)
            above.set_ylim(0, 1.02)
            above.set_ylabel("share inside", color=ink, fontsize=9)
            below.plot(at[:-1] + 0.5, evolution.correlation, "s-", color=_NEXT, markersize=4)
            below.set_ylim(-1.05, 1.05)
            below.set_ylabel("rank correlation\nwith the next", color=ink, fontsize=9)
            step = -(-len(at) // 24)
            names = [on_plot(shortened(name, 40)) for name in evolution.layers[::step]]
            below.set_xticks(at[::step], names, rotation=60, ha="right",
                             rotation_mode="anchor", fontsize=8)  # fmt: skip
            below.set_xlim(-0.5, len(at) - 0.5)
            for axes in self._axes:
                dress(axes, back, ink, labelsize=8)
                axes.grid(alpha=0.2)
                self._markers.append(axes.axvline(0, color=ink, lw=1.5, alpha=0.7))
        self._mark()

    def _mark(self) -> None:
        """Move the marker to the slider's step."""
        if self._markers and self._stack is not None:
            step = steps_of(self._viewer, self._stack).get("layer", 0)
            for marker in self._markers:
                marker.set_xdata([step, step])
        self._canvas.draw_idle()

    def _clicked(self, event: Any) -> None:
        if self.evolution is None or event.inaxes not in self._axes or self._stack is None:
            return
        step = int(np.clip(round(event.xdata), 0, len(self.evolution.layers) - 1))
        axis = self._stack.metadata[KEY]["axes"].index("layer")
        go_to_step(self._stack, axis, step, self._viewer)
