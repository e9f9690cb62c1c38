"""How soon the canvas shows another layer or class that is chosen in the inspector.

live.py unet: a U-Net that has been traced. live.py stack: all layers of EfficientNet-Lite0.
Each runs in fresh processes; "one" is such a process.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import astuple
from typing import Any

import numpy as np

import nets
import timing
from efficientnet import efficientnet_lite0
from rows import Row, hand_over
from window import Seen, Window

PROCESSES, CLASSES, ASKED_BEFORE = 2, 11, 4
SHOWN_MS, STACK_MS, STALL_MS = 100.0, 500.0, 100.0
Found = dict[str, list[Seen]]


def opened(model: Any, task: str, size: int) -> tuple[Window, Any, Any]:
    """Return a window with a photograph, the inspector, and the model as a network in it."""
    import napari

    timing.set_threads()
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1480, 940)
    viewer.add_image(nets.image(0, size), name="photo", rgb=True)
    window = Window(viewer)
    network = nets.wrapped(model, task)
    _, inspector = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Neuroscope")
    window.watched(lambda: inspector.add_network(network), inspector.ready, drawn=False)
    window.settle()
    return window, inspector, network


def shown_by(inspector: Any) -> Callable[[], bool]:
    """Return what tells whether another explanation has been shown since now."""
    before = inspector.session.explanation
    return lambda: not inspector.jobs.busy and inspector.session.explanation is not before


def every_layer(network: Any) -> list[str]:
    """Return the layers that have a map."""
    graph = network.layers
    return [n for n in graph if graph[n].kind != "block" and graph.has_positions(n)]


def unet() -> Found:
    """Choose layers, classes and numbers of layers of a traced U-Net, live."""
    window, inspector, network = opened(nets.unet(CLASSES), "segmentation", 256)
    names = every_layer(network)
    picked = [names[i] for i in np.linspace(2, len(names) - 1, 16).astype(int)]

    def watched(act: Callable[[], object]) -> Seen:
        seen = window.watched(act, shown_by(inspector))
        window.settle(0.3)
        return seen

    def choices(classes: Any) -> list[Seen]:
        return [watched(lambda index=index: inspector.choose_classes([index])) for index in classes]

    inspector.choose_layers(picked[:1])
    inspector.choose_classes([0])
    found: Found = {"first": [watched(inspector.form.explain_button.click)]}
    inspector.form.live.setChecked(True)
    window.settle(1.0)
    found["layer"] = [watched(lambda n=n: inspector.choose_layers([n])) for n in picked[1:]]
    known = range(1, ASKED_BEFORE)
    found["new class"] = choices(known)
    found["class"] = choices([number % ASKED_BEFORE for number in range(16)])
    found["new class"] += choices(range(ASKED_BEFORE, CLASSES))
    found["axes"] = []
    for n in range(4):
        for layers in (picked[n : n + 3], picked[n : n + 1]):
            found["axes"].append(watched(lambda layers=layers: inspector.choose_layers(layers)))
    inspector.close_work()
    window.viewer.close()
    return found


def stack() -> Found:
    """Explain all layers of EfficientNet-Lite0, first and again, beside one bare pass and back."""
    import torch

    model = efficientnet_lite0()
    window, inspector, network = opened(model, "classification", 224)
    names = every_layer(network)

    def watched(index: int) -> Seen:
        inspector.choose_layers(names)
        inspector.choose_classes([index])
        # A pass forward and one back is part of each.
        network.traces.clear()
        seen = window.watched(inspector.form.explain_button.click, shown_by(inspector))
        window.settle(0.3)
        return seen

    def bare(number: int) -> None:
        x = nets.as_input(network, nets.image(number)).requires_grad_()
        torch.autograd.grad(model(x)[0, number], x)

    found: Found = {"first": [watched(1)], "again": [watched(2 + n) for n in range(5)]}
    nets.frozen(model)
    passes = [timing.timed(bare, number) * 1000 for number in range(8)][1:]
    found["bare"] = [Seen(statistics.median(passes), 0.0, 0.0)]
    # What napari alone takes for a layer of that kind, the first of its kind gone.
    data = np.random.default_rng(0).random(window.viewer.layers[-1].data.shape, dtype=np.float32)
    window.viewer.layers.remove(window.viewer.layers[-1])
    window.settle()
    limits = {"blending": "translucent_no_depth", "contrast_limits": (0, 1), "rgb": False}
    added: list[Any] = []
    found["napari"] = [
        window.watched(
            lambda: added.append(window.viewer.add_image(data, **limits)), lambda: bool(added)
        )
    ]
    inspector.close_work()
    window.viewer.close()
    return found


def measured(name: str) -> Found:
    """Return what several processes found."""
    found: Found = {}
    for _ in range(PROCESSES):
        done = subprocess.run(
            [sys.executable, __file__, name, "one"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"exit {done.returncode}: {done.stderr[-2000:]}")
        for situation, rows in json.loads(done.stdout.splitlines()[-1]).items():
            found.setdefault(situation, []).extend(Seen(*row) for row in rows)
    return found


def rows_of(what: str, seen: list[Seen], limit: float | None, beyond: float = 0.0) -> list[Row]:
    """Return the rows of one situation: when it is shown, and how long the window stood still."""
    shown = [s.shown - beyond for s in seen]
    stalls = [s.stall for s in seen]
    late, still = (float(np.percentile(values, 95)) for values in (shown, stalls))
    words = f"median {statistics.median(shown):.0f} ms, n={len(seen)}"
    rows = [Row(f"{what}: until the canvas shows it, 95th percentile", "", late, None, "ms",
                "limit" if limit else "note", limit, words)]  # fmt: skip
    rows.append(Row(f"{what}: longest stall, 95th percentile", "", still, None, "ms", "limit",
                    STALL_MS, f"median {statistics.median(stalls):.0f} ms, "
                    f"longest {max(stalls):.0f} ms"))  # fmt: skip
    return rows


def main(name: str) -> list[Row]:
    found = measured(name)
    if name == "unet":
        what = "Live, a traced U-Net at 256 × 256"
        rows = []
        for situation, words, limit in (
            ("layer", "another layer", SHOWN_MS),
            ("class", "another class that was asked about before", SHOWN_MS),
            ("new class", "another class for the first time, a backward pass more", SHOWN_MS),
            ("axes", "several layers after one, or one after several", None),
        ):
            rows += rows_of(f"{what}: {words}", found[situation], limit)
        return rows
    bare = statistics.median(seen.shown for seen in found["bare"])
    what = "All layers of EfficientNet-Lite0, 224 × 224, beyond a bare pass forward and back"
    rows = rows_of(f"{what}, first use", found["first"], STACK_MS, bare)
    rows += rows_of(f"{what}, again", found["again"], STACK_MS, bare)
    rows[0].notes.append(f"the bare pass takes {bare:.0f} ms")
    alone = found["napari"]
    rows.append(Row("napari alone adds a stack of the same shape: longest stall", "",
                    max(seen.stall for seen in alone), None, "ms", "note", None,
                    f"shown after {statistics.median(seen.shown for seen in alone):.0f} ms"))  # fmt: skip
    return rows


if __name__ == "__main__":
    if len(sys.argv) > 2:
        seen_of = {"unet": unet, "stack": stack}[sys.argv[1]]()
        print(json.dumps({name: [astuple(s) for s in seen] for name, seen in seen_of.items()}))
    else:
        hand_over(*main(sys.argv[1]))
