"""How long napari's event loop stands still while ResNet-50 is explained from the inspector.

A timer ticks each 5 ms; the longest time between two ticks, from the click on Explain until the
layer is there, is the stall. The ticks go on for a while: drawing the new layer is told apart.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable

import nets
import timing
from rows import Row, hand_over

PROCESSES, TICK_MS, AFTER_S = 3, 5, 0.7


def run_one() -> dict[str, list[tuple[float, float]]]:
    """Return, for each situation, the stalls in ms until the layer is there, and after."""
    import napari
    import numpy as np
    from qtpy.QtCore import QEventLoop, Qt, QTimer

    timing.set_threads()
    # torchvision comes before the window: imported after Mesa's OpenGL, it can bring it down.
    model = nets.resnet(50)
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1480, 940)
    viewer.add_image(nets.image(0), name="photo", rgb=True)
    network = nets.wrapped(model)
    _, inspector = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Neuroscope")

    def measured(act: Callable[[], None], there: Callable[[], bool]) -> tuple[float, float]:
        ticks: list[float] = []
        arrived: list[float] = []
        loop, timer = QEventLoop(), QTimer()
        timer.setTimerType(Qt.TimerType.PreciseTimer)

        def tick() -> None:
            now = time.perf_counter()
            ticks.append(now)
            if len(ticks) == 20:
                act()
            elif len(ticks) > 20 and not arrived and there():
                arrived.append(now)
            if arrived and now > arrived[0] + AFTER_S:
                loop.quit()

        timer.timeout.connect(tick)
        timer.start(TICK_MS)
        loop.exec()
        timer.stop()
        gaps = np.diff(ticks[19:])
        ends = np.array(ticks[20:])
        until, after = gaps[ends <= arrived[0]], gaps[ends > arrived[0]]
        return float(until.max()) * 1000, float(after.max()) * 1000

    def digest() -> str:
        layer = viewer.layers[-1]
        return "" if layer.name == "photo" else str(id(layer.metadata["neuroscope"]))

    def explained(layers: list[str], index: int, *, forget: bool = True) -> tuple[float, float]:
        inspector.choose_layers(layers)
        inspector.choose_classes([index])
        if forget:
            network.traces.clear()
        before = digest()
        return measured(
            inspector.form.explain_button.click,
            lambda: not inspector.jobs.busy and digest() != before,
        )

    found: dict[str, list[tuple[float, float]]] = {}
    found["looked at"] = [measured(lambda: inspector.add_network(network), inspector.ready)]
    graph = network.layers
    every = [n for n in graph if graph[n].kind != "block" and graph.has_positions(n)]
    found["first"] = [explained(["layer4.2.conv3"], 1)]
    found["another class"] = [explained(["layer4.2.conv3"], 2 + n) for n in range(3)]
    found["another layer"] = [explained([f"layer{n}.0"], 9, forget=n == 1) for n in (1, 2, 3, 4)][
        1:
    ]
    found["all, first"] = [explained(every, 20)]
    found["all"] = [explained(every, 21 + n) for n in range(3)]

    # What napari alone takes for a layer of that kind.
    stack = np.random.default_rng(0).random(viewer.layers[-1].data.shape, dtype=np.float32)
    viewer.layers.remove(viewer.layers[-1])
    count = len(viewer.layers)
    found["napari"] = [
        measured(
            lambda: viewer.add_image(
                stack, blending="translucent_no_depth", contrast_limits=(0, 1)
            ),
            lambda: len(viewer.layers) > count,
        )
    ]
    inspector.close_work()
    viewer.close()
    return found


SITUATIONS = {
    "first": ("one layer, first use", 100.0),
    "another class": ("one layer, forward and backward pass anew", 100.0),
    "another layer": ("another layer of the same image", 100.0),
    "all, first": ("all layers, first use", 100.0),
    "all": ("all layers, again", 100.0),
    "looked at": ("the network is chosen and looked at (1000 classes listed)", None),
    "napari": ("napari alone adds a stack of the same shape", None),
}


def main() -> list[Row]:
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(PROCESSES):
        done = subprocess.run(
            [sys.executable, __file__, "one"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"exit {done.returncode}: {done.stderr[-2000:]}")
        for name, stalls in json.loads(done.stdout.splitlines()[-1]).items():
            found.setdefault(name, []).extend(stalls)
    rows = []
    for name, (words, asked) in SITUATIONS.items():
        until, after = ([stall[n] for stall in found[name]] for n in (0, 1))
        rows.append(
            Row(
                f"Longest stall of napari's event loop, ResNet-50 at 224 × 224: {words}",
                "",
                max(until),
                None,
                "ms",
                "limit" if asked else "note",
                asked,
                f"of {len(until)} runs {', '.join(f'{s:.0f}' for s in until)} ms; in the "
                f"{AFTER_S} s after, while it is drawn, {', '.join(f'{s:.0f}' for s in after)} ms",
            )
        )
    return rows


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(run_one()))
    else:
        hand_over(*main())
