"""Keras's final softmax or sigmoid: found whatever is stated, and for every question anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import napari_neuroscope as ns
from closeness import assert_close
from napari_neuroscope.engine.errors import no_progress
from napari_neuroscope.engine.graph.layer_graph import LayerGraph

keras = pytest.importorskip("keras", reason="needs the extra “tensorflow”")
tf = pytest.importorskip("tensorflow", reason="needs the extra “tensorflow”")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((64, 64, 3), dtype=np.float32)


@pytest.mark.parametrize(("end", "count"), [("sigmoid", 1), ("softmax", 3), ("sigmoid", 3)])
@pytest.mark.parametrize("apart", [False, True], ids=["inside of the layer", "a layer"])
def test_the_end_is_cut_where_no_task_is_stated(
    end: str, count: int, apart: bool, image: np.ndarray, tmp_path: Path
) -> None:
    inputs = keras.Input((64, 64, 3))
    bias = keras.initializers.Constant(-3.0)
    inside = None if apart else end
    head = keras.layers.Conv2D(count, 3, padding="same", bias_initializer=bias, activation=inside)
    outputs = keras.layers.Activation(end)(head(inputs)) if apart else head(inputs)
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "net.keras")

    network = ns.load(tmp_path / "net.keras", device="cpu")

    expected = np.moveaxis(model(image[None]).numpy()[0], -1, 0)
    predicted = network.predict(image).probabilities
    assert network.layers.final_activation is not None
    assert_close(predicted[1:] if count == 1 else predicted, expected)


def test_a_question_with_another_end_changes_no_answer(image: np.ndarray) -> None:
    inputs = keras.Input((64, 64, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(pooled))
    network = ns.wrap(model, {"task": "classification"}, device="cpu")
    adapter, layers, spec = network.adapter, network.layers, network.spec
    x = network.prepare(image).input[None]
    run = adapter.run(x, spec, layers, [model.layers[-1].name], no_progress)

    uncut = adapter.run(x, spec, LayerGraph([], 2), [model.layers[-1].name], no_progress)

    # Each run has its own end, also for the way back.
    given = tf.convert_to_tensor(image[None])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(given)
        logits = model.layers[-2](model.layers[-3](given)) @ model.layers[-1].kernel
        probabilities = model(given)
        first = logits[:, 0], probabilities[:, 0]
    for one, scores, score in zip((run, uncut), (logits, probabilities), first, strict=True):
        expected = np.moveaxis(tape.gradient(score, given).numpy(), -1, 1)
        assert_close(one.input_gradient(torch.eye(3)[:1]).numpy(), expected)
        assert_close(one.activations[model.layers[-1].name].numpy(), scores.numpy())
    assert run.scores is not None
    assert uncut.scores is None
    again = adapter.output(x, spec, layers)[1]
    assert again is not None
    np.testing.assert_array_equal(again.numpy(), run.scores.numpy())
