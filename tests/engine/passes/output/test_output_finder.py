"""Where outputs and layers lie that leave out the image's border: values are found without us."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import napari_neuroscope as ns
import packages
from napari_neuroscope.engine.explain.instances import explain_instances
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.networks.bioimageio.package_spec import spec_of
from napari_neuroscope.engine.networks.bioimageio.read_description import read
from napari_neuroscope.engine.tiles.prediction import predict_tiled
from networks import as_network, settled

SHAPE = (48, 60)


class Valid(nn.Module):
    """A small U-Net as it was at first: no padding, and skips that are cut."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.inner = nn.Conv2d(3, 5, 5), nn.Conv2d(5, 6, 3)
        self.up, self.head = nn.ConvTranspose2d(6, 5, 2, stride=2), nn.Conv2d(10, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        skipped = self.down(x).relu()
        inner = self.inner(functional.max_pool2d(skipped, 2)).relu()
        up = self.up(inner)
        return self.head(torch.cat([skipped[..., 2:-2, 2:-2], up], 1))


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((*SHAPE, 3)).astype(np.float32)


def plain(model: nn.Module, image: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(image.transpose(2, 0, 1))[None])[0].numpy()


def of_torch(model: nn.Module) -> Any:
    return model


def of_torch_script(model: nn.Module) -> Any:
    return torch.jit.trace(model, torch.zeros(1, 3, *SHAPE))


def of_function(model: nn.Module) -> Any:
    return lambda x: model(torch.from_numpy(x)).detach().numpy()


def of_onnx(model: nn.Module) -> Any:
    from onnx_networks import exported

    return exported(model, (1, 3, *SHAPE))


@pytest.mark.parametrize("make", [of_torch, of_torch_script, of_function, of_onnx])
def test_an_answer_lies_where_it_was_found(
    make: Callable[[nn.Module], Any], image: np.ndarray
) -> None:
    model = settled(Valid())
    network = as_network(make(model), "segmentation")
    right, found = plain(model, image), network.predict(image)
    # 2 of the first, 2 · 1 of the inner and 1 of the last convolution.
    inner = (slice(None), slice(5, -5), slice(5, -5))
    np.testing.assert_allclose(found.scores[inner], right, atol=1e-4)
    assert np.isnan(found.scores).sum() == 3 * (np.prod(SHAPE) - right[0].size)
    assert (found.labels == -1).sum() == np.prod(SHAPE) - right[0].size
    np.testing.assert_array_equal(found.labels[inner[1:]], right.argmax(0))
    assert any("leaves out 5 and 5, 5 and 5 pixels" in note for note in found.notes)
    # A point of the image is asked about at the position that answers for it.
    e = ns.explain(network, image, "score_map", ns.Target(1, region=(20, 30)))
    assert e.provenance["targets"][0]["value"] == pytest.approx(right[1, 15, 25], abs=1e-4)
    np.testing.assert_allclose(e.on_image()[5:-5, 5:-5], right[1], atol=1e-4)


def test_keras_answers_lie_where_they_were_found(image: np.ndarray) -> None:
    pytest.importorskip("keras")
    import keras

    from keras_networks import layers, settled

    given = keras.Input((*SHAPE, 3))
    x = layers.Conv2D(4, 5, activation="relu", name="first")(given)
    x = layers.Conv2D(4, 3, name="second")(layers.MaxPooling2D(2)(x))
    x = layers.Cropping2D(((1, 0), (0, 0)))(layers.UpSampling2D(2)(x))
    model = settled(keras.Model(given, layers.Conv2D(2, 3)(x)))
    right = np.moveaxis(model(image[None]).numpy()[0], -1, 0)
    network = as_network(model, "segmentation")
    found = network.predict(image).scores
    # A row more is cut off above.
    np.testing.assert_allclose(found[:, 6:-5, 5:-5], right, atol=1e-4)
    assert np.isfinite(found).sum() == right.size
    e = ns.explain(network, image, "grad_cam", 1, "second")
    assert (e.grid.scale, e.grid.offset) == ((2.0, 2.0), (4.5, 4.5))


def centre(answer: Tensor, x: Tensor, unit: tuple[int, int]) -> list[float]:
    """Return the middle of the pixels that a unit sees, by its gradient."""
    (gradient,) = torch.autograd.grad(answer[0, :, unit[0], unit[1]].sum(), x, retain_graph=True)
    seen = gradient[0].abs().sum(0).nonzero()
    return ((seen.amin(0) + seen.amax(0)) / 2).tolist()


STEMS: dict[str, list[nn.Module]] = {
    "unpadded convolution, pooling": [nn.Conv2d(3, 4, 3), nn.AvgPool2d(2), nn.Conv2d(4, 4, 3)],
    "AlexNet's": [nn.Conv2d(3, 4, 11, 4, 2), nn.AvgPool2d(3, 2), nn.Conv2d(4, 4, 5, padding=2)],
    "Inception's": [nn.Conv2d(3, 4, 3, 2), nn.Conv2d(4, 4, 3), nn.AvgPool2d(3, 2)],
    "more padding than it takes": [nn.Conv2d(3, 4, 3, padding=3), nn.Conv2d(4, 4, 1, padding=1)],
    "dilated": [nn.Conv2d(3, 4, 3, dilation=4), nn.AvgPool2d(2), nn.ConvTranspose2d(4, 4, 2, 2)],
}


@pytest.mark.parametrize("stem", STEMS.values(), ids=STEMS)
def test_layers_lie_where_their_units_see(stem: list[nn.Module], rng: np.random.Generator) -> None:
    image = rng.random((99, 120, 3)).astype(np.float32)
    model = settled(nn.Sequential(*stem, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)))
    network = as_network(model)
    x = torch.from_numpy(image.transpose(2, 0, 1))[None].requires_grad_()
    answer = x
    for number, layer in enumerate(stem):
        answer = layer(answer)
        grid = ns.explain(network, image, "activation", layer=str(number)).grid
        unit = tuple(n // 2 for n in grid.shape)
        found = [s * i + o for s, i, o in zip(grid.scale, unit, grid.offset, strict=True)]
        # Two units that one is made of see what it saw.
        finer = isinstance(layer, nn.ConvTranspose2d)
        np.testing.assert_allclose(found, centre(answer, x, unit), atol=0.5 if finer else 1e-9)


@pytest.mark.parametrize("side", [32, 33, 45])
def test_padded_layers_divide_the_image_as_before(side: int, rng: np.random.Generator) -> None:
    model = settled(nn.Sequential(
        nn.Conv2d(3, 4, 7, 2, 3), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2),
    ))  # fmt: skip
    image = rng.random((side, side, 3)).astype(np.float32)
    for layer in ("0", "1", "3"):
        e = ns.explain(as_network(model), image, "grad_cam", 1, layer, relu=False)
        assert e.grid == Grid.of_image((side, side)).divided(e.values.shape)


def test_regions_are_summed_over_the_right_positions(image: np.ndarray) -> None:
    model = settled(Valid())
    network, right = as_network(model, "segmentation"), plain(model, image)
    truth = np.zeros(SHAPE, int)
    truth[3:22, 17:40] = 2
    inside = right[2][(truth == 2)[5:-5, 5:-5]]
    for region in ("ground_truth", truth == 2):
        e = ns.explain(network, image, "saliency", ns.Target(2, region), ground_truth=truth)
        assert e.provenance["targets"][0]["value"] == pytest.approx(inside.sum(), rel=1e-4)
    answers = explain_instances(network, image, truth, "saliency")
    predicted = right.argmax(0)[(truth == 2)[5:-5, 5:-5]]
    assert answers[0].class_ == str(np.bincount(predicted).argmax())
    own = right[int(answers[0].class_)][(truth == 2)[5:-5, 5:-5]]
    assert answers[0].value == pytest.approx(own.sum(), rel=1e-4)
    # An early layer is shown where it lies, and several on one grid that covers all.
    x = torch.from_numpy(image.transpose(2, 0, 1))[None]
    with torch.no_grad():
        first = model.down(x)[0]
    e = ns.explain(network, image, "activation", layer="down")
    np.testing.assert_allclose(e.on_image()[:, 2:-2, 2:-2], first, atol=1e-5)
    both = ns.explain(network, image, "grad_cam", 2, ["down", "head"], relu=False)
    alone = [
        ns.explain(network, image, "grad_cam", 2, [name], relu=False) for name in ("down", "head")
    ]
    assert both.grid == Grid.of_image(SHAPE).window((2, 2), (44, 56))
    np.testing.assert_array_equal(both.values[0], alone[0].values[0])
    np.testing.assert_array_equal(both.values[1][3:-3, 3:-3], alone[1].values[0])


@pytest.mark.parametrize("method", ["score_map", "grad_cam", "saliency"])
def test_tiles_of_answers_that_leave_out_a_border(method: str, rng: np.random.Generator) -> None:
    image = rng.random((100, 124, 3)).astype(np.float32)
    network = as_network(settled(Valid()), "segmentation")
    mask = np.zeros(image.shape[:2], bool)
    mask[8:60, 30:90] = True
    layer = "inner" if method == "grad_cam" else None
    for region in ("everywhere", mask):
        target = ns.Target(1, region, reduce="mean")
        whole = ns.explain(network, image, method, target, layer)
        tiled = ns.explain_tiled(network, image, method, target, layer, tile=64)
        assert tiled.grid == whole.grid
        np.testing.assert_allclose(
            tiled.values, whole.values, atol=1e-4 * np.abs(whole.values).max()
        )
        values = [e.provenance["targets"][0]["value"] for e in (whole, tiled)]
        assert values[1] == pytest.approx(values[0], rel=1e-4)


def test_a_tiled_prediction_lies_as_the_whole(rng: np.random.Generator) -> None:
    image = rng.random((100, 124, 3)).astype(np.float32)
    model = settled(Valid())
    tiled = as_network(model, "segmentation", size={"min": 64, "step": 4}, resize="tile")
    found, right = predict_tiled(tiled, image), plain(model, image)
    np.testing.assert_allclose(found.scores[:, 5:-5, 5:-5], right, atol=1e-4)
    assert np.isfinite(found.scores).sum() == right.size


def test_a_crop_that_is_not_centred_is_measured(image: np.ndarray) -> None:
    model = settled(Valid())
    for fixed in ({}, {"size": SHAPE}):
        network = as_network(lambda x: model(torch.from_numpy(x)).detach().numpy()[:, :, 8:],
                             "segmentation", **fixed)  # fmt: skip
        found = network.predict(image)
        np.testing.assert_allclose(
            found.scores[:, 13:-5, 5:-5], plain(model, image)[:, 8:], atol=1e-4
        )
        assert any("as was measured" in note for note in found.notes)


def test_odd_sides_don_t_put_what_is_measured_off(rng: np.random.Generator) -> None:
    image = rng.random((33, 41, 3)).astype(np.float32)
    stems = (
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.Conv2d(4, 2, 3)),
        nn.Sequential(
            nn.Conv2d(3, 4, 3, 2, 1), nn.InstanceNorm2d(4), nn.Conv2d(4, 2, 3, padding=1)
        ),
    )
    for model in map(settled, stems):
        by_layers = as_network(model, "segmentation").predict(image).grid
        measured = as_network(of_function(model), "segmentation").predict(image).grid
        assert by_layers is not None
        assert measured is not None
        assert measured.scale == by_layers.scale
        # One pixel does not tell half a unit.
        np.testing.assert_allclose(measured.offset, by_layers.offset, atol=1)


def test_a_stated_crop_is_taken(image: np.ndarray) -> None:
    network = as_network(
        lambda x: x[:, :2, 4:-4, 6:-6] * 2, "segmentation", output={"crop": (4, 6)}
    )
    found = network.predict(image).scores
    np.testing.assert_allclose(found[:, 4:-4, 6:-6], 2 * image[4:-4, 6:-6, :2].transpose(2, 0, 1))
    with pytest.raises(ns.NeuroscopeError, match=r"output\.crop has 3 numbers"):
        as_network(lambda x: x, "segmentation", output={"crop": (1, 2, 3)})
    with pytest.raises(ns.NeuroscopeError, match="leaves nothing"):
        as_network(lambda x: x[:, :2, 4:-4], "segmentation", output={"crop": 99}).predict(image)


def test_a_package_says_what_its_output_leaves_out(tmp_path: Path) -> None:
    raw = packages.read(packages.make(tmp_path / "new"))
    for number, axis in enumerate(raw["outputs"][0]["axes"][-2:]):
        size = {"tensor_id": "raw", "axis_id": axis["id"], "offset": -8 - 4 * number}
        axis.update(size=size, halo=0, scale=2.0)
    assert spec_of(read(raw, "It"), "It")[0].output.crop == (8.0, 12.0)
    raw = packages.read(packages.make_old(tmp_path / "old"))
    raw["outputs"][0]["shape"]["offset"][2:] = [-92, -46]
    raw["outputs"][0]["shape"]["scale"][2:] = [1, 0.5]
    assert spec_of(read(raw, "It"), "It")[0].output.crop == (92.0, 92.0)


@pytest.mark.parametrize(
    ("cut", "begin"),
    [(lambda x: x[..., 16:, 16:], 16), (lambda x: x.narrow(2, 8, 40).narrow(3, 4, 40), (8, 4)),
     (lambda x: functional.pad(x, (-3, 0, -5, -2)), (5, 3))],
)  # fmt: skip
@pytest.mark.parametrize("behind", [0, 1])
def test_layers_behind_a_cut_lie_where_it_was(
    cut: Callable[[Tensor], Tensor], begin: Any, behind: int
) -> None:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(cut(x)).relu()).mean((2, 3))

    network = as_network(settled(Cut()))
    image = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    layer = ("first", "second")[behind]
    found = ns.explain(network, image, "grad_cam", 0, layer)

    assert found.grid.scale == (1, 1)
    assert found.grid.offset == tuple(np.broadcast_to(begin, 2))
