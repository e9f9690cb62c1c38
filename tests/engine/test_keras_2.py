"""Keras files as people have them: of Keras 2, under any ending, with layers of their own; programs."""

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
tf = pytest.importorskip("tensorflow", reason="needs the extra “tensorflow”")
h5py = pytest.importorskip("h5py")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

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


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [(None, "float32"), (None, "uint8"), ([None, None, None, 3], "uint8"),
     ([None, None, None, 3], "float16")],
)  # fmt: skip
def test_programs_of_any_rank_and_type(shape: Any, dtype: str, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)

    class Means(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec(shape, dtype)])
        def __call__(self, x: Any) -> Any:
            return {"y": tf.reduce_mean(tf.cast(x, tf.float32), (1, 2))}

    means = Means()
    tf.saved_model.save(means, tmp_path / "net", signatures={"serving_default": means.__call__})
    scores = ns.load(tmp_path / "net", trust=True, device="cpu").predict(image).scores
    scale = 1 if dtype == "uint8" else 255
    assert_close(scores, image.mean((0, 1)) / scale, 1e-3)


def test_a_program_that_takes_no_image_is_told(tmp_path: Path) -> None:
    class Heard(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 1000, 1], tf.float32)])
        def __call__(self, x: Any) -> Any:
            return {"y": tf.reduce_mean(x, 1)}

    heard = Heard()
    tf.saved_model.save(heard, tmp_path / "net", signatures={"serving_default": heard.__call__})
    with pytest.raises(ns.NeuroscopeError, match="hold no image"):
        ns.load(tmp_path / "net", trust=True)


def test_a_program_with_the_state_of_its_optimizer_opens(tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((32, 32, 3)).astype(np.float32)

    class Trained(tf.Module):
        def __init__(self) -> None:
            self.weight = tf.Variable([1.0, 2.0, 3.0])
            # As those of Keras 2, it keeps variables of its own for each weight.
            self.optimizer = tf.compat.v1.train.AdamOptimizer(0.5)
            self.optimizer.apply_gradients([(tf.ones(3), self.weight)])

        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)])
        def __call__(self, x: Any) -> Any:
            return {"y": tf.reduce_mean(x, (1, 2)) * self.weight}

    trained = Trained()
    tf.saved_model.save(trained, tmp_path / "net", signatures={"serving_default": trained.__call__})
    before = sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "net").rglob("*"))
    with pytest.raises(AttributeError, match="add_slot"):
        tf.saved_model.load(tmp_path / "net")

    scores = ns.load(tmp_path / "net", trust=True, device="cpu").predict(image).scores

    assert_close(scores, image.mean((0, 1)) * trained.weight.numpy(), 1e-5)
    assert sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "net").rglob("*")) == before
