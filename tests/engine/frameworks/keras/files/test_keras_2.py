"""Keras files as people have them: of Keras 2, under any ending, with layers of their own."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import napari_neuroscope as ns
from closeness import assert_close

keras = pytest.importorskip("keras", reason="needs the extra “tensorflow”")


h5py = pytest.importorskip("h5py")


_UNGROUPED = ("Conv2DTranspose", "DepthwiseConv2D", "SeparableConv2D")


@pytest.fixture(autouse=True)
def _own_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_config_path", lambda *_: tmp_path / "config")


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((32, 32, 3), dtype=np.float32)


def segmenter() -> Any:
    layers = keras.layers
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 3))
    first = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    down = layers.DepthwiseConv2D(3, padding="same")(layers.MaxPooling2D()(first))
    down = layers.BatchNormalization()(layers.SeparableConv2D(4, 3, padding="same")(down))
    up = layers.Conv2DTranspose(4, 2, 2)(down)
    joined = layers.Concatenate()([first, up])
    return keras.Model(inputs, layers.Conv2D(3, 1, activation="softmax")(joined))


def of_keras_2(config: dict[str, Any]) -> dict[str, Any]:
    """Say it as Keras 2 did."""
    if config["class_name"] == "Functional" and "module" in config:
        config["module"] = "keras.src.engine.functional"
    for layer in config["config"]["layers"]:
        inner = layer["config"]
        if layer["class_name"] in _UNGROUPED:
            inner["groups"] = 1
        if layer["class_name"] == "BatchNormalization":
            inner["axis"] = [3]
        if "batch_shape" in inner:
            inner["batch_input_shape"] = inner.pop("batch_shape")
            inner |= {"sparse": False, "ragged": False}
        inner.pop("optional", None)
    return config


def expected(model: Any, image: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.moveaxis(model(image[None]).numpy()[0], -1, 0)
    return found


@pytest.mark.parametrize("ending", [".h5", ".hdf5", ".keras", ".model"])
@pytest.mark.parametrize("trust", [False, True])
def test_hdf5_of_keras_2_under_any_ending(
    ending: str, trust: bool, image: np.ndarray, tmp_path: Path
) -> None:
    model = segmenter()
    model.save(tmp_path / "net.h5")
    with h5py.File(tmp_path / "net.h5", "a") as file:
        file.attrs["model_config"] = json.dumps(of_keras_2(json.loads(file.attrs["model_config"])))
    path = (tmp_path / "net.h5").rename(tmp_path / f"other{ending}")
    before = path.read_bytes()

    network = ns.load(path, trust=trust, device="cpu")

    assert_close(network.predict(image).probabilities, expected(model, image))
    assert path.read_bytes() == before


def test_an_archive_of_keras_2(image: np.ndarray, tmp_path: Path) -> None:
    model = segmenter()
    model.save(tmp_path / "new.keras")
    with (
        zipfile.ZipFile(tmp_path / "new.keras") as new,
        zipfile.ZipFile(tmp_path / "old.model", "w") as old,
    ):
        for name in new.namelist():
            content = new.read(name)
            if name == "config.json":
                content = json.dumps(of_keras_2(json.loads(content))).encode()
            old.writestr(name, content)

    network = ns.load(tmp_path / "old.model", device="cpu")

    assert_close(network.predict(image).probabilities, expected(model, image))


@pytest.mark.parametrize("ending", [".weights.h5", ".h5", ".data"])
def test_weights_alone_under_any_ending(ending: str, image: np.ndarray, tmp_path: Path) -> None:
    model = segmenter()
    model.layers[1].bias.assign([1.0, 2.0, 3.0, 4.0])
    model.save_weights(tmp_path / "net.weights.h5")
    path = (tmp_path / "net.weights.h5").rename(tmp_path / f"other{ending}")
    network = ns.load(path, factory=segmenter, device="cpu")
    assert_close(network.predict(image).probabilities, expected(model, image))


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_a_factory_builds_layers_that_keras_does_not_know(
    ending: str, image: np.ndarray, tmp_path: Path
) -> None:
    @keras.saving.register_keras_serializable("of a test")
    class Doubled(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return 2 * x

    def build() -> Any:
        inputs = keras.Input((32, 32, 3))
        return keras.Model(inputs, Doubled()(keras.layers.Conv2D(2, 1)(inputs)))

    model = build()
    path = tmp_path / f"own{ending}"
    model.save(path)
    del keras.saving.get_custom_objects()["of a test>Doubled"]

    with pytest.raises(ns.NeuroscopeError, match="Doubled"):
        ns.load(path)
    network = ns.load(path, {"task": "segmentation"}, factory=build, device="cpu")
    assert_close(network.predict(image).scores, expected(model, image))
