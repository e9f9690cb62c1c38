"""Score-CAM and Ablation-CAM: by hand, by a pass of each channel's own, and by what must hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from closeness import assert_close
from napari_neuroscope.engine.frameworks.base import Capability
from networks import Scores, UNet, Vgg, as_network, pointwise, settled
from snapshot import Snapshot

METHODS = ["score_cam", "ablation_cam"]
IMAGE = np.array([[1.0, 2.0], [3.0, 4.0]])


def two_channels(weights: list) -> ns.Network:
    """A0 = x and A1 = 3 − x, and scores that are weighted sums of them."""
    return as_network(Scores(nn.Sequential(pointwise([[1.0], [-1.0]], [0.0, 3.0])), weights))


def test_ablation_cam_by_hand() -> None:
    # T = 1 · 10 + 2 · 2 = 14; without A0 4, without A1 10: weights 10/14 and 4/14.
    # Class 1 is the negative of it: its score −14 rises without each, and the map turns round.
    ones = [[1.0, 1.0], [1.0, 1.0]]
    twos = [[2.0, 2.0], [2.0, 2.0]]
    network = two_channels([[ones, twos], (-np.array([ones, twos])).tolist()])
    expected = (10 * IMAGE + 4 * (3 - IMAGE)) / 14
    found = ns.explain(network, IMAGE, "ablation_cam", [0, 1], "body.0", relu=False)
    np.testing.assert_allclose(found.values, [expected, -expected], rtol=1e-5)
    assert found.signed
    cut = ns.explain(network, IMAGE, "ablation_cam", [0, 1], "body.0").values
    np.testing.assert_allclose(cut, [expected, np.zeros((2, 2))], rtol=1e-5)


def test_ablation_cam_of_a_score_of_zero() -> None:
    ones = [[1.0, 1.0], [1.0, 1.0]]
    network = two_channels([[ones, (-5 * np.ones((2, 2))).tolist()], [ones, ones]])
    # T = 10 − 5 · 2 = 0, and the differences are 10 and −10.
    found = ns.explain(network, IMAGE, "ablation_cam", 0, "body.0", relu=False).values
    np.testing.assert_allclose(found, 10 * IMAGE - 10 * (3 - IMAGE), rtol=1e-5)


def test_score_cam_by_hand() -> None:
    # On the input's own grid the masks are (x − 1) / 3 and 1 minus it: 0 1/3 / 2/3 1 and reverse.
    # Masked, x is 0 2/3 / 2 4 (sum 20/3) and 1 4/3 / 1 0 (sum 10/3); T = Σ A0 / 5.
    fifth = [[0.2, 0.2], [0.2, 0.2]]
    network = two_channels([[fifth, [[0.0] * 2] * 2], [[[0.0] * 2] * 2] * 2])
    first, second = np.exp(4 / 3), np.exp(2 / 3)
    expected = (first * IMAGE + second * (3 - IMAGE)) / (first + second)
    found = ns.explain(network, IMAGE, "score_cam", [0, 1], "body.0").values
    # Class 1 sees no difference: both channels have half of the weight.
    np.testing.assert_allclose(found, [expected, np.full((2, 2), 1.5)], rtol=1e-5)


def test_channels_that_say_nothing_give_zeros() -> None:
    network = two_channels([[[[0.1] * 2] * 2] * 2] * 2)
    for method in METHODS:
        values = ns.explain(network, np.zeros((2, 2)), method, 0, "body.0").values
        assert np.isfinite(values).all()
    assert (ns.explain(network, np.zeros((2, 2)), "score_cam", 0, "body.0").values == 0).all()


def test_one_channel_with_all_of_the_weight_is_said() -> None:
    network = two_channels([[[[99.0] * 2] * 2, [[0.0] * 2] * 2]] * 2)
    notes = ns.explain(network, IMAGE, "score_cam", 0, "body.0").provenance["notes"]
    assert any("channel 0 has nearly all" in note for note in notes)


class Case:
    """A network, its layer, targets, and the score of each target by hand."""

    def __init__(self, kind: str) -> None:
        if kind == "classifier":
            self.model, self.layer, self.targets = settled(Vgg()), "features.4", [0, 2]
            self.network = as_network(self.model, size=(16, 16))
        else:
            self.model, self.layer = settled(UNet()), "bottom"
            mask = np.indices((16, 16)).sum(0) < 13
            self.mask = torch.from_numpy(mask)
            self.network = as_network(self.model, "segmentation")
            self.targets = [ns.Target(index, mask, reduce="mean") for index in (0, 2)]

    def scores(self, x: torch.Tensor) -> list[float]:
        with torch.no_grad():
            raw = self.model(x[None])[0]
        if raw.ndim == 1:
            return [float(raw[0]), float(raw[2])]
        return [float(raw[index][self.mask].mean()) for index in (0, 2)]


@pytest.fixture(params=["classifier", "segmenter"])
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((16, 16, 3)).astype(np.float32)


def explained(case: Case, image: np.ndarray, method: str, **options: object) -> np.ndarray:
    return ns.explain(case.network, image, method, case.targets, case.layer, **options).values


def test_ablation_cam_of_channels_taken_out_one_by_one(case: Case, image: np.ndarray) -> None:
    x = torch.from_numpy(image).permute(2, 0, 1)
    module, without, held = case.model.get_submodule(case.layer), None, []

    def hook(module: nn.Module, given: object, output: torch.Tensor) -> torch.Tensor | None:
        held.append(output[0].clone())
        if without is None:
            return None
        output = output.clone()
        output[:, without] = 0
        return output

    handle = module.register_forward_hook(hook)
    whole = np.array(case.scores(x))
    activation = held[0].numpy()
    rest = []
    for without in range(len(activation)):  # noqa: B007
        rest.append(case.scores(x))  # The hook reads `without`.
    handle.remove()
    weights = (whole - np.array(rest)) / np.abs(whole)
    expected = np.einsum("kt,kyx->tyx", weights, activation)
    before = Snapshot(case.model)
    assert_close(explained(case, image, "ablation_cam", relu=False), expected, 1e-4)
    before.assert_unchanged()


@pytest.mark.parametrize("baseline", ["zero", "mean"])
def test_score_cam_of_inputs_masked_one_by_one(
    case: Case, image: np.ndarray, baseline: str
) -> None:
    x = torch.from_numpy(image).permute(2, 0, 1)
    activation = case.network.trace(image, [case.layer]).activation(case.layer)
    b = x.mean((1, 2), keepdim=True) if baseline == "mean" else torch.zeros(3, 1, 1)
    scores, kept = [], []
    for number, channel in enumerate(activation):
        if channel.min() == channel.max():
            continue
        fine = nn.functional.interpolate(channel[None, None], (16, 16), mode="bilinear")[0]
        mask = (fine - fine.min()) / (fine.max() - fine.min())
        scores.append(case.scores(b + mask * (x - b)))
        kept.append(number)
    weights = np.exp(scores) / np.exp(scores).sum(0)
    expected = np.einsum("kt,kyx->tyx", weights, activation[kept].numpy())
    before = Snapshot(case.model)
    found = explained(case, image, "score_cam", baseline=baseline)
    before.assert_unchanged()
    assert_close(found, np.maximum(expected, 0), 1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_batches_change_nothing_and_classes_share_passes(
    method: str, case: Case, image: np.ndarray
) -> None:
    together = explained(case, image, method, batch=16)
    for batch in (1, 3):
        assert_close(explained(case, image, method, batch=batch), together, 1e-5)
    one = ns.explain(case.network, image, method, case.targets[1], case.layer).values
    assert_close(one, together[1], 1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_detector_of_a_patch_finds_it(method: str) -> None:
    """Channel 0 answers to a bright patch alone; class 0 looks at nothing else."""
    model = nn.Sequential(
        nn.AvgPool2d(4), pointwise([[1.0], [-1.0]], [-0.5, 0.1]), nn.ReLU(), nn.Flatten(),
        nn.Linear(32, 2, bias=False),
    )  # fmt: skip
    with torch.no_grad():
        model[4].weight.zero_()[0, :16] = 10
        model[4].weight[1, 16:] = 1
    image = np.zeros((16, 16), np.float32)
    image[4:8, 8:12] = 1
    values = ns.explain(as_network(model, size=(16, 16)), image, method, 0, "2").values
    assert np.unravel_index(values.argmax(), values.shape) == (1, 2)
    others = np.delete(values.ravel(), 6)
    assert others.max() < 0.2 * values.max()


def test_where_no_pass_begins_at_a_layer_another_is_named() -> None:
    can = Capability.SCORES | Capability.ACTIVATIONS | Capability.GRADIENTS
    assert ns.methods["score_cam"].why_not("classification", can) is None
    why = ns.methods["ablation_cam"].why_not("classification", can)
    assert why is not None
    assert "needs passes that begin at a layer" in why
    assert why.endswith("can't give.")
