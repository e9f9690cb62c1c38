"""A trace puts back what it sets in the whole process, and records its own thread alone."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.errors import no_progress

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")

import keras
import tensorflow as tf

from keras_networks import Subclassed, same_weights, settled, vgg
from napari_neuroscope.engine.frameworks.keras.tracing.trace import trace

SPEC = ns.ModelSpec.parse({"task": "classification", "input": {"axes": "byxc"}})


def process() -> tuple[Any, ...]:
    return keras.Layer.__call__, keras.Operation.__call__, tf.config.functions_run_eagerly()


def test_functions_are_unrolled_and_everything_is_put_back() -> None:
    before = process()
    hiding = same_weights(Subclassed(tf.function(tf.nn.relu)))
    traced = trace(hiding, (1, 8, 8, 3), SPEC, no_progress)
    assert [call.name for call in traced.recorder.calls].count("relu") == 1
    assert process() == before


def test_it_is_put_back_where_the_trace_is_stopped() -> None:
    before = process()

    def stop(done: int, total: int, what: str) -> None:
        assert process()[:2] != before[:2], "calls are recorded meanwhile"
        raise ns.Cancelled

    with pytest.raises(ns.Cancelled):
        trace(settled(vgg()), (1, 16, 16, 3), SPEC, stop)
    assert process() == before


def test_calls_in_another_thread_are_not_recorded() -> None:
    elsewhere = settled(vgg(), 1)
    image = np.ones((1, 16, 16, 3), np.float32)
    expected = elsewhere(image).numpy()
    answers = []

    def use(done: int, total: int, what: str) -> None:
        if not answers:
            thread = threading.Thread(target=lambda: answers.append(elsewhere(image).numpy()))
            thread.start()
            thread.join()

    model = settled(vgg())
    traced = trace(model, (1, 16, 16, 3), SPEC, use)
    np.testing.assert_array_equal(answers[0], expected)
    assert [call.name for call in traced.recorder.calls] == [layer.name for layer in model.layers]
