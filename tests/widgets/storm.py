"""A storm of choices in a real window: nothing may be left behind, and nothing raise.

Run by hand with many steps, such as ``python tests/widgets/storm.py --steps 1000 --seed 3``.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import logging
import os
import random
import sys
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import napari
import numpy as np
import psutil
import torch
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtWidgets import QApplication

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.engine.network import Network
from napari_neuroscope.widgets.dock import Dock
from napari_neuroscope.widgets.jobs import Jobs
from napari_neuroscope.widgets.session import DEMO_TITLES

DOCKS = ("Neuroscope", "Model options", "Architecture", "Images", "Confusion matrix", "Evolution",
         "Activations", "Second network", "Evaluation", "Batch")  # fmt: skip
# So many choices are made in a window, then it is closed, as often as not while it computes.
_EPISODE = 60


class Storm:
    """Makes random choices in windows, one after the other, and notes what goes wrong.

    Parameters
    ----------
    seed
        The same seed, the same choices.
    told
        Whether each choice and fault is told at once, to find what ends the program.
    """

    def __init__(self, seed: int, *, told: bool = False) -> None:
        self.told, self.steps, self.last = told, 0, ""
        self.random = random.Random(seed)
        self.faults: list[str] = []
        self.faults_of_napari: list[str] = []
        self.closings: list[float] = []
        self.memory: list[int] = []
        self.viewer: Any = None
        self.docks: dict[str, Any] = {}
        self.broken = False
        self._tolerated: weakref.WeakSet[Any] = weakref.WeakSet()
        self._threads = set(threading.enumerate())
        self._watch()

    def _watch(self) -> None:
        """Note what is raised in slots, in threads, and what is logged as a fault."""
        note = sys.excepthook = self.note
        threading.excepthook = lambda args: note(args.exc_type, args.exc_value, args.exc_traceback)
        notification_manager.receive_error = note  # type: ignore[method-assign]
        notification_manager.receive_thread_error = (  # type: ignore[method-assign]
            lambda args: note(args.exc_type, args.exc_value, args.exc_traceback)
        )

        class Faults(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if record.exc_info:
                    note(*record.exc_info)

        logging.getLogger("napari_neuroscope").addHandler(Faults(logging.ERROR))

    def note(self, kind: Any, error: Any, trace: Any) -> None:
        """Note what was raised; apart, where all of it is napari's own."""
        words = "".join(traceback.format_exception(kind, error, trace))
        ours = f"napari_neuroscope{os.sep}" in words
        (self.faults if ours else self.faults_of_napari).append(f"{self.last}: {words}")
        if self.told:
            print(words, file=sys.stderr, flush=True)

    # --- a window -----------------------------------------------------------------------------

    def run(self, steps: int) -> None:
        """Make so many choices."""
        while self.steps < steps:
            self.open()
            before, end = len(self.faults_of_napari), min(steps, self.steps + _EPISODE)
            # A fault of napari's own leaves its window in pieces.
            while self.steps < end and len(self.faults_of_napari) == before:
                self.step()
            self.broken = len(self.faults_of_napari) > before
            self.close()

    def open(self) -> None:
        """Open a window with an image."""
        self.viewer = napari.Viewer(show=True)
        self.docks = {}
        self.add_image()
        self.open_dock("Neuroscope")

    def close(self) -> None:
        """Close the window, also while it computes, and look at what is left."""
        kept = [weakref.ref(one) for one in (self.viewer, *self.docks.values())]
        layers = [weakref.ref(layer) for layer in self.viewer.layers]
        begun = time.monotonic()
        try:
            self.viewer.close()
        except Exception as error:  # noqa: BLE001
            self.note(type(error), error, error.__traceback__)
            self.broken = True
            with contextlib.suppress(Exception):
                self.viewer.window.close()
        self.let_live(0)
        self.closings.append(time.monotonic() - begun)
        self.viewer, self.docks = None, {}
        self.let_live(0.3)
        notification_manager.records.clear()
        for _ in range(3):
            QCoreApplication.sendPostedEvents(None, int(QEvent.Type.DeferredDelete.value))
            QApplication.processEvents()
            gc.collect()
        self.look_for("of the window", [ref() for ref in kept])
        self.look_for("layers", [ref() for ref in layers])
        for what, kind in (("docks", Dock), ("jobs", Jobs), ("networks", Network)):
            self.look_for(what, alive(kind))
        left = [t for t in threading.enumerate()
                if t not in self._threads and t.name.startswith("neuroscope")]  # fmt: skip
        self.look_for("threads", left)
        with contextlib.suppress(OSError, AttributeError):
            # What is free again, but still held by the allocator, is no leak.
            ctypes.CDLL(None).malloc_trim(0)
        own = psutil.Process()
        self.look_for("processes", [c for c in own.children() if "neuroscope" in " ".join(cmd(c))])
        self.memory.append(own.memory_info().rss >> 20)

    def look_for(self, what: str, found: list[Any]) -> None:
        """Note what is still there."""
        found = [one for one in found if one is not None and one not in self._tolerated]
        if not found:
            return
        words = f"left behind: {what}: {found[:3]!r:.300}"
        # A window that napari has left in pieces keeps what it pleases.
        (self.faults_of_napari if self.broken else self.faults).append(words)
        self._tolerated.update(found)

    # --- choices ------------------------------------------------------------------------------

    def step(self) -> None:
        """Make a choice, and let the window live for a moment."""
        choice = self.random.choice(self.choices())
        self.last = choice.__name__
        self.steps += 1
        if self.told:
            print(f"[{self.steps}] {self.last}", file=sys.stderr, flush=True)
        try:
            choice()
        except NeuroscopeError:
            # Said in one sentence, as it is in the console.
            pass
        except Exception as error:  # noqa: BLE001
            self.note(type(error), error, error.__traceback__)
        self.let_live(self.random.choice((0, 0, 0.02, 0.1, 0.4)))

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

    def let_live(self, seconds: float) -> None:
        """Let the window do what it has to."""
        end = time.monotonic() + seconds
        while True:
            QApplication.processEvents()
            if time.monotonic() >= end:
                return
            time.sleep(0.005)

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


def alive(kind: type) -> list[Any]:
    """Return the objects of a kind that are still there."""
    return [one for one in gc.get_objects() if issubclass(type(one), kind)]


def cmd(process: psutil.Process) -> list[str]:
    """Return a process's command; nothing where it has just ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def draw_nothing() -> None:
    """Leave the canvas empty.

    Where layers come and go, drawing by Mesa's software ends in a segmentation fault after some
    hundred steps, in napari without any plugin too.
    """
    from vispy.scene import SceneCanvas

    # What waits to be drawn is let go.
    SceneCanvas._draw_scene = lambda canvas, bgcolor=None: canvas.context.glir.clear()


def main() -> int:
    """Make the choices that the command line asks for; return how much went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--told", action="store_true")
    parser.add_argument("--drawn", action="store_true", help="also draw the canvas")
    asked = parser.parse_args()
    if not asked.drawn:
        draw_nothing()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    storm = Storm(asked.seed, told=asked.told)
    before = psutil.Process().memory_info().rss >> 20
    storm.run(asked.steps)
    for fault in dict.fromkeys(storm.faults):
        print(fault, f"({storm.faults.count(fault)} times)", flush=True)
    print(
        f"{asked.steps} choices, seed {asked.seed}: {len(storm.faults)} faults, and "
        f"{len(storm.faults_of_napari)} of napari alone; memory {before} MB "
        f"before, {storm.memory[0]} MB after the first window, {storm.memory[-1]} MB at the end; "
        f"windows closed in {max(storm.closings):.1f} s at most",
        flush=True,
    )
    return min(len(storm.faults), 100)


if __name__ == "__main__":
    sys.exit(main())
