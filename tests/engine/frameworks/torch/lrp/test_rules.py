"""How layers share relevance out, by hand and by what must hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from closeness import assert_close
from networks import Vgg, as_network, pointwise, settled
from relevance import RULES, lrp


def by_hand() -> tuple[ns.Network, np.ndarray]:
    """Two pixels a and b, two hidden units, one score: x = (3, −1).

    z₀ = 2a + b + 1 = 6 and z₁ = −a − 5b = 2 are both positive, and s = z₀ − 2 z₁ − 1 = 1.
    """
    first = nn.Conv1d(1, 2, 2)
    last = nn.Linear(2, 2)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[[2.0, 1.0]], [[-1.0, -5.0]]]))
        first.bias.copy_(torch.tensor([1.0, 0.0]))
        last.weight.copy_(torch.tensor([[1.0, -2.0], [0.5, 1.0]]))
        last.bias.copy_(torch.tensor([-1.0, 0.0]))
    model = nn.Sequential(nn.Flatten(1), nn.Unflatten(1, (1, 2)), first, nn.ReLU(), nn.Flatten(),
                          last)  # fmt: skip
    return as_network(model, size=(1, 2)), np.array([[3.0, -1.0]])


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # R₀ = 6 · 1 and R₁ = 2 · −2; of z₀: 6, −1 and 1 of the bias; of z₁: −3, 5.
        ("epsilon", [6 * 6 / 6 + -4 * -3 / 2, 6 * -1 / 6 + -4 * 5 / 2]),
        # Of what is positive: 6 and the bias's 1; 5.
        ("z_plus", [6 * 6 / 7, -4]),
        # With γ = 1, what is positive counts twice: 12, −1 and 2; −3 and 10.
        ("gamma", [6 * 12 / 13 + -4 * -3 / 7, 6 * -1 / 13 + -4 * 10 / 7]),
        ("composite", [1.0, 1.0]),
    ],
)
def test_by_hand(rule: str, expected: list[float]) -> None:
    network, image = by_hand()
    found = lrp(network, image, rule=rule, epsilon=0, gamma=1)
    np.testing.assert_allclose(found, [expected], rtol=1e-5)


def test_epsilon_by_hand() -> None:
    # The score's sums are 1 and 5, r² = 13; the first layer's 6 and 2, r² = 20.
    network, image = by_hand()
    e = 0.5
    z, first = 1.0, [6.0, 2.0]
    more = e * 13**0.5
    relevance = [6 * z / (z + more), -4 * z / (z + more)]
    shares = [r / (f + e * 20**0.5) for r, f in zip(relevance, first, strict=True)]
    expected = [[6 * shares[0] - 3 * shares[1], -shares[0] + 5 * shares[1]]]
    np.testing.assert_allclose(lrp(network, image, rule="epsilon", epsilon=e), expected, rtol=1e-5)


def test_gamma_of_a_negative_sum_favours_what_is_negative() -> None:
    # z = 2 · 3 + 4 · −2 = −2 goes on through a leaky relu; of 6 and −8 with γ = 1: 6 and −16.
    model = nn.Sequential(nn.Unflatten(2, (1, 2)), nn.Flatten(1, 2), nn.Conv1d(1, 1, 2),
                          nn.LeakyReLU(0.5), nn.Flatten(), nn.Linear(1, 2, bias=False))  # fmt: skip
    model = nn.Sequential(nn.Flatten(1), nn.Unflatten(1, (1, 2)), *model[2:])
    with torch.no_grad():
        model[2].weight.copy_(torch.tensor([[[2.0, 4.0]]]))
        model[2].bias.zero_()
        model[5].weight.copy_(torch.tensor([[3.0], [0.0]]))
    found = lrp(as_network(model, size=(1, 2)), np.array([[3.0, -2.0]]), rule="gamma", gamma=1)
    # T = 3 · −1.
    np.testing.assert_allclose(found, [[-3 * 6 / -10, -3 * -16 / -10]], rtol=1e-5)


def test_flat_first_layers_share_alike_within_the_image() -> None:
    # A sum of three in a row with a border of zeros: at the ends there are two to share among.
    first = nn.Conv1d(1, 1, 3, padding=1, bias=False)
    with torch.no_grad():
        first.weight.fill_(1)
    head = nn.Linear(3, 2, bias=False)
    model = nn.Sequential(nn.Flatten(1), nn.Unflatten(1, (1, 3)), first, nn.ReLU(), nn.Flatten(),
                          head)  # fmt: skip
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 10.0, 0.0], [0.0, 0.0, 1.0]]))
    # Hidden: 0 + 2, 0 + 2 + 4, 2 + 4.
    found = lrp(as_network(model, size=(1, 3)), np.array([[0.0, 2.0, 4.0]]))
    np.testing.assert_allclose(found, [[2 / 2 + 60 / 3, 2 / 2 + 60 / 3, 60 / 3]], rtol=1e-5)


def test_a_layer_that_takes_the_input_and_gives_the_scores_shares_by_epsilon() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    expected = values * model[1].weight[1].detach().numpy().reshape(2, 2)
    assert_close(lrp(as_network(model, size=(2, 2), channels=1), values, 1), expected)


def test_epsilon_of_a_linear_network_is_input_times_gradient(image: np.ndarray) -> None:
    model = settled(nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5), nn.AvgPool2d(2),
                                  nn.Conv2d(5, 4, 3), nn.Flatten(), nn.Linear(144, 3)))  # fmt: skip
    network = as_network(model, size=(16, 16))
    gradient = ns.explain(network, image, "saliency", 1, channels="keep").values
    expected = (gradient * image.transpose(2, 0, 1)).sum(0)
    assert_close(lrp(network, image, 1, rule="epsilon", epsilon=0), expected, 1e-4)
    far = lrp(network, image, 1, rule="epsilon", epsilon=1.0)
    near = lrp(network, image, 1, rule="epsilon", epsilon=1e-3)
    assert np.abs(near - expected).max() < 0.1 * np.abs(far - expected).max()


def test_relevance_does_not_change_with_the_scale_of_a_layer(image: np.ndarray) -> None:
    model = settled(Vgg())
    before = lrp(as_network(model), image, rule="epsilon", epsilon=0.2)
    with torch.no_grad():
        model.features[3].weight *= 0.01
        model.features[3].bias *= 0.01
        model.features[5].weight *= 100
    assert_close(lrp(as_network(model), image, rule="epsilon", epsilon=0.2), before, 1e-4)


def test_nothing_seen_is_no_division_by_zero() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.ReLU(), nn.Flatten(),
                          nn.Linear(72, 2))  # fmt: skip
    for rule in RULES:
        network = as_network(model, size=(8, 8))
        found = ns.explain(network, np.zeros((8, 8)), "lrp", 0, rule=rule)
        assert not found.values.any()
        assert any("sums to 0 at the input" in note for note in found.provenance["notes"])


def test_pointwise_layers_share_as_any_convolution(image: np.ndarray) -> None:
    table = np.array([[1.0, -2.0, 0.5], [0.5, 1.0, -1.0]])
    model = nn.Sequential(pointwise(table), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                          nn.Linear(2, 2, bias=False))  # fmt: skip
    found = lrp(as_network(model), image, 0, rule="z_plus")
    contributions = table[:, None, None] * image
    z = np.maximum(contributions.sum(-1), 0)
    head = model[4].weight[0].detach().numpy()
    # Each pixel is its own; all of it stays where it is.
    assert_close(found, (z * head[:, None, None]).sum(0) / 256, 1e-5)
