"""Many variants of one input: from the same passes, and in batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import napari_neuroscope as ns
from napari_neuroscope.engine.errors import OutOfMemoryError
from napari_neuroscope.engine.methods.interface import Map, Step
from napari_neuroscope.engine.passes.target_value import target_value
from napari_neuroscope.engine.passes.variants import Passes
from snapshot import Snapshot

SEGMENTER = {"task": "segmentation", "classes": ["sky", "car", "road"]}


class Forked(nn.Module):
    """A skip connection, an in-place relu that is used twice, functional operations."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.inner = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        down = nn.functional.max_pool2d(x, 2)
        up = nn.functional.interpolate(self.relu(self.inner(down)), scale_factor=2.0)
        return self.head(torch.cat([up, x], 1))


class Alone(nn.Module):
    """Takes one image without a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x[None])[0] ** 2


class OneByOne(Forked):
    """Takes a batch of one alone."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.reshape(1, *x.shape[1:]))


class FirstAlone(Forked):
    """Takes a batch, and looks at its first alone without a word."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[:1])


class Narrow(Forked):
    """Runs out of memory where more than three images come at once."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return super().forward(x)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).random((16, 16, 3)).astype(np.float32)


def network_of(model: nn.Module, **spec: object) -> ns.Network:
    torch.manual_seed(0)
    model = type(model)()
    return ns.wrap(model.eval(), SEGMENTER | spec, device="cpu")


def variants(x: Tensor, count: int = 7) -> Tensor:
    return torch.stack([x * (1 - number / count) for number in range(count)])


TARGETS = (ns.Target("car"), ns.Target("road", region=np.arange(256).reshape(16, 16) > 100),
           ns.Target(0, region=(3, 4), score="log_probability", reduce="mean"))  # fmt: skip


@pytest.mark.parametrize("batch", [1, 3, 7, 50])
@pytest.mark.parametrize(
    ("model", "spec"),
    [
        (Forked(), {}),
        (Alone(), {"input": {"axes": "cyx"}}),
        (OneByOne(), {}),
        (FirstAlone(), {}),
        (Narrow(), {}),
    ],
    ids=["forked", "unbatched", "one by one", "first alone", "narrow"],
)
def test_each_variant_has_the_scores_and_gradients_of_a_pass_of_its_own(
    model: nn.Module, spec: dict, batch: int, image: np.ndarray
) -> None:
    network = network_of(model, **spec)
    trace = network.trace(image)
    targets = [trace.resolve(target) for target in TARGETS]
    inputs = variants(trace.prepared.input)
    passes = Passes(trace, targets, batch)
    before = Snapshot(network.adapter.model)
    scores, (again, gradients) = passes.scores(inputs), passes.gradients(inputs)
    before.assert_unchanged()
    for number, x in enumerate(inputs):
        leaf = x[None].clone().requires_grad_()
        raw = network.adapter.model(leaf[0] if spec else leaf)
        for row, target in enumerate(targets):
            value = target_value(trace.outputs, raw, target)
            (own,) = torch.autograd.grad(value, leaf, retain_graph=True)
            for found in (scores, again):
                torch.testing.assert_close(found[row, number], value.detach())
            torch.testing.assert_close(gradients[row, number], own[0], rtol=1e-4, atol=1e-5)


def no_question(start: int, stop: int) -> None:
    """Ask nothing."""


def test_a_batch_too_large_is_halved_and_said_once(image: np.ndarray) -> None:
    trace = network_of(Narrow()).trace(image)
    passes = Passes(trace, [trace.resolve("car")], 16)
    passes.scores(variants(trace.prepared.input, 16))
    assert passes.batch == 2
    assert passes.notes == (
        "16 inputs at once were too many for the memory: 2 went through it at a time",
    )
    assert [stop - start for start, stop, _ in passes.each(5, no_question)] == [2, 2, 1]


def test_variants_without_memory_to_make_them_are_made_again_in_smaller_batches(
    image: np.ndarray,
) -> None:
    trace = network_of(Forked()).trace(image)
    passes = Passes(trace, [trace.resolve("car")], 16)
    whole = variants(trace.input, 16)

    def ask(start: int, stop: int) -> Tensor:
        if stop - start > 5:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return passes.scores(whole[start:stop])

    found = list(passes.each(16, ask))
    assert [(start, stop) for start, stop, _ in found] == [(0, 4), (4, 8), (8, 12), (12, 16)]
    assert torch.equal(torch.cat([scores for *_, scores in found], 1), passes.scores(whole))
    assert "were too many for the memory" in passes.notes[0]

    def never(start: int, stop: int) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(OutOfMemoryError, match="no memory for one more input"):
        list(passes.each(4, never))


def test_out_of_memory_for_one_input_is_an_error(image: np.ndarray) -> None:
    network = network_of(Forked())
    trace = network.trace(image)

    class Full(Passes):
        def _scores(self, inputs: Tensor) -> Tensor:
            raise OutOfMemoryError("Full.")

    with pytest.raises(OutOfMemoryError):
        Full(trace, [trace.resolve("car")], 4).scores(variants(trace.prepared.input))


def test_batches_are_equal(image: np.ndarray) -> None:
    trace = network_of(Forked()).trace(image)
    parts = list(Passes(trace, [trace.resolve("car")], 16).each(50, no_question))
    assert parts[0][0] == 0
    assert parts[-1][1] == 50
    assert sorted({stop - start for start, stop, _ in parts}) == [12, 13]


def test_a_method_of_many_passes_offers_what_it_has_so_far(
    image: np.ndarray, monkeypatch: pytest.MonkeyPatch, offer_method
) -> None:
    from napari_neuroscope.engine.explain import maps as module

    monkeypatch.setattr(module, "_OFFER_EVERY_S", (0.0, 0.0))

    @ns.method("Counting", needs=ns.Needs.TARGET)
    def counting(trace: ns.Trace, targets: list, layer: None, *, count: int = 3):
        for done in range(1, count + 1):
            values = [torch.full(trace.prepared.input.shape[1:], float(done * (t.index + 1)))
                      for t in targets]  # fmt: skip
            yield Step(done, count, lambda values=values: [Map(one) for one in values])

    offer_method(counting)
    offered: list[ns.Explanation] = []
    followed: list[tuple[int, int]] = []
    network = network_of(Forked())
    answer = ns.explain(
        network, image, "counting", ["sky", "road"], partial=offered.append,
        progress=lambda done, total, what: followed.append((done, total)),
    )  # fmt: skip
    assert answer.axes == ("class", "y", "x")
    assert answer.values[:, 0, 0].tolist() == [3.0, 9.0]
    assert [one.values[:, 0, 0].tolist() for one in offered] == [[1.0, 3.0], [2.0, 6.0]]
    assert [one.unfinished for one in offered] == ["1 of 3 passes", "2 of 3 passes"]
    assert not answer.unfinished
    assert {**offered[0].provenance, "unfinished": None} == {
        **answer.provenance, "unfinished": None
    }  # fmt: skip
    with pytest.raises(ns.NeuroscopeError, match=r"stopped after 1 of 3 passes; explain the image"):
        ns.evaluate(network, image, offered[0])
    assert followed[-3:] == [(1, 3), (2, 3), (3, 3)]
    assert (
        float(
            counting(network.trace(image), network.trace(image).resolve("car"), None).values[0, 0]
        )
        == 6
    )


def test_cancelling_stops_a_method_of_many_passes(image: np.ndarray, offer_method) -> None:
    made = []

    @ns.method("Endless", needs=ns.Needs.TARGET)
    def endless(trace: ns.Trace, targets: list, layer: None):
        for done in range(1, 1000):
            made.append(done)
            yield Step(done, 1000, lambda: [torch.zeros(trace.prepared.input.shape[1:])])

    offer_method(endless)

    def stop(done: int, total: int, what: str) -> None:
        if what == "Endless" and done == 5:
            raise ns.Cancelled

    with pytest.raises(ns.Cancelled):
        ns.explain(network_of(Forked()), image, "endless", "car", progress=stop)
    assert made == [1, 2, 3, 4, 5]
