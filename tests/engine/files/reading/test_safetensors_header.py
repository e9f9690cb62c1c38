"""Headers of safetensors: what the library opens is accepted, and all else is one sentence."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from napari_neuroscope.engine.errors import FactoryNeededError, NeuroscopeError
from napari_neuroscope.engine.files.file_kind import kind_of
from napari_neuroscope.engine.files.reading.safetensors_header import check_header
from napari_neuroscope.engine.frameworks.torch.files.load import load_torch

_odd: Any = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 12),
    st.sampled_from([2**31, 2**62, 2**70, 0.5, "4", "F32", [], {}, [0], [0, 4, 8]]),
)


_kinds: Any = st.one_of(st.sampled_from(["F32", "F16", "U8", "I64", "BOOL", "BF16", "x"]), _odd)


_sizes: Any = st.one_of(st.lists(st.integers(0, 3), max_size=3), st.lists(_odd, max_size=3), _odd)


_offsets: Any = st.one_of(
    st.tuples(st.integers(0, 4), st.integers(0, 12)).map(list), st.lists(_odd, max_size=3), _odd
)


_entries: Any = st.one_of(
    st.fixed_dictionaries({"dtype": _kinds, "shape": _sizes, "data_offsets": _offsets}), _odd
)


_headers: Any = st.one_of(st.dictionaries(st.text(max_size=3), _entries, max_size=2), _odd)


def _written(path: Path, header: bytes, data: bytes) -> Path:
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(_headers, st.integers(0, 12))
def test_what_the_library_opens_is_accepted_and_the_rest_is_told(
    tmp_path: Path, header: Any, size: int
) -> None:
    path = _written(tmp_path / "m.safetensors", json.dumps(header).encode(), bytes(size))
    try:
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118  it is no dictionary
                file.get_tensor(name)
        opens = True
    except (SafetensorError, ValueError):
        opens = False
    if opens:
        check_header(path)
    with pytest.raises(NeuroscopeError) as refusal:
        load_torch(path, "safetensors", factory=None, arguments=None, trust=False)
    assert opens == isinstance(refusal.value, FactoryNeededError) or "holds a dict" in str(
        refusal.value
    )
    assert "m.safetensors" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_tensors_of_all_kinds_are_accepted(tmp_path: Path) -> None:
    kinds = [torch.bool, torch.uint8, torch.int16, torch.int32, torch.int64, torch.half,
             torch.bfloat16, torch.float, torch.double, torch.float8_e4m3fn, torch.complex64]  # fmt: skip
    tensors = {str(kind): torch.ones(2, 3).to(kind) for kind in kinds}
    save_file(
        {**tensors, "empty": torch.zeros(0, 5), "one": torch.tensor(1.0)},
        tmp_path / "m",
        {"a": "b"},
    )
    assert kind_of(tmp_path / "m") == "safetensors"
    check_header(tmp_path / "m")


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (b'{"a":' + b"[" * 100_000, "nested too deeply"),
        (b'{"a": 1', "no JSON"),
        (b'{"a": \xff}', "no JSON"),
        (b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 99]}}', "cut off"),
        (b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}', "other sizes"),
    ],
)
def test_what_is_wrong_is_said(header: bytes, says: str, tmp_path: Path) -> None:
    path = _written(tmp_path / "m.safetensors", header, bytes(4))
    assert kind_of(path) == "safetensors"
    with pytest.raises(NeuroscopeError, match=says):
        check_header(path)


@pytest.mark.parametrize("length", [3 << 20, 100_000_001, 1 << 63])
def test_a_header_that_is_not_there_is_not_read(length: int, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b'{"a": 1}')
    with pytest.raises(NeuroscopeError, match=r"cut off|claims"):
        check_header(path)
