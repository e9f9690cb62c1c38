"""Keras: Grad-CAM of all convolutions of VGG16, guided backpropagation, and loading."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import napari_neuroscope as ns
import timing
from napari_neuroscope.engine.frameworks.keras.tensorflow_import import import_tensorflow
from nets import TARGET
from rows import Row, hand_over

tf = import_tensorflow()
import keras  # noqa: E402  it would import TensorFlow its own way

SPEC = {
    "task": "classification",
    "input": {"axes": "byxc", "size": [224, 224], "normalization": "zero_one"},
}
WHAT = "Grad-CAM of the 13 convolutions of VGG16 in Keras, 224 × 224"


def image(number: int) -> np.ndarray:
    return np.random.default_rng(number).random((224, 224, 3), np.float32)


def vgg() -> Any:
    keras.utils.set_random_seed(0)
    # Its end is linear, as the peers need it; the work is the same.
    return keras.applications.VGG16(weights=None, classifier_activation=None)


class Sides:
    """Ours and the peers, on one model."""

    def __init__(self) -> None:
        self.model = vgg()
        self.network = ns.wrap(self.model, SPEC)
        self.layers = self.network.layers.of_kind("convolution")
        assert len(self.layers) == 13

        @tf.function
        def compiled(x: Any) -> Any:
            return self.bare(x)

        self._compiled = compiled

    def ours(self, number: int, **options: object) -> np.ndarray:
        return ns.explain(
            self.network, image(number), "grad_cam", TARGET, layer=self.layers, **options
        ).values

    def guided(self, number: int) -> np.ndarray:
        return ns.explain(self.network, image(number), "guided_backprop", TARGET).values

    def bare(self, x: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            score = self.model(x, training=False)[0, TARGET]
        return tape.gradient(score, x)

    def tape(self, number: int) -> np.ndarray:
        return self.bare(tf.constant(image(number)[None])).numpy()

    def compiled_tape(self, number: int) -> np.ndarray:
        return self._compiled(tf.constant(image(number)[None])).numpy()

    def tf_keras_vis(self, number: int, **options: object) -> list[np.ndarray]:
        from tf_keras_vis.gradcam import Gradcam
        from tf_keras_vis.utils.scores import CategoricalScore

        x = image(number)[None]
        return [
            Gradcam(self.model, clone=False)(
                CategoricalScore(TARGET), x, penultimate_layer=name, **options
            )[0]
            for name in self.layers
        ]


def against_tf_keras_vis(sides: Sides) -> list[Row]:
    # The peer without its scaling and enlarging: its maps are then ours.
    theirs = sides.tf_keras_vis(1000, normalize_cam=False, expand_cam=False)
    worst = 0.0
    for name, map_ in zip(sides.layers, theirs, strict=True):
        own = ns.explain(sides.network, image(1000), "grad_cam", TARGET, layer=name).values
        worst = max(worst, timing.check_equal(own, np.asarray(map_), name, 1e-4))
    sides.network.traces.clear()
    times = timing.alternate(
        {"ours": sides.ours, "peer": sides.tf_keras_vis}, 3, warm_up=1, each={"ours": 3}
    )
    note = f"maps equal to {worst:.1g} of their maximum"
    return [Row.of_times(WHAT, "tf-keras-vis Gradcam, one layer at a time",
                         times["ours"], times["peer"], "faster", 10, note)]  # fmt: skip


def against_tape(sides: Sides) -> list[Row]:
    times = timing.alternate(
        {"ours": sides.ours, "eager": sides.tape, "compiled": sides.compiled_tape}, 11, warm_up=2
    )
    return [
        Row.of_times(WHAT, "one bare forward and backward pass on a GradientTape",
                     times["ours"], times["eager"], "cost", 1.3),
        Row.of_times(WHAT, "the same, compiled by tf.function",
                     times["ours"], times["compiled"], "note", None),
    ]  # fmt: skip


def guided(sides: Sides) -> list[Row]:
    # The first call traces the network; from the second on it is used.
    times = timing.alternate(
        {"ours": sides.guided, "eager": sides.tape, "compiled": sides.compiled_tape}, 11, warm_up=2
    )
    what = "Guided backpropagation of VGG16 in Keras, 224 × 224, second call"
    return [
        Row.of_times(what, "one bare forward and backward pass on a GradientTape",
                     times["ours"], times["eager"], "cost", 1.3),
        Row.of_times(what, "the same, compiled by tf.function",
                     times["ours"], times["compiled"], "note", None),
    ]  # fmt: skip


def loading() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vgg.keras"
        vgg().save(path)
        spec = ns.ModelSpec.model_validate(SPEC)
        times = timing.alternate(
            {
                "ours": lambda _: ns.load(path, spec),
                "peer": lambda _: keras.saving.load_model(path, compile=False),
            },
            5,
            warm_up=1,
        )
    return [Row.of_times("Loading VGG16 from a .keras file", "keras.saving.load_model",
                         times["ours"], times["peer"], "cost", 1.2)]  # fmt: skip


FIGURES = {"tf-keras-vis": against_tf_keras_vis, "tape": against_tape, "guided": guided}

if __name__ == "__main__":
    timing.set_threads()
    tf.config.threading.set_intra_op_parallelism_threads(timing.THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(timing.THREADS)
    figure = sys.argv[1]
    hand_over(*(loading() if figure == "load" else FIGURES[figure](Sides())))
