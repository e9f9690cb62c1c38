"""What an answer is, by its shape: grids in a row, tables of boxes, labels, channels that come last."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import napari_neuroscope as ns
from napari_neuroscope.engine.passes.spec_inference import complete_spec
from napari_neuroscope.engine.spec.answer_shape import Answer, grid_of, read_answers
from napari_neuroscope.engine.spec.model_spec import ModelSpec
from networks import EndingIn, Pixelwise, as_network, settled

SHAPE = (32, 48)


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((*SHAPE, 3)).astype(np.float32)


def plain(model: nn.Module, image: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(image.transpose(2, 0, 1))[None])[0].numpy()


ROWS: dict[str, tuple[Any, str | None]] = {
    "positions, classes": (lambda x: x.flatten(2).transpose(1, 2), None),
    "classes, positions": (lambda x: x.flatten(2), None),
    "stated": (lambda x: x.flatten(2), "bc(yx)"),
    "columns first": (lambda x: x.transpose(2, 3).flatten(2), "bc(xy)"),
    "with a softmax": (lambda x: x.flatten(2).transpose(1, 2).softmax(-1), None),
    "the channels last": (lambda x: x.permute(0, 2, 3, 1), None),
}


@pytest.mark.parametrize("kind", ["torch", "function", "onnx"])
@pytest.mark.parametrize(("end", "axes"), ROWS.values(), ids=ROWS)
def test_positions_in_a_row(end: Any, axes: str | None, kind: str, image: np.ndarray) -> None:
    model = EndingIn(settled(Pixelwise(3, 5)), end)
    given: Any = model
    if kind == "function":
        given = lambda x: model(torch.from_numpy(x)).detach().numpy()  # noqa: E731
    elif kind == "onnx":
        from onnx_networks import exported

        given = exported(model, (1, 3, *SHAPE), fixed=True)
    network = as_network(given, "segmentation", output={"axes": axes})
    right, found = plain(settled(Pixelwise(3, 5)), image), network.predict(image)
    np.testing.assert_array_equal(found.labels, right.argmax(0))
    softmax = torch.from_numpy(right).softmax(0).numpy()
    np.testing.assert_allclose(found.probabilities, softmax, atol=1e-5)
    e = ns.explain(network, image, "occlusion", ns.Target(2, (10, 20)), window=3, stride=3)
    where = np.unravel_index(np.abs(e.values).argmax(), e.values.shape)
    assert abs(where[0] - 10) < 3
    assert abs(where[1] - 20) < 3


def test_positions_in_a_row_of_keras(image: np.ndarray) -> None:
    keras = pytest.importorskip("keras")
    from keras_networks import layers, settled

    given = keras.Input((*SHAPE, 3))
    x = layers.Conv2D(5, 3, strides=2, padding="same")(given)
    model = settled(keras.Model(given, layers.Softmax()(layers.Reshape((16 * 24, 5))(x))))
    network = as_network(model, "segmentation")
    right = model(image[None]).numpy()[0].reshape(16, 24, 5)
    found = network.predict(image)
    np.testing.assert_allclose(np.moveaxis(network.predict(image).outputs.probabilities.numpy(), 0, -1), right, atol=1e-5)  # fmt: skip
    assert found.grid is not None
    assert found.grid.shape == (16, 24)
    assert network.layers.final_activation is not None
    assert np.isfinite(ns.explain(network, image, "grad_cam", 1).values).all()


def test_cropped_positions_in_a_row_are_told_by_the_layers(image: np.ndarray) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Conv2d(3, 4, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x).flatten(2)

    model = settled(Net())
    network = as_network(model, "segmentation", output={"axes": "bc(yx)"})
    for shown in (image, image[:20, :30]):
        h, w = shown.shape[0] - 4, shown.shape[1] - 4
        right = plain(model, shown).reshape(4, h, w)
        np.testing.assert_allclose(network.predict(shown).scores[:, 2:-2, 2:-2], right, atol=1e-5)


def boxes(x: Tensor) -> Tensor:
    grids = [
        nn.functional.adaptive_avg_pool2d(x, [n // s for n in x.shape[2:]]) for s in (8, 16, 32)
    ]
    return torch.cat([one.flatten(2) for one in grids], 2)


REFUSED: dict[str, tuple[Any, str, str]] = {
    "boxes of three strides": (boxes, "", "it gives boxes"),
    "boxes, stated as classes": (boxes, "classification", "it gives boxes"),
    "boxes, stated as a segmentation": (boxes, "segmentation", "it gives boxes"),
    "one grid of a stride": (
        lambda x: nn.functional.avg_pool2d(x, 8).flatten(2), "", r"output\.axes: bc\(yx\)",
    ),
    "labels": (lambda x: x.argmax(1).float(), "segmentation", "whole numbers alone, as labels"),
    "labels with an axis": (
        lambda x: (x[:, :1] > 0).float(), "segmentation", "whole numbers alone, as labels",
    ),
    "the label of an image": (
        lambda x: 1.0 + x.mean((2, 3)).argmax(1).float(), "classification", "whole numbers alone",
    ),
    "one axis alone": (lambda x: x.mean(2), "segmentation", "does not keep the image's axes"),
}  # fmt: skip


@pytest.mark.parametrize(("end", "task", "says"), REFUSED.values(), ids=REFUSED)
def test_what_is_asked(end: Any, task: str, says: str, rng: np.random.Generator) -> None:
    model = EndingIn(settled(Pixelwise(3, 7)), end)
    network = ns.wrap(model, {"task": task} if task else {}, device="cpu")
    if not task:
        complete_spec(network)
    with pytest.raises(ns.NeuroscopeError, match=says):
        network.predict(rng.random((64, 96, 3)).astype(np.float32))


def test_the_task_and_the_order_are_found_out() -> None:
    for end, task, axes in (
        (lambda x: x, "segmentation", None),
        (lambda x: x.permute(0, 2, 3, 1), "segmentation", "byxc"),
        (lambda x: x.permute(0, 1, 3, 2), "segmentation", "bcxy"),
        (lambda x: x[:, 0], "segmentation", None),
        (lambda x: x.flatten(2), "segmentation", "bc(yx)"),
        (lambda x: x.mean((2, 3)), "classification", None),
        (lambda x: x.mean((2, 3), keepdim=True), "classification", None),
    ):
        network = ns.wrap(EndingIn(settled(Pixelwise(3, 5)), end), device="cpu")
        complete_spec(network)
        assert (network.spec.task, network.spec.output.axes) == (task, axes)


def test_a_grid_is_told_by_its_length_where_one_alone_has_it() -> None:
    assert grid_of(32 * 48, (32, 48)) == (32, 48)
    assert grid_of(16 * 24, (32, 48)) == (16, 24)
    assert grid_of(5 * 6, (33, 39)) == (5, 6)
    assert grid_of(8400, (640, 640)) is None
    assert grid_of(4 * 5 * 6, (8, 10, 12)) == (4, 5, 6)
    yolo = [Answer((640, 640), (1, 84, 8400))]
    assert "gives boxes" in read_answers(yolo, ModelSpec()).doubt
    volume = [Answer((8, 10, 12), (1, 480, 3))]
    spec = ModelSpec.parse({"task": "segmentation", "input": {"axes": "bczyx"}})
    assert read_answers(volume, spec).doubt
    volume = [Answer((8, 10, 12), (1, 960, 3))]
    assert read_answers(volume, spec).axes == "b(zyx)c"
