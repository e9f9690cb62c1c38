"""Any Python function as a network: what it is given, what it may answer, and what is said."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from closeness import assert_close
from napari_neuroscope.engine.frameworks import registry
from napari_neuroscope.engine.passes.variants import Passes
from networks import UNet, Vgg, as_network, settled

OPTIONS = {
    "occlusion": {"window": 6, "stride": 4, "baseline": "mean"},
    "rise": {"masks": 40, "cells": 4, "seed": 3},
    "score_map": {},
}


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((16, 16, 3), dtype=np.float32)


def function_of(model: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function of NumPy alone that answers as a network does."""

    def score(x: np.ndarray) -> np.ndarray:
        assert (type(x), x.dtype) == (np.ndarray, np.float32)
        return model(torch.from_numpy(x)).numpy()

    return score


# --- a function explains as the network in it ---


@pytest.mark.parametrize("task", ["classification", "segmentation"])
@pytest.mark.parametrize("method", OPTIONS)
def test_a_function_is_explained_as_the_network_in_it(
    method: str, task: str, image: np.ndarray
) -> None:
    model = settled(Vgg() if task == "classification" else UNet())
    network, twin = (as_network(m, task) for m in (function_of(model), model))
    targets = [0, ns.Target(1, score="log_probability")]
    found, expected = (ns.explain(n, image, method, targets, **OPTIONS[method])
                       for n in (network, twin))  # fmt: skip
    assert_close(found.values, expected.values, 1e-6)
    assert (found.axes, found.labels, found.grid) == (
        expected.axes, expected.labels, expected.grid,
    )  # fmt: skip
    assert_close(network.predict(image).probabilities, twin.predict(image).probabilities, 1e-6)


@pytest.mark.parametrize("axes", ["bcyx", "byxc", "cyx", "yxc", "cyxb"])
def test_it_is_given_the_axes_that_the_spec_says(axes: str, image: np.ndarray) -> None:
    model = settled(Vgg())

    def score(x: np.ndarray) -> np.ndarray:
        shape = {"b": x.shape[axes.index("b")] if "b" in axes else 1, "c": 3, "y": 16, "x": 16}
        assert x.shape == tuple(shape[axis] for axis in axes)
        assert x.flags.c_contiguous
        x = x if "b" in axes else x[None]
        own = axes if "b" in axes else "b" + axes
        answer = model(torch.from_numpy(x.transpose([own.index(axis) for axis in "bcyx"]))).numpy()
        return answer if "b" in axes else answer[0]

    network = as_network(score, axes=axes)
    found = ns.explain(network, image, "occlusion", 2, **OPTIONS["occlusion"])
    expected = ns.explain(as_network(model), image, "occlusion", 2, **OPTIONS["occlusion"])
    # Other strides are rounded otherwise.
    assert_close(found.values, expected.values, 2e-5)


def test_a_map_worked_out_by_hand() -> None:
    """Three times the top left pixel: hiding its quarter takes all away, any other nothing."""
    network = ns.wrap(
        lambda x: 3 * x[:, :, 0, 0], {"input": {"channels": 1}, "classes": ["a", "b"]}
    )
    image = np.full((4, 4), 1.0, np.float32)
    values = ns.explain(network, image, "occlusion", "b", window=2, stride=2).values
    expected = np.zeros((4, 4))
    expected[:2, :2] = 3
    np.testing.assert_array_equal(values, expected)


# --- what may be a function ---


class Scorer:
    """An object that is called, and has methods."""

    scale = 2.0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.scale * x.mean((2, 3))

    def score(self, x: np.ndarray, power: int = 1) -> np.ndarray:
        return self.scale * x.mean((2, 3)) ** power


def scored(x: np.ndarray) -> np.ndarray:
    return 2 * x.mean((2, 3))


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (scored, "scored"),
        (lambda x: 2 * x.mean((2, 3)), "<lambda>"),
        (Scorer(), "Scorer"),
        (Scorer().score, "Scorer.score"),
        (functools.partial(Scorer().score, power=1), "Scorer.score"),
        (torch.jit.script(nn.Identity()).forward, "Identity.forward"),
        (np.negative, "negative"),
    ],
)
def test_whatever_can_be_called(function: Any, name: str, image: np.ndarray) -> None:
    network = ns.wrap(function)
    assert (network.framework, network.name) == ("function", name)
    if name not in ("Identity.forward", "negative"):
        assert_close(network.predict(image).scores, 2 * image.mean((0, 1)), 1e-6)


def test_other_frameworks_know_theirs_first() -> None:
    """Their models can be called, too."""
    assert [f.name for f in registry.frameworks()][-1] == "function"
    assert ns.wrap(settled(Vgg()), device="cpu").framework == "torch"
    assert ns.wrap(torch.jit.script(settled(Vgg())), device="cpu").framework == "torch"


@pytest.mark.parametrize(
    "answer",
    [
        lambda s: s.astype(np.float64),
        lambda s: s.astype(np.float16),
        lambda s: s.tolist(),
        torch.from_numpy,
        lambda s: torch.from_numpy(s).requires_grad_() * 1,
        lambda s: torch.from_numpy(s).bfloat16(),
        lambda s: np.asfortranarray(s)[:, ::-1][:, ::-1],
        lambda s: type("Array", (), {"__array__": lambda self, *a, **k: s})(),
    ],
    ids=["double", "half", "lists", "torch", "with gradient", "bfloat16", "strided", "array-like"],
)
def test_answers_of_any_kind(answer: Callable[[np.ndarray], Any], image: np.ndarray) -> None:
    network = ns.wrap(lambda x: answer(np.ascontiguousarray(x.mean((2, 3)))))
    assert_close(network.predict(image).scores, image.mean((0, 1)), 5e-3)
    plain = ns.explain(ns.wrap(lambda x: x.mean((2, 3))), image, "occlusion", 1, window=8, stride=8)
    found = ns.explain(network, image, "occlusion", 1, window=8, stride=8)
    assert_close(found.values, plain.values, 5e-2)


def test_one_of_several_answers(image: np.ndarray) -> None:
    for answer, index in (
        (lambda x: {"label": x.argmax(), "scores": x.mean((2, 3))}, "scores"),
        (lambda x: (x.argmax(), x.mean((2, 3))), 1),
    ):
        network = ns.wrap(answer, {"output": {"index": index}})
        assert_close(network.predict(image).scores, image.mean((0, 1)), 1e-6)
        with pytest.raises(ns.NeuroscopeError, match=r"without 7; correct .*output\.index"):
            ns.wrap(answer, {"output": {"index": 7}}).predict(image)
        if index == "scores":
            # Labels are no scores, so that there is but one to take.
            assert_close(ns.wrap(answer).predict(image).scores, image.mean((0, 1)), 1e-6)
            continue
        with pytest.raises(ns.NeuroscopeError, match=r"set the spec's output\.index"):
            ns.wrap(answer).predict(image)


# --- one image at a time ---


def one_by_one(x: np.ndarray) -> np.ndarray:
    """Return the classes' scores of the only image in a batch: an axis is lost."""
    (only,) = x
    return only.mean((1, 2))


def first_alone(x: np.ndarray) -> np.ndarray:
    return x[:1].mean((2, 3))


def one_score(x: np.ndarray) -> float:
    return float(x.mean())


def one_score_each(x: np.ndarray) -> np.ndarray:
    return x.mean((1, 2, 3))


def squeezing(x: np.ndarray) -> np.ndarray:
    """Return as many classes as images would be in a batch of three."""
    return x.mean((2, 3)).squeeze()


@pytest.mark.parametrize("batch", [1, 3, 16])
@pytest.mark.parametrize(
    "function", [one_by_one, first_alone, one_score, one_score_each, squeezing, scored]
)
def test_functions_of_one_image_are_found_out(function: Any, batch: int, image: np.ndarray) -> None:
    network = ns.wrap(function)
    trace = network.trace(image)
    inputs = torch.stack([trace.input * (1 - n / 7) for n in range(7)])
    found = Passes(trace, [trace.resolve(1)], batch).scores(inputs)[0]
    expected = [np.ravel(function(x[None].numpy()))[-1 if "one_s" in function.__name__ else 1]
                for x in inputs]  # fmt: skip
    assert_close(found.numpy(), np.array(expected), 1e-6)


@pytest.mark.parametrize("shape", ["byx", "cyx", "yx", "bcyx"])
def test_segmenters_that_leave_out_axes(shape: str, image: np.ndarray) -> None:
    def segment(x: np.ndarray) -> np.ndarray:
        answer = x[:, :2] * 2 if "c" in shape else x[:, 0] * 2
        return answer if "b" in shape else answer[0]

    network = as_network(segment, "segmentation")
    assert len(network.class_names) == 2
    found = ns.explain(network, image, "occlusion", ns.Target(1, "everywhere"), window=8, stride=8)
    # Hiding a window takes from the score what the class' channel has there.
    seen = image[..., 1 if "c" in shape else 0] * 2
    expected = seen.reshape(2, 8, 2, 8).sum((1, 3)).repeat(8, 0).repeat(8, 1)
    assert_close(found.values, expected, 1e-5)


def test_many_images_go_through_at_once(image: np.ndarray) -> None:
    sizes = []
    network = ns.wrap(lambda x: (sizes.append(len(x)), x.mean((2, 3)))[1])
    ns.explain(network, image, "rise", 0, masks=64, batch=16)
    # Two at once tell whether images of a batch see each other.
    assert sorted(set(sizes)) == [1, 2, 16]
    assert sizes.count(16) == 4


# --- probabilities ---


def softmax(x: np.ndarray) -> np.ndarray:
    odds = np.exp(4 * x.mean((2, 3)))
    return odds / odds.sum(1, keepdims=True)


def test_probabilities_are_explained_by_their_logarithm(image: np.ndarray) -> None:
    for spec in ({}, {"output": {"activation": "softmax"}}):
        network = ns.wrap(softmax, spec)
        found = ns.explain(network, image, "occlusion", 1, window=8, stride=8)
        assert found.provenance["targets"][0]["score"] == "log_probability"
        assert any("softmax can't be cut off" in note for note in found.provenance["notes"])
        logits = ns.wrap(lambda x: 4 * x.mean((2, 3)))
        target = ns.Target(1, score="log_probability")
        expected = ns.explain(logits, image, "occlusion", target, window=8, stride=8)
        assert_close(found.values, expected.values, 1e-5)


def test_a_stated_sigmoid(image: np.ndarray) -> None:
    network = as_network(
        lambda x: 1 / (1 + np.exp(-x[:, :1])), "segmentation", output={"activation": "sigmoid"}
    )
    found = network.predict(image)
    expected = 1 / (1 + np.exp(-image[..., 0]))
    assert_close(found.probabilities, np.stack([1 - expected, expected]), 1e-6)
    explained = ns.explain(network, image, "occlusion", 1, window=8, stride=8)
    assert explained.provenance["targets"][0]["score"] == "log_probability"


def test_scikit_learn(rng: np.random.Generator) -> None:
    """A forest that learnt on which half of an image the bright spot is."""
    ensemble = pytest.importorskip("sklearn.ensemble", reason="scikit-learn is not installed")
    images = rng.random((200, 8, 8)).astype(np.float32) / 4
    side = rng.integers(0, 2, 200)
    images[np.arange(200), 3, 2 + 3 * side] = 1
    forest = ensemble.RandomForestClassifier(20, random_state=0).fit(images.reshape(200, -1), side)
    network = ns.wrap(
        lambda x: forest.predict_proba(x.reshape(len(x), -1)),
        {"classes": ["left", "right"], "input": {"size": [8, 8], "channels": 1,
                                                 "value_range": [0, 1]}},
    )  # fmt: skip
    shown = images[side == 1][0]
    target = ns.Target("right", score="probability")
    found = ns.explain(network, shown, "occlusion", target, window=1, stride=1)
    assert np.unravel_index(found.values.argmax(), (8, 8)) == (3, 5)
    figures = ns.evaluate(
        network, shown, found, ["deletion", "insertion", "infidelity"], samples=20
    )
    assert figures.rows[0].values["deletion"] < figures.rows[0].values["insertion"]
    with pytest.raises(
        ns.NeuroscopeError, match=r"ForestClassifier is no network .* function that"
    ):
        ns.wrap(forest)
    with pytest.raises(ns.NeuroscopeError, match=r"whole numbers .* predict_proba"):
        ns.wrap(lambda x: forest.predict(x.reshape(len(x), -1)), network.spec).predict(shown)


# --- what a function does to arrays, and what it depends on ---


def test_a_function_that_writes_on_its_input(image: np.ndarray) -> None:
    def write(x: np.ndarray) -> np.ndarray:
        x *= 2
        x.shape = (len(x), 3, -1)
        return x.mean(2)

    kept = image.copy()
    found = ns.explain(ns.wrap(write), image, "occlusion", 1, window=8, stride=8)
    expected = ns.explain(ns.wrap(scored), image, "occlusion", 1, window=8, stride=8)
    assert_close(found.values, expected.values, 1e-6)
    np.testing.assert_array_equal(image, kept)


def test_a_function_that_answers_in_the_same_array(image: np.ndarray) -> None:
    answer = np.zeros((1, 3), np.float32)

    def refill(x: np.ndarray) -> np.ndarray:
        answer[:] = scored(x[:1])
        return answer

    network = ns.wrap(refill)
    before = network.predict(image)
    found = ns.explain(network, image, "occlusion", 1, window=8, stride=8)
    assert_close(before.scores, 2 * image.mean((0, 1)), 1e-6)
    expected = ns.explain(ns.wrap(scored), image, "occlusion", 1, window=8, stride=8)
    assert_close(found.values, expected.values, 1e-6)


def test_what_it_depends_on_may_change_unseen(image: np.ndarray) -> None:
    scorer = Scorer()
    network = ns.wrap(scorer)
    before = ns.explain(network, image, "score_map").values
    scorer.scale = 10.0
    assert_close(ns.explain(network, image, "score_map").values, 5 * before, 1e-6)
    assert_close(network.predict(image).scores, 5 * before, 1e-6)
    assert len(network.traces) == 0, "passes that answer nothing else take no memory"


def test_two_functions_are_two_networks() -> None:
    one, other = ns.wrap(scored), ns.wrap(one_by_one)
    assert one.digest() == one.digest() != other.digest()


# --- mistakes ---


def failing(error: BaseException) -> Callable[[np.ndarray], Any]:
    def broken(x: np.ndarray) -> Any:
        raise error

    return broken


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (failing(ValueError("bad luck.\nand more")), ["“broken” failed", "(1, 3, 16, 16)", "bcyx",
                                                      "ValueError: bad luck; "]),
        (failing(KeyError("x")), ["KeyError"]),
        (failing(StopIteration()), ["with StopIteration;"]),
        (failing(MemoryError()), ["ran out of memory", "(1, 3, 16, 16)"]),
        (failing(torch.OutOfMemoryError("CUDA")), ["ran out of memory"]),
        (lambda x: x.mean((2, 3)) * np.nan, ["not finite"]),
        (lambda x: np.log(np.zeros((len(x), 3))), ["not finite", "in place of its logarithm"]),
        (lambda x: x.argmax(1), ["whole numbers (int64)"]),
        (lambda x: x.mean((2, 3)) > 0, ["whole numbers (bool)"]),
        (lambda x: None, ["answers a NoneType"]),
        (lambda x: "cat", ["answers a str"]),
        (lambda x: [[1.0, 2.0], [3.0]], ["answers a list"]),
        (lambda x: x.mean((2, 3)) * 1j, ["real numbers"]),
        (lambda x: x[:0], ["empty"]),
        (lambda: 1, ["TypeError"]),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_a_function_does_wrong(function: Any, words: list[str], image: np.ndarray) -> None:
    network = ns.wrap(function)
    for ask in (lambda: network.predict(image), lambda: ns.explain(network, image, "rise", 0)):
        with pytest.raises(ns.NeuroscopeError) as refusal:
            ask()
        text = str(refusal.value)
        for word in words:
            assert word in text
        assert "\n" not in text
        assert text.endswith(".")


def test_the_task_is_found_out_where_it_is_not_stated(image: np.ndarray) -> None:
    assert ns.wrap(lambda x: x).spec.task == "segmentation"
    assert ns.wrap(lambda x: x.mean((2, 3))).spec.task == "classification"
    stated = ns.wrap(lambda x: x, {"task": "classification"})
    with pytest.raises(ns.NeuroscopeError, match="no list of class scores") as refusal:
        stated.predict(image)
    assert "(1, 3, 16, 16)" in str(refusal.value)
    assert "task" in str(refusal.value)


def test_a_function_that_fails_later(image: np.ndarray) -> None:
    """On what a method makes of the image, and not on the image."""
    asked = []

    def score(x: np.ndarray) -> np.ndarray:
        asked.append(len(x))
        answer = x.mean((2, 3))
        return answer if len(asked) == 1 else answer * np.nan

    with np.errstate(invalid="ignore"), pytest.raises(ns.NeuroscopeError, match="not finite"):
        ns.explain(ns.wrap(score), image, "occlusion", 0)


def test_being_interrupted_and_its_own_sentences_pass(image: np.ndarray) -> None:
    own = ns.NeuroscopeError("Give it rest.")
    for error in (KeyboardInterrupt(), ns.Cancelled(), own):
        with pytest.raises(type(error)) as raised:
            ns.wrap(failing(error)).predict(image)
        assert raised.value is error


def test_shapes_that_are_no_segmentation(image: np.ndarray) -> None:
    network = as_network(lambda x: x.mean((2, 3)), "segmentation")
    with pytest.raises(ns.NeuroscopeError, match=r"shape \(1, 3\).* task or output\.axes"):
        network.predict(image)


def test_devices_are_its_own_matter() -> None:
    for device in ("cuda", "tpu"):
        with pytest.raises(ns.NeuroscopeError, match=f"not on “{device}”; choose auto or cpu"):
            ns.wrap(scored, device=device)


def test_a_layer_that_is_asked_for(image: np.ndarray) -> None:
    network = ns.wrap(scored)
    assert len(network.layers) == 0
    for ask in (lambda: network.layers["relu"], lambda: network.layers.select("all")):
        with pytest.raises(ns.NeuroscopeError, match=r"as a function or .*, such as RISE"):
            ask()
    assert network.guided_notes() == ()
    with pytest.raises(ns.NeuroscopeError, match="looks at no layer"):
        ns.explain(network, image, "rise", 0, layer="relu")
