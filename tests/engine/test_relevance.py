"""LRP: by hand, by what must hold, on networks of many kinds, and what it refuses."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import napari_neuroscope as ns
from closeness import assert_close
from napari_neuroscope.engine.frameworks.base import Capability
from networks import BasicBlock, EndingIn, ResNet, UNet, Vgg, as_network, pointwise, settled
from snapshot import Snapshot

RULES = ["composite", "z_plus", "gamma", "epsilon"]


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((16, 16, 3)).astype(np.float32)


def lrp(network: ns.Network, image: np.ndarray, target: Any = 0, **options: Any) -> np.ndarray:
    return ns.explain(network, image, "lrp", target, **options).values


def sums(network: ns.Network, image: np.ndarray, target: Any, **options: Any) -> list[float]:
    """Return what the relevance sums to, at the input and at the scores, as the note says."""
    found = ns.explain(network, image, "lrp", target, **options)
    note = next(note for note in found.provenance["notes"] if note.startswith("the relevance"))
    begun = float(note.split("and to ")[1].split(" ")[0])
    return [float(found.values.astype(np.float64).sum()), begun]


# --- by hand ---


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


# --- what must hold ---


def without_biases(model: nn.Module) -> nn.Module:
    """Take out all that would keep relevance.

    Layers without a relu after them may have sums for which nothing speaks: z_plus shares those
    out to nothing.
    """
    for name, module in settled(model).named_modules():
        if name.endswith(("conv2", "downsample", "up2")):
            with torch.no_grad():
                module.weight.abs_()
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                module.weight.abs_()
        if getattr(module, "bias", None) is not None:
            with torch.no_grad():
                module.bias.zero_()
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.zero_()
    return model


CASES: dict[str, tuple[Callable[[], nn.Module], str, Any]] = {
    "vgg": (Vgg, "classification", 1),
    "vgg in place": (lambda: Vgg(inplace=True), "classification", 1),
    "resnet": (ResNet, "classification", 1),
    "unet": (UNet, "segmentation", ns.Target(1, region="everywhere")),
    "unet, a region": (UNet, "segmentation", ns.Target(2, np.eye(16) > 0, reduce="mean")),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Callable[[], nn.Module], str, Any]:
    return CASES[request.param]


@pytest.mark.parametrize("rule", RULES)
def test_nothing_is_lost_without_biases(case: Any, rule: str, image: np.ndarray) -> None:
    make, task, target = case
    network = as_network(without_biases(make()).double(), task)
    trace = network.trace(image)
    value = trace.value(trace.resolve(target))
    arrived, begun = sums(network, image, target, rule=rule, epsilon=0)
    assert arrived == pytest.approx(value, rel=1e-4)
    assert begun == pytest.approx(value, rel=1e-3)


def test_biases_keep_relevance_and_the_note_tells(image: np.ndarray) -> None:
    network = as_network(settled(Vgg()))
    found = ns.explain(network, image, "lrp", [0, 1], rule="epsilon")
    notes = [n for n in found.provenance["notes"] if n.startswith("the relevance")]
    for number, note in enumerate(notes):
        assert f"of “{number}” sums to {found.values[number].sum():.3g}"[:-1] in note
    scores = network.predict(image).scores
    assert all(f"and to {score:.4g} at" in n for score, n in zip(scores[:2], notes, strict=True))


@pytest.mark.parametrize("rule", RULES)
def test_several_targets_from_one_pass_are_as_one_by_one(
    case: Any, rule: str, image: np.ndarray
) -> None:
    make, task, target = case
    network = as_network(settled(make()), task)
    targets = [0, target, ns.Target(2, score="probability")]
    together = lrp(network, image, targets, rule=rule)
    for one, values in zip(targets, together, strict=True):
        assert_close(values, lrp(network, image, one, rule=rule), 1e-5)


def test_groups_of_targets_that_memory_allows(
    monkeypatch: pytest.MonkeyPatch, image: np.ndarray
) -> None:
    from napari_neuroscope.engine.passes import trace

    network = as_network(settled(Vgg()))
    whole = lrp(network, image, [0, 1, 2, 3])
    monkeypatch.setattr(trace, "_TOGETHER_BYTES", 3 * 6 * 16 * 16 * 4)
    steps = []
    again = ns.explain(
        network, image, "lrp", [0, 1, 2, 3], progress=lambda d, t, w: steps.append((d, t, w))
    )
    assert [step[:2] for step in steps if step[2] == "LRP"] == [(3, 4), (4, 4)]
    assert_close(again.values, whole)


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


def test_channels_are_added_up_or_kept(image: np.ndarray) -> None:
    network = as_network(settled(Vgg()))
    kept = ns.explain(network, image, "lrp", [0, 1], channels="keep", rule="z_plus")
    assert kept.axes == ("class", "channel", "y", "x")
    assert kept.signed
    assert_close(kept.values.sum(1), lrp(network, image, [0, 1], rule="z_plus"))


@pytest.mark.parametrize("rule", RULES)
def test_a_detector_of_a_patch_finds_it(rule: str) -> None:
    """Hidden channel 0 answers to the patch's pattern, channel 1 to brightness anywhere."""
    pattern = torch.tensor([[1.0, -1, 1], [-1, 1, -1], [1, -1, 1]])
    conv, head = nn.Conv2d(1, 2, 3, padding=1), nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.stack([pattern, torch.full((3, 3), 0.1)])[:, None])
        conv.bias.copy_(torch.tensor([-3.0, 0.0]))
        head.weight.copy_(torch.tensor([[5.0, 0.0], [0.0, 1.0]]))
    model = nn.Sequential(conv, nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), head)
    image = np.full((14, 14), 0.2, np.float32)
    image[4:7, 8:11] = (pattern.numpy() + 1) / 2
    values = lrp(as_network(model, size=(14, 14)), image, 0, rule=rule)
    inside = np.zeros_like(image, bool)
    inside[4:7, 8:11] = True
    assert values[inside].sum() > 0
    assert not values[~inside].any()


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(case: Any, training: bool, image: np.ndarray) -> None:
    make, task, target = case
    model = settled(make()).train(training)
    before = Snapshot(model)
    network = as_network(model, task)
    for rule in RULES:
        lrp(network, image, [0, target], rule=rule)
    before.assert_unchanged()
    with pytest.raises(ns.NeuroscopeError):
        lrp(as_network(EndingIn(model, torch.exp), task), image, target)
    before.assert_unchanged()


# --- networks of many kinds ---


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


@pytest.mark.parametrize("rule", ["z_plus", "gamma"])
def test_a_difference_of_positive_values_may_be_negative(rule: str, image: np.ndarray) -> None:
    class Difference(nn.Module):
        def __init__(self, *, by_factor: bool) -> None:
            super().__init__()
            self.convs = nn.ModuleList(nn.Conv2d(n, 4, 3, padding=1) for n in (3, 3, 4))
            self.head, self.by_factor = nn.Linear(4, 3), by_factor

        def forward(self, x: Tensor) -> Tensor:
            y, z = (torch.relu(conv(x)) for conv in self.convs[:2])
            y = torch.add(y, z, alpha=-1) if self.by_factor else y - z
            return self.head(torch.relu(self.convs[2](y)).mean((2, 3)))

    networks = [as_network(settled(Difference(by_factor=one))) for one in (True, False)]
    found, expected = (lrp(network, image, 1, rule=rule) for network in networks)
    assert_close(found, expected)


class Middle(nn.Module):
    """A convolution, something in the middle, and a dense layer."""

    def __init__(self, middle: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.middle = middle
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle(self.conv(x)).mean((2, 3)))


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


class Own(nn.Module):
    """A network that brings the image to its range itself."""

    def __init__(self, body: nn.Module, mean: float, deviation: float) -> None:
        super().__init__()
        self.body, self.mean, self.deviation = body, mean, deviation

    def forward(self, x: Tensor) -> Tensor:
        return self.body(
            (x.permute(0, 2, 3, 1).sub(self.mean) / self.deviation).permute(0, 3, 1, 2)
        )


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
    assert_close(lrp(as_network(Own(body, 0.4, 0.3)), image, 1, rule=rule), expected, 1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_an_image_that_is_standardised_by_itself_keeps_nothing(
    rule: str, image: np.ndarray
) -> None:
    class Standardised(Own):
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


@pytest.mark.parametrize("axes", [1, 3])
def test_lines_volumes_and_networks_without_a_batch(axes: int, rng: np.random.Generator) -> None:
    conv = {1: nn.Conv1d, 3: nn.Conv3d}[axes]
    transposed = {1: nn.ConvTranspose1d, 3: nn.ConvTranspose3d}[axes]
    model = without_biases(
        nn.Sequential(
            conv(1, 4, 3, padding="same"), nn.ReLU(), conv(4, 4, 2, padding="same", dilation=3),
            nn.ReLU(), transposed(4, 3, 2, stride=2), nn.ReLU(), conv(3, 2, 3, stride=2, padding=1),
        ).double()
    )  # fmt: skip
    names = "x" if axes == 1 else "zyx"
    image = rng.standard_normal((6,) * axes)
    maps = []
    for batch in ("b", ""):
        network = as_network(model, "segmentation", axes=f"{batch}c{names}", image_axes=names)
        arrived, begun = sums(network, image, 1, epsilon=0)
        assert arrived == pytest.approx(begun, rel=1e-3)
        maps.append(lrp(network, image, [0, 1]))
    assert_close(maps[0], maps[1])


def test_a_network_that_ends_in_softmax_is_cut_before_it(image: np.ndarray) -> None:
    body = settled(Vgg())
    expected = lrp(as_network(body), image, 1)
    assert_close(lrp(as_network(EndingIn(body, nn.Softmax(1))), image, 1), expected)


def test_exported_networks_are_as_they_were(image: np.ndarray) -> None:
    model = settled(ResNet())
    x = torch.from_numpy(image).permute(2, 0, 1)[None]
    exported = torch.export.export(model, (x,)).module()
    for rule in RULES:
        expected = lrp(as_network(model, size=(16, 16)), image, 1, rule=rule)
        found = lrp(as_network(exported, size=(16, 16)), image, 1, rule=rule)
        assert_close(found, expected, 1e-4)


def test_half_precision_is_near(image: np.ndarray) -> None:
    model = settled(Vgg())
    expected = lrp(as_network(model), image, 1)
    found = lrp(as_network(settled(Vgg()).to(torch.bfloat16)), image, 1)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99


def test_one_output_for_two_classes(image: np.ndarray) -> None:
    network = as_network(settled(UNet(classes=1)), "segmentation", ["back", "cell"])
    back, cell = lrp(network, image, ["back", "cell"])
    assert_close(back, -cell)


def test_the_pass_is_kept_for_other_targets_and_rules(image: np.ndarray) -> None:
    from networks import Counted

    model = Counted(settled(Vgg()))
    network = as_network(model)
    first = lrp(network, image, 0)
    passes = model.passes
    lrp(network, image, [1, 2], rule="gamma")
    assert_close(lrp(network, image, 0), first, 0)
    assert model.passes == passes


@pytest.mark.parametrize("make", [ResNet, lambda: Own(Vgg(), 0.4, 0.3)])
def test_a_pass_that_is_dropped_is_gone(make: Callable[[], nn.Module], image: np.ndarray) -> None:
    def alive() -> int:
        network.traces.clear()
        gc.collect()
        return sum(issubclass(type(one), Tensor) for one in gc.get_objects())

    network = as_network(settled(make()))
    lrp(network, image, [0, 1])
    before = alive()
    for number in range(3):
        lrp(network, image + number, [0, 1])
    assert alive() == before


# --- what is refused ---


def attended(z: Tensor) -> Tensor:
    flat = z.flatten(2)
    return functional.scaled_dot_product_attention(flat, flat, flat).view_as(z)


@pytest.mark.parametrize(
    ("middle", "message"),
    [
        (attended, "scaled_dot_product_attention” the network (computes|multiplies)"),
        (nn.Softmax(1), "at the layer “middle” the network computes .* no rule for .softmax"),
        (lambda z: z * (z + 1), "“mul” the network multiplies activations .* neither is a gate"),
        (lambda z: z @ z.transpose(2, 3), "“matmul” the network multiplies activations"),
        (lambda z: z / (1 + z.amax((2, 3), keepdim=True)), r"multiplies activations .*\(div\)"),
        (lambda z: torch.ones(1) / (1 + z.abs()), r"no rule for \(div\)"),
        (lambda z: z**2, r"no rule for \(pow\)"),
        (lambda z: (z[:, :2].pow_(2), z)[1], r"no rule for \(pow\)"),
        (lambda z: (z[:, :2].mul_(z[:, 2:]), z)[1], "multiplies activations"),
        (lambda z: functional.glu(torch.cat([z, z], 1), 1), r"no rule for \(glu\)"),
        (lambda z: functional.conv2d(z, z.mean((2, 3))[:, :, None, None]).expand_as(z),
         "weights that depend on the image"),
        (torch.jit.script(nn.Conv2d(4, 4, 1)), "can't be followed"),
        (lambda z: torch.fft.rfft2(z).abs(), "no rule for"),
    ],
)  # fmt: skip
def test_what_has_no_rule_is_refused_by_name(middle: Any, message: str, image: np.ndarray) -> None:
    network = as_network(settled(Middle(middle)))
    with pytest.raises(ns.NeuroscopeError, match=message + ".*; use integrated_gradients"):
        lrp(network, image, 1)


class Doubled(torch.autograd.Function):
    """Somebody's own function; what it does to relevance nobody knows."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        return z * 2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * 3


Relu = type("Relu", (Doubled,), {})


def test_functions_of_others_are_refused_whatever_their_name(image: np.ndarray) -> None:
    with pytest.raises(ns.NeuroscopeError, match="no rule for"):
        lrp(as_network(settled(Middle(Relu.apply))), image, 1)


def test_an_answer_without_gradient_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ns.NeuroscopeError, match="no gradient"):
        lrp(as_network(EndingIn(settled(Vgg()), Tensor.detach)), image, 1)


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpoints_are_refused(use_reentrant: bool, image: np.ndarray) -> None:
    from torch.utils.checkpoint import checkpoint

    block = BasicBlock(4)
    plain = settled(Middle(block))
    assert lrp(as_network(plain), image, 1).any()
    saved = Middle(lambda z: checkpoint(block, z, use_reentrant=use_reentrant))
    saved.conv, saved.head, saved.block = plain.conv, plain.head, block
    with pytest.raises(ns.NeuroscopeError, match="checkpoint"):
        lrp(as_network(saved.eval()), image, 1)


def test_frameworks_without_rules_name_another_method() -> None:
    can = Capability.SCORES | Capability.ACTIVATIONS | Capability.GRADIENTS
    why = ns.methods["lrp"].why_not("classification", can)
    assert why is not None
    assert why.startswith("LRP needs rules for relevance, which")
    assert "integrated_gradients" in ns.methods["lrp"].instead


@pytest.mark.parametrize(
    "wrong", [{"rule": "alpha"}, {"epsilon": -1}, {"gamma": -0.1}, {"channels": "max_abs"}]
)
def test_wrong_options_are_refused(wrong: dict[str, Any], image: np.ndarray) -> None:
    with pytest.raises(ns.NeuroscopeError, match="LRP can't take"):
        lrp(as_network(settled(Vgg())), image, 1, **wrong)


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
