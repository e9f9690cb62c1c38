"""Another layer or CAM method on an image that was already passed forward."""

from __future__ import annotations

import statistics

import napari_neuroscope as ns
import nets
import timing
from rows import Row, hand_over

# Those that one pass back serves; score_cam and its kind ask the network anew by what they are.
METHODS = (
    "activation", "grad_cam", "grad_cam_plus_plus", "guided_grad_cam",
    "hires_cam", "layer_cam", "x_grad_cam", "eigen_cam",
)  # fmt: skip


def main() -> list[Row]:
    network = ns.load("demo:nuclei", device="cpu")
    picture = nets.image(0, 256)
    layers = [name for name in network.layers if network.layers.has_positions(name)]
    forwards = 0

    def count(*_: object) -> None:
        nonlocal forwards
        forwards += 1

    hook = network.adapter.model.register_forward_hook(count)
    ns.explain(network, picture, "grad_cam", 1, layer=layers[0])
    first = forwards
    rows = []
    for method in (name for name in METHODS if name in ns.methods):

        def ask(layer: str, method: str = method) -> float:
            target = None if method == "activation" else 1
            return timing.timed(
                lambda _: ns.explain(network, picture, method, target, layer=layer), 0
            )

        start = ask(layers[0])
        note = ""
        if method == "guided_grad_cam":
            note = f"its first asks for the guided pass back: {start * 1000:.3g} ms"
        found = {name: timing.Times([ask(name) for _ in range(5)]) for name in layers}
        medians = {name: times.median * 1000 for name, times in found.items()}
        slowest = max(medians, key=lambda name: medians[name])
        rows.append(
            Row(
                f"{ns.methods[method].title} of one layer on a traced image, U-Net, 256 × 256 "
                f"(slowest of {len(layers)} layers: {slowest})",
                "",
                medians[slowest],
                None,
                "ms",
                "limit",
                10,
                f"median over layers {statistics.median(medians.values()):.3g} ms; worst single "
                f"call {max(t.worst for t in found.values()) * 1000:.3g} ms",
                [note] if note else [],
            )
        )
    hook.remove()
    assert first == 1, f"{first} forward passes for the first explanation"
    rows.append(
        Row(
            "Forward passes for all of these",
            "",
            forwards - first,
            None,
            "",
            "limit",
            0,
            "counted by a hook on the model",
        )
    )
    return rows


if __name__ == "__main__":
    timing.set_threads()
    hand_over(*main())
