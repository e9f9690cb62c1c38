"""What must hold of explanations whatever the network and the image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from closeness import assert_close
from networks import GapLinear, Pixelwise, ResNet, UNet, as_network, settled


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((16, 16, 3)).astype(np.float32)


def segmenter() -> ns.Network:
    return as_network(settled(UNet()), "segmentation")


# --- linearity over regions ---


@pytest.mark.parametrize(
    ("method", "options"),
    [("grad_cam", {"relu": False, "layer": "bottom"}), ("saliency", {"channels": "keep"})],
)
def test_the_whole_is_the_sum_of_its_parts(
    method: str, options: dict[str, Any], image: np.ndarray
) -> None:
    network = segmenter()
    whole = ns.explain(network, image, method, ns.Target(1, "everywhere"), **options).values
    quarters = np.indices((16, 16)) // 8
    parts = [
        ns.explain(
            network, image, method, ns.Target(1, (quarters == [[[a]], [[b]]]).all(0)), **options
        )
        for a in (0, 1)
        for b in (0, 1)
    ]
    assert_close(sum(part.values for part in parts), whole)


def test_the_whole_is_the_sum_of_its_points(rng: np.random.Generator) -> None:
    network = as_network(settled(Pixelwise()), "segmentation")
    image = rng.random((5, 6))
    for method, options in (
        ("grad_cam", {"relu": False, "layer": "relu"}),
        ("saliency", {"channels": "keep"}),
    ):
        whole = ns.explain(network, image, method, ns.Target(1, "everywhere"), **options).values
        points = [ns.Target(1, (y, x)) for y in range(5) for x in range(6)]
        each = ns.explain(network, image, method, points, **options).values
        assert_close(each.sum(0), whole)


def test_predicted_regions_of_all_classes_are_everywhere(image: np.ndarray) -> None:
    network = segmenter()
    labels = network.predict(image).labels
    assert len(np.unique(labels)) == 3, "a class that is nowhere makes no region"
    for index in range(3):
        by_name = ns.explain(network, image, "saliency", ns.Target(index, "predicted"))
        by_mask = ns.explain(network, image, "saliency", ns.Target(index, labels == index))
        np.testing.assert_array_equal(by_name.values, by_mask.values)


def test_the_mean_is_the_sum_over_the_number(image: np.ndarray) -> None:
    network, mask = segmenter(), np.indices((16, 16)).sum(0) < 9
    summed = ns.explain(network, image, "saliency", ns.Target(0, mask)).values
    averaged = ns.explain(network, image, "saliency", ns.Target(0, mask, reduce="mean")).values
    assert_close(averaged * mask.sum(), summed)


def test_ground_truth_and_instances_are_masks(image: np.ndarray) -> None:
    network = segmenter()
    labels = np.indices((16, 16)).sum(0) // 8
    expected = ns.explain(network, image, "saliency", ns.Target(1, labels == 1)).values
    truth = ns.explain(
        network, image, "saliency", ns.Target(1, "ground_truth"), ground_truth=labels
    )
    np.testing.assert_array_equal(truth.values, expected)
    instance = ns.explain(network, image, "saliency", ns.Target(1, ns.Instance(labels, 1)))
    np.testing.assert_array_equal(instance.values, expected)


def test_both_classes_of_one_channel_are_opposite(rng: np.random.Generator) -> None:
    network = as_network(settled(Pixelwise(classes=1)), "segmentation", ["cell"])
    image = rng.random((8, 8))
    for method, options in (
        ("grad_cam", {"relu": False, "layer": "relu"}),
        ("saliency", {"channels": "keep"}),
    ):
        cell = ns.explain(network, image, method, "cell", **options).values
        background = ns.explain(network, image, method, "background", **options).values
        assert np.abs(cell).max() > 0
        np.testing.assert_array_equal(background, -cell)


# --- equivariance ---


def symmetric(model: nn.Module) -> nn.Module:
    """Make kernels their own mirror images."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.kernel_size[1] > 1:
                module.weight.add_(module.weight.flip(-1)).mul_(0.5)
    return model


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("saliency", {}),
        ("guided_backprop", {}),
        ("grad_cam", {"layer": "bottom", "relu": False}),
        ("grad_cam_plus_plus", {"layer": "bottom"}),
        ("guided_grad_cam", {"layer": "dec2"}),
        ("score_map", {}),
    ],
)
def test_a_mirrored_image_has_a_mirrored_map(
    method: str, options: dict[str, Any], image: np.ndarray
) -> None:
    network = as_network(symmetric(settled(UNet())), "segmentation")
    straight = ns.explain(network, image, method, 1, **options).values
    mirrored = ns.explain(network, image[:, ::-1], method, 1, **options).values
    assert_close(mirrored, straight[:, ::-1])
    assert np.abs(straight - straight[:, ::-1]).max() > 1e-3 * np.abs(straight).max()


@pytest.mark.parametrize("method", ["saliency", "guided_backprop", "grad_cam", "guided_grad_cam"])
def test_a_shifted_image_has_a_shifted_map(method: str, rng: np.random.Generator) -> None:
    network = as_network(settled(Pixelwise(padding_mode="circular")), "segmentation")
    image = rng.random((9, 12))
    more = {} if method in ("saliency", "guided_backprop") else {"layer": "relu"}
    here = ns.explain(network, image, method, 2, **more).values
    there = ns.explain(network, np.roll(image, (2, 5), (0, 1)), method, 2, **more).values
    assert_close(there, np.roll(here, (2, 5), (0, 1)))


# --- the same by another way ---


def test_grad_cam_is_cam_over_the_number_of_positions(rng: np.random.Generator) -> None:
    network = as_network(settled(GapLinear()))
    image = rng.random((7, 9))
    for index in range(3):
        by_gradient = ns.explain(network, image, "grad_cam", index, "relu", relu=False).values
        by_weights = ns.explain(network, image, "score_map", index).values
        assert_close(by_gradient * 63, by_weights)


def test_cam_sums_to_the_score(rng: np.random.Generator) -> None:
    model = settled(ResNet())
    network = as_network(model)
    image = rng.random((16, 16, 3))
    cam = ns.explain(network, image, "score_map", 1)
    score = model.fc.bias[1].item() + cam.values.mean(dtype=np.float64)
    assert score == pytest.approx(cam.provenance["table"]["logit"][1], abs=1e-5)


@pytest.mark.parametrize("method", ["saliency", "guided_backprop", "grad_cam_plus_plus"])
def test_double_and_single_precision_agree(method: str, image: np.ndarray) -> None:
    more = {"layer": "enc2"} if "cam" in method else {}
    single = ns.explain(segmenter(), image, method, 1, **more).values
    double = as_network(settled(UNet()).double(), "segmentation")
    assert_close(ns.explain(double, image, method, 1, **more).values, single)


def test_double_precision_is_used(rng: np.random.Generator) -> None:
    """Finite differences of a double network agree to what single precision can't show."""
    model = settled(Pixelwise(activation=nn.Softplus())).double()
    network = as_network(model, "segmentation")
    image = rng.random((4, 5)).astype(np.float32)
    everywhere = ns.Target(0, "everywhere")
    gradient = ns.explain(network, image, "saliency", everywhere, channels="keep").values[0]
    x = torch.from_numpy(image).double()[None, None]
    step = 1e-5
    for y, column in ((0, 0), (2, 3), (3, 4)):
        ends = []
        for sign in (-1, 1):
            moved = x.clone()
            moved[0, 0, y, column] += sign * step
            with torch.no_grad():
                ends.append(float(model(moved)[:, 0].sum()))
        assert gradient[y, column] == pytest.approx((ends[1] - ends[0]) / (2 * step), rel=1e-6)


@pytest.mark.parametrize("keep", ["asked", "everything"])
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("saliency", {}),
        ("guided_backprop", {}),
        ("grad_cam", {"layer": "enc2", "relu": False}),
        ("grad_cam", {"layer": ["enc*", "bottom", "cat"], "relu": False}),
        ("guided_grad_cam", {"layer": "all"}),
        ("score_map", {}),
    ],
)
def test_several_classes_are_one_at_a_time(
    method: str, options: dict[str, Any], keep: Any, image: np.ndarray
) -> None:
    together = ns.explain(segmenter(), image, method, [2, 0, 1], keep=keep, **options)
    assert together.axes[0] == "class"
    assert together.labels["class"] == ("2", "0", "1")
    for values, index in zip(together.values, (2, 0, 1), strict=True):
        alone = ns.explain(segmenter(), image, method, index, keep=keep, **options)
        assert_close(values, alone.values)


LAYERS = ["enc1.0", "enc1", "max_pool2d", "bottom.2", "up2", "cat", "dec2.4", "cat_2", "head"]


@pytest.mark.parametrize("method", ["grad_cam", "grad_cam_plus_plus", "guided_grad_cam"])
@pytest.mark.parametrize("kind", [UNet, ResNet])
def test_layers_at_once_are_one_at_a_time(method: str, kind: Any, image: np.ndarray) -> None:
    """Streamed, by one backward pass that drops each gradient, or kept, or asked one by one."""

    def network() -> ns.Network:
        return as_network(settled(kind()), "segmentation" if kind is UNet else "classification")

    streamed = ns.explain(network(), image, method, 1, "all", keep="asked")
    kept = ns.explain(network(), image, method, 1, "all", keep="everything")
    assert streamed.labels["layer"] == kept.labels["layer"]
    assert len(streamed.labels["layer"]) > 15
    assert_close(streamed.values, kept.values)
    each = network()
    for n, layer in enumerate(streamed.labels["layer"]):
        alone = ns.explain(each, image, method, 1, layer)
        if alone.values.shape == streamed.values.shape[1:]:
            np.testing.assert_allclose(
                streamed.values[n],
                alone.values,
                atol=1e-5 * max(np.abs(alone.values).max(), 1e-9),
                err_msg=layer,
            )


def test_layers_come_in_the_order_of_the_network(image: np.ndarray) -> None:
    found = ns.explain(segmenter(), image, "grad_cam", 1, LAYERS[::-1])
    assert found.labels["layer"] == tuple(LAYERS)


def test_layers_streamed_after_one_that_was_kept(image: np.ndarray) -> None:
    network = segmenter()
    ns.explain(network, image, "grad_cam", 1, "enc1", keep="asked")
    some = ns.explain(network, image, "grad_cam", 1, ["enc1", "bottom"], relu=False, keep="asked")
    fresh = ns.explain(segmenter(), image, "grad_cam", 1, ["enc1", "bottom"], relu=False)
    assert_close(some.values, fresh.values)


@pytest.mark.parametrize(
    "convert",
    [
        lambda image: (image * 65535).astype(np.uint16),
        lambda image: (image * 65535).astype(np.uint16).astype(np.int32),
        lambda image: ((image * 65535).astype(np.uint16) / 65535).astype(np.float64),
        lambda image: np.asfortranarray((image * 65535).astype(np.uint16)),
    ],
)
def test_the_type_of_the_image_changes_nothing(convert: Any, rng: np.random.Generator) -> None:
    image = rng.random((16, 16, 3))
    image[0, 0, 0] = 1
    expected = ns.explain(
        as_network(settled(UNet()), "segmentation", value_range="auto"),
        ((image * 65535).astype(np.uint16) / 65535).astype(np.float32),
        "saliency",
        1,
    )
    network = as_network(settled(UNet()), "segmentation", value_range="auto")
    assert_close(ns.explain(network, convert(image), "saliency", 1).values, expected.values)


def test_gray_and_alpha_change_nothing(rng: np.random.Generator) -> None:
    network = as_network(settled(UNet()), "segmentation", value_range="auto")
    gray = rng.integers(0, 256, (16, 16), dtype=np.uint8)
    rgb = np.repeat(gray[..., None], 3, -1)
    rgba = np.concatenate([rgb, 255 - rgb[..., :1]], -1)
    maps = [ns.explain(network, i, "saliency", 1).values for i in (gray, rgb, rgba)]
    np.testing.assert_array_equal(maps[1], maps[0])
    np.testing.assert_array_equal(maps[2], maps[0])


def test_bgr_is_rgb_with_the_first_layer_turned(rng: np.random.Generator) -> None:
    rgb, bgr = settled(UNet()), settled(UNet())
    with torch.no_grad():
        bgr.enc1[0].weight.copy_(rgb.enc1[0].weight.flip(1))
    image = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.3, 0.1]
    first = as_network(rgb, "segmentation", normalization={"mean": mean, "std": std})
    second = as_network(
        bgr, "segmentation", order="bgr", normalization={"mean": mean[::-1], "std": std[::-1]}
    )
    for method in ("saliency", "guided_backprop"):
        assert_close(
            ns.explain(second, image, method, 1).values, ns.explain(first, image, method, 1).values
        )
