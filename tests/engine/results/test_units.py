"""Units by all names that people and files give them."""

from __future__ import annotations

import pytest

from napari_neuroscope.engine.results.units import unit_of


@pytest.mark.parametrize(
    ("name", "symbol", "size"),
    [("micrometer", "µm", 1e-6), ("Micrometres", "µm", 1e-6), ("um", "µm", 1e-6),
     ("μm", "µm", 1e-6), (" micron ", "µm", 1e-6), ("mm", "mm", 1e-3), ("inch", "in", 0.0254),
     ("seconds", "s", 1.0), ("us", "µs", 1e-6), ("hour", "h", 3600.0)],
)  # fmt: skip
def test_names_and_symbols_are_known(name: str, symbol: str, size: float) -> None:
    unit = unit_of(name)
    assert unit is not None
    assert (unit.symbol, unit.size) == (symbol, size)


@pytest.mark.parametrize("name", ["pixel", "", "furlong", "volt"])
def test_what_is_neither_length_nor_time_is_none(name: str) -> None:
    assert unit_of(name) is None
