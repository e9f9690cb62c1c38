"""Small values that an ONNX graph computes of shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the extra “onnx”")

pytest.importorskip("onnxruntime", reason="needs the extra “onnx”")


from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from napari_neuroscope.engine.frameworks.onnx.memory.small_values import known_values, small_values
from onnx_networks import model, value


@pytest.mark.parametrize(
    ("operation", "given", "attributes"),
    [
        ("Slice", [np.arange(9), [-1], [-100], [0], [-2]], {}),
        ("Slice", [np.arange(12).reshape(3, 4), [1, 0], [3, -1], [0, 1]], {}),
        ("Gather", [np.arange(12).reshape(3, 4), [2, 0]], {"axis": 1}),
        ("Concat", [np.arange(3), np.arange(2)], {"axis": 0}),
        ("Div", [np.int64([-7, 7]), np.int64([2, 2])], {}),
        ("Div", [np.float32([1, 2]), np.float32([3, 3])], {}),
        ("Cast", [np.float32([1.7, -1.7])], {"to": TensorProto.INT64}),
        ("Unsqueeze", [np.arange(3), [0, 2]], {}),
        ("Squeeze", [np.arange(3).reshape(1, 3, 1), [0]], {}),
        ("Reshape", [np.arange(12).reshape(3, 4), [0, 2, -1]], {}),
        ("Transpose", [np.arange(6).reshape(2, 3)], {}),
        ("Expand", [np.arange(3).reshape(3, 1), [1, 2]], {}),
        ("Where", [np.array([True, False]), np.int64([1, 2]), np.int64([3, 4])], {}),
        ("ConstantOfShape", [[2, 3]], {"value": numpy_helper.from_array(np.int64([7]))}),
    ],
)
def test_small_values_are_those_of_the_operation(
    operation: str, given: list[Any], attributes: dict[str, Any]
) -> None:
    inputs = {f"i{n}": np.asarray(one) for n, one in enumerate(given)}
    one = helper.make_node(operation, list(inputs), ["out"], **attributes)
    network = model([one], [], [value("out", None, 0)], inputs)
    values = known_values(network.graph)
    small_values(network.graph.node, values, {})
    (expected,) = ReferenceEvaluator(network).run(None, {})
    np.testing.assert_array_equal(values["out"], expected)
    assert values["out"].dtype == expected.dtype
