"""Where a class is asked about by default: where it is predicted, or else everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from closeness import assert_close
from networks import as_network, settled
from segmenters import Decoder


def _never_last() -> nn.Module:
    """Return a network that predicts its last class nowhere."""
    model = settled(Decoder())
    with torch.no_grad():
        model.head.bias[2] = -1e3  # type: ignore[union-attr,index,operator]
    return model


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return _never_last()


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).random((32, 32)).astype(np.float32)


def _in_plain_torch(model: Any, image: np.ndarray, index: int, *, everywhere: bool) -> np.ndarray:
    """Return HiResCAM before the head, and what it is of, as a script without the package makes it."""
    kept = []
    hook = model.dec.register_forward_hook(lambda *args: kept.append(args[-1]))
    scores = model(torch.from_numpy(image)[None, None])[0]
    hook.remove()
    inside = torch.ones(scores.shape[1:], dtype=torch.bool)
    inside = inside if everywhere else scores.argmax(0) == index
    (gradient,) = torch.autograd.grad(scores[index][inside].sum(), kept[0])
    return (gradient * kept[0]).sum(1)[0].detach().numpy()


def test_it_is_where_the_class_is_predicted(model: nn.Module, image: np.ndarray) -> None:
    network = as_network(model, "segmentation", size=(32, 32))
    present = int(np.bincount(network.predict(image).labels.ravel()).argmax())
    found = ns.explain(network, image, "hires_cam", present, relu=False)
    assert found.record.layers == ("dec.1",)
    assert found.record.targets[0].region == "predicted"
    assert_close(found.values, _in_plain_torch(model, image, present, everywhere=False))
    assert not any("nowhere" in note for note in found.record.notes)


def test_where_that_is_nowhere_it_is_everywhere_and_said(
    model: nn.Module, image: np.ndarray
) -> None:
    network = as_network(model, "segmentation", classes=["a", "b", "pole"], size=(32, 32))
    found = ns.explain(network, image, "hires_cam", "pole", relu=False)
    assert_close(found.values, _in_plain_torch(model, image, 2, everywhere=True))
    assert found.record.targets[0].region == "everywhere"
    assert "pole is predicted nowhere in this image, so it is asked about everywhere" in (
        found.record.notes
    )
    with pytest.raises(ns.NeuroscopeError, match=r"^pole is predicted nowhere in this image\.$"):
        ns.explain(network, image, "hires_cam", ns.Target("pole", "predicted"))


def test_tiles_find_it_out_of_all(model: nn.Module) -> None:
    image = np.random.default_rng(1).random((96, 96)).astype(np.float32)
    network = as_network(model, "segmentation", classes=["a", "b", "pole"], value_range=(0, 1))
    for names in ("pole", ["a", "pole"]):
        whole = ns.explain(network, image, "hires_cam", names, relu=False)
        tiled = ns.explain_tiled(network, image, "hires_cam", names, tile=40, relu=False)
        assert_close(tiled.values, whole.values, 1e-4)
        assert [t.region for t in tiled.record.targets] == [t.region for t in whole.record.targets]
        assert tiled.record.notes[-1] == whole.record.notes[-1]
        values = [[target.value for target in e.record.targets] for e in (tiled, whole)]
        assert values[0] == pytest.approx(values[1], rel=1e-4)


def test_planes_of_a_stack_say_where_it_was_asked_everywhere(image: np.ndarray) -> None:
    """On dark planes the second class is nowhere."""
    bright = nn.Conv2d(1, 2, 1)
    with torch.no_grad():
        bright.weight[:, 0, 0, 0] = torch.tensor([0.0, 1.0])
        bright.bias[:] = torch.tensor([0.0, -0.5])
    network = as_network(bright, "segmentation", classes=["dark", "bright"])
    stack = np.stack([image, image * 0.1])
    found = ns.explain_stack(network, stack, "saliency", "bright")
    assert np.isfinite(found.values).all()
    (note,) = [note for note in found.record.notes if "nowhere" in note]
    assert note.startswith("bright is predicted nowhere in this image, so it is asked about every")
    assert "1" in note.rpartition("(")[2], "which plane"
    assert found.record.targets[0].region == "predicted"


def test_a_classifier_has_no_region() -> None:
    model = settled(nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    network = as_network(model, size=(8, 8))
    found = ns.explain(network, np.eye(8, dtype=np.float32), "saliency", 1)
    assert not any("nowhere" in note for note in found.record.notes)
    recipe = ns.Recipe.of(found)
    assert recipe.targets[0].region == "everywhere"


def test_recipes_without_a_region_mean_everywhere_as_before(
    model: nn.Module, image: np.ndarray
) -> None:
    network = as_network(model, "segmentation", size=(32, 32))
    recipe = ns.Recipe.of(ns.explain(network, image, "hires_cam", 0, relu=False))
    assert recipe.targets[0].region == "predicted_or_everywhere"
    lines = recipe.to_yaml().splitlines()
    old = "\n".join(line for line in lines if "predicted_or_everywhere" not in line)
    again = ns.Recipe.from_yaml(old).run(network, image)
    assert_close(again.values, _in_plain_torch(model, image, 0, everywhere=True))
