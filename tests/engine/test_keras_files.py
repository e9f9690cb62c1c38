"""Keras's files: what opens, and that nothing in them runs unasked."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.files.code.trust import UntrustedError

keras = pytest.importorskip("keras", reason="needs the extra “tensorflow”")
pytest.importorskip("tensorflow", reason="needs the extra “tensorflow”")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


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


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_whole_model(suffix: str, image: np.ndarray, tmp_path: Path) -> None:
    model = segmenter()
    model.save(tmp_path / f"net{suffix}")
    network = ns.load(tmp_path / f"net{suffix}", device="cpu")
    assert network.framework == "keras"
    assert network.spec.task == "segmentation"
    expected = ns.explain(
        ns.wrap(model, {"task": "segmentation"}, device="cpu"), image, "grad_cam", 1, "first"
    )
    found = ns.explain(network, image, "grad_cam", 1, "first")
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-5)


def test_weights_alone_need_a_factory(image: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "net.weights.h5"
    segmenter().save_weights(path)
    with pytest.raises(ns.NeuroscopeError, match="factory="):
        ns.load(path)
    network = ns.load(path, factory=segmenter, device="cpu")
    assert ns.explain(network, image, "saliency", 1).values.any()


def test_a_saved_model_is_a_program(image: np.ndarray, tmp_path: Path) -> None:
    segmenter().export(tmp_path / "saved", verbose=False)
    with pytest.raises(UntrustedError, match="TensorFlow program"):
        ns.load(tmp_path / "saved")
    network = ns.load(tmp_path / "saved", trust=True, device="cpu")
    assert network.predict(image).labels.shape == (12, 16)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_lambda_with_bytecode_leaves_no_trace(suffix: str, tmp_path: Path) -> None:
    marker = str(tmp_path / "marker")
    code = f"lambda x: (__import__('os').path.exists({marker!r}) or __import__('os').mkdir({marker!r})) or x"
    model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Lambda(eval(code))])
    Path(marker).rmdir()
    path = tmp_path / f"evil{suffix}"
    model.save(path)
    with pytest.raises(UntrustedError, match="Python code that it holds"):
        ns.load(path)
    assert not Path(marker).exists()


def test_broken_files_say_so(tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    segmenter().save(path)
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "half.keras", "w") as half:
        for name in whole.namelist():
            data = whole.read(name)
            half.writestr(name, data[:20] if name == "config.json" else data)
    with pytest.raises(ns.NeuroscopeError, match="broken keras file"):
        ns.load(tmp_path / "half.keras")


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
