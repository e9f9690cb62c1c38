"""Two inspectors side by side: the same asked of both, what differs, and each for itself."""

from __future__ import annotations

import copy
import gc
import shutil
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.engine.explain.difference import difference
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.widgets.inspector.inspector import Inspector
from napari_neuroscope.widgets.inspector.second_network import SecondNetwork

SPEC = {"task": "segmentation", "classes": ["sky", "car", "road"], "input": {"channels": 1}}
IMAGE = np.random.default_rng(5).random((16, 24)).astype(np.float32)


class Small(nn.Module):
    """A segmenter whose second layer halves the image."""

    def __init__(self, seed: int = 0, classes: int = 3) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.down = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.up = nn.Upsample(scale_factor=2)
        self.head = nn.Conv2d(4, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.up(torch.relu(self.down(torch.relu(self.first(x))))))


class Other(Small):
    """Its layers have other names, but for the head."""

    def __init__(self, seed: int = 0, classes: int = 3) -> None:
        super().__init__(seed, classes)
        self.begin, self.middle = self.first, self.down
        del self.first, self.down

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.up(torch.relu(self.middle(torch.relu(self.begin(x))))))


def wrapped(model: nn.Module, name: str, spec: dict = SPEC) -> ns.Network:
    return ns.wrap(model, spec, name=name, device="cpu")


def layers_of(viewer, words: str) -> list:
    maps = [layer for layer in viewer.layers if KEY in layer.metadata]
    return [layer for layer in maps if words in layer.name]


@pytest.fixture
def pair(viewer, qtbot):
    """Open both docks on an image, each with a network."""
    made: list[Inspector] = []

    def open_both(first: ns.Network, second: ns.Network) -> tuple[Inspector, SecondNetwork]:
        viewer.add_image(IMAGE, name="image")
        _, one = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Neuroscope")
        _, two = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Second network")
        # The second goes along.
        one.choose_method("grad_cam")
        made.extend((one, two))
        one.add_network(first)
        qtbot.waitUntil(one.ready, timeout=10_000)
        two.inspector.add_network(second)
        qtbot.waitUntil(two.inspector.ready, timeout=10_000)
        return one, two

    yield open_both
    for dock in made:
        dock.close_work()
    assert not [t for t in threading.enumerate() if t.name == "neuroscope compute"]


def inspector_of(dock: Inspector | SecondNetwork) -> Inspector:
    return dock.inspector if isinstance(getattr(dock, "__wrapped__", dock), SecondNetwork) else dock


def settled(qtbot, *docks: Inspector | SecondNetwork) -> None:
    """Wait until nothing is computed, nor about to be."""
    quiet = 0

    def at_rest() -> bool:
        nonlocal quiet
        busy = any(dock.jobs.busy or inspector_of(dock).jobs.busy for dock in docks)
        quiet = 0 if busy else quiet + 1
        # Waiting looks every 10 ms: calls put off to the next turn of the loop are over then.
        return quiet > 5

    qtbot.waitUntil(at_rest, timeout=10_000)


def explain(qtbot, one: Inspector | SecondNetwork, *docks: Inspector | SecondNetwork) -> None:
    inspector_of(one).explain()
    settled(qtbot, one, *docks)


def test_equal_checkpoints_differ_by_nothing_and_are_told_apart(viewer, pair, qtbot) -> None:
    model = Small()
    one, two = pair(wrapped(model, "unet"), wrapped(copy.deepcopy(model), "unet"))
    assert two.session is not one.session
    assert two.session.networks == one.session.networks, "what one offers, both do"
    one.choose_classes([1])
    one.choose_layers(["first"])
    explain(qtbot, one, two)
    names = [layer.name for layer in viewer.layers]
    assert names == [
        "image",
        "car · Grad-CAM · first",
        "Second: car · Grad-CAM · first",
        "car · Difference: Grad-CAM · first",
    ]
    shown = layers_of(viewer, "Difference")[0]
    assert not np.asarray(shown.data).any()
    assert [layer.visible for layer in viewer.layers] == [True, False, False, True]
    assert two.difference.words.text() == "The two maps are equal."


def test_the_difference_is_that_of_the_maps_and_goes_along(viewer, pair, qtbot) -> None:
    first, second = wrapped(Small(0), "a"), wrapped(Small(1), "b")
    one, two = pair(first, second)
    one.choose_layers(["down"])
    for index, name in ((1, "car"), (2, "road")):
        one.choose_classes([index])
        explain(qtbot, one, two)
        (shown,) = layers_of(viewer, "Difference")
        maps = [ns.explain(net, IMAGE, "grad_cam", name, "down") for net in (first, second)]
        np.testing.assert_allclose(shown.data, maps[1].values - maps[0].values, atol=1e-6)
        assert shown.metadata[KEY]["second"]["network"]["name"] == "b"
        assert shown.scale == pytest.approx([2, 2])
        low, high = shown.contrast_limits
        assert low == -high
    two.difference.scale.setCurrentIndex(two.difference.scale.findData("largest"))
    settled(qtbot, one, two)
    expected = difference(*maps, scale="largest")
    np.testing.assert_allclose(shown.data, expected.values, atol=1e-6)
    assert np.abs(expected.values).max() <= 1


def test_what_the_first_chooses_the_second_does_as_far_as_it_can(pair, viewer, qtbot) -> None:
    spec = {**SPEC, "classes": ["car", "tree", "sky"]}
    one, two = pair(wrapped(Small(), "a"), wrapped(Small(1), "b", spec))
    one.choose_method("grad_cam_plus_plus")
    assert two.session.method == "grad_cam_plus_plus"
    one.choose_method("grad_cam")
    one.choose_options({"relu": False})
    assert two.session.options == {"relu": False}
    one.choose_layers(["first", "down"])
    assert two.session.layers == ("first", "down")
    one.choose_classes([0, 1])
    assert {spec["classes"][index] for index in two.session.classes} == {"sky", "car"}
    one.choose_classes([2])
    assert {spec["classes"][index] for index in two.session.classes} == {"sky", "car"}, "no road"
    one.choose_region("predicted")
    assert two.session.region == "predicted"
    # A choice by hand stays, until the same is chosen anew in the first.
    two.inspector.choose_layers(["head"])
    one.choose_classes([0])
    assert two.session.layers == ("head",)
    assert one.session.layers == ("first", "down"), "the first goes along with nobody"
    one.choose_layers(["first"])
    assert two.session.layers == ("first",)
    # For itself, until it shall go along again.
    two.same_choices.setChecked(False)
    one.choose_layers(["down"])
    one.choose_method("saliency")
    assert (two.session.method, two.session.layers) == ("grad_cam", ("first",))
    two.same_choices.setChecked(True)
    assert (two.session.method, two.session.layers) == ("saliency", ("down",))
    other = viewer.add_image(IMAGE[::-1], name="other")
    one.form.image.setCurrentText("other")
    assert (
        two.inspector.image_layer() is other
        or two.inspector.image_layer().unique_id == other.unique_id
    )
    qtbot.waitUntil(lambda: one.ready() and two.inspector.ready(), timeout=10_000)


def test_maps_of_other_layers_and_grids_are_compared(viewer, pair, qtbot) -> None:
    first, second = wrapped(Small(), "a"), wrapped(Other(), "b")
    one, two = pair(first, second)
    one.choose_classes([1])
    one.choose_layers(["down"])
    two.inspector.choose_layers(["begin"])
    explain(qtbot, one, two)
    (shown,) = layers_of(viewer, "Difference")
    assert shown.name == "car · Difference: Grad-CAM · begin − down"
    assert shown.data.shape == IMAGE.shape, "the finer of the two"
    one.choose_layers(["down", "first"])
    explain(qtbot, one, two)
    assert "choose as many" in two.difference.words.text()
    assert not shown.visible, "no stale pair"
    one.choose_layers(["head"])
    explain(qtbot, one, two)
    assert shown.visible
    assert layers_of(viewer, "Difference")[0].name == "car · Difference: Grad-CAM · head"


def test_neither_cancels_the_other_and_a_stale_pair_is_not_shown(viewer, pair, qtbot) -> None:
    one, two = pair(wrapped(Small(0), "a"), wrapped(Small(1), "b"))
    one.choose_layers(["first"])
    for index in (0, 1, 2, 1):
        one.choose_classes([index])
        two.inspector.explain()
        one.explain()
        assert one.jobs.busy
        assert two.inspector.jobs.busy
    settled(qtbot, one, two)
    made = [layers_of(viewer, name)[0].metadata[KEY] for name in ("Grad", "Second", "Difference")]
    assert [about["targets"][0]["class"] for about in made] == ["car"] * 3
    two.same_choices.setChecked(False)
    two.inspector.choose_classes([0])
    explain(qtbot, two, one)
    assert "of the class “car”, the second of “sky”" in two.difference.words.text()
    assert not layers_of(viewer, "Difference")[0].visible
    two.difference.switch.setChecked(False)
    settled(qtbot, one, two)
    assert two.difference.words.text() == ""


def test_live_moves_both(viewer, pair, qtbot) -> None:
    one, _two = pair(wrapped(Small(0), "a"), wrapped(Small(1), "b"))
    one.form.live.setChecked(True)
    one.choose_layers(["down"])
    one.choose_classes([2])

    def arrived() -> bool:
        shown = layers_of(viewer, "Difference")
        return bool(shown) and shown[0].name == "road · Difference: Grad-CAM · down"

    qtbot.waitUntil(arrived, timeout=10_000)


def test_closing_one_leaves_the_other(viewer, pair, qtbot) -> None:
    one, two = pair(wrapped(Small(0), "a"), wrapped(Small(1), "b"))
    explain(qtbot, one, two)
    two.parent().destroyOnClose()
    qtbot.waitUntil(lambda: two.closed, timeout=10_000)
    one.choose_classes([2])
    explain(qtbot, one)
    assert layers_of(viewer, "Grad")[0].metadata[KEY]["targets"][0]["class"] == "road"
    assert layers_of(viewer, "Second")[0].metadata[KEY]["targets"][0]["class"] != "road"
    _, again = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Second network")
    settled(qtbot, one, again)
    assert again is not two
    assert again.session is two.session
    one.parent().destroyOnClose()
    qtbot.waitUntil(lambda: one.closed, timeout=10_000)
    again.inspector.choose_classes([0])
    explain(qtbot, again)
    assert again.session.explanation.labels["target"] == ("sky",)
    again.close_work()


def test_networks_that_are_chosen_no_more_are_let_go(viewer, pair, qtbot) -> None:
    one, two = pair(wrapped(Small(0), "a"), wrapped(Small(1), "b"))
    explain(qtbot, one, two)
    (shown,) = layers_of(viewer, "Difference")
    gone = [weakref.ref(dock.session.explanation) for dock in (one, two)]
    for dock in (two, one):
        inspector_of(dock).form.networks.box.setCurrentIndex(0)
    settled(qtbot, one, two)
    assert not shown.visible
    assert two.difference.words.text() == "Explain with both networks to see what differs."
    # Maps know what they show for as long as they are there.
    viewer.layers.clear()
    gc.collect()
    assert [ref() for ref in gone] == [None, None]


def test_checkpoints_of_one_name_are_both_offered(viewer, tmp_path, pair, qtbot) -> None:
    sample = Path(ns.__file__).parent / "samples" / "nuclei"
    weights = load_file(sample / "model.safetensors")
    paths = []
    for name, factor in (("epoch_1", 1.0), ("epoch_2", 0.5)):
        folder = tmp_path / name
        folder.mkdir()
        paths.append(folder / "unet.safetensors")
        changed = {"head.weight": weights["head.weight"] * factor}
        save_file({**weights, **changed}, paths[-1])
        shutil.copy(sample / "model.neuroscope.yaml", folder / "unet.neuroscope.yaml")
    one, two = pair(wrapped(Small(), "a"), wrapped(Small(), "b"))
    for dock, path in zip((one, two), paths, strict=True):
        inspector_of(dock).open_file(path, "napari_neuroscope.samples.architectures:UNet")
        settled(qtbot, one, two)
    qtbot.waitUntil(lambda: one.ready() and two.inspector.ready(), timeout=10_000)
    assert one.session.networks[-2:] == ("unet.safetensors", "unet.safetensors 2")
    assert two.session.networks == one.session.networks
    assert one.session.network.path == paths[0]
    assert two.session.network.path == paths[1]
    one.choose_method("score_map")
    one.choose_classes([1])
    explain(qtbot, one, two)
    (shown,) = layers_of(viewer, "Difference")
    first = ns.explain(one.session.network, IMAGE, "score_map", "nucleus").values
    second = ns.explain(two.session.network, IMAGE, "score_map", "nucleus").values
    np.testing.assert_array_equal(shown.data, second - first)
    assert np.asarray(shown.data).any()


def test_options_of_any_method_follow_and_what_another_does_not_know_is_left_out(pair) -> None:
    first, second = pair(wrapped(Small(), "a"), wrapped(Small(), "b"))
    names = list(methods)
    seen = []

    def look(*_: object) -> None:
        # Nobody sees a method with the options of another.
        seen.append(set(first.session.options) <= set(methods[first.session.method].options))

    for signal in (first.session.events.method, first.session.events.options):
        signal.connect(look)
    for name in [*names, "lrp", "guided_backprop", "lrp", *reversed(names)]:
        first.choose_method(name)
        assert second.session.method == name
        assert second.session.options == first.session.options
        assert second.inspector.form.method.box.currentData() == name
        if second.session.options:
            assert second.inspector.form.method.options.asdict() == second.session.options
    assert all(seen)
    second.inspector.choose_method("lrp")
    before = dict(second.session.options)
    second.inspector.choose_options(dict.fromkeys(before, "no value of it"))
    assert {k for k in before if second.session.options[k] != before[k]} <= {
        name for name, option in methods["lrp"].options.items() if option.annotation is str
    }
