"""YAML and JSON of strangers are plain values, of a bounded number and depth."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.reading.plain_data import (
    PlainDataError,
    parse_json,
    parse_yaml,
    yaml_of,
)

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(values)
def test_what_is_written_is_read_as_the_same(value: Any) -> None:
    assert parse_yaml(yaml_of(value)) == value
    assert parse_yaml(yaml_of(value, broken=False)) == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("!!python/object/apply:os.system [ls]", "no plain YAML"),
        ("a: &a [*a]", "stands for itself"),
        ("[" * 200 + "]" * 200, "deep"),
        ("1:" * 2000 + "1", "digits"),
        ("2001-99-99", "can't be"),
    ],
)
def test_yaml_that_is_not_plain(text: str, says: str) -> None:
    with pytest.raises(PlainDataError, match=says):
        parse_yaml(text)


def test_aliases_count_as_what_they_stand_for(monkeypatch: pytest.MonkeyPatch) -> None:
    laughs = "a: &a [1, 1, 1, 1]\nb: &b [*a, *a, *a, *a]\nc: [*b, *b, *b, *b]\n"
    assert len(parse_yaml(laughs)["c"]) == 4
    monkeypatch.setattr(limits, "MOST_NODES", 80)
    with pytest.raises(PlainDataError, match="more than 80 values"):
        parse_yaml(laughs)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "[" * 200 + "]" * 200])
def test_json_that_is_not_plain(text: str) -> None:
    with pytest.raises(PlainDataError):
        parse_json(text)
