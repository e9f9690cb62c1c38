"""How soon the dock “Architecture” shows ResNet-152, and how fluently it is moved and zoomed."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from typing import Any

import nets
import timing
from rows import Row, hand_over
from window import Window

PROCESSES, FRAMES = 3, 60
SHOWN_S, FRAMES_A_SECOND, STALL_MS = 1.0, 30.0, 100.0


def run_one() -> dict[str, list[float]]:
    """Return when it is shown, all stalls (ms), and how long frames take (ms)."""
    import napari
    from qtpy.QtWidgets import QApplication

    timing.set_threads()
    model = nets.resnet(152)
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1480, 940)
    window = Window(viewer)
    network = nets.wrapped(model)
    _, inspector = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Neuroscope")
    viewer.add_image(nets.image(0), name="photo", rgb=True)
    window.watched(lambda: inspector.add_network(network), inspector.ready, drawn=False)
    _, dock = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Architecture")
    window.settle(1.0)
    found: dict[str, Any] = {"nodes": [float(len(network.layers))]}
    # All blocks open: each of the layers is a node.
    every = len([layer for layer in network.layers.values() if layer.kind != "block"])
    dock.unfold(())
    window.settle(1.0)

    def painted() -> bool:
        if len(dock.scene.nodes) < every:
            return False
        dock.view.viewport().repaint()
        return True

    seen = window.watched(lambda: dock.unfold("all"), painted, drawn=False, limit_s=30)
    found["shown"], found["stall"] = [seen.shown], [seen.stall, seen.after]
    found["nodes"].append(float(len(dock.scene.nodes)))

    def frames(step: Any) -> list[float]:
        taken = []
        for number in range(FRAMES):
            start = time.perf_counter()
            step(number)
            QApplication.processEvents()
            taken.append((time.perf_counter() - start) * 1000)
        return taken

    bar = dock.view.verticalScrollBar()
    dock.view.begin()
    found["pan"] = frames(lambda _: bar.setValue(bar.value() + 60))
    dock.view.fit()
    scale = 20 ** (1 / FRAMES)
    found["zoom"] = frames(lambda _: dock.view.scale(scale, scale))
    inspector.close_work()
    dock.close_work()
    viewer.close()
    return found


def main() -> list[Row]:
    found: dict[str, list[float]] = {}
    for _ in range(PROCESSES):
        done = subprocess.run(
            [sys.executable, __file__, "one"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"exit {done.returncode}: {done.stderr[-2000:]}")
        for name, values in json.loads(done.stdout.splitlines()[-1]).items():
            found.setdefault(name, []).extend(values)
    what = f"Architecture of ResNet-152, all {found['nodes'][1]:.0f} nodes open"
    shown = [value / 1000 for value in found["shown"]]
    rows = [
        Row(f"{what}: laid out and painted, longest", "", max(shown), None, "s", "limit", SHOWN_S,
            f"{', '.join(f'{s:.2f}' for s in shown)} s"),
        Row(f"{what}: longest stall", "", max(found["stall"]), None, "ms", "limit", STALL_MS),
    ]  # fmt: skip
    for name in ("pan", "zoom"):
        late = statistics.quantiles(found[name], n=20)[-1]
        rows.append(
            Row(f"{what}: a frame of {name}, 95th percentile", "", late, None, "ms", "limit",
                round(1000 / FRAMES_A_SECOND, 1),
                f"median {statistics.median(found[name]):.1f} ms, n={len(found[name])}")
        )  # fmt: skip
    return rows


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(run_one()))
    else:
        hand_over(*main())
