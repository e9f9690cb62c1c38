"""Weights of Keras files are those of the file, and no more than it holds."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.files.code.trust import UntrustedError

pytest.importorskip("tensorflow", reason="needs the extra “tensorflow”")


keras = pytest.importorskip("keras", reason="needs the extra “tensorflow”")


@pytest.fixture(autouse=True)
def _own_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_config_path", lambda *_: tmp_path / "config")


def segmenter() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="first"),
            keras.layers.Conv2D(3, 1, activation="softmax", name="second"),
        ]
    )


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((12, 16, 3), dtype=np.float32)


@keras.saving.register_keras_serializable(package="neuroscope_tests")
class Twice(keras.layers.Layer):
    """A layer of a user's own."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.factor = self.add_weight(
            shape=(shape[-1],), initializer="random_normal", name="factor"
        )

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return 2 * self.factor * x


def shared() -> keras.Model:
    """A model of many kinds: shared, nested and own layers, and operations."""
    image = keras.Input((8, 8, 3))
    conv = keras.layers.Conv2D(3, 3, padding="same", kernel_regularizer="l2", name="conv")
    inner = keras.Sequential([keras.layers.BatchNormalization(), Twice()], name="inner")
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.ops.relu(conv(conv(x)) + x)
    x = keras.layers.Dropout(0.5)(inner(x))
    x = keras.layers.GlobalAveragePooling2D(dtype="mixed_float16")(x)
    return keras.Model(image, keras.layers.Dense(2, activation="softmax", name="last")(x))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_weights_are_those_of_the_file(suffix: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    made = segmenter() if suffix == ".h5" else shared()
    made.compile(loss="categorical_crossentropy")
    path = tmp_path / f"net{suffix}"
    made.save(path)
    network, trusted = (ns.load(path, device="cpu", trust=trust) for trust in (False, True))
    # As Keras itself loads it: nothing of it but the weights' first values is left out.
    plain = keras.saving.load_model(path, compile=False)
    assert network.digest() == trusted.digest() == ns.wrap(plain, device="cpu").digest()
    for one, other in zip(network.adapter.model.weights, made.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    # Weights that wait for their values are none of the next model's.
    assert keras.layers.Dense(2).build((None, 3)) is None


def test_what_is_refused_leaves_no_weights_behind(tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    segmenter().save(path)
    with zipfile.ZipFile(path) as whole:
        files = {name: whole.read(name) for name in whole.namelist()}
    files["config.json"] = files["config.json"].replace(b'"filters": 3', b'"filters": 300000000')
    with zipfile.ZipFile(path, "w") as changed:
        for name, content in files.items():
            changed.writestr(name, content)
    with pytest.raises(ns.NeuroscopeError, match="asks for weights that it doesn't hold"):
        ns.load(path)
    with keras.StatelessScope():
        layer = keras.layers.Dense(2)
        layer.build((None, 3))
    # What waits at the end of the scope gets its values: none of the file's is among them.
    assert layer.kernel.numpy().shape == (3, 2)


def test_values_that_are_made_at_once_are_asked_about(tmp_path: Path) -> None:
    model = keras.Sequential(
        [
            keras.Input((4, 4, 3), batch_size=1),
            keras.layers.Reshape((16, 3)),
            keras.layers.LSTM(2, stateful=True),
        ]
    )
    path = tmp_path / "net.keras"
    model.save(path)
    with pytest.raises(UntrustedError, match="values of a size that is not known before"):
        ns.load(path)
    network = ns.load(path, trust=True, device="cpu")
    assert network.predict(np.ones((4, 4, 3), np.float32)).scores.shape == (2,)
