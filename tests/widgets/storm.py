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
from typing import Any

import napari
import psutil
import torch
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtWidgets import QApplication
from storm_choices import Choices

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.widgets.parts.dock import Dock
from napari_neuroscope.widgets.parts.jobs.jobs import Jobs

# So many choices are made in a window, then it is closed, as often as not while it computes.
_EPISODE = 60


class Storm(Choices):
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

    def let_live(self, seconds: float) -> None:
        """Let the window do what it has to."""
        end = time.monotonic() + seconds
        while True:
            QApplication.processEvents()
            if time.monotonic() >= end:
                return
            time.sleep(0.005)


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
