"""A network that is let go of is gone: no cache, lock, hook or error of the engine holds it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

import napari_neuroscope as ns
from every_method import maps, usable
from napari_neuroscope.engine.frameworks import model_lock
from networks import UNet, settled

SPEC = {"task": "segmentation", "input": {"value_range": (0, 1)}}


def of_torch() -> Any:
    return settled(UNet())


def of_keras() -> Any:
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    import keras_networks

    return keras_networks.settled(keras_networks.unet())


def of_onnx() -> Any:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    import onnx_networks

    return onnx_networks.exported(settled(UNet()), (1, 3, 16, 16))


def stop(*_: Any) -> None:
    raise ns.Cancelled


def used(model: Any, image: np.ndarray) -> dict[str, weakref.ref]:
    """Use a model in every way, also in vain; return what of it must be let go."""
    network = ns.wrap(model, SPEC, device="cpu")
    maps(network, image, usable(network))
    found = ns.explain(network, image, "occlusion", 1, window=8, stride=8)
    ns.evaluate(network, image, found, ["deletion"], steps=3)
    network.predict(image)
    trace = network.trace(image)
    for wrong in (
        {"method": "score_map", "target": 99},
        {"method": "activation", "layer": "nowhere"},
        {"method": "occlusion", "target": 1, "progress": stop},
    ):
        with suppress(ns.NeuroscopeError, ns.Cancelled):
            ns.explain(network, image, **wrong)
    held = {"network": network, "adapter": network.adapter, "layers": network.layers,
            "trace": trace, "run": trace._run, "model": model}  # fmt: skip
    return {name: weakref.ref(one) for name, one in held.items() if hasattr(one, "__weakref__")}


@pytest.mark.parametrize("make", [of_torch, of_keras, of_onnx])
def test_a_network_that_is_let_go_of_is_gone(
    make: Callable[[], Any], rng: np.random.Generator
) -> None:
    image = rng.random((16, 16, 3), dtype=np.float32)
    with ThreadPoolExecutor(1) as pool:
        gc.disable()
        try:
            held = [pool.submit(lambda: used(make(), image)).result(), used(make(), image)]
            # Passes, which have the memory, are gone at once: they are in no circle. What PyTorch
            # imports when it is first guided holds on to where it was.
            assert alive(held[1]) & {"network", "trace", "run"} == set()
        finally:
            gc.enable()
        gc.collect()
        assert [alive(one) for one in held] == [set()] * 2
    assert all(len(one) >= 5 for one in held)
    assert not model_lock.parts_in_use()


def alive(held: dict[str, weakref.ref]) -> set[str]:
    return {name for name, reference in held.items() if reference() is not None}
