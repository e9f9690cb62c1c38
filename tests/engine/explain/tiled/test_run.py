"""Tiled equals untiled, reads only what it needs, and refuses what can't be tiled."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import dask.array
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import napari_neuroscope as ns
from napari_neuroscope.engine.errors import OutOfMemoryError
from napari_neuroscope.engine.explain.tiled import run
from napari_neuroscope.engine.frameworks.torch.framework import TorchFramework
from napari_neuroscope.engine.tiles.reader import TiledInput, percentiles
from networks import UNet, Vgg, as_network, settled

explain_tiled = ns.explain_tiled

CLASSES = ["background", "cell", "edge"]
PADDED = {"size": {"min": 16, "step": 4}, "resize": "pad"}


def unet(**of_input: object) -> ns.Network:
    return as_network(settled(UNet()), "segmentation", CLASSES, **{**PADDED, **of_input})


def image(shape: tuple[int, ...] = (165, 187, 3)) -> np.ndarray:
    return np.random.default_rng(1).random(shape, np.float32)


def close(tiled: ns.Explanation, whole: ns.Explanation) -> None:
    np.testing.assert_allclose(
        tiled.values, whole.values, rtol=0, atol=1e-5 * max(1, np.abs(whole.values).max())
    )
    assert tiled.grid == whole.grid
    assert tiled.image == whole.image
    assert (tiled.axes, tiled.unit, tiled.signed) == (whole.axes, whole.unit, whole.signed)
    assert dict(tiled.labels) == dict(whole.labels)
    notes = [note for note in tiled.provenance["notes"] if "tiles" not in note]
    assert notes == whole.provenance["notes"]
    assert tiled.provenance["layer_shapes"] == whole.provenance["layer_shapes"]
    assert set(tiled.companions) == set(whole.companions)
    for name, labels in whole.companions.items():
        assert np.mean(tiled.companions[name] != labels) < 1e-4
    for one, other in zip(tiled.provenance["targets"], whole.provenance["targets"], strict=True):
        assert one["value"] == pytest.approx(other["value"], rel=1e-4, abs=1e-4)


class Sliced:
    """An array that counts what is read of it."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape, self.dtype = values, values.shape, values.dtype
        self.read: list[int] = []

    def __getitem__(self, cut: tuple[slice, ...]) -> np.ndarray:
        found = self.values[cut]
        self.read.append(found.size)
        return found

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise AssertionError("the image was read whole")


@pytest.mark.parametrize(
    ("method", "layer", "options"),
    [
        ("score_map", None, {}),
        ("saliency", None, {}),
        ("input_x_gradient", None, {"channels": "keep"}),
        ("guided_backprop", None, {}),
        ("activation", "bottom", {}),
        ("activation", "enc2.1", {"only": (2, 0)}),
        ("grad_cam", "bottom", {}),
        ("grad_cam", None, {"relu": False}),
        ("grad_cam", "enc1", {"relu": False}),
        ("x_grad_cam", "bottom", {"relu": False}),
        ("grad_cam_plus_plus", "dec2", {}),
        ("guided_grad_cam", "bottom", {"channels": "keep"}),
        ("eigen_cam", "enc2", {}),
        ("hires_cam", "up2", {}),
        ("layer_cam", "dec2", {}),
        ("fusion_score_map", None, {"classes": ("cell", 2)}),
    ],
)
def test_tiles_equal_the_whole(method: str, layer: str | None, options: dict) -> None:
    network, x = unet(), image()
    without = ("activation", "eigen_cam", "fusion_score_map")
    target = None if method in without else ns.Target("cell", "predicted")
    whole = ns.explain(network, x, method, target, layer, **options)
    tiled = explain_tiled(network, x, method, target, layer, tile=140, **options)
    assert max(tiled.provenance["tiling"]["tile"]) <= 140
    close(tiled, whole)


@pytest.mark.parametrize(
    ("method", "layers"),
    [
        ("grad_cam", ["enc1", "bottom", "dec2"]),
        ("grad_cam_plus_plus", "dec*"),
        ("layer_cam", ["bottom", "enc2"]),
        ("saliency", None),
        ("guided_grad_cam", ["enc2", "bottom"]),
    ],
)
def test_several_targets_and_layers(method: str, layers: list[str] | str | None) -> None:
    network, x = unet(), image((165, 187, 3))
    targets = [
        "cell",
        ns.Target("cell", "predicted", "probability", "mean"),
        ns.Target("background", reduce="mean"),
    ]
    whole = ns.explain(network, x, method, targets, layers)
    tiled = explain_tiled(network, x, method, targets, layers, tile=150)
    assert tiled.axes[0] == "class"
    close(tiled, whole)
    # Each of the maps by itself is much smaller than the largest.
    for one, other in zip(tiled.values, whole.values, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4 * np.abs(other).max())


def test_layers_are_passed_once_more_where_they_are_not_kept() -> None:
    model, x = settled(UNet()), image()
    network = as_network(model, "segmentation", CLASSES, **PADDED)
    calls = []
    model.register_forward_pre_hook(lambda module, args: calls.append(1))
    kept = explain_tiled(network, x, "grad_cam", "cell", "enc1", tile=120)
    few, network.traces.limit = len(calls), 0
    calls.clear()
    again = explain_tiled(network, x, "grad_cam", "cell", "enc1", tile=120)
    assert len(calls) > 1.5 * few
    np.testing.assert_array_equal(kept.values, again.values)


def regions() -> list[ns.Target]:
    labels = np.zeros((165, 187), np.int32)
    labels[60:120, 70:140] = 7
    labels[10:20, 150:] = 8
    return [
        ns.Target("cell"),
        ns.Target("edge", reduce="mean"),
        ns.Target("cell", "predicted", "probability"),
        ns.Target("cell", labels == 7, "log_probability"),
        ns.Target("cell", ns.Instance(dask.array.from_array(labels, chunks=50), 7)),
        ns.Target("cell", (95.2, 71.0)),
        ns.Target("cell", "ground_truth"),
    ]


@pytest.mark.parametrize("number", range(7))
def test_a_region_is_cut_to_the_tiles(number: int) -> None:
    network, x, target = unet(), image(), regions()[number]
    truth = np.random.default_rng(2).integers(0, 3, (165, 187))
    given = {"ground_truth": truth} if number == 6 else {}
    method, layer = (("grad_cam", "enc2"), ("saliency", None))[number % 2]
    whole = ns.explain(network, x, method, target, layer, **given)
    close(explain_tiled(network, x, method, target, layer, tile=120, **given), whole)


def test_a_region_without_positions_is_refused() -> None:
    target = ns.Target("cell", np.zeros((165, 187), bool))
    with pytest.raises(ns.NeuroscopeError, match="no positions"):
        explain_tiled(unet(), image(), "saliency", target, tile=120)
    with pytest.raises(ns.NeuroscopeError, match="cell is nowhere in the ground truth"):
        explain_tiled(
            unet(), image(), "saliency", ns.Target("cell", "ground_truth"), tile=120,
            ground_truth=np.zeros((165, 187), int),
        )  # fmt: skip


class Strided(nn.Module):
    """No resampling, so sides need be no multiples: strides, dilation, and a coarse output."""

    def __init__(self, padding: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, 2, padding)
        self.second = nn.Conv2d(4, 5, 3, padding=2 * padding, dilation=2)
        self.head = nn.Conv2d(5, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.avg_pool2d(self.first(x).relu(), 2, ceil_mode=True)
        return self.head(self.second(x).relu())


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("method", ["score_map", "saliency", "grad_cam"])
def test_coarse_outputs_and_odd_sides(method: str, padding: int) -> None:
    network, x = as_network(settled(Strided(padding)), "segmentation", CLASSES), image()
    whole = ns.explain(network, x, method, "cell")
    close(explain_tiled(network, x, method, "cell", tile=70), whole)


class Volume(nn.Module):
    """Three axes, of which one is pooled."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv3d(1, 3, 3, padding=1)
        self.up = nn.Conv3d(3, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.max_pool3d(self.down(x).relu(), (1, 2, 2))
        return self.up(functional.interpolate(y, scale_factor=(1, 2, 2)))


def test_a_volume() -> None:
    network = as_network(settled(Volume()), "segmentation", axes="bczyx", channels=1)
    x = image((31, 44, 52))
    for method in ("saliency", "grad_cam"):
        whole = ns.explain(network, x, method, 1, keep="asked")
        close(explain_tiled(network, x, method, 1, tile=(20, 26, 52)), whole)


@pytest.mark.parametrize(
    "of_input",
    [
        {"normalization": "per_image"},
        {"normalization": {"per_image": True, "per_channel": True, "eps": 1e-3}},
        {"normalization": "percentile", "order": "bgr"},
        {"normalization": {"percentile": (2, 97), "clip": (0, 1), "then": {"per_image": True}}},
        {"value_range": "data"},
        {"value_range": "auto"},
    ],
)
def test_what_hangs_on_the_whole_image(of_input: dict) -> None:
    network = unet(**of_input)
    x = image() * 3 - 1
    x[5, 7], x[100, 100, 0] = np.nan, np.inf
    whole = ns.explain(network, x, "score_map", "cell")
    tiled = explain_tiled(network, Sliced(x), "score_map", "cell", tile=120)
    close(tiled, whole)
    assert tiled.provenance["notes"] == whole.provenance["notes"]


def test_whole_numbers_of_many_bits() -> None:
    network, x = unet(value_range="auto"), (image() * 4000).astype(np.int32)
    whole = ns.explain(network, x, "score_map", "cell")
    tiled = explain_tiled(network, x, "score_map", "cell", tile=120)
    close(tiled, whole)
    assert tiled.provenance["notes"] == whole.provenance["notes"]


def test_percentiles_are_exact() -> None:
    drawn = np.random.default_rng(0).normal(size=(2, 5001)).astype(np.float32)
    drawn[0, :2000] = 0.25
    wanted = (0, 1, 37.5, 99.8, 100)
    found = percentiles(lambda: iter(np.array_split(drawn, 7, axis=1)), 2, wanted)
    np.testing.assert_allclose(found, np.percentile(drawn.astype(float), wanted, axis=1).T, 1e-12)


def test_the_image_is_read_by_tiles() -> None:
    network, x = unet(), image((200, 260, 3))
    read, kept = Sliced(x), np.zeros((200, 260), np.float32)
    tiled = explain_tiled(network, read, "grad_cam", "cell", "enc1", tile=140, out=kept)
    assert max(read.read) <= 140 * 140 * 3
    assert tiled.values is kept
    lazy = dask.array.from_array(x, chunks=(64, 64, 3))
    shapes = []

    def make(shape: tuple[int, ...]) -> np.ndarray:
        shapes.append(shape)
        return np.zeros(shape, np.float32)

    parts: list[tuple[slice, ...]] = []
    again = explain_tiled(
        network, lazy, "grad_cam", "cell", "enc1", tile=140, out=make, written=parts.append
    )
    assert shapes == [(200, 260)]
    times = np.zeros((200, 260), int)
    for part in parts:
        times[part] += 1
    assert (times == 1).all()
    assert len(parts) > 1
    np.testing.assert_array_equal(again.values, kept)
    np.testing.assert_allclose(
        kept, ns.explain(network, x, "grad_cam", "cell", "enc1").values, atol=1e-5
    )
    with pytest.raises(ns.NeuroscopeError, match="has the shape"):
        explain_tiled(network, x, "score_map", "cell", tile=140, out=np.zeros((3, 3)))


def test_the_network_sees_no_more_than_a_tile() -> None:
    model = settled(UNet())
    seen = []
    model.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[2:].numel()))
    network = as_network(model, "segmentation", CLASSES, **PADDED)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for shape in ((200, 150, 3), (300, 260, 3)):
        explain_tiled(network, image(shape), "saliency", "cell", tile=150)
        assert max(seen) <= 150**2
    assert not network.traces
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_nothing_of_a_pass_outlives_it() -> None:
    network = unet()
    gc.disable()
    try:
        run = network.run(torch.rand(1, 3, 32, 32), ["enc1"])
        kept = weakref.ref(run.activations["enc1"])
        del run
        assert kept() is None
    finally:
        gc.enable()


def test_a_target_that_is_not_needed_is_left_out() -> None:
    found = explain_tiled(unet(), image(), "activation", ["cell", "edge"], "enc2", tile=120)
    assert found.axes == ("channel", "y", "x")
    assert found.provenance["targets"] == []


def test_weights_of_each_tile_differ() -> None:
    network, x = unet(), image()
    alone = explain_tiled(network, x, "grad_cam", "cell", "enc1", tile=120, weights="tile")
    assert not np.allclose(alone.values, ns.explain(network, x, "grad_cam", "cell", "enc1").values)


def test_a_given_overlap() -> None:
    network, x = unet(), image()
    whole = ns.explain(network, x, "score_map", "cell")
    small = explain_tiled(network, x, "score_map", "cell", tile=80, overlap=4)
    assert any("overlap by 4" in note for note in small.provenance["notes"])
    assert not np.allclose(small.values, whole.values, atol=1e-5)
    close(explain_tiled(network, x, "score_map", "cell", tile=80, overlap=24), whole)


class Short(UNet):
    """A network that runs out of memory."""

    most = 100 * 100

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:].numel() > self.most:
            raise torch.OutOfMemoryError("out of memory")
        return super().forward(x)


def test_a_tile_that_is_too_large_is_halved() -> None:
    x = image((220, 260, 3))
    model = settled(Short())
    network = as_network(model, "segmentation", CLASSES, **PADDED)
    tiled = explain_tiled(network, x, "score_map", "cell", tile=180)
    assert tiled.provenance["tiling"]["tile"] <= [90, 90]
    assert sum("memory" in note for note in tiled.provenance["notes"]) == 1
    model.most = 10**6
    close(tiled, ns.explain(network, x, "score_map", "cell"))
    model.most = 40 * 40
    with pytest.raises(OutOfMemoryError):
        explain_tiled(network, x, "score_map", "cell", tile=180)


@contextmanager
def moved(model: Short, calls: list[str]) -> Iterator[None]:
    """Stand for another device, on which there is memory."""
    calls.append("there")
    before, model.most = model.most, 10**6
    try:
        yield
    finally:
        model.most = before
        calls.append("back")


def test_the_network_moves_to_the_cpu_where_no_tile_is_small_enough(monkeypatch) -> None:
    x, model, calls = image((220, 260, 3)), settled(Short()), []
    model.most = 70 * 70
    network = as_network(model, "segmentation", CLASSES, **PADDED)
    monkeypatch.setattr(TorchFramework, "on_cpu", lambda self: moved(model, calls))
    with pytest.warns(ns.NeuroscopeWarning, match="ran on the CPU"):
        tiled = explain_tiled(network, x, "grad_cam", "cell", "enc1", tile=180)
    assert calls == ["there", "back"]
    assert sum("CPU" in note for note in tiled.provenance["notes"]) == 1
    assert max(tiled.provenance["tiling"]["tile"]) > 90
    assert model.most == 70 * 70
    model.most = 10**6
    whole = ns.explain(network, x, "grad_cam", "cell", "enc1")
    np.testing.assert_allclose(tiled.values, whole.values, rtol=0, atol=1e-5)


def test_a_network_that_is_on_the_cpu_does_not_move() -> None:
    assert unet().on_cpu() is None


class Full:
    """A disk without room."""

    shape = (168, 188)

    def __setitem__(self, part: object, values: object) -> None:
        raise OSError(28, "No space left on device")


def test_a_full_disk_is_said() -> None:
    with pytest.raises(ns.NeuroscopeError, match="No space left on device; make room"):
        explain_tiled(unet(), image(), "score_map", "cell", tile=120, out=Full())


class Gated(UNet):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * functional.adaptive_avg_pool2d(x, 1)[:, :1].sigmoid()


class Coordinates(UNet):
    """It knows where in its input a pixel is."""

    def forward(self, x: Tensor) -> Tensor:
        across = torch.linspace(-1, 1, x.shape[-1], device=x.device).expand_as(x[:, :1])
        return super().forward(torch.add(x, across))


class Aligned(UNet):
    def forward(self, x: Tensor) -> Tensor:
        y = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        return super().forward(functional.max_pool2d(y, 2))


class Grouped(UNet):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, 3)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.norm(x))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Gated, "sees the whole image"),
        (Grouped, "sees the whole image"),
        (Aligned, "size of the whole"),
        (Coordinates, "otherwise than the whole"),
    ],
)
def test_what_is_not_fully_convolutional_is_refused(kind: type[nn.Module], words: str) -> None:
    network = as_network(settled(kind()), "segmentation", CLASSES, **PADDED)
    with pytest.raises(ns.NeuroscopeError, match=words):
        explain_tiled(network, image(), "saliency", "cell", tile=120)


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("too small", {"tile": 40}),
        ("2 sizes", {"tile": (1, 2, 3)}),
        ("can't be made tile by tile", {"method": "rise"}),
        ("no layer", {"layer": "bottom"}),
        ("list of targets is empty", {"target": []}),
        ("No layer fits", {"method": "grad_cam", "layer": "encoder*"}),
        ("ranked", {"method": "activation", "rank": "mean"}),
        ("window alone", {"window": ((0, 9), (0, 9)), "target": ns.Target(1, reduce="mean")}),
        ("no positions", {"target": ns.Target("cell", np.zeros((165, 187)), reduce="mean")}),
        ("overlap", {"overlap": "halo"}),
        ("global", {"weights": "none"}),
        ("ground_truth=", {"target": ns.Target("cell", "ground_truth")}),
        ("must be equal", {"target": ns.Target("cell", np.ones((3, 3)))}),
    ],
)
def test_mistakes_are_said(words: str, changes: dict) -> None:
    asked = {"method": "saliency", "target": "cell", "tile": 120, **changes}
    with pytest.raises(ns.NeuroscopeError, match=words):
        explain_tiled(unet(), image(), **asked)


def test_what_has_no_tiles_is_refused() -> None:
    with pytest.raises(ns.NeuroscopeError, match="classifier"):
        explain_tiled(as_network(settled(Vgg())), image((16, 16, 3)), "saliency", 1)
    spec = {"task": "segmentation", "classes": CLASSES, "input": {"value_range": (0, 1)}}
    function = ns.wrap(lambda x: x, spec)
    with pytest.raises(ns.NeuroscopeError, match="layers can't be seen"):
        explain_tiled(function, image(), "score_map", "cell", tile=50)


def test_sizes_that_tiles_cannot_have() -> None:
    x = image((166, 187, 3))
    for sizes, words, tile in (
        ({"size": {"min": 1, "step": 1}}, "no multiple of 4", 120),
        ({"size": {"min": 16, "step": 4}}, "pad", 120),
        ({"size": (64, 64)}, "pad", 64),
        ({"size": (64, 64)}, "leave tile out", 120),
        ({"size": {"min": (64, 64), "step": (0, 4)}}, "one size", 120),
    ):
        with pytest.raises(ns.NeuroscopeError, match=words):
            explain_tiled(unet(resize="stretch", **sizes), x, "score_map", "cell", tile=tile)


def test_progress_can_stop_it() -> None:
    seen = []

    def progress(done: int, total: int, what: str) -> None:
        seen.append((done, total)) if total else None
        if done == 3:
            raise ns.Cancelled

    with pytest.raises(ns.Cancelled):
        explain_tiled(unet(), image(), "score_map", "cell", tile=120, progress=progress)
    assert seen == [(n, seen[0][1]) for n in (1, 2, 3)]


WINDOWS = [((40, 101), (60, 90)), ((0, 30), (150, 187)), ((100, 165), (0, 187))]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("tile", [500, 120])
@pytest.mark.parametrize(
    ("method", "layer"), [("score_map", None), ("saliency", None), ("layer_cam", "bottom")]
)
def test_a_window_is_that_part_of_the_whole(method, layer, tile, window) -> None:
    network, x, cell = unet(), Sliced(image()), ns.Target("cell", "everywhere")
    whole = ns.explain(network, image(), method, cell, layer)
    part = explain_tiled(network, x, method, cell, layer, tile=tile, window=window)
    offset = np.subtract(part.grid.offset, whole.grid.offset) / whole.grid.scale
    first = np.round(offset).astype(int)
    np.testing.assert_allclose(offset, first, atol=1e-9)
    cut = tuple(slice(i, i + n) for i, n in zip(first, part.values.shape, strict=True))
    np.testing.assert_allclose(part.values, whole.values[cut], rtol=0, atol=1e-5)
    # It holds the window, and less than a unit of the coarsest layer more.
    for (begin, stop), start, n, step in zip(
        window, part.grid.offset, part.values.shape, part.grid.scale, strict=True
    ):
        assert begin - 4 < start - (step - 1) / 2 <= begin
        assert stop <= start - (step - 1) / 2 + n * step < stop + 4
    assert part.image == whole.image
    # Floats are read once for their range.
    assert max(x.read[1:], default=0) < image().size or tile == 500


def test_a_window_weighs_channels_by_itself_and_says_so() -> None:
    network, x, window = unet(), image(), ((40, 101), (60, 90))
    mask = np.zeros(x.shape[:2], bool)
    mask[40:104, 60:92] = True
    of_mask = ns.explain(network, x, "grad_cam", ns.Target("cell", mask), "dec2", relu=False)
    part = explain_tiled(network, x, "grad_cam", "cell", "dec2", window=window, relu=False)
    assert part.provenance["tiling"]["window"] == [[40, 104], [60, 92]]
    assert "the channels' weights are of the window alone" in part.provenance["notes"]
    (target,) = part.provenance["targets"]
    assert target["value"] == pytest.approx(of_mask.provenance["targets"][0]["value"], rel=1e-4)
    whole = ns.explain(network, x, "grad_cam", "cell", "dec2", relu=False)
    assert part.values.shape == (32, 16)
    assert not np.allclose(part.values, whole.values[20:52, 30:46], rtol=1e-3)


@pytest.mark.parametrize("window", [((0, 10),), ((0, 200), (0, 5)), ((5, 5), (0, 9))])
def test_a_window_beside_the_image_is_refused(window) -> None:
    with pytest.raises(ns.NeuroscopeError, match="no part of an image of 165 × 187"):
        explain_tiled(unet(), image(), "saliency", "cell", window=window)


def test_the_map_so_far_is_handed_out(monkeypatch) -> None:
    monkeypatch.setattr(run, "OFFER_EVERY_S", 0.0)
    found: list[tuple[str, int]] = []
    network, x = unet(), image()

    def take(part: ns.Explanation) -> None:
        found.append((part.unfinished, int(np.isfinite(part.values).sum())))

    made = explain_tiled(
        network, x, "grad_cam", "cell", "enc1", tile=120, partial=take,
        out=lambda shape: np.full(shape, np.nan, np.float32),
    )  # fmt: skip
    count = len(found) + 1
    assert count > 3
    assert [words for words, _ in found] == [f"{n} of {count} tiles" for n in range(1, count)]
    counts = [count for _, count in found]
    assert counts == sorted(set(counts))
    assert counts[-1] < made.values.size
    assert made.unfinished == ""
    assert np.isfinite(made.values).all()


def test_what_hangs_on_all_of_an_image_is_found_once() -> None:
    network = unet(normalization={"percentile": [1, 99.8]})
    image_ = Sliced(image((400, 500, 3)))
    known = TiledInput(image_, network.spec, network.channels, (200, 200), stride=(4, 4))
    image_.read.clear()
    window, cell = ((40, 100), (60, 120)), ns.Target("cell", "everywhere")
    first, again = (
        explain_tiled(network, known, "saliency", cell, window=window) for _ in range(2)
    )
    assert sum(image_.read) < 2 * 3 * 200 * 200, "the window and what the network sees around it"
    afresh = explain_tiled(network, Sliced(image((400, 500, 3))), "saliency", cell, window=window)
    np.testing.assert_array_equal(first.values, afresh.values)
    assert first.provenance["image"] == again.provenance["image"] == afresh.provenance["image"]
