"""LRP of whole networks: nothing is lost, on networks of many kinds, and what it refuses."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import napari_neuroscope as ns
from closeness import assert_close
from napari_neuroscope.engine.frameworks.base import Capability
from networks import BasicBlock, EndingIn, ResNet, UNet, Vgg, as_network, settled
from relevance import RULES, Middle, NormalisesItself, lrp, sums
from snapshot import Snapshot


def without_biases(model: nn.Module) -> nn.Module:
    """Take out all that would keep relevance.

    Layers without a relu after them may have sums for which nothing speaks: z_plus shares those
    out to nothing.
    """
    for name, module in settled(model).named_modules():
        if name.endswith(("conv2", "downsample", "up2")):
            with torch.no_grad():
                module.weight.abs_()
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                module.weight.abs_()
        if getattr(module, "bias", None) is not None:
            with torch.no_grad():
                module.bias.zero_()
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.zero_()
    return model


CASES: dict[str, tuple[Callable[[], nn.Module], str, Any]] = {
    "vgg": (Vgg, "classification", 1),
    "vgg in place": (lambda: Vgg(inplace=True), "classification", 1),
    "resnet": (ResNet, "classification", 1),
    "unet": (UNet, "segmentation", ns.Target(1, region="everywhere")),
    "unet, a region": (UNet, "segmentation", ns.Target(2, np.eye(16) > 0, reduce="mean")),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Callable[[], nn.Module], str, Any]:
    return CASES[request.param]


@pytest.mark.parametrize("rule", RULES)
def test_nothing_is_lost_without_biases(case: Any, rule: str, image: np.ndarray) -> None:
    make, task, target = case
    network = as_network(without_biases(make()).double(), task)
    trace = network.trace(image)
    value = trace.value(trace.resolve(target))
    arrived, begun = sums(network, image, target, rule=rule, epsilon=0)
    assert arrived == pytest.approx(value, rel=1e-4)
    assert begun == pytest.approx(value, rel=1e-3)


def test_biases_keep_relevance_and_the_note_tells(image: np.ndarray) -> None:
    network = as_network(settled(Vgg()))
    found = ns.explain(network, image, "lrp", [0, 1], rule="epsilon")
    notes = [n for n in found.provenance["notes"] if n.startswith("the relevance")]
    for number, note in enumerate(notes):
        assert f"of “{number}” sums to {found.values[number].sum():.3g}"[:-1] in note
    scores = network.predict(image).scores
    assert all(f"and to {score:.4g} at" in n for score, n in zip(scores[:2], notes, strict=True))


@pytest.mark.parametrize("rule", RULES)
def test_several_targets_from_one_pass_are_as_one_by_one(
    case: Any, rule: str, image: np.ndarray
) -> None:
    make, task, target = case
    network = as_network(settled(make()), task)
    targets = [0, target, ns.Target(2, score="probability")]
    together = lrp(network, image, targets, rule=rule)
    for one, values in zip(targets, together, strict=True):
        assert_close(values, lrp(network, image, one, rule=rule), 1e-5)


def test_groups_of_targets_that_memory_allows(
    monkeypatch: pytest.MonkeyPatch, image: np.ndarray
) -> None:
    from napari_neuroscope.engine.passes import gradient_store

    network = as_network(settled(Vgg()))
    whole = lrp(network, image, [0, 1, 2, 3])
    monkeypatch.setattr(gradient_store, "_TOGETHER_BYTES", 3 * 6 * 16 * 16 * 4)
    steps = []
    again = ns.explain(
        network, image, "lrp", [0, 1, 2, 3], progress=lambda d, t, w: steps.append((d, t, w))
    )
    assert [step[:2] for step in steps if step[2] == "LRP"] == [(3, 4), (4, 4)]
    assert_close(again.values, whole)


def test_channels_are_added_up_or_kept(image: np.ndarray) -> None:
    network = as_network(settled(Vgg()))
    kept = ns.explain(network, image, "lrp", [0, 1], channels="keep", rule="z_plus")
    assert kept.axes == ("class", "channel", "y", "x")
    assert kept.signed
    assert_close(kept.values.sum(1), lrp(network, image, [0, 1], rule="z_plus"))


@pytest.mark.parametrize("rule", RULES)
def test_a_detector_of_a_patch_finds_it(rule: str) -> None:
    """Hidden channel 0 answers to the patch's pattern, channel 1 to brightness anywhere."""
    pattern = torch.tensor([[1.0, -1, 1], [-1, 1, -1], [1, -1, 1]])
    conv, head = nn.Conv2d(1, 2, 3, padding=1), nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.stack([pattern, torch.full((3, 3), 0.1)])[:, None])
        conv.bias.copy_(torch.tensor([-3.0, 0.0]))
        head.weight.copy_(torch.tensor([[5.0, 0.0], [0.0, 1.0]]))
    model = nn.Sequential(conv, nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), head)
    image = np.full((14, 14), 0.2, np.float32)
    image[4:7, 8:11] = (pattern.numpy() + 1) / 2
    values = lrp(as_network(model, size=(14, 14)), image, 0, rule=rule)
    inside = np.zeros_like(image, bool)
    inside[4:7, 8:11] = True
    assert values[inside].sum() > 0
    assert not values[~inside].any()


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(case: Any, training: bool, image: np.ndarray) -> None:
    make, task, target = case
    model = settled(make()).train(training)
    before = Snapshot(model)
    network = as_network(model, task)
    for rule in RULES:
        lrp(network, image, [0, target], rule=rule)
    before.assert_unchanged()
    with pytest.raises(ns.NeuroscopeError):
        lrp(as_network(EndingIn(model, torch.exp), task), image, target)
    before.assert_unchanged()


@pytest.mark.parametrize("axes", [1, 3])
def test_lines_volumes_and_networks_without_a_batch(axes: int, rng: np.random.Generator) -> None:
    conv = {1: nn.Conv1d, 3: nn.Conv3d}[axes]
    transposed = {1: nn.ConvTranspose1d, 3: nn.ConvTranspose3d}[axes]
    model = without_biases(
        nn.Sequential(
            conv(1, 4, 3, padding="same"), nn.ReLU(), conv(4, 4, 2, padding="same", dilation=3),
            nn.ReLU(), transposed(4, 3, 2, stride=2), nn.ReLU(), conv(3, 2, 3, stride=2, padding=1),
        ).double()
    )  # fmt: skip
    names = "x" if axes == 1 else "zyx"
    image = rng.standard_normal((6,) * axes)
    maps = []
    for batch in ("b", ""):
        network = as_network(model, "segmentation", axes=f"{batch}c{names}", image_axes=names)
        arrived, begun = sums(network, image, 1, epsilon=0)
        assert arrived == pytest.approx(begun, rel=1e-3)
        maps.append(lrp(network, image, [0, 1]))
    assert_close(maps[0], maps[1])


def test_a_network_that_ends_in_softmax_is_cut_before_it(image: np.ndarray) -> None:
    body = settled(Vgg())
    expected = lrp(as_network(body), image, 1)
    assert_close(lrp(as_network(EndingIn(body, nn.Softmax(1))), image, 1), expected)


def test_exported_networks_are_as_they_were(image: np.ndarray) -> None:
    model = settled(ResNet())
    x = torch.from_numpy(image).permute(2, 0, 1)[None]
    exported = torch.export.export(model, (x,)).module()
    for rule in RULES:
        expected = lrp(as_network(model, size=(16, 16)), image, 1, rule=rule)
        found = lrp(as_network(exported, size=(16, 16)), image, 1, rule=rule)
        assert_close(found, expected, 1e-4)


def test_half_precision_is_near(image: np.ndarray) -> None:
    model = settled(Vgg())
    expected = lrp(as_network(model), image, 1)
    found = lrp(as_network(settled(Vgg()).to(torch.bfloat16)), image, 1)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99


def test_one_output_for_two_classes(image: np.ndarray) -> None:
    network = as_network(settled(UNet(classes=1)), "segmentation", ["back", "cell"])
    back, cell = lrp(
        network, image, [ns.Target("back", "everywhere"), ns.Target("cell", "everywhere")]
    )
    assert_close(back, -cell)


def test_the_pass_is_kept_for_other_targets_and_rules(image: np.ndarray) -> None:
    from networks import Counted

    model = Counted(settled(Vgg()))
    network = as_network(model)
    first = lrp(network, image, 0)
    passes = model.passes
    lrp(network, image, [1, 2], rule="gamma")
    assert_close(lrp(network, image, 0), first, 0)
    assert model.passes == passes


@pytest.mark.parametrize("make", [ResNet, lambda: NormalisesItself(Vgg(), 0.4, 0.3)])
def test_a_pass_that_is_dropped_is_gone(make: Callable[[], nn.Module], image: np.ndarray) -> None:
    def alive() -> int:
        network.traces.clear()
        gc.collect()
        return sum(issubclass(type(one), Tensor) for one in gc.get_objects())

    network = as_network(settled(make()))
    lrp(network, image, [0, 1])
    before = alive()
    for number in range(3):
        lrp(network, image + number, [0, 1])
    assert alive() == before


def test_an_answer_without_gradient_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ns.NeuroscopeError, match="no gradient"):
        lrp(as_network(EndingIn(settled(Vgg()), Tensor.detach)), image, 1)


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpoints_are_refused(use_reentrant: bool, image: np.ndarray) -> None:
    from torch.utils.checkpoint import checkpoint

    block = BasicBlock(4)
    plain = settled(Middle(block))
    assert lrp(as_network(plain), image, 1).any()
    saved = Middle(lambda z: checkpoint(block, z, use_reentrant=use_reentrant))
    saved.conv, saved.head, saved.block = plain.conv, plain.head, block
    with pytest.raises(ns.NeuroscopeError, match="checkpoint"):
        lrp(as_network(saved.eval()), image, 1)


def test_frameworks_without_rules_name_another_method() -> None:
    can = Capability.SCORES | Capability.ACTIVATIONS | Capability.GRADIENTS
    why = ns.methods["lrp"].why_not("classification", can)
    assert why is not None
    assert why.startswith("LRP needs rules for relevance, which")
    assert "integrated_gradients" in ns.methods["lrp"].instead


@pytest.mark.parametrize(
    "wrong", [{"rule": "alpha"}, {"epsilon": -1}, {"gamma": -0.1}, {"channels": "max_abs"}]
)
def test_wrong_options_are_refused(wrong: dict[str, Any], image: np.ndarray) -> None:
    with pytest.raises(ns.NeuroscopeError, match="LRP can't take"):
        lrp(as_network(settled(Vgg())), image, 1, **wrong)
