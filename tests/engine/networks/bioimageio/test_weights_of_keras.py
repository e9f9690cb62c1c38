"""Packages of bioimage.io that hold Keras's weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import napari_neuroscope as ns
import packages
from napari_neuroscope.engine.files.code.trust import TrustStore, UntrustedError
from napari_neuroscope.engine.networks.check_published import check_published

keras = pytest.importorskip("keras", reason="needs the extra “tensorflow”")
pytest.importorskip("tensorflow", reason="needs the extra “tensorflow”")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(autouse=True)
def _own_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_config_path", lambda *_: tmp_path / "config")


@pytest.fixture
def model() -> Any:
    keras.utils.set_random_seed(0)
    image = x = keras.Input((None, None, 2))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(x)
    x = keras.layers.MaxPooling2D(name="smaller")(x)
    x = keras.layers.Conv2DTranspose(4, 2, strides=2, name="larger")(x)
    return keras.Model(image, keras.layers.Conv2D(3, 1, activation="softmax", name="last")(x))


def old(folder: Path, model: Any, name: str, source: str) -> Path:
    """Write a package of 0.4 with percentiles of each channel, in the order of TensorFlow."""
    folder.mkdir()
    if name == "tensorflow_saved_model_bundle":
        model.export(folder / "saved")
        shutil.make_archive(str(folder / "bundle"), "zip", folder / "saved")
        shutil.rmtree(folder / "saved")
    else:
        model.save(folder / source)
    values = np.random.default_rng(0).random((1, 16, 24, 2)) * [300, 9000]
    low, high = np.percentile(values, [1, 99.8], axis=(1, 2), keepdims=True)
    np.save(folder / "in.npy", values.astype(np.float32))
    np.save(folder / "out.npy", model((values - low) / (high - low + 1e-6)).numpy())
    range_ = {"mode": "per_sample", "axes": "yx", "min_percentile": 1, "max_percentile": 99.8}
    tensor = {"axes": "byxc", "data_type": "float32"}
    packages.write(
        folder,
        {
            "format_version": "0.4.8",
            "name": "Bacteria",
            "inputs": [
                {
                    **tensor,
                    "name": "input",
                    "shape": {"min": [1, 8, 8, 2], "step": [0, 2, 2, 0]},
                    "preprocessing": [{"name": "scale_range", "kwargs": range_}],
                }
            ],
            "outputs": [
                {
                    **tensor,
                    "name": "output",
                    "shape": {
                        "reference_tensor": "input",
                        "scale": [1, 1, 1, 0],
                        "offset": [0, 0, 0, 1.5],
                    },
                }
            ],
            "test_inputs": ["in.npy"],
            "test_outputs": ["out.npy"],
            "weights": {name: {"source": source}},
        },
    )
    return folder


@pytest.mark.parametrize(
    ("name", "source"), [("keras_hdf5", "weights.hdf5"), ("keras_v3", "weights.keras")]
)
def test_a_whole_model(name: str, source: str, model: Any, tmp_path: Path) -> None:
    network = ns.load(packages.zipped(old(tmp_path / "net", model, name, source)))
    assert check_published(network).passed
    assert {"first", "smaller", "larger", "last"} <= set(network.layers)
    image = np.random.default_rng(1).random((17, 20, 2)) * 1000
    found = ns.explain(network, image, "grad_cam", 1, "larger")
    assert found.on_image().shape == (17, 20)


def test_a_saved_model_is_a_program(model: Any, tmp_path: Path) -> None:
    folder = old(tmp_path / "net", model, "tensorflow_saved_model_bundle", "bundle.zip")
    path = packages.zipped(folder)
    with pytest.raises(UntrustedError, match="TensorFlow program") as refusal:
        ns.load(path)
    assert refusal.value.path == path
    TrustStore().add(refusal.value.sha256, path.name)
    assert check_published(ns.load(path)).passed


def test_a_bundle_without_a_model(model: Any, tmp_path: Path) -> None:
    folder = old(tmp_path / "net", model, "tensorflow_saved_model_bundle", "bundle.zip")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "readme.txt").write_text("nothing")
    shutil.make_archive(str(folder / "bundle"), "zip", tmp_path / "other")
    with pytest.raises(ns.NeuroscopeError, match=r"no saved_model\.pb"):
        ns.load(folder, trust=True)
    (folder / "bundle.zip").write_bytes(b"no zip at all")
    with pytest.raises(ns.NeuroscopeError, match="broken zip archive"):
        ns.load(folder, trust=True)
