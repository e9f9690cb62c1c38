"""Where a Keras network runs."""

from __future__ import annotations

import pytest
import torch

import napari_neuroscope as ns

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")

import tensorflow as tf

from napari_neuroscope.engine.frameworks.keras.device import choose_device


def test_the_cpu() -> None:
    assert choose_device("cpu") == (torch.device("cpu"), "/CPU:0")


@pytest.mark.parametrize("device", ["mps", "tpu", "cuda:x"])
def test_a_device_that_tensorflow_does_not_know(device: str) -> None:
    with pytest.raises(ns.NeuroscopeError, match=f"TensorFlow has no device “{device}”"):
        choose_device(device)


def test_gpus_are_numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["one", "two"])
    assert choose_device("auto")[1] == "/GPU:0"
    assert choose_device("cuda:1")[1] == "/GPU:1"
    with pytest.raises(ns.NeuroscopeError, match="which sees 2 GPUs"):
        choose_device("cuda:2")
