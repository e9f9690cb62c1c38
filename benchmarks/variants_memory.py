"""Peak memory of methods that ask about many variants of an image: set by the batch alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

import napari_neuroscope as ns
import nets
import timing
from memory import MIB, peak_of_tensors
from nets import TARGET
from rows import Row, hand_over

SIDE, BATCH = 64, 16
FEWER = 5


class First(nn.Module):
    """The first channels as they are, the others zero."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x[:, : self.count], torch.zeros_like(x[:, self.count :])], 1)


def main() -> list[Row]:
    network = nets.wrapped(nets.resnet(18))
    picture = nets.image(0, SIDE)
    made = ns.explain(network, picture, "grad_cam", TARGET)

    def explained(method: str, **options: object) -> Callable[[int], object]:
        return lambda _: ns.explain(network, picture, method, TARGET, batch=BATCH, **options)

    def measured(metric: str, **options: object) -> Callable[[int], object]:
        return lambda _: ns.evaluate(network, picture, made, [metric], batch=BATCH, **options)

    def through(method: str, channels: int) -> Callable[[int], object]:
        model = nets.resnet(18)
        model.layer4 = nn.Sequential(model.layer4, First(channels))
        own = nets.wrapped(model)

        def fresh(_: int) -> object:
            own.traces.clear()
            return ns.explain(own, picture, method, TARGET, "layer4", batch=BATCH)

        return fresh

    sides = {
        "RISE, 320 masks": [explained("rise", masks=n) for n in (320, 320 // FEWER)],
        "Occlusion, 400 windows": [
            explained("occlusion", window=9, stride=stride) for stride in (3, 9)
        ],
        "Score-CAM, 512 channels": [through("score_cam", n) for n in (512, 64)],
        "Ablation-CAM, 512 channels": [through("ablation_cam", n) for n in (512, 64)],
        "Integrated gradients, 160 steps": [
            explained("integrated_gradients", steps=n) for n in (160, 160 // FEWER)
        ],
        "Deletion, 320 steps": [measured("deletion", steps=n) for n in (320, 320 // FEWER)],
        "Infidelity, 320 boxes": [measured("infidelity", samples=n) for n in (320, 320 // FEWER)],
    }
    return [_row(what, *both) for what, both in sides.items()]


def _row(what: str, many: Callable[[int], object], few: Callable[[int], object]) -> Row:
    many(0)
    few(0)
    held = [peak_of_tensors(side, 0) / MIB for side in (many, few)]
    return Row(
        f"Peak of what tensors hold: {what} in batches of {BATCH}, ResNet-18, {SIDE} × {SIDE}",
        "at most a fifth as many, also in whole batches",
        *held,
        "MiB",
        "cost",
        1.02,
    )


if __name__ == "__main__":
    timing.set_threads()
    hand_over(*main())
