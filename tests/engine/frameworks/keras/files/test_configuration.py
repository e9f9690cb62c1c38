"""What a Keras configuration would run or read, told before anything is built of it."""

from __future__ import annotations

from typing import Any

import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.files import limits

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")

from napari_neuroscope.engine.frameworks.keras.files.configuration import side_effects_of


def holding(*layers: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a sequential model."""
    return {"class_name": "Sequential", "module": "keras", "config": {"layers": list(layers)}}


def layer(kind: str, module: Any = "keras.layers", **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "module": module, "config": {"name": "first", **config}}


@pytest.mark.parametrize(
    ("part", "told"),
    [(layer("Dense", units=3), []), (layer("Dense", None), []),
     (layer("Lambda"), ["Python code that it holds (Lambda “first”)"]),
     (layer("TFSMLayer"), ["a TensorFlow program, which may read and write files "
                           "(TFSMLayer “first”)"]),
     (layer("StringLookup", vocabulary="words.txt"), ["reading the file “words.txt”"]),
     (layer("StringLookup", vocabulary=["a", "b"]), []),
     ({**layer("LSTM"), "unroll": True}, ["steps of a recurrence that are laid out one by one"])],
)  # fmt: skip
def test_what_is_asked_about(part: dict[str, Any], told: list[str]) -> None:
    assert side_effects_of(holding(part, part), "net.keras") == told


@pytest.mark.parametrize(
    ("part", "says"),
    [(layer("Popen", "subprocess"), "class “Popen” of “subprocess”"),
     (layer("Popen", "keras.layers"), "class “Popen” of “keras.layers”"),
     ({"class_name": "function", "module": "builtins", "config": "exec"}, "function “exec”"),
     ({"class_name": "function", "module": "os", "config": "relu"}, "function “relu” of “os”")],
)  # fmt: skip
def test_what_is_none_of_keras_is_refused(part: dict[str, Any], says: str) -> None:
    with pytest.raises(ns.NeuroscopeError, match=f"asks for the {says}"):
        side_effects_of(holding(part), "net.keras")


def test_too_many_layers_and_no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_KERAS_LAYERS", 3)
    side_effects_of(holding(*[layer("ReLU")] * 3), "net.keras")
    with pytest.raises(ns.NeuroscopeError, match="more than 3 layers"):
        side_effects_of(holding(*[layer("ReLU")] * 4), "net.keras")
    for broken in ([], {}, {"class_name": 3}):
        with pytest.raises(ns.NeuroscopeError, match="names no class of a model"):
            side_effects_of(broken, "net.keras")
