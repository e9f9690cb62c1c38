"""Norms, gates and other nonlinearities in LRP, however they are written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from closeness import assert_close
from networks import Vgg, as_network, settled
from relevance import RULES, Middle, NormalisesItself, lrp, sums


def by_merged_weights(model: nn.Sequential) -> nn.Sequential:
    """Return the same network with its norms in the layers before them."""
    layers: list[nn.Module] = []
    for layer in model:
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            factor = layer.weight / (layer.running_var + layer.eps).sqrt()
            before = layers[-1]
            with torch.no_grad():
                if isinstance(before, nn.ConvTranspose2d):
                    for group in range(before.groups):
                        own = len(before.weight) // before.groups
                        width = before.weight.shape[1]
                        part = factor[group * width : (group + 1) * width]
                        before.weight[group * own : (group + 1) * own] *= part[:, None, None]
                else:
                    before.weight *= factor.reshape(-1, *(1,) * (before.weight.ndim - 1))
                offset = layer.bias - layer.running_mean * factor
                if before.bias is None:
                    before.bias = nn.Parameter(offset)
                else:
                    before.bias.copy_(before.bias * factor + offset)
        else:
            layers.append(layer)
    return nn.Sequential(*layers)


def normed() -> nn.Sequential:
    return settled(
        nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.BatchNorm2d(6),
            nn.ReLU(inplace=True),
            nn.Conv2d(6, 8, 3, stride=2, groups=2), nn.BatchNorm2d(8), nn.ReLU(),
            nn.ConvTranspose2d(8, 4, 3, stride=2, groups=2, output_padding=1), nn.BatchNorm2d(4),
            nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
            nn.Linear(64, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 3),
        )
    )  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_norms_are_as_if_merged_into_the_layers_before(rule: str, image: np.ndarray) -> None:
    found = lrp(as_network(normed(), size=(16, 16)), image, 1, rule=rule)
    merged = as_network(by_merged_weights(normed()), size=(16, 16))
    assert_close(found, lrp(merged, image, 1, rule=rule), 1e-4)


class PreActivation(nn.Module):
    """A norm that stands before its layer, beside a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.conv = nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        skip = functional.relu(self.stem(x))
        return self.head((skip + self.conv(functional.relu(self.norm(skip)))).mean((2, 3)))


def test_a_norm_that_can_not_be_merged_shares_by_what_it_multiplies(image: np.ndarray) -> None:
    model = settled(PreActivation())
    network = as_network(model)
    x = torch.from_numpy(image).permute(2, 0, 1)[None].requires_grad_()
    # By epsilon → 0 a network of relus is its input times its gradient, norms or not.
    model(x)[0, 1].backward()
    expected = (x * x.grad).sum(1)[0].detach().numpy()
    assert_close(lrp(network, image, 1, rule="epsilon", epsilon=0), expected, 1e-4)
    assert np.isfinite(lrp(network, image, 1)).all()


class Written(nn.Module):
    """One network, written in several ways; its parts are used as functions of values."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, 3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.conv1, self.conv2
        y = self.relu(a(x)) if self.way == "in place and again" else torch.relu(a(x))
        if self.way == "modules":
            z = torch.relu(b(torch.relu(b(y))) + y)
        elif self.way == "in place and again":
            z = b(self.relu(b(y)))
            z += y
            z = self.relu(z)
        elif self.way == "functions":
            y = functional.conv2d(x, a.weight, a.bias, padding="same").clamp_min(0)
            z = functional.relu(torch.conv2d(y, weight=b.weight, bias=b.bias, padding=1))
            z = functional.conv2d(z, b.weight, b.bias, 1, (1, 1)).add(y)
            z = functional.threshold(z, 0, 0)
        elif self.way == "overwritten":
            u = y + 0
            z = b(u)
            u.zero_()
            z = torch.relu(b(torch.relu(z)) + y)
        else:
            # On a buffer that is filled part by part.
            both = torch.zeros(len(x), 12, *x.shape[2:])
            both[:, :6] = y
            both[:, 6:].add_(b(torch.relu(b(y))))
            first, second = both.chunk(2, 1)
            z = torch.relu(first + second)
        return functional.linear(z.mean((2, 3)), self.head.weight, self.head.bias)


@pytest.mark.parametrize("way", ["in place and again", "functions", "overwritten", "in parts"])
@pytest.mark.parametrize("rule", RULES)
def test_all_ways_of_writing_are_one(way: str, rule: str, image: np.ndarray) -> None:
    networks = [as_network(settled(Written(one))) for one in ("modules", way)]
    theirs, ours = (lrp(network, image, 1, rule=rule) for network in networks)
    assert_close(ours, theirs, 1e-5)


def expected_of_factor(model: Middle, image: np.ndarray) -> np.ndarray:
    """Return LRP by epsilon → 0, each value of the middle being a multiple of what it takes."""
    x = torch.from_numpy(image).permute(2, 0, 1)[None].requires_grad_()
    z = model.conv(x)
    factor = (model.middle(z.clone()) / z).detach()
    model.head((z * factor).mean((2, 3)))[0, 1].backward()
    return (x * x.grad).sum(1)[0].detach().numpy()


@pytest.mark.parametrize(
    "middle",
    [
        functional.gelu, functional.silu, functional.hardswish, functional.elu, torch.tanh,
        nn.SiLU(inplace=True), nn.ReLU6(inplace=True), nn.Hardtanh(), nn.Mish(), torch.sigmoid,
        lambda z: z * torch.sigmoid(z),
        lambda z: z * torch.sigmoid(z.mean((2, 3), keepdim=True)),
        lambda z: z.mul_(torch.sigmoid(z.amax((2, 3), keepdim=True)).expand_as(z)),
        lambda z: z.flatten(2).softmax(2).view_as(z) * z,
        lambda z: z.clamp(-0.2, 0.3),
        lambda z: torch.stack([part.abs() for part in z[0]])[None],
        functional.normalize,
        lambda z: functional.local_response_norm(z, 3),
    ],
)  # fmt: skip
def test_nonlinearities_pass_all_on_and_gates_get_none(middle: Any, image: np.ndarray) -> None:
    model = settled(Middle(middle))
    found = lrp(as_network(model), image, 1, rule="epsilon", epsilon=0)
    assert_close(found, expected_of_factor(model, image), 1e-4)


@pytest.mark.parametrize(
    ("norm", "shape", "axes"),
    [
        (nn.GroupNorm(2, 4), (1, 2, -1), 2),
        (nn.InstanceNorm2d(4, affine=True), (1, 4, -1), 2),
        (nn.BatchNorm2d(4, track_running_stats=False), (1, 4, -1), 2),
        (nn.LayerNorm([4, 16, 16]), (1, 1, -1), 2),
    ],
)
def test_norms_of_own_statistics_are_linear_by_a_constant_deviation(
    norm: Any, shape: tuple[int, ...], axes: int, image: np.ndarray
) -> None:
    model = settled(Middle(nn.Sequential(norm, nn.ReLU())))
    x = torch.from_numpy(image).permute(2, 0, 1)[None].requires_grad_()
    z = model.conv(x)
    flat = z.reshape(shape)
    centred = flat - flat.mean(axes, keepdim=True)
    deviation = (flat.var(axes, keepdim=True, correction=0) + norm.eps).sqrt().detach()
    along = norm.weight.shape if norm.weight.ndim > 1 else (-1, 1, 1)
    y = (centred / deviation).reshape(z.shape) * norm.weight.reshape(along)
    y = torch.relu(y + norm.bias.reshape(along))
    torch.testing.assert_close(y, model.middle(z))
    model.head(y.mean((2, 3)))[0, 1].backward()
    expected = (x * x.grad).sum(1)[0].detach().numpy()
    assert_close(lrp(as_network(model), image, 1, rule="epsilon", epsilon=0), expected, 1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_what_a_network_does_to_the_image_itself_keeps_nothing(
    rule: str, image: np.ndarray
) -> None:
    body = settled(Vgg())
    image = np.abs(image)
    image[:4] = 0
    given = {"normalization": {"mean": [0.4] * 3, "std": [0.3] * 3}}
    expected = lrp(as_network(body, **given), image, 1, rule=rule)
    assert expected[:4].any()
    assert_close(
        lrp(as_network(NormalisesItself(body, 0.4, 0.3)), image, 1, rule=rule), expected, 1e-4
    )


@pytest.mark.parametrize("rule", RULES)
def test_an_image_that_is_standardised_by_itself_keeps_nothing(
    rule: str, image: np.ndarray
) -> None:
    class Standardised(NormalisesItself):
        def forward(self, x: Tensor) -> Tensor:
            x = x - x.mean((2, 3), keepdim=True)
            return self.body(x / x.std((2, 3), keepdim=True))

    body = settled(Vgg())
    x = image - image.mean((0, 1))
    expected = lrp(as_network(body), x / x.std((0, 1), ddof=1), 1, rule=rule)
    assert_close(lrp(as_network(Standardised(body, 0, 1)), image, 1, rule=rule), expected, 1e-4)


def test_an_input_that_is_joined_to_features_keeps_its_share(image: np.ndarray) -> None:
    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
            self.last = nn.Conv2d(7, 5, 3, padding=1, bias=False)
            self.head = nn.Linear(5, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            y = torch.cat([torch.relu(self.conv(x)), x], 1)
            return self.head(torch.relu(self.last(y)).mean((2, 3)))

    network = as_network(settled(Joined()).double())
    for rule in RULES:
        arrived, begun = sums(network, image, 1, rule=rule, epsilon=0)
        assert arrived == pytest.approx(begun, rel=1e-3)
