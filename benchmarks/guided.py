"""Guided backpropagation beside the plain gradient, both from an image not seen before."""

from __future__ import annotations

import copy
import sys

import numpy as np
import torch
from captum.attr import GuidedBackprop

import napari_neuroscope as ns
import nets
import timing
from nets import TARGET
from rows import Row, hand_over


def main(depth: int) -> list[Row]:
    model = nets.resnet(depth)
    peer = nets.frozen(copy.deepcopy(model))
    network = nets.wrapped(model)

    def ours(method: str, number: int, channels: str) -> np.ndarray:
        picture = nets.image(number)
        return ns.explain(network, picture, method, TARGET, channels=channels).values

    def plain(number: int) -> torch.Tensor:
        x = nets.as_input(network, nets.image(number)).requires_grad_()
        return torch.autograd.grad(peer(x)[0, TARGET], x)[0]

    x = nets.as_input(network, nets.image(1000))
    theirs = GuidedBackprop(copy.deepcopy(peer)).attribute(x.requires_grad_(), TARGET)
    equal = timing.check_equal(
        ours("guided_backprop", 1000, "keep"), theirs.detach().numpy()[0], "guided"
    )
    timing.check_equal(ours("saliency", 1000, "keep"), plain(1000).numpy()[0], "plain")
    times = timing.alternate(
        {
            "guided": lambda n: ours("guided_backprop", n, "signed_max"),
            "saliency": lambda n: ours("saliency", n, "max_abs"),
            "bare": plain,
        },
        21,
        warm_up=3,
    )
    what = f"Guided backpropagation, ResNet-{depth}, 224 × 224"
    return [
        Row.of_times(
            what,
            name,
            times["guided"],
            times[side],
            "cost",
            1.15,
            f"maps equal to captum's to {equal:.1g} of their maximum",
        )
        for side, name in (
            ("saliency", "our plain gradient (saliency)"),
            ("bare", "the bare gradient, parameters frozen"),
        )
    ]


if __name__ == "__main__":
    timing.set_threads()
    hand_over(*main(int(sys.argv[1])))
