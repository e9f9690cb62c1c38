"""Whatever a reader raises is one sentence with the file's name."""

from __future__ import annotations

import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.files.told import reason_of, told_in_a_sentence


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ValueError("no such thing.\nmore"), "no such thing"),
        (ValueError(), "ValueError"),
        (KeyError("weights"), "it lacks 'weights'"),
        (RecursionError(), "nested too deeply"),
        (MemoryError(), "more memory than there is"),
    ],
)
def test_reasons_are_the_ends_of_sentences(error: Exception, says: str) -> None:
    assert says in reason_of(error)
    assert not reason_of(error).endswith(".")
    with (
        pytest.raises(ns.NeuroscopeError, match="can't be read as an image: ") as told,
        told_in_a_sentence("folder/a.tif", "an image"),
    ):
        raise error
    assert told.value.__cause__ is error


@pytest.mark.parametrize("error", [ns.NeuroscopeError("A sentence."), ns.Cancelled()])
def test_sentences_and_cancelling_stay_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, told_in_a_sentence("a", "an image"):
        raise error
    assert raised.value is error
