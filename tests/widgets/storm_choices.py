"""The random choices of a storm: what a hand can do in the docks, and some that it can't."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.session.session import DEMO_TITLES

DOCKS = ("Neuroscope", "Model options", "Architecture", "Images", "Confusion matrix", "Evolution",
         "Activations", "Second network", "Evaluation", "Batch")  # fmt: skip


class Choices:
    """What can be chosen in a window with docks.

    Attributes
    ----------
    random
        Draws what is chosen.
    viewer, docks
        The window that is open, and its docks by name.
    """

    random: random.Random
    viewer: Any
    docks: dict[str, Any]

    def let_live(self, seconds: float) -> None:
        """Let the window do what it has to."""
        raise NotImplementedError

    def choices(self) -> list[Callable[[], None]]:
        """Return what can be done, the common the more often."""
        return [
            *[self.choose_method] * 3, *[self.choose_layers] * 2, *[self.choose_classes] * 2,
            *[self.choose_option] * 3, *[self.explain] * 4, *[self.open_any_dock] * 3,
            *[self.choose_network] * 2, self.choose_region, self.choose_image, self.choose_extent,
            self.close_dock, self.add_image, self.add_labels, self.remove_layer, self.change_axes,
            self.move_slider, self.move_slider, self.toggle_live, self.cancel, self.keep,
            self.turn_3d, self.clear, self.use_dock, self.use_dock, self.use_dock, self.rename,
            self.toggle_visible, self.wait,
        ]  # fmt: skip

    def inspector(self) -> Any:
        """Return the inspector, or that of the second network, opening it where it is closed."""
        second = self.docks.get("Second network")
        if second is not None and self.random.random() < 0.25:
            return second
        return self.docks.get("Neuroscope") or self.open_dock("Neuroscope")

    def open_dock(self, name: str) -> Any:
        """Open a dock as the menu does."""
        _, widget = self.viewer.window.add_plugin_dock_widget("napari-neuroscope", name)
        self.docks[name] = widget
        return widget

    def open_any_dock(self) -> None:
        """Open one of the docks."""
        self.open_dock(self.random.choice(DOCKS))

    def close_dock(self) -> None:
        """Close one of the docks, as its cross does."""
        if self.docks:
            name = self.random.choice(list(self.docks))
            self.viewer.window.remove_dock_widget(self.docks.pop(name))

    def add_image(self) -> None:
        """Add an image of some kind."""
        noise = np.random.default_rng(self.random.randrange(1000))
        shape = self.random.choice(((64, 64), (3, 48, 64), (2, 2, 48, 48), (64, 64, 3), (1, 1)))
        image = noise.random(shape).astype(np.float32)
        if self.random.random() < 0.2:
            image = (255 * image).astype(np.uint8)
        self.viewer.add_image(image, rgb=shape[-1] == 3, scale=[self.random.choice((1, 0.5))] * (
            len(shape) - (shape[-1] == 3)))  # fmt: skip

    def add_labels(self) -> None:
        """Add labels, or shapes."""
        if self.random.random() < 0.5:
            labels = np.zeros((64, 64), int)
            labels[10:30, 10:30], labels[40:50, 40:60] = 1, 2
            self.viewer.add_labels(labels)
        else:
            self.viewer.add_shapes([[[5, 5], [5, 40], [40, 40], [40, 5]]], shape_type="polygon")

    def some_layer(self) -> Any:
        """Return a layer, or None."""
        return self.random.choice(list(self.viewer.layers)) if self.viewer.layers else None

    def remove_layer(self) -> None:
        """Remove a layer."""
        if (layer := self.some_layer()) is not None:
            self.viewer.layers.remove(layer)

    def change_axes(self) -> None:
        """Give an image other data, of as many axes as it may be."""
        # napari does not measure a hidden layer anew, and then falls over it.
        images = [layer for layer in self.viewer.layers if layer.visible
                  and type(layer).__name__ == "Image" and not layer.metadata and not layer.rgb]  # fmt: skip
        if images:
            layer = self.random.choice(images)
            shape = self.random.choice(((64, 64), (3, 64, 64), (2, 3, 40, 48)))
            layer.data = np.random.default_rng(1).random(shape).astype(np.float32)

    def rename(self) -> None:
        """Give a layer a name that a stranger might."""
        if (layer := self.some_layer()) is not None:
            layer.name = self.random.choice(("<b>bold</b>", "a\u202eb", "$x_1$ & co", "plain"))

    def toggle_visible(self) -> None:
        """Hide a layer, or show it."""
        if (layer := self.some_layer()) is not None:
            layer.visible = not layer.visible
            self.viewer.layers.selection.active = layer

    def move_slider(self) -> None:
        """Move one of the sliders."""
        dims = self.viewer.dims
        axis = self.random.randrange(dims.ndim)
        dims.set_current_step(axis, self.random.randrange(max(int(dims.nsteps[axis]), 1)))

    def turn_3d(self) -> None:
        """Switch between 2D and 3D."""
        self.viewer.dims.ndisplay = self.random.choice((2, 2, 3))

    def clear(self) -> None:
        """Remove all layers, at times."""
        if self.random.random() < 0.1:
            self.viewer.layers.clear()

    def choose_network(self) -> None:
        """Choose a network, or none."""
        box = self.inspector()._network_box
        title = self.random.choice([*DEMO_TITLES.values(), box.itemText(0)])
        self.inspector().choose_network(title)

    def choose_image(self) -> None:
        """Choose an image."""
        box = self.inspector()._image_box
        if box.count():
            box.setCurrentIndex(self.random.randrange(box.count()))

    def choose_method(self) -> None:
        """Choose a method."""
        self.inspector().choose_method(self.random.choice(list(methods)))

    def choose_option(self) -> None:
        """Change one of the method's options."""
        inspector = self.inspector()
        options = inspector.session.options
        if not options:
            return
        name = self.random.choice(list(options))
        widget = inspector._options_container[name]
        if hasattr(widget, "choices"):
            widget.value = self.random.choice(list(widget.choices))
        elif isinstance(options[name], bool):
            widget.value = not options[name]
        elif isinstance(options[name], int) and hasattr(widget, "min"):
            value = options[name] + self.random.choice((-1, 1))
            widget.value = max(widget.min, min(widget.max, value))

    def choose_layers(self) -> None:
        """Choose some layers of the network."""
        inspector = self.inspector()
        values = inspector._layer_list.values()
        inspector.choose_layers(self.random.sample(values, min(len(values), 2)))

    def choose_classes(self) -> None:
        """Choose some classes."""
        inspector = self.inspector()
        values = inspector._class_list.values()
        inspector.choose_classes(self.random.sample(values, min(len(values), 2)))

    def choose_region(self) -> None:
        """Choose where, by which labels, and which score."""
        part = self.inspector()._target_part
        for box in (part.region_box, part.labels_box, part.score_box):
            box.setCurrentIndex(self.random.randrange(box.count()))

    def choose_extent(self) -> None:
        """Choose what of the image is explained."""
        inspector = self.inspector()
        inspector.extent.choose(self.random.choice(("whole", "in view")))
        inspector.slices.choose(self.random.choice(("this", "range", "all")))

    def explain(self) -> None:
        """Explain what is chosen."""
        inspector = self.inspector()
        if inspector.ready():
            inspector.explain()

    def toggle_live(self) -> None:
        """Explain each choice, or no longer."""
        self.inspector()._live.toggle()

    def cancel(self) -> None:
        """Stop what is computed."""
        self.inspector().cancel()

    def keep(self) -> None:
        """Keep the maps as they are."""
        self.inspector()._keep.click()

    def wait(self) -> None:
        """Wait until what is computed is shown, for a few seconds at most."""
        end = time.monotonic() + 3
        while any(dock.jobs.busy for dock in self.docks.values()) and time.monotonic() < end:
            self.let_live(0.02)

    def use_dock(self) -> None:
        """Do what one of the other docks is for."""
        uses: dict[str, list[Callable[[Any], Any]]] = {
            "Architecture": [
                lambda d: d.unfold("all"), lambda d: d.unfold(()),
                lambda d: d._search.setText("conv"), lambda d: d._find_next(),
            ],
            "Images": [
                lambda d: d.add_layers(), lambda d: d.predict_all(), lambda d: d.go_to_first(),
                lambda d: d.show_errors(), lambda d: d.cancel(),
            ],
            "Activations": [
                lambda d: d._show_tiles.toggle(), lambda d: d.add(d._table.channels()[:2]),
            ],
            "Evolution": [lambda d: d.show_side_by_side(), lambda d: d._common.toggle()],
            "Evaluation": [
                lambda d: d.choice.layer_list.choose(d.choice.layer_list.values()[:2]),
                lambda d: d.measure(), lambda d: d.join(), lambda d: d.cancel(),
            ],
            "Second network": [lambda d: d._same.toggle(), lambda d: d._difference.toggle()],
            "Model options": [lambda d: d.revert()],
            "Neuroscope": [
                lambda d: d.show_prediction(), lambda d: d.recipe_menu.refresh(),
                lambda d: d.ask_tool.ask.toggle(), lambda d: d.ask_tool.ask_about_all(),
                lambda d: d.ask_tool.ask_at(tuple([12.0] * self.viewer.dims.ndim)),
            ],
        }  # fmt: skip
        there = [name for name in uses if name in self.docks]
        if there:
            name = self.random.choice(there)
            self.random.choice(uses[name])(self.docks[name])
