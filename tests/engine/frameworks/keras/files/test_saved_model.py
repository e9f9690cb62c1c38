"""SavedModels of any rank and type, with and without their optimizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import napari_neuroscope as ns
from closeness import assert_close

tf = pytest.importorskip("tensorflow", reason="needs the extra “tensorflow”")


@pytest.fixture(autouse=True)
def _own_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_config_path", lambda *_: tmp_path / "config")


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((32, 32, 3), dtype=np.float32)


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
