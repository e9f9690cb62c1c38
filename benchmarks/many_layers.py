"""Grad-CAM of all 53 convolutions of ResNet-50: one pass, or one layer at a time."""

from __future__ import annotations

import copy
import sys

import numpy as np
import torch

import napari_neuroscope as ns
import nets
import timing
from nets import TARGET
from rows import Row, hand_over

WHAT = "Grad-CAM of the 53 convolutions of ResNet-50, 224 × 224"


class Sides:
    """Ours and the peers, on the same weights."""

    def __init__(self) -> None:
        model = nets.resnet(50)
        self.peer = copy.deepcopy(model)
        self.network = nets.wrapped(model)
        self.layers = self.network.layers.of_kind("convolution")
        assert len(self.layers) == 53

    def x(self, number: int) -> torch.Tensor:
        return nets.as_input(self.network, nets.image(number))

    def ours(self, number: int, **options: object) -> np.ndarray:
        picture = nets.image(number)
        return ns.explain(
            self.network, picture, "grad_cam", TARGET, layer=self.layers, **options
        ).values

    def captum(self, number: int) -> list[torch.Tensor]:
        from captum.attr import LayerGradCam

        x = self.x(number)
        return [
            LayerGradCam(self.peer, self.peer.get_submodule(name))
            .attribute(x, TARGET)
            .detach()[0, 0]
            for name in self.layers
        ]

    def pytorch_grad_cam(self, number: int) -> list[np.ndarray]:
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        x, maps = self.x(number), []
        for name in self.layers:
            with GradCAM(self.peer, [self.peer.get_submodule(name)]) as cam:
                maps.append(cam(input_tensor=x, targets=[ClassifierOutputTarget(TARGET)])[0])
        return maps

    def one_pass(self, number: int) -> torch.Tensor:
        x = self.x(number).requires_grad_()
        return torch.autograd.grad(self.peer(x)[0, TARGET], x)[0]


def against_captum(sides: Sides) -> Row:
    signed = sides.ours(1000, relu=False)
    theirs = nets.on_grid(sides.captum(1000), signed.shape[1:])
    worst = max(
        timing.check_equal(a, b, name)
        for a, b, name in zip(signed, theirs, sides.layers, strict=True)
    )
    times = timing.alternate(
        {"ours": sides.ours, "peer": sides.captum}, 5, warm_up=1, each={"ours": 5}
    )
    return Row.of_times(
        WHAT,
        "captum LayerGradCam, one layer at a time",
        times["ours"],
        times["peer"],
        "faster",
        25,
        f"maps equal to {worst:.1g} of their maximum",
    )


def against_pytorch_grad_cam(sides: Sides) -> Row:
    from pytorch_grad_cam.utils.image import scale_cam_image

    # The peer scales each map to 0..1 and to the input's size: its own function does it to ours.
    worst = 0.0
    for name, theirs in zip(sides.layers, sides.pytorch_grad_cam(1000), strict=True):
        single = ns.explain(sides.network, nets.image(1000), "grad_cam", TARGET, layer=name).values
        scaled = scale_cam_image(scale_cam_image(single[None], (224, 224)))[0]
        worst = max(worst, timing.check_equal(scaled, theirs, name, 1e-4))
    sides.network.traces.clear()
    times = timing.alternate(
        {"ours": sides.ours, "peer": sides.pytorch_grad_cam}, 3, warm_up=0, each={"ours": 9}
    )
    return Row.of_times(
        WHAT,
        "pytorch-grad-cam, one layer at a time",
        times["ours"],
        times["peer"],
        "faster",
        50,
        f"maps equal to {worst:.1g} of their maximum",
    )


def against_one_pass(sides: Sides) -> Row:
    nets.frozen(sides.peer)
    times = timing.alternate({"ours": sides.ours, "peer": sides.one_pass}, 25, warm_up=3)
    return Row.of_times(
        WHAT,
        "one bare forward and backward pass to the input, parameters frozen",
        times["ours"],
        times["peer"],
        "cost",
        1.15,
    )


FIGURES = {
    "captum": against_captum,
    "pytorch-grad-cam": against_pytorch_grad_cam,
    "one-pass": against_one_pass,
}

if __name__ == "__main__":
    timing.set_threads()
    hand_over(FIGURES[sys.argv[1]](Sides()))
