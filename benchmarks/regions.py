"""Region methods: beside the splits that they begin with, PAIR's XRAI, and each other."""

from __future__ import annotations

import sys

import numpy as np
import torch
from saliency.core import xrai
from scipy.ndimage import gaussian_filter
from skimage import data
from skimage.segmentation import felzenszwalb
from skimage.transform import resize
from torch import nn
from torch.nn import functional

import napari_neuroscope as ns
import nets
import timing
from napari_neuroscope.engine.images.segments import Candidates, Segmentation, paint
from rows import Row, hand_over

HOW = Segmentation()
ROUNDS = 11
PEER_ROUNDS = 5  # each takes many seconds


def photograph(number: int, height: int, width: int) -> np.ndarray:
    """Return a photograph, uint8 (y, x, rgb), shifted another way for each number."""
    shifted = np.roll(data.astronaut(), (37 * number % 512, 91 * number % 512), (0, 1))
    return (resize(shifted, (height, width), anti_aliasing=True) * 255).astype(np.uint8)


def photographs(count: int, height: int, width: int) -> list[np.ndarray]:
    return [photograph(number, height, width) for number in range(count)]


def light(classes: int) -> ns.Network:
    """Return a segmentation network that takes next to no time: its regions are what is timed."""
    torch.manual_seed(0)
    return nets.wrapped(nn.Conv2d(3, classes, 1).eval(), "segmentation")


def splits() -> list[Row]:
    """Time a segmented score map from image to map beside the splits that it begins with."""
    height, width = 360, 480
    network, pictures = light(4), photographs(2 * (ROUNDS + 2), height, width)
    small = []
    for picture in pictures:
        pixels = torch.from_numpy(picture).permute(2, 0, 1)[None] / 255
        pixels = functional.interpolate(pixels, (168, 224), mode="bilinear", antialias=True)
        pixels = (pixels - pixels.min()) / (pixels.max() - pixels.min()) * 2 - 1
        small.append(pixels[0].permute(1, 2, 0).contiguous().double().numpy())

    def alone(number: int) -> list[np.ndarray]:
        return [
            felzenszwalb(small[number], scale=scale, sigma=HOW.sigma, min_size=HOW.min_size)
            for scale in HOW.scales
        ]

    def ours(number: int) -> np.ndarray:
        return ns.explain(network, pictures[number], "segmented_score_map", 0).values

    times = timing.alternate({"ours": ours, "alone": alone}, ROUNDS, warm_up=2)
    return [
        Row.of_times(
            f"Segmented score map from image to map, {height} × {width}",
            "its six Felzenszwalb splits alone, at 168 × 224",
            times["ours"],
            times["alone"],
            "cost",
            1.5,
            "the network is one 1 × 1 convolution",
        )
    ]


def pair() -> list[Row]:
    """Time the regions of an attribution, from the image to the map, beside PAIR's XRAI."""
    rows = []
    for height, width in ((224, 224), (360, 480)):
        pictures = photographs(3 * (PEER_ROUNDS + 1), height, width)
        noise = np.random.default_rng(0).normal(size=(height, width))
        attribution = gaussian_filter(noise, 8) * 50

        def ours(number: int, pictures=pictures, attribution=attribution) -> np.ndarray:
            image = torch.from_numpy(pictures[number]).permute(2, 0, 1).float()
            segments = Candidates.of_image(image, HOW)
            return paint(torch.from_numpy(attribution), segments).values.numpy()

        def theirs(
            number: int, how: str, masks=None, pictures=pictures, attribution=attribution
        ) -> np.ndarray:
            return xrai.XRAI().GetMask(
                pictures[number].astype(float),
                call_model_function=None,
                segments=masks,
                base_attribution=np.repeat(attribution[..., None], 3, -1),
                extra_parameters=xrai.XRAIParameters(algorithm=how),
            )

        masks = xrai._get_segments_felzenszwalb(pictures[0].astype(float))
        same = paint(torch.from_numpy(attribution), Candidates.of_masks(masks)).values.numpy()
        equal = timing.check_equal(same, theirs(0, "full", masks), "XRAI", 1e-6)
        whole = ours(0), theirs(0, "full")
        notes = [
            f"maps equal to {equal:.1g} of their maximum, of the same {len(masks)} segments",
            f"and to {np.abs(whole[0] - whole[1]).max() / np.abs(whole[1]).max():.1g}, each of its "
            f"own",
        ]
        times = timing.alternate(
            {
                "ours": ours,
                "full": lambda n, theirs=theirs: theirs(n, "full"),
                "fast": lambda n, theirs=theirs: theirs(n, "fast"),
            },
            PEER_ROUNDS,
        )
        rows += [
            Row.of_times(
                f"Regions of one attribution (XRAI without its gradients), {height} × {width}",
                f"PAIR saliency, {how}",
                times["ours"],
                times[how],
                "faster",
                asked,
                *more,
            )
            for how, asked, more in (
                ("full", 10, notes),
                ("fast", 6, ["its fast way leaves overlaps out of account; ours does not"]),
            )
        ]
    return rows


def again() -> list[Row]:
    """Time another class of the same image beside the first."""
    height, width = 360, 480
    network = light(4)
    first, second = timing.Times(), timing.Times()
    for number, picture in enumerate(photographs(ROUNDS + 2, height, width)):
        for times, index in ((first, 0), (second, 1)):

            def ask(_: int, picture=picture, index=index) -> np.ndarray:
                return ns.explain(network, picture, "segmented_score_map", index).values

            seconds = timing.timed(ask, number)
            if number >= 2:
                times.seconds.append(seconds)
    return [
        Row.of_times(
            f"Segmented score map of a second class, {height} × {width}",
            "of the first, on the same image",
            second,
            first,
            "cost",
            0.1,
            "the network is one 1 × 1 convolution",
        )
    ]


def guided() -> list[Row]:
    """Time segments joined by the regions of many classes beside those alone."""
    classes, size = 150, 512
    network, pictures = light(classes), photographs(2 * (ROUNDS + 2), size, size)

    def ours(method: str, number: int) -> np.ndarray:
        return ns.explain(network, pictures[number], method, 0).values

    predicted = len(np.unique(network.predict(pictures[0]).labels))
    times = timing.alternate(
        {
            "guided": lambda n: ours("guided_segmented_score_map", n),
            "plain": lambda n: ours("segmented_score_map", n),
        },
        ROUNDS,
        warm_up=2,
    )
    return [
        Row.of_times(
            f"Guided segmented score map, {classes} classes, {size} × {size}",
            "our segmented score map, each of an image not seen before",
            times["guided"],
            times["plain"],
            "cost",
            2.0,
            f"{predicted} classes predicted in the first image",
            "the network is one 1 × 1 convolution",
        )
    ]


if __name__ == "__main__":
    timing.set_threads()
    hand_over(*{"splits": splits, "pair": pair, "again": again, "guided": guided}[sys.argv[1]]())
