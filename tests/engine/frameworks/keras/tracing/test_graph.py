"""A graph that is run operation by operation answers as its function, and keeps what it is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")

import tensorflow as tf

from napari_neuroscope.engine.frameworks.keras.tracing.graph import Graph


def steps() -> tuple[Graph, dict[str, Any]]:
    """Return the graph of 3 · (2 + 4) · x and its square, and its tensors."""
    tensors: dict[str, Any] = {}

    def forward(x: Any) -> Any:
        tensors["x"] = x
        tensors["scaled"] = x * (tf.constant(2.0) + 4.0) * 3.0
        tensors["squared"] = tensors["scaled"] ** 2
        return tensors["squared"]

    concrete = tf.function(forward).get_concrete_function(tf.TensorSpec((2,), tf.float32))
    return Graph(concrete, tensors["x"]), tensors


def test_what_is_wanted_is_kept_and_the_rest_is_visited() -> None:
    graph, tensors = steps()
    given = {tensors["x"].name: tf.constant([1.0, 2.0])}
    visited: list[str] = []
    plan = graph.plan([tensors["squared"]], given.keys())
    values = plan.run(given, lambda name, value: visited.append(name))
    assert list(values) == [tensors["squared"].name]
    np.testing.assert_array_equal(values[tensors["squared"].name], [18.0**2, 36.0**2])
    assert visited.index(tensors["scaled"].name) < visited.index(tensors["squared"].name)


def test_a_plan_begins_where_values_are_given() -> None:
    graph, tensors = steps()
    given = {tensors["scaled"].name: tf.constant([3.0, 4.0])}
    values = graph.plan([tensors["squared"]], given.keys()).run(given)
    np.testing.assert_array_equal(values[tensors["squared"].name], [9.0, 16.0])


def test_nothing_is_kept_of_a_plan_that_is_only_visited() -> None:
    graph, tensors = steps()
    given = {tensors["x"].name: tf.constant([1.0, 2.0])}
    seen: dict[str, Any] = {}
    plan = graph.plan([tensors["scaled"], tensors["squared"]], given.keys(), keep=False)
    assert plan.run(given, seen.__setitem__) == {}
    np.testing.assert_array_equal(seen[tensors["scaled"].name], [18.0, 36.0])


def test_a_plan_is_found_again_by_its_key() -> None:
    graph, tensors = steps()
    wanted, given = [tensors["squared"]], {tensors["x"].name}
    assert graph.plan(wanted, given, key="a") is graph.plan(wanted, given, key="a")
    assert graph.plan(wanted, given, key="a") is not graph.plan(wanted, given, key="b")


def test_work_is_stopped_where_it_is_visited() -> None:
    graph, tensors = steps()
    given = {tensors["x"].name: tf.constant([1.0, 2.0])}

    def stop(name: str, value: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        graph.plan([tensors["squared"]], given.keys()).run(given, stop)
