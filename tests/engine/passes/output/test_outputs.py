"""Outputs with their axes in another order, and names of their classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

import napari_neuroscope as ns
from closeness import assert_close
from networks import EndingIn, Pixelwise, as_network, settled


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((9, 11, 3)).astype(np.float32)


def test_a_map_of_scores_is_no_classifiers_answer(image: np.ndarray) -> None:
    network = as_network(settled(Pixelwise(3)))
    with pytest.raises(ns.NeuroscopeError, match="for a segmentation set the spec's task"):
        ns.explain(network, image, "saliency", 1)


def test_a_list_of_scores_is_no_segmenters_answer(image: np.ndarray) -> None:
    model = EndingIn(settled(Pixelwise(3)), lambda x: x.mean((2, 3)))
    with pytest.raises(ns.NeuroscopeError, match="set the spec's task"):
        ns.explain(as_network(model, "segmentation"), image, "saliency", 1)


@pytest.mark.parametrize(
    ("end", "axes"),
    [
        (lambda x: x.permute(0, 2, 3, 1), "byxc"),
        (lambda x: x[0], "cyx"),
        (lambda x: x.permute(0, 1, 3, 2), "bcxy"),
    ],
)
def test_axes_of_the_output_in_another_order(end: Any, axes: str, image: np.ndarray) -> None:
    network = as_network(
        EndingIn(settled(Pixelwise(3)), end), "segmentation", output={"axes": axes}
    )
    plain = as_network(settled(Pixelwise(3)), "segmentation")
    assert_close(network.predict(image).scores, plain.predict(image).scores)
    assert_close(
        ns.explain(network, image, "saliency", 1).values,
        ns.explain(plain, image, "saliency", 1).values,
    )


def test_one_channel_without_its_axis(image: np.ndarray) -> None:
    network = as_network(EndingIn(settled(Pixelwise(3, 1)), lambda x: x[:, 0]), "segmentation")
    plain = as_network(settled(Pixelwise(3, 1)), "segmentation")
    assert network.predict(image).scores.shape == (2, 9, 11)
    assert_close(network.predict(image).scores, plain.predict(image).scores)


@pytest.mark.parametrize("axes", ["byxc", "bcxy", "bxyc"])
def test_axes_of_the_input_in_another_order(axes: str, image: np.ndarray) -> None:
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = settled(Pixelwise(3))

        def forward(self, x: Tensor) -> Tensor:
            assert x.shape[axes.index("c")] == 3
            return self.body(x.permute([axes.index(axis) for axis in "bcyx"]))

    space = "".join(axis for axis in axes if axis in "yx")
    output = None if space == "yx" else {"axes": "bcyx"}
    network = as_network(Turned(), "segmentation", axes=axes, channels=3, output=output)
    plain = as_network(settled(Pixelwise(3)), "segmentation")
    found = ns.explain(network, image.transpose(1, 0, 2) if space == "xy" else image, "saliency", 1)
    expected = ns.explain(plain, image, "saliency", 1).values
    assert_close(found.values, expected.T if space == "xy" else expected)
    assert found.axes == tuple(space)


@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_a_network_without_a_batch(task: Any, image: np.ndarray) -> None:
    """It is explained, or refused for its axes; not read as a network of another kind."""
    end = (lambda x: x[0]) if task == "segmentation" else (lambda x: x[0].mean((1, 2)))

    class Single(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = settled(Pixelwise(3))

        def forward(self, x: Tensor) -> Tensor:
            assert x.ndim == 3
            return end(self.body(x[None]))

    try:
        network = as_network(Single(), task, axes="cyx")
        scores = network.predict(image).scores
    except ns.NeuroscopeError as refusal:
        assert "batch" in str(refusal)  # noqa: PT017
        return
    batched = (lambda x: x) if task == "segmentation" else (lambda x: x.mean((2, 3)))
    plain = as_network(EndingIn(settled(Pixelwise(3)), batched), task)
    assert_close(scores, plain.predict(image).scores)
    assert_close(
        ns.explain(network, image, "saliency", 1).values,
        ns.explain(plain, image, "saliency", 1).values,
    )


def test_one_class_is_named_alone_or_with_the_background() -> None:
    for names in (["cell"], ["background", "cell"], ["sky", "cell"]):
        network = as_network(settled(Pixelwise(1, 1)), "segmentation", names)
        assert network.class_names[-1] == "cell"
        assert len(network.class_names) == 2


def test_more_names_than_classes_are_refused() -> None:
    with pytest.raises(ns.NeuroscopeError, match="names 4 classes, but the network answers 3"):
        as_network(settled(Pixelwise()), "segmentation", ["a", "b", "c", "d"]).layers


def test_fewer_names_than_classes_leave_numbers() -> None:
    network = as_network(settled(Pixelwise()), "segmentation", ["a"])
    assert network.class_names == ["a", "1", "2"]


def test_a_single_name_for_two_classes_is_the_first() -> None:
    """Only one sigmoid channel has a background that is not named."""
    network = as_network(settled(Pixelwise(1, 2)), "segmentation", ["a"])
    assert network.class_names == ["a", "1"]


def test_names_do_not_move_the_classes(rng: np.random.Generator) -> None:
    image = rng.random((6, 7))
    named = as_network(settled(Pixelwise(1, 1)), "segmentation", ["cell"])
    bare = as_network(settled(Pixelwise(1, 1)), "segmentation")
    np.testing.assert_array_equal(
        ns.explain(named, image, "score_map", "cell").values,
        ns.explain(bare, image, "score_map", 1).values,
    )
