"""What goes wrong in an ONNX network is said in a sentence."""

from __future__ import annotations

import numpy as np
import pytest

import napari_neuroscope as ns
from networks import Vgg, as_network, settled

pytest.importorskip("onnx", reason="needs the extra “onnx”")

pytest.importorskip("onnxruntime", reason="needs the extra “onnx”")

import onnxruntime

from onnx_networks import by_hand, exported


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((16, 16, 3), dtype=np.float32)


def test_an_input_that_does_not_fit_is_one_sentence(image: np.ndarray) -> None:
    network = as_network(exported(settled(Vgg()), (1, 3, 16, 16), fixed=True), size=(20, 20))
    with pytest.raises(ns.NeuroscopeError, match="Got: 20 Expected: 16") as refusal:
        network.predict(image)
    assert len(str(refusal.value).splitlines()) == 1


def test_models_that_can_not_be_wrapped() -> None:
    session = onnxruntime.InferenceSession(by_hand().SerializeToString())
    with pytest.raises(ns.NeuroscopeError, match=r"give the onnx\.ModelProto"):
        ns.wrap(session)
