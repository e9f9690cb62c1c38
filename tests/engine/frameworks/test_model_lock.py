"""Several threads explain at once: networks of one model, and of models that share a part."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from torch import nn

import napari_neuroscope as ns
from every_method import maps, usable
from napari_neuroscope.engine.frameworks.model_lock import ModelLock
from networks import EndingIn, UNet, as_network, settled
from snapshot import Snapshot
from token_networks import ViT

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


def in_another_order(network: ns.Network, image: np.ndarray, start: int) -> dict[str, bytes]:
    """Make all maps, beginning with another method each time."""
    names = usable(network)
    for turn in range(ROUNDS):
        at = (start + turn * 5) % len(names)
        network.traces.clear()
        found = maps(network, image, [*names[at:], *names[:at]])
    return found


def checked(network: ns.Network, image: np.ndarray) -> list[float]:
    """Put random weights into the network, and take them out again."""
    found = ns.explain(network, image, "saliency", 1)
    rows = ns.evaluate(network, image, found, ["sanity_check"], stages=3).rows
    return [float(value) for value in rows[0].sanity.rank_correlation]


def test_two_wraps_and_a_shared_backbone_answer_as_one_after_another(
    rng: np.random.Generator,
) -> None:
    """Bit for bit, while a sanity check puts random weights into the same model."""
    backbone = settled(UNet()).train()
    backbone.enc2[0].weight.requires_grad_(False)
    one = EndingIn(backbone, nn.Identity())
    other = EndingIn(backbone, lambda y: y.flip(1) * 2)
    images = [rng.random((16, 16, 3), dtype=np.float32) for _ in range(4)]
    before = [Snapshot(one), Snapshot(other)]

    def ask(made: list[nn.Module]) -> list[Callable[[], Any]]:
        networks = [as_network(model, "segmentation") for model in made]
        return [
            *(lambda n=n: in_another_order(networks[n], images[n], 7 * n) for n in range(3)),
            lambda: [checked(networks[3], images[3]) for _ in range(3)][-1],
        ]

    expected = [work() for work in ask([copy.deepcopy(m) for m in (one, one, other, other)])]
    found = at_once(*ask([one, one, other, other]))
    for a, b in zip(expected, found, strict=True):
        assert a == b
    for snapshot in before:
        snapshot.assert_unchanged()


def test_attention_is_seen_in_two_threads(rng: np.random.Generator) -> None:
    model = settled(ViT()).train()
    image = rng.random((16, 24, 3), dtype=np.float32)
    before = Snapshot(model)
    alone = maps(as_network(model, size=(16, 24)), image, ["attention_rollout", "grad_cam"])
    networks = [as_network(model, size=(16, 24)) for _ in range(3)]
    found = at_once(
        *(lambda n=n: [maps(n, image, alone) for _ in range(ROUNDS)][-1] for n in networks)
    )
    assert found == [alone] * 3
    before.assert_unchanged()


def of_keras() -> Any:
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    import keras_networks

    model = keras_networks.settled(keras_networks.unet())
    return model, keras_networks.Snapshot(model).assert_unchanged


def of_onnx() -> Any:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    import onnx_networks

    model = onnx_networks.exported(settled(UNet()), (1, 3, 16, 16))
    before = model.SerializeToString()
    return model, lambda: pytest.fail("it changed") if model.SerializeToString() != before else None


@pytest.mark.parametrize("make", [of_keras, of_onnx])
def test_two_wraps_of_other_frameworks(make: Callable[[], Any], rng: np.random.Generator) -> None:
    """They are found out, and explained, at once."""
    model, check_unchanged = make()
    images = [rng.random((16, 16, 3), dtype=np.float32) for _ in range(2)]
    spec = {"task": "segmentation", "input": {"value_range": (0, 1)}}

    def ask(number: int) -> dict[str, bytes]:
        network = ns.wrap(model, spec, device="cpu")
        names = usable(network)
        return maps(network, images[number], names[7 * number :] + names[: 7 * number])

    expected = [ask(0), ask(1)]
    assert at_once(lambda: ask(0), lambda: ask(1), lambda: ask(0)) == [*expected, expected[0]]
    check_unchanged()


def test_one_network_is_found_out_once_by_many_threads(rng: np.random.Generator) -> None:
    image = rng.random((16, 16, 3), dtype=np.float32)
    alone = ns.explain(as_network(settled(UNet()), "segmentation"), image, "grad_cam", 1)
    network = as_network(settled(UNet()), "segmentation")
    found = at_once(*[lambda: ns.explain(network, image, "grad_cam", 1)] * 6)
    assert all(one.values.tobytes() == alone.values.tobytes() for one in found)
    assert all(one.provenance == alone.provenance for one in found)


def test_a_lock_waits_for_those_that_share_a_part_and_for_no_others() -> None:
    one, other, apart = (ModelLock(lambda keys=keys: keys) for keys in ("ab", "bc", "d"))
    taken, let = threading.Event(), threading.Event()
    order: list[str] = []

    def hold() -> None:
        with one, one:
            taken.set()
            let.wait(10)
            order.append("first")

    def wait() -> None:
        with other:
            order.append("second")

    holding = threading.Thread(target=hold)
    holding.start()
    taken.wait(10)
    waiting = threading.Thread(target=wait)
    waiting.start()
    with apart, apart:
        pass
    assert not order
    let.set()
    holding.join(10)
    waiting.join(10)
    assert order == ["first", "second"]
    # An error on the way lets go.
    with pytest.raises(ValueError, match="no"), one:
        raise ValueError("no")
    with other, one:
        pass
