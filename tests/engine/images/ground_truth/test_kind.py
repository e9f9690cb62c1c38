"""Numbers of classes are told from those of instances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import napari_neuroscope as ns
from ground_truths import FOREGROUND, INSTANCES, MANY, NUCLEI, STREET, coloured, read
from napari_neuroscope.engine.images.ground_truth.reader import TruthReader, class_labels


def test_void_may_be_marked_as_such() -> None:
    assert read(np.array([[-1, 2]])) == [[-1, 2]]
    ignored = STREET.model_copy(update={"ignore_label": 0})
    assert read(np.array([[0, 2]], np.uint8), ignored) == [[-1, 2]]
    assert read(np.array([[0, 2]], np.int32), ignored) == [[-1, 2]]


def test_few_strange_numbers_are_no_instances() -> None:
    # Street scenes have one number more, for void; it must not turn all classes into one.
    truth = np.arange(12).reshape(3, 4)
    with pytest.raises(ns.NeuroscopeError) as refusal:
        read(truth, MANY)
    assert "the number 11 in 1 pixels, but there are 11 classes, 0..10" in str(refusal.value)
    assert "ignore_label to 11" in str(refusal.value)
    void = MANY.model_copy(update={"ignore_label": 11})
    assert read(truth, void)[2] == [8, 9, 10, -1]
    with pytest.raises(ns.NeuroscopeError, match="255 in 2 pixels"):
        read(np.array([[0, 1, 255, 255]]), NUCLEI)
    with pytest.raises(ns.NeuroscopeError, match=r"7 in 2 pixels \(and 1 more numbers\)"):
        read(INSTANCES, kind="classes")


def test_other_images_tell_instances_from_classes() -> None:
    two = np.array([[0, 1, 2]])
    alone = TruthReader.of(STREET)
    assert alone.labels(two, (1, 3)).labels.tolist() == [[0, 1, 2]]
    wiser = alone.with_numbers_of(np.arange(20).reshape(4, 5))
    assert wiser.labels(two, (1, 3)).labels.tolist() == [[0, 1, 1]]
    # Colours and masks say nothing of numbers.
    assert alone.with_numbers_of(coloured()).numbers_elsewhere == frozenset()
    assert alone.with_numbers_of(FOREGROUND > 0).numbers_elsewhere == frozenset()


@given(
    arrays(
        np.int16, st.tuples(st.integers(1, 4), st.integers(1, 4)), elements=st.integers(-3, 300)
    ),
    st.sampled_from(["auto", "classes", "instances", "colours"]),
)
def test_any_numbers_are_read_or_refused(truth: np.ndarray, kind: str) -> None:
    try:
        found = class_labels(truth, STREET, truth.shape, kind)  # type: ignore[arg-type]
    except ns.NeuroscopeError:
        return
    assert found.labels.shape == truth.shape
    assert set(np.unique(found.labels)) <= {-1, 0, 1, 2}
    assert found.notes
