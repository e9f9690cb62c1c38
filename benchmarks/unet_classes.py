"""Eleven classes and all layers of a U-Net beside eleven backward passes by hand."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

import napari_neuroscope as ns
import nets
import timing
from rows import Row, hand_over

CLASSES = list(range(11))
SIZE = 256


def main() -> list[Row]:
    model = nets.unet(len(CLASSES))
    peer = nets.frozen(copy.deepcopy(model))
    network = nets.wrapped(model, "segmentation")
    layers = network.layers.select("all")
    # What is in no module, the concatenations, can't be hooked: the peer has that much less to do.
    modules = [name for name in layers if name in dict(peer.named_modules())]
    edges: dict[str, GradientEdge] = {}
    values: dict[str, Tensor] = {}
    keep_values = False

    def keep(name: str) -> object:
        def hook(_: object, __: object, output: Tensor) -> None:
            # The edge, not the tensor: the ReLU that follows works in place.
            edges[name] = get_gradient_edge(output)
            if keep_values:
                values[name] = output.detach().clone()

        return hook

    for name in modules:
        peer.get_submodule(name).register_forward_hook(keep(name))

    def forward(number: int) -> Tensor:
        return peer(nets.as_input(network, nets.image(number, SIZE)).requires_grad_())

    def backward(output: Tensor, index: int, *, retain: bool) -> tuple[Tensor, ...]:
        return torch.autograd.grad(
            output[0, index].sum(), [edges[n] for n in modules], retain_graph=retain,
            allow_unused=True,
        )  # fmt: skip

    def ours(number: int, **options: object) -> np.ndarray:
        picture = nets.image(number, SIZE)
        return ns.explain(network, picture, "grad_cam", CLASSES, layer="all", **options).values

    def shared(number: int) -> None:
        output = forward(number)
        for index in CLASSES:
            backward(output, index, retain=True)

    def separate(number: int) -> None:
        for index in CLASSES:
            backward(forward(number), index, retain=False)

    def shared_maps(number: int) -> None:
        output = forward(number)
        for index in CLASSES:
            for name, g in zip(modules, backward(output, index, retain=True), strict=True):
                if g is not None:
                    torch.einsum("c,cyx->yx", g[0].mean((1, 2)), values[name][0])

    keep_values = True
    maps, worst = ours(1000, relu=False), 0.0
    output = forward(1000)
    for row, index in zip(maps, CLASSES, strict=True):
        for name, gradient in zip(modules, backward(output, index, retain=True), strict=True):
            activation = values[name][0]
            weights = torch.zeros(len(activation)) if gradient is None else gradient[0].mean((1, 2))
            theirs = torch.einsum("c,cyx->yx", weights, activation)
            worst = max(
                worst,
                timing.check_equal(
                    row[layers.index(name)],
                    nets.on_grid([theirs], row.shape[1:])[0],
                    f"class {index}, {name}",
                ),
            )
    keep_values = False
    times = timing.alternate(
        {"ours": ours, "shared": shared, "separate": separate, "maps": shared_maps}, 7
    )
    what = f"Grad-CAM of 11 classes × all {len(layers)} layers of a U-Net, {SIZE} × {SIZE}"
    notes = [
        f"maps equal to {worst:.1g} of their maximum",
        f"the peer takes gradients of the {len(modules)} layers that are modules",
    ]
    return [
        Row.of_times(
            what,
            name,
            times["ours"],
            times[side],
            kind,
            1.0 if kind == "cost" else None,
            *notes,
        )
        for side, name, kind in (
            ("separate", "11 times a forward and a backward pass, no maps made", "cost"),
            ("shared", "one forward and 11 backward passes, no maps made", "cost"),
            ("maps", "the same with the maps, not resampled to one grid", "note"),
        )
    ]


if __name__ == "__main__":
    timing.set_threads()
    hand_over(*main())
