"""How TensorFlow is imported."""

from __future__ import annotations

import pytest

from napari_neuroscope.engine.frameworks.keras.tensorflow_import import import_tensorflow

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")


import tensorflow as tf


def test_a_gpus_memory_is_taken_as_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["one", "two"])
    monkeypatch.setattr(
        tf.config.experimental, "set_memory_growth", lambda gpu, grows: asked.append((gpu, grows))
    )
    import_tensorflow()
    assert asked == [("one", True), ("two", True)]
