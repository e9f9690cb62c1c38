"""More files of Keras, TensorFlow and ONNX as people have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from files_of_people import network


def _unet() -> Any:
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3))
    first = layers.Conv2D(4, 3, padding="same", activation="relu", name="down")(image)
    inner = layers.DepthwiseConv2D(3, padding="same", name="inner")(layers.MaxPooling2D()(first))
    up = layers.Conv2DTranspose(4, 2, 2, name="up")(inner)
    joined = layers.Concatenate()([first, up])
    return keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid", name="head")(joined))


@network("Keras 3, .h5")
def keras_hdf5(folder: Path) -> Path:
    _unet().save(folder / "net.h5")
    return folder / "net.h5"


@network("Keras 2, .h5 with groups: 1")
def keras_2(folder: Path) -> Path:
    import h5py

    path = keras_hdf5(folder)
    with h5py.File(path, "a") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            inner = layer["config"]
            if layer["class_name"] in ("Conv2DTranspose", "DepthwiseConv2D"):
                inner["groups"] = 1
            if "batch_shape" in inner:
                inner["batch_input_shape"] = inner.pop("batch_shape")
                inner |= {"sparse": False, "ragged": False}
            inner.pop("optional", None)
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "2.13.1"
    return path


@network("Keras, weights alone (.weights.h5)")
def keras_weights(folder: Path) -> Path:
    _unet().save_weights(folder / "net.weights.h5")
    return folder / "net.weights.h5"


_OWN = """import keras


@keras.saving.register_keras_serializable("page")
class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x


def net():
    image = keras.Input((32, 32, 3), name="image")
    return keras.Model(image, Twice(name="twice")(keras.layers.Conv2D(2, 1, name="conv")(image)))
"""


@network("Keras, layers of one's own and a script, trusted",
         trust=True, factory="{folder}/net.py:net")  # fmt: skip
def keras_layer_and_script(folder: Path) -> Path:
    import keras

    (folder / "net.py").write_text(_OWN)
    place: dict[str, Any] = {"__name__": "made_for_a_page"}
    exec(_OWN, place)
    place["net"]().save(folder / "net.keras")
    keras.saving.get_custom_objects().clear()
    return folder / "net.keras"


@network("Keras, Python code within (Lambda)")
def keras_lambda(folder: Path) -> Path:
    import keras

    image = keras.Input((8, 8, 3))
    answer = keras.layers.Lambda(lambda x: 2 * x, output_shape=(8, 8, 3), name="twice")(image)
    keras.Model(image, answer).save(folder / "net.keras")
    return folder / "net.keras"


@network("Keras, Python code within (Lambda), trusted", trust=True)
def keras_lambda_trusted(folder: Path) -> Path:
    return keras_lambda(folder)


@network("Keras, a file that was cut off")
def keras_cut_off(folder: Path) -> Path:
    _unet().save(folder / "net.keras")
    content = (folder / "net.keras").read_bytes()
    (folder / "net.keras").write_bytes(content[:2000])
    return folder / "net.keras"


# --- programs ---


def _add_program(
    title: str, shape: Any, kind: str = "float32", axes: tuple[int, ...] = (1, 2)
) -> None:
    @network(f"TensorFlow, a SavedModel {title}, trusted", trust=True)
    def program(folder: Path) -> Path:
        import tensorflow as tf

        class Means(tf.Module):
            @tf.function(input_signature=[tf.TensorSpec(shape, kind)])
            def __call__(self, x: Any) -> Any:
                return {"scores": tf.reduce_mean(tf.cast(x, tf.float32), axes)}

        means = Means()
        signatures = {"serving_default": means.__call__}
        tf.saved_model.save(means, str(folder / "net"), signatures=signatures)
        return folder / "net"


_add_program("of unknown rank", None)
_add_program("of uint8", [None, None, None, 3], "uint8")
_add_program("of sound", [None, 16000, 1], axes=(1,))


@network("TensorFlow, a SavedModel with its optimizer, trusted", trust=True)
def program_with_optimizer(folder: Path) -> Path:
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    layers = [keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D(),
              keras.layers.Dense(3, activation="softmax")]  # fmt: skip
    model = keras.Sequential(layers)
    model.compile("adam", "categorical_crossentropy")
    model.fit(np.zeros((2, 16, 16, 3)), np.eye(3)[:2], verbose=0)
    tf.saved_model.save(model, str(folder / "net"))
    return folder / "net"


# --- ONNX ---


def _add_onnx(title: str, made: Callable[[], Any]) -> None:
    @network(f"ONNX, {title}")
    def onnx_file(folder: Path) -> Path:
        import onnx

        onnx.save(made(), folder / "net.onnx")
        return folder / "net.onnx"


_WEIGHTS = np.random.default_rng(0).normal(size=(3, 3, 1, 1)).astype(np.float32)
_ANY = ["n", 3, "h", "w"]


def _quantised() -> Any:
    from onnx_networks import model, node, value

    nodes = [
        node("Conv", "x w", "c"), node("Softmax", "c", "p", axis=1),
        node("QuantizeLinear", "p s z", "q"), node("DequantizeLinear", "q s z", "y"),
    ]  # fmt: skip
    weights = {"w": _WEIGHTS, "s": np.float32(1 / 255), "z": np.uint8(0)}
    return model(nodes, [value("x", _ANY)], [value("y", _ANY)], weights)


def _half_precision() -> Any:
    """Return a graph as converters to half precision write it: what casts the input comes last."""
    from onnx import TensorProto

    from onnx_networks import model, node, value

    nodes = [
        node("Cast", "p", "y", to=TensorProto.FLOAT), node("Sigmoid", "c", "p"),
        node("Conv", "h w", "c"), node("Cast", "x", "h", to=TensorProto.FLOAT16),
    ]  # fmt: skip
    weights = {"w": _WEIGHTS.astype(np.float16)}
    return model(nodes, [value("x", _ANY)], [value("y", _ANY)], weights)


def _of_two_images() -> Any:
    from onnx_networks import model, node, value

    ends = [value("a", _ANY), value("b", _ANY)], [value("y", _ANY)]
    return model([node("Add", "a b", "y")], *ends)


_add_onnx("quantised, ending in a softmax", _quantised)
_add_onnx("half precision, nodes out of order", _half_precision)
_add_onnx("of two inputs", _of_two_images)
