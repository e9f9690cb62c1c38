"""Keras's files: what opens, and that nothing in them runs unasked."""

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
