"""What measuring a map costs: deletion and insertion beside bare passes, sanity beside bare maps."""

from __future__ import annotations

import copy
import sys

import torch
from torch import Tensor

import napari_neuroscope as ns
import nets
import timing
from nets import TARGET
from rows import Row, hand_over

BATCH = 16
STAGES = 8
ROUNDS = 7


def curves() -> list[Row]:
    network = nets.wrapped(nets.resnet(18))

    def made(number: int) -> ns.Explanation:
        return ns.explain(network, nets.image(number), "grad_cam", TARGET)

    held = {number: made(number) for number in range(4)}

    def ours(number: int, after: timing.After) -> object:
        def batch_done(done: int, total: int, what: str) -> None:
            if what.startswith(("deletion", "insertion")):
                after(done, total, what)

        return ns.evaluate(
            network, nets.image(number), held[number], ["deletion", "insertion"], batch=BATCH,
            progress=batch_done,
        )  # fmt: skip

    mine, theirs = timing.beside(ours, nets.bare_passes(network, 224), 3)
    return [
        Row.of_times(
            "Deletion and insertion in 50 steps, ResNet-18, 224 × 224",
            f"bare passes forward, as many, in batches of {BATCH}",
            mine,
            theirs,
            "cost",
            1.1,
        )
    ]


def sanity() -> list[Row]:
    rows = []
    for method, layer in (("saliency", None), ("grad_cam", "layer4")):
        model = nets.resnet(18)
        peer = nets.frozen(copy.deepcopy(model)).to(timing.DEVICE)
        network = nets.wrapped(model)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        asked = {
            number: ns.explain(network, nets.image(number), method, TARGET, layer)
            for number in range(2 * (ROUNDS + 1))
        }
        network.traces.clear()

        def ours(number: int, network=network, asked=asked) -> object:
            return ns.evaluate(
                network, nets.image(number), asked[number], ["sanity_check"], stages=STAGES
            )

        def bare(number: int, peer=peer, network=network, layer=layer) -> list[Tensor]:
            x = nets.as_input(network, nets.image(number))
            return [_map(peer, x, layer) for _ in range(STAGES + 1)]

        times = timing.alternate({"ours": ours, "bare": bare}, ROUNDS)
        title = ns.methods[method].title
        rows += [
            Row.of_times(
                f"Sanity check of {title}, {STAGES} stages, ResNet-18, 224 × 224",
                f"the {STAGES + 1} maps, bare",
                times["ours"],
                times["bare"],
                "cost",
                1.2,
            ),
            Row(
                f"Sanity check of {title}: weights and buffers that are not bit for bit as before",
                "",
                float(sum(not torch.equal(v, before[n]) for n, v in model.state_dict().items())),
                None,
                "",
                "limit",
                0,
            ),
        ]
    return rows


def _map(model: torch.nn.Module, x: Tensor, layer: str | None) -> Tensor:
    """Return Grad-CAM at a layer, or the saliency where there is none, and nothing else."""
    if layer is None:
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(model(leaf)[0, TARGET], leaf)[0].abs().amax(1)
    kept: list[Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(
        lambda _, __, output: kept.append(output.requires_grad_())
    )
    score = model(x)[0, TARGET]
    handle.remove()
    gradient = torch.autograd.grad(score, kept[0])[0]
    weights = gradient.mean((2, 3), keepdim=True)
    return (weights * kept[0].detach()).sum(1).relu()


FIGURES = {"curves": curves, "sanity": sanity}

if __name__ == "__main__":
    timing.set_threads()
    hand_over(*FIGURES[sys.argv[1]]())
