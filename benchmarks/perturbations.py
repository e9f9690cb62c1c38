"""Occlusion and RISE: what they add to bare passes, what classes add, and beside captum."""

from __future__ import annotations

import copy
import sys

import numpy as np

import napari_neuroscope as ns
import nets
import timing
from memory import MIB, peak_of_tensors
from nets import TARGET
from rows import Row, hand_over

BATCH = 16
CLASSES = list(range(TARGET, TARGET + 20))
NETWORK = "ResNet-18"


def rise() -> list[Row]:
    network = nets.wrapped(nets.resnet(18))
    side, masks = 112, 4000

    def ours(number: int, after: timing.After) -> object:
        def batch_done(done: int, total: int, what: str) -> None:
            if what == "RISE":
                after(done, total, what)

        return ns.explain(
            network, nets.image(number, side), "rise", TARGET, masks=masks, batch=BATCH,
            progress=batch_done,
        )  # fmt: skip

    mine, theirs = timing.beside(ours, nets.bare_passes(network, side), 1, warm_up=0)
    return [
        Row.of_times(
            f"RISE, 4,000 masks, {NETWORK}, {side} × {side}",
            f"bare passes forward, as many, in batches of {BATCH}",
            mine,
            theirs,
            "cost",
            1.1,
        )
    ]


def many_classes() -> list[Row]:
    network = nets.wrapped(nets.resnet(18))
    rows = []
    for method, options, words in (
        ("occlusion", {}, "Occlusion, 169 windows"),
        ("rise", {"masks": 200}, "RISE, 200 masks"),
    ):

        def ours(number: int, targets: object, method=method, options=options) -> object:
            return ns.explain(network, nets.image(number), method, targets, batch=BATCH, **options)

        times = timing.alternate(
            {"many": lambda n: ours(n, CLASSES), "one": lambda n: ours(n, TARGET)},
            5,
        )
        rows.append(
            Row.of_times(
                f"{words}, of 20 classes, {NETWORK}, 224 × 224",
                "of one class",
                times["many"],
                times["one"],
                "cost",
                1.1,
            )
        )
    return rows


class Sides:
    """Ours and captum's, of the same network and with batches of the same size."""

    def __init__(self, method: str) -> None:
        model = nets.resnet(18)
        self.peer = nets.frozen(copy.deepcopy(model)).to(timing.DEVICE)
        self.network, self.method = nets.wrapped(model), method

    def ours(self, number: int) -> np.ndarray:
        options = {"channels": "keep"} if self.method == "integrated_gradients" else {}
        return ns.explain(
            self.network, nets.image(number), self.method, TARGET, batch=BATCH, **options
        ).values

    def captum(self, number: int) -> np.ndarray:
        from captum.attr import IntegratedGradients, Occlusion

        x = nets.as_input(self.network, nets.image(number))
        if self.method == "occlusion":
            found = Occlusion(self.peer).attribute(
                x, (3, 32, 32), (3, 16, 16), baselines=0, target=TARGET,
                perturbations_per_eval=BATCH,
            )[:, 0]  # fmt: skip
        else:
            found = IntegratedGradients(self.peer).attribute(
                x, baselines=0, target=TARGET, n_steps=50, internal_batch_size=BATCH
            )
        return found[0].detach().cpu().numpy()


def against_captum(method: str, words: str) -> list[Row]:
    sides = Sides(method)
    what = f"{words}, {NETWORK}, 224 × 224"
    if not nets.installed("captum"):
        return [
            Row.alone(what, timing.alternate({"ours": sides.ours}, 5)["ours"],
                      "captum is not installed")
        ]  # fmt: skip
    equal = timing.check_equal(sides.ours(1000), sides.captum(1000), method, 1e-3)
    peer = f"captum, {BATCH} inputs at once as ours"
    times = timing.alternate({"ours": sides.ours, "peer": sides.captum}, 7)
    held = {}
    for name, side in (("ours", sides.ours), ("peer", sides.captum)):
        sides.network.traces.clear()
        held[name] = peak_of_tensors(side, 2000) / MIB
    return [
        Row.of_times(
            what, peer, times["ours"], times["peer"], "cost", 1.0,
            f"maps equal to {equal:.1g} of their maximum",
        ),
        Row(
            f"{what}: peak of what tensors hold, without the parameters", peer, held["ours"],
            held["peer"], "MiB", "cost", 1.0,
        ),
    ]  # fmt: skip


FIGURES = {
    "rise": rise,
    "many-classes": many_classes,
    "occlusion": lambda: against_captum("occlusion", "Occlusion, 169 windows"),
    "integrated-gradients": lambda: against_captum(
        "integrated_gradients", "Integrated gradients, 50 steps"
    ),
}

if __name__ == "__main__":
    timing.set_threads()
    hand_over(*FIGURES[sys.argv[1]]())
