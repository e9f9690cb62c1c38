"""Score-CAM beside bare passes, and Ablation-CAM beside pytorch-grad-cam, at the end of ResNet-18."""

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

BATCH = 16
LAYER = "layer4"
CLASSES = list(range(TARGET, TARGET + 20))


def score_cam() -> list[Row]:
    rows = [
        _score_cam(
            f"Score-CAM of {words}, the 512 channels at the end of ResNet-18, 224 × 224",
            nets.wrapped(nets.resnet(18)),
            224,
            targets,
            rounds=2,
        )
        for words, targets in (("one class", TARGET), ("20 classes", CLASSES))
    ]
    network = nets.wrapped(nets.unet(11), "segmentation")
    y, x = np.indices((128, 128)) // 32
    regions = ["everywhere", y == 1, (y + x) % 2 == 0]
    questions = [ns.Target(n, region, reduce="mean") for n in range(11) for region in regions]
    return [
        *rows,
        _score_cam(
            "Score-CAM of 11 classes × 3 regions, the 128 channels at the bottom of a U-Net, "
            "128 × 128",
            network,
            128,
            questions,
            rounds=5,
            layer="enc4",
        ),
    ]


def _score_cam(
    what: str, network: ns.Network, side: int, targets: object, *, rounds: int, layer: str = LAYER
) -> Row:
    bare = nets.bare_passes(network, side)
    asked = 0

    def ours(number: int, after: timing.After) -> object:
        def batch_done(done: int, total: int, what: str) -> None:
            nonlocal asked
            if what == "Score-CAM":
                asked = total
                after(done, total, what)

        return ns.explain(
            network, nets.image(number, side), "score_cam", targets, layer, batch=BATCH,
            progress=batch_done,
        )  # fmt: skip

    mine, theirs = timing.beside(ours, bare, rounds)
    return Row.of_times(
        what,
        "bare passes forward, as many, in batches of 16",
        mine,
        theirs,
        "cost",
        1.1,
        f"{asked} passes: a channel that is the same everywhere takes none",
    )


def ablation_cam() -> Row:
    batch = 64
    network = nets.wrapped(nets.resnet(18))
    what = "Ablation-CAM of the 512 channels at the end of ResNet-18, 224 × 224"

    model = nets.resnet(18).to(timing.DEVICE)
    # The peer divides by the score, and turns the map of a negative one round; ours does not.
    target = int(model(nets.as_input(network, nets.image(1000)))[0].argmax())

    def ours(number: int) -> np.ndarray:
        picture = nets.image(number)
        return ns.explain(network, picture, "ablation_cam", target, LAYER, batch=batch).values

    if not nets.installed("pytorch_grad_cam"):
        times = timing.alternate({"ours": ours}, 9)
        return Row.alone(what, times["ours"], "pytorch-grad-cam is not installed")

    from pytorch_grad_cam import AblationCAM
    from pytorch_grad_cam.utils.image import scale_cam_image
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    def peer(number: int) -> np.ndarray:
        # Its layer is put in the model's place of the layer, and taken out: a model of its own.
        own = copy.deepcopy(model)
        cam = AblationCAM(own, [own.layer4])
        cam.batch_size = batch
        x = nets.as_input(network, nets.image(number))
        return cam(input_tensor=x, targets=[ClassifierOutputTarget(target)])[0]

    # The peer scales each map to 0..1 and to the input's size: its own function does it to ours.
    scaled = scale_cam_image(scale_cam_image(ours(1000)[None], (224, 224)))[0]
    equal = timing.check_equal(scaled, peer(1000), "Ablation-CAM", 1e-3)
    network.traces.clear()
    times = timing.alternate({"ours": ours, "peer": peer}, 2, warm_up=0, each={"ours": 9})
    return Row.of_times(
        what,
        f"pytorch-grad-cam, in batches of {batch}",
        times["ours"],
        times["peer"],
        "faster",
        100,
        f"maps equal to {equal:.1g} of their maximum",
    )


FIGURES = {"score-cam": score_cam, "ablation-cam": lambda: [ablation_cam()]}

if __name__ == "__main__":
    timing.set_threads()
    with torch.no_grad():
        hand_over(*FIGURES[sys.argv[1]]())
