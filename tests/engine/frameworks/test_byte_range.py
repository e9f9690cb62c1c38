"""Numbers that a network normalises with, and whether they are for images of 0..255."""

from __future__ import annotations

import pytest

from napari_neuroscope.engine.frameworks.byte_range import is_arithmetic_on_bytes


@pytest.mark.parametrize(
    ("operation", "constant", "of_bytes"),
    [("divide", 255, True), ("divide", 127.5, True), ("divide", 0.229, False),
     ("multiply", 1 / 255, True), ("multiply", 2, False), ("multiply", 0, False),
     ("subtract", 123.7, True), ("subtract", 0.485, False), ("subtract", 300, False),
     ("add", -123.7, True), ("add", 100, False)],
)  # fmt: skip
def test_arithmetic(operation: str, constant: float, of_bytes: bool) -> None:
    assert is_arithmetic_on_bytes(operation, constant) is of_bytes
