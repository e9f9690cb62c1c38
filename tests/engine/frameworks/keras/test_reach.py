"""Receptive fields of Keras networks, found by the gradient of one output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.errors import no_progress
from napari_neuroscope.engine.graph.receptive_field import box, receptive_field

keras = pytest.importorskip("keras")


L = keras.layers


def _skip(x: Any) -> Any:
    down = L.MaxPooling2D(2)(L.Conv2D(4, 3, padding="same", name="down")(x))
    up = L.Conv2DTranspose(3, 3, 2, padding="same")(down)
    return L.Concatenate()([up, x])


CASES: dict[str, list[Callable[[Any], Any]]] = {
    "same, even kernel": [L.Conv2D(4, 4, padding="same")],
    "same with a stride": [L.Conv2D(4, 3, 2, padding="same"), L.Conv2D(4, 3, 2, padding="same")],
    "valid": [L.Conv2D(4, 5, 2), L.DepthwiseConv2D(3, padding="same")],
    "dilated": [L.Conv2D(4, 3, dilation_rate=3, padding="same")],
    "pooled": [L.AveragePooling2D(3, 2, padding="same"), L.ReLU()],
    "up": [L.AveragePooling2D(4), L.UpSampling2D(2), L.Conv2D(2, 3, padding="same")],
    "up linearly": [L.AveragePooling2D(4), L.UpSampling2D(4, interpolation="bilinear")],
    "transposed": [L.AveragePooling2D(4), L.Conv2DTranspose(2, 4, 2, padding="same")],
    "padded and cropped": [L.ZeroPadding2D(((1, 0), (2, 3))), L.Conv2D(4, 3), L.Cropping2D(2)],
    "normed": [L.Conv2D(4, 3, padding="same"), L.LayerNormalization()],
    "one by one": [L.Dense(5), L.BatchNormalization()],
    "skip": [_skip, L.Conv2D(2, 3, padding="same")],
}


@pytest.mark.parametrize("case", CASES)
def test_the_box_is_the_support_of_the_gradient(case: str) -> None:
    x = given = keras.Input((20, 20, 3))
    for layer in CASES[case]:
        x = layer(x)
    # Other tests have Keras begin its own names anew.
    model = keras.Model(given, L.Conv2D(2, 1, name="head")(x))
    random = np.random.default_rng(0)
    for weight in model.weights:
        if "moving" not in weight.path and "bias" not in weight.path:
            weight.assign(random.random(weight.shape) * 0.2 + 0.05)
    network = ns.wrap(model, {"task": "segmentation"}, device="cpu")
    last = list(network.layers)[-1]
    rows, columns = network.layers[last].output_shape[1:]
    image = random.random((20, 20, 3)).astype(np.float32)
    given = network.prepare(image).input[None]
    run = network.adapter.run(given, network.spec, network.layers, [], no_progress)
    pooled = "MaxPooling2D" in {layer.operation for layer in network.layers.values()}
    for unit in [(0, 0), (rows - 1, columns - 1), (rows // 2, columns // 3), (1, columns - 2)]:
        seed = np.zeros(run.output.shape, np.float32)
        seed[:, :, unit[0], unit[1]] = 1
        gradient = run.gradients(run.output.new_tensor(seed), [], with_input=True)[1]
        assert gradient is not None
        seen = gradient[0].abs().sum(0).numpy() > 0
        if not seen.any():
            continue
        support = tuple((int(at.min()), int(at.max()) + 1) for at in np.nonzero(seen))
        found = box(network.layers, last, unit)
        if pooled:
            assert all(a <= c and d <= b for (a, b), (c, d) in zip(found, support, strict=True))
        else:
            assert found == support, unit


def test_by_hand() -> None:
    model = keras.Sequential([
        keras.Input((32, 32, 3)), L.Conv2D(4, 3, padding="same"), L.Conv2D(4, 3, padding="same"),
        L.MaxPooling2D(2), L.Conv2D(4, 3, padding="same", name="last"),
        L.GlobalAveragePooling2D(), L.Dense(3),
    ])  # fmt: skip
    network = ns.wrap(model, {"task": "classification"}, device="cpu")
    field = receptive_field(network.layers, "last")
    assert field.size == (10, 10)
    assert field.stride == (2, 2)
    assert field.offset == (0.5, 0.5)
