"""Parts of a spec in one line, there and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_neuroscope.engine.spec.input_spec import InputSpec, SizeRule
from napari_neuroscope.widgets.model_options.spec_texts import (
    numbers_of,
    numbers_text,
    range_of,
    range_text,
    size_of,
    size_text,
)

naturals = st.integers(1, 999)
rules = st.builds(SizeRule, min=naturals, step=naturals) | st.builds(
    SizeRule, min=st.tuples(naturals, naturals), step=st.tuples(naturals, st.integers(0, 99))
)


@given(size=st.none() | st.tuples(naturals, naturals) | rules)
def test_sizes_come_back(size: object) -> None:
    assert InputSpec(size=size_of(size_text(size), 2)).size == size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("", None),
        ("Any", None),
        ("224", (224, 224)),
        ("224x320", (224, 320)),
        ("224 * 320", (224, 320)),
        ("224, 320", (224, 320)),
        ("32 + 16n", {"min": 32, "step": 16}),
        ("32+n*16", {"min": 32, "step": 16}),
        ("32 + n · 16, 64", {"min": (32, 64), "step": (16, 0)}),
    ],
)
def test_sizes_as_people_write_them(text: str, size: object) -> None:
    assert size_of(text, 2) == size


@given(text=st.text(max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (lambda t: size_of(t, 2), numbers_of, range_of):
        said = ""
        try:
            read(text)
        except ValueError as error:
            said = str(error)
        assert said == "" or said.startswith("write ")


def test_numbers_and_ranges() -> None:
    assert numbers_of(numbers_text((0.485, 1.0))) == (0.485, 1.0)
    assert numbers_of(" ") is None
    assert range_of(range_text("data")) == "data"
    assert range_of(range_text((0.0, 4095.0))) == (0.0, 4095.0)
