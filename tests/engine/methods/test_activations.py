"""`input` and `activation`, with answers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

import napari_neuroscope as ns
from networks import GapLinear, Scores, as_network, pointwise, settled

IMAGE = np.array([[1.0, 2.0], [3.0, 4.0]])


def ranked() -> nn.Module:
    """Three channels of one image, ranked differently by each rank.

    A0 = x       = 1 2 3 4, mean 2.5, highest 4
    A1 = 8 - 2x  = 6 4 2 0, mean 3,   highest 6
    A2 = 3.5                mean 3.5, highest 3.5

    The score of class 0 is -A0 + 2 A1 + A2, averaged over the four positions, so that its
    relevance Σ g A is weight · mean: -2.5, 6 and 3.5; of class 1 they are 2.5, 0 and -7.
    """
    body = nn.Sequential()
    body.layer = pointwise([[1.0], [-2.0], [0.0]], [0.0, 8.0, 3.5])
    body.flip = pointwise([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    weights = np.array([[-1.0, 2.0, 1.0], [1.0, 0.0, -2.0]])
    return Scores(body, np.repeat(weights[..., None] / 4, 4, -1).tolist())


CHANNELS = [IMAGE, 8 - 2 * IMAGE, np.full((2, 2), 3.5)]


@pytest.mark.parametrize(
    ("rank", "target", "order"),
    [
        ("index", None, [0, 1, 2]),
        ("mean", None, [2, 1, 0]),
        ("max", None, [1, 0, 2]),
        ("relevance", 0, [1, 2, 0]),
        ("relevance", 1, [0, 1, 2]),
    ],
)
@pytest.mark.parametrize("keep", ["asked", "everything"])
def test_ranks(rank: str, target: int | None, order: list[int], keep: str) -> None:
    network = as_network(ranked())
    found = ns.explain(network, IMAGE, "activation", target, "body.layer", rank=rank, keep=keep)
    assert found.axes == ("channel", "y", "x")
    assert found.labels["channel"] == tuple(map(str, order))
    np.testing.assert_allclose(found.values, [CHANNELS[n] for n in order], atol=1e-6)
    first = ns.explain(
        network, IMAGE, "activation", target, "body.layer", rank=rank, keep=keep, channels=2
    )
    np.testing.assert_array_equal(first.values, found.values[:2])
    assert first.labels["channel"] == tuple(map(str, order[:2]))


@pytest.mark.parametrize("channels", [0, 99])
def test_all_channels(channels: int) -> None:
    network = as_network(ranked())
    found = ns.explain(network, IMAGE, "activation", layer="body.layer", channels=channels)
    assert found.values.shape == (3, 2, 2)


@pytest.mark.parametrize(
    ("options", "order"),
    [
        ({"only": (2, 0)}, [2, 0]),
        ({"only": (1,)}, [1]),
        ({"only": (0, 1), "rank": "max"}, [1, 0]),
        ({"only": (0, 1, 2), "rank": "mean", "channels": 2}, [2, 1]),
    ],
)
def test_only_some_channels(options: dict, order: list[int]) -> None:
    network = as_network(ranked())
    found = ns.explain(network, IMAGE, "activation", layer="body.layer", **options)
    assert found.labels["channel"] == tuple(map(str, order))
    np.testing.assert_allclose(found.values, [CHANNELS[n] for n in order], atol=1e-6)
    assert found.provenance["options"]["only"] == list(options["only"])


def test_a_channel_that_is_not_there() -> None:
    with pytest.raises(ns.NeuroscopeError, match="no channel 3: they are 0 to 2"):
        ns.explain(as_network(ranked()), IMAGE, "activation", layer="body.layer", only=(0, 3))


def test_relevance_without_a_target_is_of_the_top_class() -> None:
    # Class 0 scores 7, class 1 scores -4.5.
    found = ns.explain(
        as_network(ranked()), IMAGE, "activation", layer="body.layer", rank="relevance"
    )
    assert found.labels["channel"] == ("1", "2", "0")


def test_relevance_of_several_classes_says_which_channel_is_which() -> None:
    """Channels come in another order for each class, so no one channel's number can name a step."""
    found = ns.explain(
        as_network(ranked()), IMAGE, "activation", [0, 1], "body.layer", rank="relevance"
    )
    assert found.axes == ("class", "channel", "y", "x")
    np.testing.assert_allclose(found.values[0], [CHANNELS[n] for n in (1, 2, 0)], atol=1e-6)
    np.testing.assert_allclose(found.values[1], CHANNELS, atol=1e-6)
    assert found.labels["channel"] == ("rank 1", "rank 2", "rank 3")


def test_several_layers_are_stacked() -> None:
    found = ns.explain(
        as_network(ranked()), IMAGE, "activation", layer=["body.layer", "body.flip"], channels=2
    )
    assert found.axes == ("layer", "channel", "y", "x")
    assert found.labels["layer"] == ("body.layer", "body.flip")
    np.testing.assert_allclose(found.values, [CHANNELS[:2]] * 2, atol=1e-6)


def test_layers_of_different_widths_make_no_stack() -> None:
    body = nn.Sequential(pointwise([[1.0], [1.0]]), pointwise([[1.0, 1.0]]))
    network = as_network(Scores(body, [[[1.0, 1, 1, 1]], [[0.0, 0, 0, 0]]]))
    with pytest.raises(ns.NeuroscopeError, match="different numbers of channels"):
        ns.explain(network, IMAGE, "activation", layer=["body.0", "body.1"])


def test_signed_where_a_value_is_negative() -> None:
    network = as_network(settled(GapLinear()))
    image = np.linspace(0, 1, 64).reshape(8, 8)
    assert ns.explain(network, image, "activation", layer="conv").signed
    assert not ns.explain(network, image, "activation", layer="relu").signed


def test_input_is_the_image_as_the_network_gets_it(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    network = as_network(
        settled(GapLinear(3)), order="bgr", normalization="caffe", value_range="auto"
    )
    found = ns.explain(network, image, "input")
    assert found.axes == ("channel", "y", "x")
    assert found.labels["channel"] == ("red", "green", "blue")
    np.testing.assert_allclose(found.values, image.transpose(2, 0, 1) / 255, atol=1e-6)
    assert not found.signed


def test_input_shows_the_crop() -> None:
    image = (np.indices((20, 40))[1] / 100).astype(np.float32)
    network = as_network(settled(GapLinear()), size=(20, 20), resize="crop")
    found = ns.explain(network, image, "input")
    np.testing.assert_allclose(found.values[0], image[:, 10:30], atol=1e-6)
    assert found.grid.offset == (0.0, 10.0)
