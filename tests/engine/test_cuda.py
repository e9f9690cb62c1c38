"""On a GPU as on the CPU: every method and measure, the memory's end, and no copies on the way."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from closeness import assert_close
from napari_neuroscope.engine.evaluation.metric_registry import metrics
from networks import ResNet, UNet, Vgg, settled
from snapshot import Snapshot
from token_networks import Swin, ViT

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

SEGMENTER = {"task": "segmentation", "input": {"value_range": (0, 1)}}
CLASSIFIER = {"task": "classification", "input": {"value_range": (0, 1), "size": (16, 16)}}
# Few passes: what is compared does not depend on their number.
FEW: dict[str, dict[str, Any]] = {
    "rise": {"masks": 40, "batch": 16},
    "occlusion": {"window": 4, "stride": 4, "batch": 8},
    "integrated_gradients": {"steps": 8, "batch": 4},
    "smooth_grad": {"samples": 6, "batch": 4},
    "score_cam": {"batch": 4},
    "ablation_cam": {"batch": 4},
    "xrai": {"steps": 8, "batch": 4},
}


def pair(model: nn.Module, spec: dict[str, Any]) -> tuple[ns.Network, ns.Network]:
    """Return a network on the CPU and the same one on the GPU."""
    there = copy.deepcopy(model)
    return ns.wrap(model, spec, device="cpu"), ns.wrap(there, spec, device="cuda")


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((16, 16, 3), dtype=np.float32)


def arguments(name: str, network: ns.Network) -> dict[str, Any] | None:
    """Return arguments for a method that the network can be asked with; None where it can't."""
    if network.why_not(ns.methods[name]):
        return None
    if name == "attention_rollout":
        return {}
    return {"target": [0, 1, 2], **{key: value for key, value in FEW.get(name, {}).items()
                            if key in ns.methods[name].options}}  # fmt: skip


@pytest.mark.parametrize("name", list(ns.methods))
@pytest.mark.parametrize("kind", ["classifier", "segmenter", "residual", "transformer", "windows"])
def test_a_method_agrees_with_the_cpu(kind: str, name: str) -> None:
    model, spec, size = {
        "classifier": (Vgg(), CLASSIFIER, (16, 16)),
        "segmenter": (UNet(), SEGMENTER, (16, 16)),
        "residual": (ResNet(), CLASSIFIER, (16, 16)),
        "transformer": (ViT(depth=3), CLASSIFIER, (16, 24)),
        "windows": (Swin(), CLASSIFIER, (24, 40)),
    }[kind]
    settled(model)
    if isinstance(model, ViT):
        with torch.no_grad():
            model.places.mul_(12)  # tokens that differ from each other
    if spec is CLASSIFIER:
        spec = {**spec, "input": {**spec["input"], "size": size}}
    image = np.random.default_rng(0).random((*size, 3), dtype=np.float32)
    here, there = pair(model, spec)
    given = arguments(name, here)
    if given is None:
        pytest.skip(f"{name} is not for this network")
    before = Snapshot(there.adapter.model)
    try:
        expected = ns.explain(here, image, name, **given)
    except ns.NeuroscopeError as refused:
        # Attention has another name on each device.
        begins = re.escape(str(refused).partition(" (")[0])
        with pytest.raises(ns.NeuroscopeError, match=begins):
            ns.explain(there, image, name, **given)
        return
    found = ns.explain(there, image, name, **given)
    before.assert_unchanged()
    assert found.axes == expected.axes
    assert_close(found.values, expected.values, 1e-4)


@pytest.mark.parametrize("name", list(metrics))
def test_a_measure_agrees_with_the_cpu(name: str, image: np.ndarray) -> None:
    truth = np.zeros((16, 16), int)
    truth[4:9, 3:12] = 1
    figures = []
    for network in pair(settled(UNet()), SEGMENTER):
        explanation = ns.explain(network, image, "grad_cam", target=1, layer="dec1")
        judged = ns.evaluate(network, image, explanation, metrics=[name], ground_truth=truth)
        figures.append(judged.rows[0].values[name])
    assert figures[0] == pytest.approx(figures[1], rel=2e-3, abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype, image: np.ndarray) -> None:
    half = ns.wrap(settled(UNet()).to(dtype), SEGMENTER, device="cuda")
    single = ns.wrap(settled(UNet()).to(dtype).float(), SEGMENTER, device="cuda")
    for name in ("grad_cam", "guided_backprop", "saliency"):
        more = {"layer": "dec1"} if name == "grad_cam" else {}
        found = ns.explain(half, image, name, target=1, **more).values
        expected = ns.explain(single, image, name, target=1, **more).values
        assert np.isfinite(found).all()
        assert np.median(np.abs(found - expected)) < 0.05 * np.abs(expected).max()


def test_auto_takes_the_gpu(image: np.ndarray) -> None:
    here, there = settled(UNet()), settled(UNet())
    network = ns.wrap(here, SEGMENTER)
    assert network.device.type == "cuda"
    assert next(here.parameters()).device.type == "cuda"
    expected = ns.wrap(there, SEGMENTER, device="cpu").predict(image)
    assert_close(network.predict(image).scores, expected.scores, 1e-4)


def test_a_network_is_on_the_cpu_for_a_while(image: np.ndarray) -> None:
    network = ns.wrap(settled(UNet()), SEGMENTER, device="cuda")
    before, move = network.digest(), network.on_cpu()
    assert move is not None
    with move:
        assert network.device.type == "cpu"
        assert network.on_cpu() is None
        here = ns.explain(network, image, "saliency", target=1).values
    assert network.device.type == "cuda"
    assert network.digest() == before
    assert_close(ns.explain(network, image, "saliency", target=1).values, here, 1e-4)


@pytest.mark.parametrize("name", ["saliency", "guided_backprop", "rise"])
def test_the_same_in_each_run(name: str, image: np.ndarray) -> None:
    """Of a network whose own operations are: the gradient of a bilinear upsampling is not."""
    made = [
        ns.explain(
            ns.wrap(settled(ResNet()), CLASSIFIER, device="cuda"), image, name, target=1,
            **FEW.get(name, {}),
        ).values
        for _ in range(3)
    ]  # fmt: skip
    np.testing.assert_array_equal(made[0], made[1])
    np.testing.assert_array_equal(made[0], made[2])


@pytest.fixture
def little_memory() -> Iterator[int]:
    """Leave this process half a gigabyte, and say how many bytes."""
    torch.cuda.empty_cache()
    whole = torch.cuda.get_device_properties(0).total_memory
    left = torch.cuda.memory_reserved() + (512 << 20)
    torch.cuda.set_per_process_memory_fraction(left / whole)
    yield left
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def test_a_batch_too_large_for_the_memory_is_halved(little_memory: int) -> None:
    image = np.random.default_rng(1).random((256, 256, 3), dtype=np.float32)
    network = ns.wrap(settled(UNet(width=16)), SEGMENTER, device="cuda")
    asked = {"target": 1, "masks": 64}
    found = ns.explain(network, image, "rise", batch=64, **asked)
    notes = found.provenance["notes"]
    assert [note for note in notes if "were too many for the memory" in note]
    expected = ns.explain(network, image, "rise", batch=2, **asked)
    assert_close(found.values, expected.values, 1e-4)


def copies_of(network: ns.Network, image: np.ndarray, name: str, **more: Any) -> int:
    """Return how often something was copied from the GPU to the host during a question."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        ns.explain(network, image, name, **more)
        torch.cuda.synchronize()
    return sum(event.count for event in profile.key_averages() if "DtoH" in event.key)


@pytest.mark.parametrize(
    ("name", "few", "many"),
    [
        ("grad_cam", {"layer": "dec1"}, {"layer": "all"}),
        ("rise", {"masks": 16, "batch": 8}, {"masks": 64, "batch": 8}),
        ("occlusion", {"window": 8, "stride": 8}, {"window": 4, "stride": 2}),
        ("integrated_gradients", {"steps": 8, "batch": 4}, {"steps": 32, "batch": 4}),
        ("smooth_grad", {"samples": 8, "batch": 4}, {"samples": 32, "batch": 4}),
        ("score_cam", {"layer": "dec1", "batch": 4}, {"layer": "dec1", "batch": 1}),
        ("ablation_cam", {"layer": "dec1", "batch": 4}, {"layer": "dec1", "batch": 1}),
    ],
)
def test_nothing_is_copied_before_the_end(
    name: str, few: dict[str, Any], many: dict[str, Any], image: np.ndarray
) -> None:
    """More layers, masks or batches make no more copies."""
    network = ns.wrap(settled(UNet()), SEGMENTER, device="cuda")
    for asked in (few, many):  # what is found out once
        ns.explain(network, image, name, **{"target": 1, **asked})
    counts = [copies_of(network, image, name, **{"target": 1, **asked}) for asked in (few, many)]
    assert 0 < counts[1] <= counts[0], counts


@pytest.mark.parametrize(("name", "layer"), [("saliency", None), ("grad_cam", "up2")])
def test_tiles(name: str, layer: str | None, rng: np.random.Generator) -> None:
    image, spec = rng.random((168, 188, 3), dtype=np.float32), SEGMENTER
    here, there = pair(settled(UNet()), spec)
    target, options = ns.Target(1, image[..., 0] > 0.5), {"relu": False} if layer else {}
    expected = ns.explain(here, image, name, target, layer, **options).values
    found = ns.explain_tiled(there, image, name, target, layer, tile=120, **options).values
    assert_close(found, expected)
