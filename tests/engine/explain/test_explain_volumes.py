"""Networks over one and three axes, each of another length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import napari_neuroscope as ns
from closeness import assert_close
from napari_neuroscope.engine.evaluation.metric_registry import metrics
from napari_neuroscope.engine.explain.cost import cost_of
from napari_neuroscope.engine.explain.instances import explain_instances
from napari_neuroscope.engine.passes.baselines import baseline_of
from networks import Pixelwise, as_network, settled


class Volume(nn.Module):
    """A 3-D network with a pooling over rows and columns alone."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, 4, 3, padding=1)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool3d((1, 2, 2))
        self.deep = nn.Conv3d(4, 4, (1, 3, 3), padding=(0, 1, 1))
        self.up = nn.Upsample(scale_factor=(1, 2, 2))
        self.head = nn.Conv3d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.deep(self.pool(self.relu(self.conv(x)))))
        return self.head(self.up(y))


SHAPE = (5, 8, 12)  # depth, height and width


@pytest.fixture
def volume(rng: np.random.Generator) -> np.ndarray:
    return rng.random(SHAPE, dtype=np.float32)


@pytest.fixture
def network() -> ns.Network:
    return as_network(settled(Volume()), "segmentation", axes="bczyx")


@pytest.mark.parametrize(
    ("method", "more", "shape"),
    [
        ("saliency", {}, SHAPE),
        ("guided_backprop", {}, SHAPE),
        ("integrated_gradients", {"steps": 3, "baseline": "blur"}, SHAPE),
        ("smooth_grad", {"samples": 3}, SHAPE),
        ("grad_cam", {"layer": "deep"}, (5, 4, 6)),
        ("grad_cam", {"layer": ["conv", "deep"]}, (2, *SHAPE)),
        ("guided_grad_cam", {"layer": "deep"}, SHAPE),
        ("grad_cam_plus_plus", {"layer": "pool"}, (5, 4, 6)),
        ("score_map", {}, SHAPE),
        ("activation", {"layer": "deep"}, (4, 5, 4, 6)),
    ],
)
def test_axes_keep_their_places(
    method: str, more: Any, shape: Any, network: ns.Network, volume: np.ndarray
) -> None:
    found = ns.explain(network, volume, method, 1, **more)
    assert found.axes[-3:] == ("z", "y", "x")
    assert found.values.shape == shape
    assert found.on_image().shape[-3:] == SHAPE
    assert len(found.grid.scale) == 3


def test_a_region_in_a_volume(network: ns.Network, volume: np.ndarray) -> None:
    mask = np.zeros(SHAPE, bool)
    mask[1:3, 2:5, 6:11] = True
    found = ns.explain(network, volume, "saliency", ns.Target(1, mask), channels="keep").values
    x = torch.from_numpy(volume)[None, None].requires_grad_()
    score = (settled(Volume())(x)[0, 1] * torch.from_numpy(mask)).sum()
    assert_close(found, torch.autograd.grad(score, x)[0][0].numpy())
    points = [(4, 6, 11), (2, 5, 3), (0, 1, 8), (3, 2, 0)]
    targets = [ns.Target(1, point) for point in points]
    found = ns.explain(network, volume, "saliency", targets, channels="keep").values
    scores = [settled(Volume())(x)[(0, 1, *point)] for point in points]
    expected = [torch.autograd.grad(score, x)[0][0].numpy() for score in scores]
    assert_close(found, expected)


def test_channels_of_a_volume_come_first_or_last(rng: np.random.Generator) -> None:
    network = as_network(settled(Volume(2)), "segmentation", axes="bczyx")
    volume = rng.random((2, *SHAPE), dtype=np.float32)
    first = ns.explain(network, volume, "saliency", 1).values
    last = ns.explain(network, np.moveaxis(volume, 0, -1), "saliency", 1).values
    np.testing.assert_array_equal(first, last)


def test_a_volume_is_resized_along_each_axis(volume: np.ndarray) -> None:
    network = as_network(settled(Volume()), "segmentation", axes="bczyx", size=(10, 4, 6))
    found = ns.explain(network, volume, "saliency", 1)
    assert found.values.shape == (10, 4, 6)
    assert found.grid.scale == (0.5, 2.0, 2.0)
    assert found.on_image().shape == SHAPE


def test_planes_turned_in_a_volume(volume: np.ndarray) -> None:
    """Axes in another order in the image."""
    straight = as_network(settled(Volume()), "segmentation", axes="bczyx", image_axes="zyx")
    turned = as_network(settled(Volume()), "segmentation", axes="bczyx", image_axes="xzy")
    expected = ns.explain(straight, volume, "saliency", 1)
    found = ns.explain(turned, volume.transpose(2, 0, 1), "saliency", 1)
    assert found.axes == expected.axes
    np.testing.assert_array_equal(found.values, expected.values)


def test_one_axis(rng: np.random.Generator) -> None:
    network = as_network(settled(Pixelwise(axes=1)), "segmentation", axes="bcx")
    signal = rng.random(40)
    found = ns.explain(network, signal, "grad_cam", 1, "relu", relu=False)
    assert found.axes == ("x",)
    assert found.values.shape == (40,)
    assert ns.explain(network, signal, "saliency", ns.Target(1, (7,))).values[6:9].any()


@pytest.mark.parametrize("shape", [(8, 32), (32, 8), (4, 100)])
def test_oblong_images(shape: tuple[int, int], rng: np.random.Generator) -> None:
    network = as_network(settled(Pixelwise()), "segmentation")
    image = rng.random(shape)
    for method, more in (("saliency", {}), ("grad_cam", {"layer": "relu"}), ("score_map", {})):
        assert ns.explain(network, image, method, 1, **more).values.shape == shape


# --- voxels that are longer along z ---


STEPS = (2.0, 0.5, 0.5)


def anisotropic(**more: Any) -> ns.Network:
    spec = {"task": "segmentation", "pixel_size": STEPS,
            "input": {"value_range": (0, 1), "axes": "bczyx"}, **more}  # fmt: skip
    return ns.wrap(settled(Volume()), spec, device="cpu")


def test_one_number_is_the_same_length_along_all_axes(volume: np.ndarray) -> None:
    network = anisotropic()
    assert network.spec.steps == (4, 1, 1)
    for one, each in (({"window": 8, "stride": 4}, {"window": (2, 8, 8), "stride": (1, 4, 4)}),
                      ({"window": 2, "stride": 2}, {"window": (1, 2, 2), "stride": (1, 2, 2)})):  # fmt: skip
        found = ns.explain(network, volume, "occlusion", 1, **one)
        expected = ns.explain(network, volume, "occlusion", 1, **each)
        np.testing.assert_array_equal(found.values, expected.values)
    plain = as_network(settled(Volume()), "segmentation", axes="bczyx")
    found = ns.explain(plain, volume, "occlusion", 1, window=2, stride=2)
    expected = ns.explain(plain, volume, "occlusion", 1, window=(2, 2, 2), stride=(2, 2, 2))
    np.testing.assert_array_equal(found.values, expected.values)


def test_the_cost_counts_windows_along_each_axis(volume: np.ndarray) -> None:
    network = anisotropic()
    network.discover(volume)

    def windows(steps: Any = (), **options: Any) -> int:
        method = ns.methods["occlusion"]
        cost = cost_of(method, options, network.layers, SHAPE, steps=steps)
        assert cost is not None
        return cost.forward - 1

    assert windows(window=4, stride=2) == 2 * 3 * 5
    assert windows(network.spec.steps, window=4, stride=2) == 5 * 3 * 5
    assert windows(window=(5, 4, 6), stride=(5, 2, 3)) == 1 * 3 * 3
    asked = {"window": (4, 4), "stride": 2}
    assert cost_of(ns.methods["occlusion"], asked, network.layers, SHAPE) is None


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("occlusion", {"window": (4, 4)}, "window has 2 numbers.* along 3 axes"),
        ("rise", {"cells": (2, 2, 2, 2)}, "cells has 4 numbers"),
        ("occlusion", {"window": (2, 4, 4), "stride": (3, 4, 4)}, "stride of at most 2"),
        ("occlusion", {"window": ()}, "can't take window"),
        ("occlusion", {"window": (2, 0, 2)}, "can't take window"),
        ("xrai", {}, "splits images of two axes.*Integrated gradients comes nearest"),
        ("segmented_score_map", {}, "splits images of two axes.*Score map comes nearest"),
    ],
)
def test_what_does_not_fit_a_volume(
    method: str, options: Any, words: str, network: ns.Network, volume: np.ndarray
) -> None:
    with pytest.raises(ns.NeuroscopeError, match=words):
        ns.explain(network, volume, method, 1, **options)


@pytest.mark.parametrize(
    ("sizes", "words"), [((1, 0.5), "2 numbers.* have 3 spatial"), ((1, -1, 1), "above zero")]
)
def test_a_pixel_size_that_fits_no_network(sizes: Any, words: str) -> None:
    with pytest.raises(ns.NeuroscopeError, match=words):
        anisotropic(pixel_size=sizes)


def test_the_blur_is_as_wide_along_all_axes() -> None:
    """A line along each axis is spread over the same length of the world."""
    network = anisotropic()
    shape = (21, 60, 60)
    spot = np.zeros(shape, np.float32)
    spot[10, 30, 30] = 1
    blurred = baseline_of(network.trace(spot), "blur")[0].numpy()
    spread = []
    for axis, step in enumerate(STEPS):
        others = tuple(other for other in range(3) if other != axis)
        line, at = blurred.sum(others), np.arange(shape[axis]) * step
        line = line / line.sum()
        spread.append((line * (at - line @ at) ** 2).sum() ** 0.5)
    assert_close(spread, np.full(3, 0.08 * 60 * STEPS[1]), 0.05)


def test_a_thin_stack_is_blurred_along_rows_and_columns_all_the_same() -> None:
    network = as_network(settled(Volume()), "segmentation", axes="bczyx")
    checks = np.indices((3, 60, 60)).sum(0) // 3 % 2
    blurred = baseline_of(network.trace(checks.astype(np.float32)), "blur")[0, 1]
    assert np.ptp(blurred.numpy()[15:-15, 15:-15]) < 0.01


class Verdict(nn.Module):
    """A classifier of volumes."""

    def __init__(self) -> None:
        super().__init__()
        self.volume = Volume()

    def forward(self, x: Tensor) -> Tensor:
        return self.volume(x).mean((2, 3, 4))


FEWER: dict[str, Any] = {
    "occlusion": {"window": 4, "stride": 4},
    "rise": {"masks": 20, "cells": 3},
    "smooth_grad": {"samples": 3},
    "integrated_gradients": {"steps": 3},
}


@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_every_method_lies_on_the_volume_or_says_why_not(task: str, volume: np.ndarray) -> None:
    model = settled(Volume() if task == "segmentation" else Verdict())
    network = as_network(model, task, axes="bczyx")
    network.discover(volume)
    refused = set()
    for name, method in ns.methods.items():
        if network.why_not(method):
            refused.add(name)
            continue
        target = 1 if ns.Needs.TARGET in method.needs else None
        found = ns.explain(network, volume, name, target, **FEWER.get(name, {}))
        assert np.isfinite(found.values).all()
        if not found.is_table:
            assert found.axes[-3:] == ("z", "y", "x")
            assert found.on_image().shape[-3:] == SHAPE
    split = {"segmented_score_map", "guided_segmented_score_map", "xrai"}
    of_pixels = {"fusion_score_map", "similarity_map", "segmented_score_map"}
    assert refused - {"attention_rollout"} == (
        split if task == "segmentation" else split | of_pixels
    )


def test_maps_of_volumes_are_measured(network: ns.Network, volume: np.ndarray) -> None:
    truth = np.zeros(SHAPE, int)
    truth[1:4, 2:6, 3:9] = 1
    maps = [ns.explain(network, volume, "saliency", 1),
            ns.explain(network, volume, "grad_cam", 1, "conv", relu=False)]  # fmt: skip
    found = ns.evaluate(network, volume, maps, metrics=list(metrics), ground_truth=truth)
    for row in found.rows:
        assert set(row.values) == set(metrics)
        assert all(np.isfinite(figure) for figure in row.values.values()), row.values


def test_what_is_near_an_instance_is_near_in_the_world(volume: np.ndarray) -> None:
    labels = np.zeros(SHAPE, int)
    labels[2, 3:5, 5:8] = 1
    for network, planes in (
        (anisotropic(), [2]),
        (as_network(settled(Volume()), "segmentation", axes="bczyx"), [1, 2, 3]),
    ):
        (answer,) = explain_instances(network, volume, labels, "saliency", margin=1)
        index = network.class_names.index(answer.class_)
        made = ns.explain(network, volume, "saliency", ns.Target(index, labels == 1)).values
        near = np.zeros(SHAPE, bool)
        near[2, 2:6, 5:8] = near[2, 3:5, 4:9] = True
        for plane in planes:
            near[plane] |= labels[2] == 1
        assert answer.near == pytest.approx(made[near].sum() / made.sum(), rel=1e-4)
