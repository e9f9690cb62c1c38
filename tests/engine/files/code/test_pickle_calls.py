"""What pickles import, as the simulation tells it and as Python's own unpickler does."""

from __future__ import annotations

import collections
import contextlib
import datetime
import decimal
import fractions
import functools
import io
import operator
import pathlib
import pickle
import pickletools
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.code.pickle_calls import PickleProgram, program_of
from napari_neuroscope.engine.files.code.pickle_names import HIDDEN, most_dangerous_first
from napari_neuroscope.engine.files.code.pickle_values import (
    BrokenPickleError,
    Call,
    LongPickleError,
)


class _Watched(pickle._Unpickler):  # type: ignore[name-defined,misc]
    """Python's own unpickler, which notes what is imported, and imports nothing harmful."""

    def __init__(self, content: bytes, *, runs: bool) -> None:
        super().__init__(io.BytesIO(content))
        self.names: dict[str, None] = {}
        self.runs = runs

    def find_class(self, module: str, name: str) -> Any:
        self.names[f"{module}.{name}"] = None
        return super().find_class(module, name) if self.runs else _Stub


class _Stub:
    def __new__(cls, *_: Any, **__: Any) -> _Stub:
        return super().__new__(cls)


class _Point(collections.namedtuple("_Point", "x y")):
    __slots__ = ()


_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.text(max_size=6),
    st.binary(max_size=6),
    st.fractions(max_denominator=9),
    st.decimals(allow_nan=False),
    st.dates(),
    st.complex_numbers(allow_nan=False),
    st.builds(pathlib.PurePosixPath, st.sampled_from(["a", "b/c"])),
    st.builds(range, st.integers(0, 9)),
    st.builds(_Point, st.integers(), st.text(max_size=3)),
    st.sampled_from([operator.add, fractions.Fraction, datetime.date, decimal.Decimal, len]),
    st.builds(functools.partial, st.sampled_from([int, float]), st.just("1")),
)


_objects = st.recursive(
    _values,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
        st.builds(lambda items: collections.OrderedDict(enumerate(items)), st.lists(inner, max_size=3)),
        st.builds(collections.deque, st.lists(inner, max_size=3)),
    ),
    max_leaves=12,
)  # fmt: skip


@given(_objects, st.integers(0, 5), st.booleans(), st.booleans())
def test_names_are_those_that_python_imports(
    value: Any, protocol: int, shared: bool, optimised: bool
) -> None:
    value = [value, value] if shared else value
    content = pickle.dumps(value, protocol)
    content = pickletools.optimize(content) if optimised else content
    watched = _Watched(content, runs=True)
    watched.load()
    program = program_of(content)
    assert list(program.names) == list(watched.names)
    assert program.regular


_TEXTS = ["os", "system", "torch", "Tensor", "a.b", "é"]


_moves = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.sampled_from(_TEXTS)),
        st.tuples(st.just("put"), st.integers(0, 5)),
        st.tuples(st.just("get"), st.integers(0, 5)),
        st.tuples(st.sampled_from(["memo", "double", "pop", "mark", "pop_mark", "tuple", "class"])),
    ),
    max_size=40,
)


def _written(moves: list[tuple[Any, ...]]) -> bytes:
    """Write what moves texts about, in operations that never fail; and last an import of two."""
    out, stack, memo = [b"\x80\x04"], [], dict[int, str]()
    for name, *given_ in moves:
        if name == "push":
            text = given_[0].encode()
            out.append(b"X" + struct.pack("<I", len(text)) + text)
            stack.append("text")
        elif name == "put" and stack and stack[-1] != "mark":
            out.append(b"q" + bytes([given_[0]]))
            memo[given_[0]] = stack[-1]
        elif name == "get" and given_[0] in memo:
            out.append(b"h" + bytes([given_[0]]))
            stack.append(memo[given_[0]])
        elif name == "memo" and stack and stack[-1] != "mark":
            out.append(b"\x94")
            memo[len(memo)] = stack[-1]
        elif name == "double" and stack and stack[-1] != "mark":
            out.append(b"2")
            stack.append(stack[-1])
        elif name == "pop" and stack:
            out.append(b"0")
            stack.pop()
        elif name == "mark":
            out.append(b"(")
            stack.append("mark")
        elif name in ("pop_mark", "tuple") and "mark" in stack:
            out.append(b"1" if name == "pop_mark" else b"t")
            while stack.pop() != "mark":
                pass
            if name == "tuple":
                stack.append("other")
        elif name == "class" and stack[-2:] == ["text", "text"]:
            out.append(b"\x93")
            stack[-2:] = ["other"]
    return b"".join([*out, b"N."])


@given(_moves)
def test_names_that_come_by_way_of_the_stack_and_the_memo(moves: list[tuple[Any, ...]]) -> None:
    content = _written(moves)
    watched = _Watched(content, runs=False)
    watched.load()
    assert list(program_of(content).names) == list(watched.names)


@given(st.binary(max_size=300))
def test_no_bytes_break_the_simulation(content: bytes) -> None:
    with contextlib.suppress(BrokenPickleError, LongPickleError):
        program_of(b"\x80\x02" + content, 5)


def _long_memo(text: str, index: int) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode() + b"r" + struct.pack("<I", index)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"cos\nsystem\n(S'x'\ntR.", ["os.system"]),
        (b"(S'x'\nios\nsystem\n.", ["os.system"]),
        (b"(cos\nsystem\nS'x'\no.", ["os.system"]),
        (b"\x80\x04" + _long_memo("os", 70_000) + _long_memo("f", 70_001) + b"\x93.", ["os.f"]),
        (b"\x80\x04\x8c\x02os\x8c\x01f\x93)\x81.", ["os.f"]),
        (b"\x80\x04\x8c\x02os\x8c\x01f\x93)}\x92.", ["os.f"]),
        (b"\x80\x02\x82\x07)R.", ["copyreg.extension 7"]),
        (b"\x80\x04NN\x93.", [HIDDEN]),
        (b"\x80\x04cbuiltins\nstr\n)R\x8c\x06system\x93.", ["builtins.str", HIDDEN]),
        (b"\x80\x02cbuiltins\ngetattr\n(NNtR)R.", ["builtins.getattr", HIDDEN]),
        ("\x80\x02cpösix\nf\n.".encode("latin-1"), [HIDDEN]),
    ],
)
def test_names_in_each_form(content: bytes, names: list[str]) -> None:
    assert list(program_of(content).names) == names


def test_calls_and_what_lies_beside() -> None:
    pid = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x007X\x03\0\0\0cpuK\x0ctQ"
    program = program_of(b"\x80\x02" + pid + b"\x85cmath\nsqrt\nK\x04\x85R\x86.")
    assert [tuple(one) for one in program.stored] == [("torch.FloatStorage", "7", 12)]
    assert program.calls == [Call("math.sqrt", (4,))]
    assert program.regular
    assert not program_of(b"\x80\x02X\x01\0\0\0aQ.").regular


@pytest.mark.parametrize(
    ("content", "long"),
    [
        (b"\x80\x02" + b"N0" * 500 + b"N.", True),
        (b"\x80\x02" + b"N0" * 400 + b"N.", False),
        # A tuple is gone through whenever it is looked up, with all that lies in it.
        (b"\x80\x02}K\x01" + b"2\x86" * 9 + b"Ns.", True),
        (b"\x80\x02}K\x01" + b"2\x86" * 5 + b"Ns.", False),
        (b"\x80\x02K\x01" + b"2\x86" * 30 + b".", False),
        (b"\x80\x02K\x01" + b"\x85" * 101 + b".", True),
        # What a call makes is looked up like a tuple.
        (b"\x80\x02}(" + b"ctorch\nSize\n)RN" * 4 + b"u.", True),
        (b"\x80\x02}(" + b"ctorch\nSize\n)RN" * 2 + b"u.", False),
        (b"\x80\x02}\x8a\x08" + (1 << 60).to_bytes(8, "little") + b"Ns.", True),
        (b"\x80\x02](" + b"K\x01" * 99 + b"eq\x01" + b"0c__builtin__\nset\nh\x01\x85R" * 9 + b".", True),
    ],
)  # fmt: skip
def test_work_is_counted(content: bytes, long: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_PICKLE_OPERATIONS", 1000)
    if long:
        with pytest.raises(LongPickleError):
            program_of(content)
    else:
        assert program_of(content).work <= 1000


def test_several_pickles_one_after_another() -> None:
    content = pickle.dumps(1, 2) + pickle.dumps(fractions.Fraction(1, 2), 2) + b"\xff\xff"
    assert list(program_of(content, 5).names) == ["fractions.Fraction"]
    assert not program_of(content).names
    with pytest.raises(BrokenPickleError):
        program_of(b"\x80\x02\xff", 5)
    program = PickleProgram()
    with pytest.raises(BrokenPickleError):
        program.follow(io.BytesIO(pickle.dumps(operator.add, 2)[:-1]))
    assert list(program.names) == [f"{operator.add.__module__}.add"]


def test_the_most_dangerous_come_first() -> None:
    names = ["torch.nn.Linear", "mynet.Net", "json.loads", "torch.load", "posix.system", HIDDEN]
    ordered = most_dangerous_first(names)
    assert ordered[0] == "posix.system"
    assert set(ordered[1:3]) == {"torch.load", HIDDEN}
    assert ordered[3:] == ["json.loads", "mynet.Net", "torch.nn.Linear"]
