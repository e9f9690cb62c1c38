"""Keras models of every kind: layers, endings, outputs, precision; unchanged; errors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

import napari_neuroscope as ns
from closeness import assert_close
from napari_neuroscope.engine.frameworks.keras.arrays import to_tensorflow, to_torch
from napari_neuroscope.engine.frameworks.keras.tensorflow_import import import_tensorflow

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")

import keras
import tensorflow as tf
from keras import layers

from keras_networks import (
    Snapshot,
    Subclassed,
    as_network,
    functional,
    nested,
    same_weights,
    settled,
    unet,
    vgg,
)

METHODS = list(ns.methods)


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((16, 16, 3), dtype=np.float32)


# --- layers ---


def test_a_sequential_model_has_the_layers_of_its_summary() -> None:
    model = vgg(end="softmax")
    graph = as_network(model).layers
    assert list(graph) == [layer.name for layer in model.layers]
    assert graph["conv1"].kind == "convolution"
    assert graph["conv1"].output_shape == (6, 16, 16)
    assert graph["conv1"].parameters == model.get_layer("conv1").count_params()
    assert graph["conv2"].inputs == ("pool1",)
    assert graph["conv2"].outputs == ("conv3",)
    assert graph["dropout"].inputs == ("fc1",)
    assert graph["fc2"].inputs == ("dropout",)
    assert "kernel_size=(3, 3)" in graph["conv1"].description
    assert graph.last_with_positions() == "pool2"


def test_a_functional_model_has_its_edges() -> None:
    graph = as_network(unet(), "segmentation").layers
    assert graph["cat"].inputs == ("up2", "enc2_relu2")
    assert graph["cat"].kind == "concatenate"
    assert graph["up2"].kind == "transposed convolution"
    assert graph["up1"].kind == "upsampling"
    assert graph["enc1_norm"].kind == "normalisation"
    assert (
        set(graph["enc1_relu2"].outputs) == {"max_pooling2d", "cat_2"}
        or "cat_2" in graph["enc1_relu2"].outputs
    )


def test_layers_of_nested_models_follow_the_outer_name() -> None:
    graph = as_network(same_weights(nested())).layers
    assert list(graph) == [
        "stem.conv1", "stem", "body.conv2", "body.relu", "body", "pool", "dense",
    ]  # fmt: skip
    assert graph["stem"].kind == "block"
    assert graph["stem"].outputs == ("body.conv2",)
    assert graph["stem.conv1"].block == "stem"
    assert graph["body.conv2"].inputs == ("stem.conv1",)
    assert graph.select("body.*") == ["body.conv2", "body.relu"]


def test_operations_in_a_subclassed_model_are_layers() -> None:
    graph = as_network(same_weights(Subclassed(tf.nn.relu))).layers
    assert list(graph) == ["conv1", "relu", "conv2", "relu_2", "pool", "dense"]
    assert graph["relu"].kind == "activation"
    assert graph["conv2"].inputs == ("relu",)


def test_a_layer_that_is_called_twice() -> None:
    relu = layers.ReLU(name="relu")
    graph = as_network(same_weights(functional(relu))).layers
    assert list(graph) == ["conv1", "relu", "conv2", "relu:2", "pool", "dense"]
    subclassed = as_network(same_weights(Subclassed(layers.ReLU(name="relu")))).layers
    assert list(subclassed) == list(graph)


def test_operations_of_a_functional_model_have_their_own_names() -> None:
    image = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, name="conv")(image)
    y = keras.ops.relu(x * 0.5)
    model = keras.Model(image, layers.Conv2D(2, 1, name="head")(y))
    graph = as_network(settled(model), "segmentation").layers
    names = [op.name for op in model.operations if not isinstance(op, layers.InputLayer)]
    assert list(graph) == names
    assert graph["head"].inputs == (names[2],)


def test_plain_tensorflow_is_seen() -> None:
    class Plain(keras.Model):
        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight(shape=(3, 3, 3, 4), name="kernel")
            self.bias = self.add_weight(shape=(4,), name="bias")

        def call(self, x: Any) -> Any:
            y = tf.nn.bias_add(tf.nn.conv2d(x, self.kernel, 1, "SAME"), self.bias)
            y = tf.nn.max_pool2d(tf.nn.relu(y), 2, 2, "SAME")
            up = tf.image.resize(y, (16, 16))
            return tf.concat([up, x], -1)

    graph = as_network(Plain(), "segmentation", input={"size": (16, 16)}).layers
    assert list(graph) == ["conv2d", "relu", "max_pool", "resize_bilinear", "concat"]
    assert graph["concat"].output_shape == (7, 16, 16)
    assert [graph[name].kind for name in graph] == [
        "convolution", "activation", "pooling", "upsampling", "concatenate",
    ]  # fmt: skip


# --- axes ---


def test_the_axes_and_sizes_are_the_models() -> None:
    spec = as_network(vgg()).spec
    assert spec.input.axes == "byxc"
    assert spec.input.size == (16, 16)
    assert spec.input.channels == 3
    assert as_network(unet(), "segmentation").spec.input.size is None
    assert as_network(vgg(data_format="channels_first")).spec.input.axes == "bcyx"
    assert as_network(Subclassed(tf.nn.relu)).spec.input.axes == "byxc"


class First(layers.Conv2D):
    """A convolution with channels first, which TensorFlow does not have on every CPU."""

    def call(self, x: Any) -> Any:
        y = tf.nn.conv2d(tf.transpose(x, (0, 2, 3, 1)), self.kernel, 1, "SAME") + self.bias
        return tf.transpose(y, (0, 3, 1, 2))


def test_channels_first(image: np.ndarray) -> None:
    inputs = keras.Input((3, None, None))
    of = {"padding": "same", "data_format": "channels_first"}
    x = layers.ReLU(name="relu")(First(5, 3, name="conv1", **of)(inputs))
    first = keras.Model(inputs, layers.Softmax(1, name="end")(First(2, 3, name="conv2", **of)(x)))
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(5, 3, padding="same", activation="relu", name="relu")(inputs)
    last = settled(keras.Model(inputs, layers.Conv2D(2, 3, padding="same", name="conv2")(x)))
    first.set_weights(last.get_weights())
    ours, other = as_network(first, "segmentation"), as_network(last, "segmentation")
    assert ours.spec.input.axes == "bcyx"
    assert ours.layers["relu"].output_shape == other.layers["relu"].output_shape
    for method, more in (
        ("saliency", {"target": 1}),
        ("guided_backprop", {"target": 1}),
        ("score_map", {"target": 0}),
        ("grad_cam", {"layer": "relu", "target": 1, "relu": False}),
        ("grad_cam", {"layer": "conv2", "target": 1, "relu": False}),
        ("activation", {"layer": "relu"}),
    ):
        a = ns.explain(ours, image[:, :11], method, **more).values
        assert_close(a, ns.explain(other, image[:, :11], method, **more).values)


def test_volumes_with_channels_first(rng: np.random.Generator) -> None:
    """Keras compiles these on a CPU: a function that can't be looked into."""
    of = {"padding": "same", "data_format": "channels_first"}
    model = keras.Sequential(
        [
            keras.Input((1, 6, 7, 8)),
            layers.Conv3D(3, 3, activation="relu", name="conv", **of),
            layers.Conv3D(2, 1, name="head", **of),
        ]
    )
    network = as_network(settled(model), "segmentation")
    assert network.spec.input.axes == "bczyx"
    volume = rng.random((6, 7, 8), dtype=np.float32)
    found = ns.explain(network, volume, "saliency", 1, channels="keep").values
    x = tf.constant(volume[None, None])
    with tf.GradientTape() as tape:
        tape.watch(x)
        score = tf.reduce_sum(tf.function(model, jit_compile=True)(x)[:, 1])
    assert_close(found, tape.gradient(score, x).numpy()[0])
    assert ns.explain(network, volume, "guided_backprop", 1).values.any()


def test_convolutions_in_groups(image: np.ndarray) -> None:
    model = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.Conv2D(6, 3, padding="same", activation="relu", name="conv"),
            layers.Conv2D(4, 3, groups=2, padding="same", activation="relu", name="groups"),
            layers.DepthwiseConv2D(3, padding="same", name="depthwise"),
            layers.SeparableConv2D(3, 3, padding="same", name="separable"),
        ]
    )
    network = as_network(settled(model), "segmentation")
    assert [network.layers[name].kind for name in network.layers] == ["convolution"] * 4
    maps = ns.explain(network, image, "grad_cam", 1, "all", relu=False).values
    assert maps.any((1, 2)).all()
    assert ns.explain(network, image, "guided_backprop", 1).values.any()


def test_volumes_and_gray_images(rng: np.random.Generator) -> None:
    volume = keras.Sequential(
        [keras.Input((None, None, None, 1)), layers.Conv3D(3, 3, padding="same", name="conv"),
         layers.Conv3D(2, 1, name="head")]
    )  # fmt: skip
    network = as_network(settled(volume), "segmentation")
    assert network.spec.input.axes == "bzyxc"
    found = ns.explain(network, rng.random((6, 7, 8)), "grad_cam", 1, "conv")
    assert found.values.shape == (6, 7, 8)
    plane = keras.Sequential([keras.Input((8, 8)), layers.Flatten(), layers.Dense(3, name="dense")])
    network = as_network(settled(plane))
    assert network.spec.input.axes == "byx"
    assert ns.explain(network, rng.random((8, 8)), "saliency", 1).values.shape == (8, 8)


# --- endings ---


def endings() -> dict[str, Any]:
    def after(end: Any) -> Any:
        model = vgg()
        return keras.Model(model.inputs, end(model.outputs[0]))

    return {
        "in the last layer": vgg(end="softmax"),
        "a layer": after(layers.Softmax()),
        "an activation layer": after(layers.Activation("softmax")),
        "an operation": after(keras.ops.softmax),
        "in float32": after(layers.Activation("softmax", dtype="float32")),
        "log": vgg(end="log_softmax"),
    }


@pytest.mark.parametrize("end", ["in the last layer", "a layer", "an activation layer",
                                 "an operation", "in float32", "log"])  # fmt: skip
def test_a_softmax_is_cut_off(end: str, image: np.ndarray) -> None:
    plain_model = settled(vgg())
    model = endings()[end]
    model.set_weights(plain_model.get_weights())
    ending, plain = as_network(model), as_network(plain_model)
    for method, more in (
        ("saliency", {}),
        ("grad_cam", {"layer": "conv2", "relu": False}),
        ("score_map", {}),
        ("guided_backprop", {}),
    ):
        found = ns.explain(ending, image, method, 2, **more)
        assert found.provenance["targets"][0]["score"] == "logit"
        assert_close(found.values, ns.explain(plain, image, method, 2, **more).values)
    assert_close(ending.predict(image).probabilities, plain.predict(image).probabilities)


@pytest.mark.parametrize("end", ["softmax", "sigmoid"])
def test_a_segmenters_end_is_cut_off(end: str, image: np.ndarray) -> None:
    plain_model, model = settled(unet()), unet(end=end)
    model.set_weights(plain_model.get_weights())
    output = {"output": {"multi_label": end == "sigmoid"}}
    ending = as_network(model, "segmentation")
    plain = as_network(plain_model, "segmentation", **output)
    target = ns.Target(1, region="predicted")
    # The last layer answers its logits: its softmax is cut off.
    for layer in ("head", "dec1_relu2"):
        a = ns.explain(ending, image, "grad_cam", target, layer, relu=False)
        b = ns.explain(plain, image, "grad_cam", target, layer, relu=False)
        assert_close(a.values, b.values)
    assert_close(
        ns.explain(ending, image, "activation", layer="head").values,
        ns.explain(plain, image, "activation", layer="head").values,
    )
    assert_close(ending.predict(image).probabilities, plain.predict(image).probabilities)


def test_a_softmax_over_the_first_axis_of_channels(image: np.ndarray) -> None:
    plain_model = settled(unet())
    image_in = keras.Input((None, None, 3))
    y = layers.Permute((3, 1, 2))(plain_model(image_in))
    model = keras.Model(image_in, layers.Softmax(axis=1, name="softmax")(y))
    ending = as_network(model, "segmentation", output={"axes": "bcyx"})
    plain = as_network(plain_model, "segmentation")
    assert ending.layers.final_activation == ("softmax", "softmax")
    assert_close(
        ns.explain(ending, image, "saliency", 1).values,
        ns.explain(plain, image, "saliency", 1).values,
    )


# --- outputs ---


def many_outputs(*, named: bool) -> Any:
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(inputs)
    masks = layers.Conv2D(3, 1, name="masks")(x)
    kind = layers.Dense(2, name="kind")(layers.GlobalAveragePooling2D()(x))
    return settled(keras.Model(inputs, {"kind": kind, "masks": masks} if named else [kind, masks]))


@pytest.mark.parametrize("named", [True, False])
def test_one_of_several_outputs(named: bool, image: np.ndarray) -> None:
    model = many_outputs(named=named)
    masks = as_network(model, "segmentation", output={"index": "masks"})
    kind = as_network(model, output={"index": "kind" if named else 0})
    assert masks.predict(image).scores.shape == (3, 16, 16)
    assert kind.predict(image).scores.shape == (2,)
    assert ns.explain(masks, image, "grad_cam", 2, "conv").values.shape == (16, 16)
    with pytest.raises(ns.NeuroscopeError, match="output"):
        as_network(model, output={"index": "nothing" if named else 7}).layers


# --- the same whichever way a model is written ---


def test_models_of_every_kind_agree(image: np.ndarray) -> None:
    kinds = {
        "functional": functional(lambda x: x, inside="relu"),
        "functional layers": functional(layers.ReLU(name="relu")),
        "functional ops": functional(keras.ops.relu),
        "nested": nested(),
        "subclassed": Subclassed(tf.nn.relu),
        "subclassed ops": Subclassed(keras.ops.relu),
        "subclassed function": Subclassed(tf.function(tf.nn.relu)),
    }
    found = {}
    for kind, model in kinds.items():
        network = as_network(same_weights(model))
        layer = network.layers.last_with_positions()
        found[kind] = [
            ns.explain(network, image, "saliency", 1, channels="keep").values,
            ns.explain(network, image, "grad_cam", 1, layer).values,
            ns.explain(network, image, "guided_backprop", 1).values,
        ]
    for maps in found.values():
        for ours, first in zip(maps, found["functional"], strict=True):
            assert_close(ours, first)


# --- precision ---


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_other_precisions(policy: str, image: np.ndarray) -> None:
    plain_model = settled(unet(end="softmax"))
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = unet(end="softmax")
    finally:
        keras.config.set_dtype_policy(before)
    model.set_weights(plain_model.get_weights())
    ours, plain = as_network(model, "segmentation"), as_network(plain_model, "segmentation")
    # Of 8 bits, guided gates flip; which do is another on each processor.
    alike = {"mixed_float16": 0.9999, "mixed_bfloat16": 0.9, "float64": 1 - 1e-9}[policy]
    for method, more in (("saliency", {}), ("grad_cam", {"layer": "bottom_relu2"}),
                         ("guided_backprop", {})):  # fmt: skip
        found = ns.explain(ours, image, method, 1, **more).values
        assert found.dtype == np.float32
        expected = ns.explain(plain, image, method, 1, **more).values
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > alike


# --- inference, unchanged ---


def in_training() -> Any:
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, padding="same", name="conv")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Dropout(0.5, name="dropout")(layers.ReLU(name="relu")(x))
    x = layers.GaussianNoise(1.0, name="noise")(x)
    model = settled(keras.Model(inputs, layers.Conv2D(3, 1, name="head")(x)))
    model.get_layer("conv").trainable = False
    return model


def test_a_model_is_explained_as_in_use(image: np.ndarray) -> None:
    model = in_training()
    network = as_network(model, "segmentation")
    expected = model(image[None], training=False).numpy()[0].transpose(2, 0, 1)
    assert_close(network.predict(image).scores, expected)
    first = ns.explain(network, image, "saliency", 1).values
    network.traces.clear()
    np.testing.assert_array_equal(ns.explain(network, image, "saliency", 1).values, first)


@pytest.mark.parametrize("method", METHODS)
def test_a_model_is_left_as_it_was(method: str, image: np.ndarray) -> None:
    model = in_training()
    before = Snapshot(model)
    network = as_network(model, "segmentation")
    if "segmentation" not in ns.methods[method].tasks:
        pytest.skip("not for segmentation")
    if why := network.why_not(ns.methods[method]):
        pytest.skip(why)
    needs = ns.methods[method].needs
    more = {"target": 1} if "TARGET" in str(needs) else {}
    ns.explain(network, image, method, **more)
    before.assert_unchanged()
    network.predict(image)
    network.digest()
    before.assert_unchanged()


def test_the_model_still_learns(image: np.ndarray) -> None:
    steps = []
    for explained in (False, True):
        keras.utils.set_random_seed(0)
        model = settled(vgg())
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        if explained:
            ns.explain(as_network(model), image, "guided_backprop", 1)
        model.fit(image[None], np.array([1]), epochs=2, verbose=0)
        steps.append(model.get_weights())
    for one, other in zip(*steps, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


# --- reuse ---


def test_one_trace_serves_all(image: np.ndarray, rng: np.random.Generator) -> None:
    traced = 0

    class Counting(Subclassed):
        def call(self, x: Any) -> Any:
            nonlocal traced
            traced += 1
            return super().call(x)

    network = as_network(same_weights(Counting(tf.nn.relu)), input={"size": (16, 16)})
    network.layers
    traced = 0
    for _ in range(2):
        for method in ("saliency", "guided_backprop", "grad_cam", "guided_grad_cam"):
            ns.explain(network, rng.random((16, 16, 3)), method, 1)
    assert traced == 0


def test_changed_weights_are_noticed(image: np.ndarray) -> None:
    model = settled(vgg())
    network = as_network(model)
    first, digest = ns.explain(network, image, "saliency", 1).values, network.digest()
    model.get_layer("conv2").kernel.assign_add(np.full((3, 3, 6, 8), 0.05, np.float32))
    second = ns.explain(network, image, "saliency", 1).values
    assert np.abs(first - second).max() > 1e-6
    assert network.digest() != digest
    kernel = model.get_layer("conv2").kernel
    kernel.assign(np.asarray(kernel)[::-1])
    assert np.abs(ns.explain(network, image, "saliency", 1).values - second).max() > 1e-6
    fresh = as_network(model)
    assert_close(
        ns.explain(network, image, "saliency", 1).values,
        ns.explain(fresh, image, "saliency", 1).values,
    )


def test_a_changed_activation_is_noticed(image: np.ndarray) -> None:
    model = settled(vgg())
    network = as_network(model)
    first = ns.explain(network, image, "saliency", 1).values
    model.get_layer("conv2").activation = keras.activations.gelu
    assert np.abs(ns.explain(network, image, "saliency", 1).values - first).max() > 1e-6


def test_asking_for_little_or_for_all_is_the_same(image: np.ndarray) -> None:
    network = as_network(settled(unet()), "segmentation")
    everything = ns.explain(network, image, "grad_cam", 1, "all", keep="everything", relu=False)
    network.traces.clear()
    asked = ns.explain(network, image, "grad_cam", 1, "all", keep="asked", relu=False)
    assert_close(asked.values, everything.values)
    assert (everything.values != 0).any((1, 2)).all()


def test_in_several_threads(image: np.ndarray) -> None:
    """One explains while another uses the model."""
    model = settled(unet())
    network = as_network(model, "segmentation")
    expected = ns.explain(as_network(model, "segmentation"), image, "grad_cam", 1, "all").values
    outputs = model(image[None]).numpy()

    def explained(_: int) -> np.ndarray:
        network.traces.clear()
        return ns.explain(network, image, "grad_cam", 1, "all").values

    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(explained, n) for n in range(4)]
        used = [pool.submit(lambda: model(image[None]).numpy()) for _ in range(8)]
        for one in found:
            assert_close(one.result(), expected)
        for one in used:
            np.testing.assert_array_equal(one.result(), outputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_arrays_are_handed_over(dtype: torch.dtype) -> None:
    """Memory that is not aligned would end the process."""
    whole = torch.arange(64, dtype=dtype)
    for values in (whole, whole[1:], whole[::2], whole.reshape(8, 8).T):
        there = to_tensorflow(values)
        assert torch.equal(to_torch(tf.nn.relu(there), torch.device("cpu")), values)
    assert to_torch(to_tensorflow(whole), torch.device("cpu")).data_ptr() == whole.data_ptr()


def test_a_gpus_memory_is_taken_as_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["one", "two"])
    monkeypatch.setattr(
        tf.config.experimental, "set_memory_growth", lambda gpu, grows: asked.append((gpu, grows))
    )
    import_tensorflow()
    assert asked == [("one", True), ("two", True)]


def test_what_is_hidden_in_a_compiled_function_is_not_guided(image: np.ndarray) -> None:
    compiled = tf.function(tf.nn.relu, jit_compile=True)
    network = as_network(same_weights(Subclassed(compiled)))
    plain = as_network(same_weights(Subclassed(tf.nn.relu)))
    assert_close(
        ns.explain(network, image, "saliency", 1).values,
        ns.explain(plain, image, "saliency", 1).values,
    )
    with pytest.raises(ns.NeuroscopeError, match="can't see inside the function"):
        ns.explain(network, image, "guided_backprop", 1)


# --- what goes wrong ---


def test_work_can_be_stopped(image: np.ndarray) -> None:
    model = settled(unet())
    before = Snapshot(model)
    counted = 0

    def count(done: int, total: int, what: str) -> None:
        nonlocal counted
        counted += 1

    ns.explain(as_network(model, "segmentation"), image, "grad_cam", 1, "all", progress=count)
    for stop in range(0, counted, max(1, counted // 12)):
        left = stop

        def cancel(done: int, total: int, what: str) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise ns.Cancelled

        network = as_network(model, "segmentation")
        with pytest.raises(ns.Cancelled):
            ns.explain(network, image, "grad_cam", 1, "all", progress=cancel)
        before.assert_unchanged()
    assert ns.explain(network, image, "grad_cam", 1, "all").values.any()


def test_errors_are_sentences(image: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    two = [keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")]
    with pytest.raises(ns.NeuroscopeError, match="takes 2 inputs"):
        as_network(keras.Model(two, layers.Add()(two)))
    with pytest.raises(ns.NeuroscopeError, match="no device “mps”"):
        ns.wrap(vgg(), device="mps")
    with pytest.raises(ns.NeuroscopeError, match="multiples of a step"):
        ns.explain(as_network(unet(), "segmentation"), image[:15, :13], "saliency", 1)
    with pytest.raises(ns.NeuroscopeError, match="forward pass failed on an input of 4 channels"):
        as_network(unet(), "segmentation", input={"channels": 4}).layers
    with pytest.raises(ns.NeuroscopeError, match="has no layer “conv9”"):
        ns.explain(as_network(vgg()), image, "grad_cam", 1, "conv9")
    with pytest.raises(ns.NeuroscopeError, match="takes a batch"):
        as_network(vgg(), input={"axes": "yxc"}).layers
    labels = Subclassed(tf.nn.relu, end=lambda x: tf.argmax(x, -1))
    with pytest.raises(ns.NeuroscopeError, match="holds whole numbers"):
        as_network(labels).layers
    stopped = Subclassed(tf.nn.relu, end=tf.stop_gradient)
    with pytest.raises(ns.NeuroscopeError, match="has no gradient"):
        ns.explain(as_network(same_weights(stopped)), image, "saliency", 1)

    class Asking(keras.Model):
        def call(self, x: Any) -> Any:
            return x if tf.reduce_mean(x) > 0 else -x

    with pytest.raises(ns.NeuroscopeError, match="can't be traced"):
        as_network(Asking(), "segmentation").layers
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ns.NeuroscopeError, match="Keras runs on jax"):
        ns.wrap(vgg())


def test_control_flow_on_tensors(image: np.ndarray) -> None:
    class Branching(Subclassed):
        def call(self, x: Any) -> Any:
            y = super().call(x)
            return tf.cond(tf.reduce_mean(y) > -1e9, lambda: y * 2, lambda: y)

    twice = as_network(same_weights(Branching(tf.nn.relu)))
    once = as_network(same_weights(Subclassed(tf.nn.relu)))
    assert_close(
        ns.explain(twice, image, "saliency", 1).values,
        2 * ns.explain(once, image, "saliency", 1).values,
    )
