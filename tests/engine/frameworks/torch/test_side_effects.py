"""A model is left as it was: after success, after an error, and after being cancelled anywhere."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import napari_neuroscope as ns
from networks import ResNet, UNet, as_network, settled
from snapshot import Snapshot

METHODS: list[tuple[str, dict[str, Any]]] = [
    ("input", {}),
    ("activation", {"layer": "bottom", "rank": "relevance", "target": 1}),
    ("saliency", {"target": 1}),
    ("input_x_gradient", {"target": 1}),
    ("integrated_gradients", {"target": [0, 1], "steps": 5, "batch": 3}),
    ("smooth_grad", {"target": [0, 1], "samples": 5, "batch": 3}),
    ("xrai", {"target": 1, "steps": 2}),
    ("guided_backprop", {"target": [0, 1]}),
    ("grad_cam", {"target": 1, "layer": "all"}),
    ("grad_cam", {"target": [0, 2], "layer": ["enc1", "bottom"], "keep": "asked"}),
    ("guided_grad_cam", {"target": 1, "layer": ["enc2", "dec1"], "keep": "asked"}),
    ("grad_cam_plus_plus", {"target": 1, "layer": "cat"}),
    ("score_map", {"target": 1}),
    ("fusion_score_map", {}),
]


class Learning(UNet):
    """A U-Net in the middle of its training, with everything that could be disturbed."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.dropout(x))


def learning() -> nn.Module:
    model = settled(Learning()).train()
    model.enc1[1].eval()  # some parts are frozen already
    model.enc2[0].weight.requires_grad_(False)
    model.register_buffer("counter", torch.tensor(3))
    return model


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((16, 16, 3), dtype=np.float32)


@pytest.mark.parametrize(("method", "more"), METHODS)
def test_after_success(method: str, more: dict[str, Any], image: np.ndarray) -> None:
    model = learning()
    before = Snapshot(model)
    network = as_network(model, "segmentation")
    ns.explain(network, image, method, **more)
    before.assert_unchanged()
    network.predict(image)
    assert network.layers
    network.digest()
    before.assert_unchanged()


def test_a_network_in_training_is_explained_as_in_use(image: np.ndarray) -> None:
    """Batch norm by its running numbers, and dropout off: as the same network after eval()."""
    for method, more in METHODS[2:6]:
        training = ns.explain(as_network(learning(), "segmentation"), image, method, **more)
        settled_one = as_network(learning().eval(), "segmentation")
        in_use = ns.explain(settled_one, image, method, **more)
        np.testing.assert_array_equal(training.values, in_use.values)


def test_the_model_still_learns(image: np.ndarray) -> None:
    """After an explanation, a step of training is what it would have been without."""
    steps = []
    for explained in (False, True):
        torch.manual_seed(3)
        model = learning()
        network = as_network(model, "segmentation")
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        if explained:
            ns.explain(network, image, "guided_grad_cam", 1, "bottom")
        torch.manual_seed(4)
        x = torch.from_numpy(image).permute(2, 0, 1)[None]
        model(x).square().mean().backward()
        if explained:
            grads = [p.grad.clone() for p in model.parameters() if p.grad is not None]
            ns.explain(network, image, "saliency", 2)
            kept = [p.grad for p in model.parameters() if p.grad is not None]
            assert all(torch.equal(a, b) for a, b in zip(grads, kept, strict=True))
        optimiser.step()
        steps.append([p.detach().clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*steps, strict=True))


class Failing(nn.Module):
    """Fails on the way forth, or on the way back."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.body = settled(ResNet()).train()
        self.where = where

    def forward(self, x: Tensor) -> Tensor:
        if self.where == "start":
            raise ValueError("no")
        y = self.body(x)
        if self.where == "end":
            raise KeyError("no")
        return _FailsBack.apply(y) if self.where == "back" else y


class _FailsBack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> Tensor:
        raise RuntimeError("no way back")


@pytest.mark.parametrize("where", ["start", "end", "back"])
@pytest.mark.parametrize("layer", ["body.layer2", ["body.layer1", "body.layer2"]])
def test_after_a_network_failed(where: str, layer: Any, image: np.ndarray) -> None:
    model = Failing(where)
    before = Snapshot(model)
    network = as_network(model)
    with pytest.raises(ns.NeuroscopeError, match="failed on an input of 3 channels and 16 × 16"):
        ns.explain(network, image, "guided_grad_cam", 1, layer, keep="asked")
    before.assert_unchanged()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda n, i: ns.explain(n, i[..., :2], "saliency", 1),
        lambda n, i: ns.explain(n, i, "saliency", 99),
        lambda n, i: ns.explain(n, i, "grad_cam", 1, "nowhere"),
        lambda n, i: ns.explain(n, i[:3, :3], "grad_cam", 1, "bottom"),
        lambda n, i: ns.explain(n, i, "grad_cam", 1, "bottom", strength=3),
    ],
)
def test_after_a_mistake(wrong: Callable, image: np.ndarray) -> None:
    model = learning()
    before = Snapshot(model)
    network = as_network(model, "segmentation")
    for _ in range(2):
        with pytest.raises(ns.NeuroscopeError):
            wrong(network, image)
        before.assert_unchanged()
    assert ns.explain(network, image, "saliency", 1).values.any()


class Stop:
    """Cancels at a step, or counts the steps."""

    def __init__(self, at: int | None = None) -> None:
        self.at, self.steps = at, 0

    def __call__(self, done: int, total: int, what: str) -> None:
        assert what
        assert total == 0 or 0 <= done <= total
        if self.steps == self.at:
            raise ns.Cancelled
        self.steps += 1


CANCELLED: list[tuple[str, dict[str, Any]]] = [
    ("saliency", {"target": 1}),
    ("guided_backprop", {"target": [0, 1]}),
    ("grad_cam", {"target": [0, 1], "layer": ["enc1", "cat", "dec1"], "keep": "asked"}),
    ("grad_cam", {"target": 1, "layer": ["enc1", "cat", "dec1"], "keep": "everything"}),
    ("guided_grad_cam", {"target": 1, "layer": ["enc2", "bottom"], "keep": "asked"}),
]


@pytest.mark.parametrize(("method", "more"), CANCELLED)
def test_after_being_cancelled_at_any_step(
    method: str, more: dict[str, Any], image: np.ndarray
) -> None:
    counting = Stop()
    expected = ns.explain(
        as_network(learning(), "segmentation"), image, method, progress=counting, **more
    )
    assert counting.steps > 20
    model = learning()
    before = Snapshot(model)
    every = max(1, counting.steps // 12)
    for at in [*range(0, counting.steps, every), *range(counting.steps - 6, counting.steps)]:
        network = as_network(model, "segmentation")
        with pytest.raises(ns.Cancelled):
            ns.explain(network, image, method, progress=Stop(at), **more)
        before.assert_unchanged()
        # And the same network goes on as if nothing had been.
        again = ns.explain(network, image, method, **more)
        np.testing.assert_array_equal(again.values, expected.values)
    before.assert_unchanged()


def test_progress_goes_on_to_its_end(image: np.ndarray) -> None:
    seen: list[tuple[int, int, str]] = []
    network = as_network(learning(), "segmentation")
    ns.explain(network, image, "grad_cam", [0, 1], "all", progress=lambda *step: seen.append(step))
    stages: dict[str, list[tuple[int, int]]] = {}
    for done, total, what in seen:
        stages.setdefault(what, []).append((done, total))
    for steps in stages.values():
        with_total = [done for done, total in steps if total]
        assert with_total == sorted(with_total)
    assert stages["Grad-CAM"][-1][0] == stages["Grad-CAM"][-1][1]
    assert "forward pass" in stages


def test_a_progress_that_fails_is_not_swallowed(image: np.ndarray) -> None:
    """Its own error comes through, and is not taken for the network's."""

    class OwnError(Exception):
        pass

    def progress(done: int, total: int, what: str) -> None:
        raise OwnError

    model = learning()
    before = Snapshot(model)
    with pytest.raises(OwnError):
        ns.explain(as_network(model, "segmentation"), image, "saliency", 1, progress=progress)
    before.assert_unchanged()


def test_hooks_of_others_stay_and_are_called(image: np.ndarray) -> None:
    model = settled(UNet())
    calls: list[str] = []
    model.bottom.register_forward_hook(lambda *_: calls.append("forward"))
    model.enc1.register_forward_pre_hook(lambda *_: calls.append("before"))
    before = Snapshot(model)
    ns.explain(as_network(model, "segmentation"), image, "grad_cam", 1, "bottom")
    assert {"forward", "before"} <= set(calls)
    before.assert_unchanged()


def test_a_hook_that_changes_an_output_is_seen(image: np.ndarray) -> None:
    model = settled(UNet())
    model.bottom.register_forward_hook(lambda _, __, output: output * 2)
    network = as_network(model, "segmentation")
    with_hook = ns.explain(network, image, "activation", layer="bottom").values
    plain = ns.explain(
        as_network(settled(UNet()), "segmentation"), image, "activation", layer="bottom"
    ).values
    np.testing.assert_allclose(with_hook, 2 * plain, rtol=1e-6)


def test_the_image_is_left_alone(image: np.ndarray) -> None:
    kept = image.copy()
    image.flags.writeable = False
    network = as_network(learning(), "segmentation", value_range="auto")
    for method, more in METHODS:
        ns.explain(network, image, method, **more)
    np.testing.assert_array_equal(image, kept)


def test_a_network_that_writes_on_its_input_is_explained(image: np.ndarray) -> None:
    """Many normalise in place as their first step; neither the image nor what is kept may change."""

    class Normalises(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = settled(UNet())

        def forward(self, x: Tensor) -> Tensor:
            x -= 0.5
            x.mul_(4)
            return self.body(x)

    class Gently(Normalises):
        def forward(self, x: Tensor) -> Tensor:
            return self.body((x - 0.5) * 4)

    results = []
    for kind in (Gently, Normalises):
        network = as_network(kind(), "segmentation")
        for _ in range(2):
            found = ns.explain(network, image, "saliency", 1).values
            results.append((found, network.predict(image).scores))
            network.traces.clear()
            results.append((found, network.predict(image).scores))
    for found, scores in results[1:]:
        np.testing.assert_allclose(found, results[0][0], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(scores, results[0][1], rtol=1e-4, atol=1e-5)


def test_changing_what_was_returned_changes_no_later_answer(image: np.ndarray) -> None:
    network = as_network(settled(UNet()), "segmentation")
    for method, more in METHODS:
        first = ns.explain(network, image, method, **more)
        kept = first.values.copy()
        for array in (first.values, first.on_image()):
            if array.flags.writeable:
                array[...] = 7
        again = ns.explain(network, image, method, **more).values
        np.testing.assert_array_equal(again, kept, err_msg=method)
    predicted = network.predict(image).scores.copy()
    network.predict(image).scores[...] = 7
    np.testing.assert_array_equal(network.predict(image).scores, predicted)


ROUNDS = 2


@pytest.fixture(autouse=True)
def _threads_change_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def at_once(*work: Callable[[], Any]) -> list[Any]:
    """Do all of it in threads that begin together; return what each answers."""
    ready = threading.Barrier(len(work))

    def begun(one: Callable[[], Any]) -> Any:
        ready.wait()
        return one()

    with ThreadPoolExecutor(len(work)) as pool:
        return [future.result() for future in [pool.submit(begun, one) for one in work]]


class DrawnRegions(nn.Module):
    """Draws random numbers and counts its passes, also in use."""

    def __init__(self) -> None:
        super().__init__()
        self.body = settled(UNet())
        self.register_buffer("passes", torch.tensor(0))
        self.register_buffer("last", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        self.last = x.detach().mean().reshape(1)
        np.random.rand()
        return functional.dropout(self.body(x), 0.2, training=True)


def test_random_numbers_and_buffers_are_as_before_a_pass(rng: np.random.Generator) -> None:
    """Also where two threads draw at once."""
    image = rng.random((16, 16, 3), dtype=np.float32)
    models = [DrawnRegions(), DrawnRegions()]
    before = [Snapshot(model) for model in models]
    networks = [as_network(model, "segmentation") for model in models]
    for _ in range(ROUNDS):
        at_once(
            *(
                lambda n=n: [ns.explain(n, image, name, 1) for name in ("saliency", "score_map")]
                for n in networks
            )
        )
        for snapshot in before:
            snapshot.assert_unchanged()
    networks[0].predict(image)
    before[0].assert_unchanged()


def test_numbers_drawn_by_others_meanwhile_stay_drawn(rng: np.random.Generator) -> None:
    network = as_network(settled(UNet()), "segmentation")
    image = rng.random((16, 16, 3), dtype=np.float32)
    assert network.layers
    drawn: list[float] = []
    ns.explain(
        network, image, "saliency", 1, progress=lambda *_: drawn.append(float(torch.rand(())))
    )
    drawn.append(float(torch.rand(())))
    assert len(set(drawn)) == len(drawn) > 2
