"""What a pickle imports and calls, and how much work it is: followed, and never run.

A pickle is a program for a small machine with a stack and a memo. Here its operations move
stand-ins instead of objects, so that a name is right however it came to its place, and so that what
would take for ever is noticed before it is begun.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Iterable
from typing import IO, Any, NamedTuple

from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.code.pickle_names import HIDDEN
from napari_neuroscope.engine.files.code.pickle_values import (
    BrokenPickleError,
    Call,
    EncodedText,
    ImportedName,
    LongPickleError,
    StoredNumbers,
    Unknown,
)

_MOST_DEPTH = 100
# How many operations of other kinds take as long.
_CALL, _TUPLE_AS_KEY, _CHARACTERS = 10, 300, 100


class _Items(list[Any]):
    """A list, or the keys of a dictionary or a set, all of which may still grow."""


class _CallResult(_Items):
    """What a call made, with what it was made of."""


class _Tuple(NamedTuple):
    items: tuple[Any, ...]
    # How many values it holds with all that lie in it, each counted wherever it stands.
    size: int
    depth: int


class _Mark:
    pass


class PickleProgram:
    """The operations of one pickle, or of several one after another, followed to their end.

    Attributes
    ----------
    names
        What they import, in order, as ``module.name``.
    calls
        What they call.
    stored
        What lies beside them.
    regular
        Whether all that they refer to beside them is such numbers.
    work
        How many operations they are, and how many others their calls and look-ups come to.
    """

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self.calls: list[Call] = []
        self.stored: list[StoredNumbers] = []
        self.regular = True
        self.work = 0
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def follow(self, stream: IO[bytes]) -> None:
        """Follow one pickle.

        Raises
        ------
        BrokenPickleError
            Where it is cut off, or has no such operations.
        LongPickleError
            Where it is more than the limits.
        """
        self._stack, self._memo = [], {}
        try:
            for opcode, argument, _ in pickletools.genops(stream):
                self._charge(1)
                name = opcode.name
                if name in _CONSTANTS:
                    self._stack.append(_CONSTANTS[name])
                elif name in _LITERALS:
                    self._stack.append(argument)
                else:
                    _OPERATIONS[name](self, argument)
        except UnicodeDecodeError:
            # A name in letters that the names of code don't have.
            self.names[HIDDEN] = None
            self.regular = False
        except LongPickleError:
            raise
        except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
            raise BrokenPickleError(str(error)[:200]) from error

    def _charge(self, work: int) -> None:
        self.work += work
        if self.work > limits.MOST_PICKLE_OPERATIONS:
            raise LongPickleError(
                f"a pickle of more than {limits.MOST_PICKLE_OPERATIONS:,} operations, too long to be "
                f"looked through"
            )

    # --- the stack and the memo

    def _marked(self) -> list[Any]:
        items: list[Any] = []
        while not isinstance(item := self._stack.pop(), _Mark):
            items.append(item)
        return items[::-1]

    def _mark(self, _: Any) -> None:
        self._stack.append(_Mark())

    def _pop(self, _: Any) -> None:
        self._stack.pop()

    def _pop_marked(self, _: Any) -> None:
        self._marked()

    def _double(self, _: Any) -> None:
        self._stack.append(self._stack[-1])

    def _put(self, index: Any) -> None:
        self._memo[int(index)] = self._stack[-1]

    def _memoise(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _get(self, index: Any) -> None:
        self._stack.append(self._memo[int(index)])

    def _nothing(self, _: Any) -> None:
        pass

    # --- lists, tuples, dictionaries

    def _tuple_of(self, items: Iterable[Any]) -> None:
        items = tuple(items)
        inner = [item for item in items if isinstance(item, _Tuple)]
        depth = 1 + max((item.depth for item in inner), default=0)
        if depth > _MOST_DEPTH:
            raise LongPickleError(f"a pickle with tuples more than {_MOST_DEPTH} deep")
        size = 1 + len(items) + sum(item.size for item in inner)
        self._stack.append(_Tuple(items, size, depth))

    def _tuple(self, _: Any) -> None:
        self._tuple_of(self._marked())

    def _tuple1(self, _: Any) -> None:
        self._tuple_of([self._stack.pop()])

    def _tuple2(self, _: Any) -> None:
        self._tuple_of([self._stack.pop(), self._stack.pop()][::-1])

    def _tuple3(self, _: Any) -> None:
        self._tuple_of([self._stack.pop() for _ in range(3)][::-1])

    def _empty(self, _: Any) -> None:
        self._stack.append(_Items())

    def _list(self, _: Any) -> None:
        self._stack.append(_Items(self._marked()))

    def _dict(self, _: Any) -> None:
        items = self._marked()
        self._stack.append(_Items())
        self._set(items[::2])

    def _frozen_set(self, _: Any) -> None:
        items = self._marked()
        self._stack.append(_Items())
        self._set(items)

    def _append(self, _: Any) -> None:
        item = self._stack.pop()
        self._extend([item])

    def _appends(self, _: Any) -> None:
        self._extend(self._marked())

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, _Items):
            target.extend(items)

    def _set_item(self, _: Any) -> None:
        self._stack.pop()
        key = self._stack.pop()
        self._set([key])

    def _set_items(self, _: Any) -> None:
        self._set(self._marked()[::2])

    def _add_items(self, _: Any) -> None:
        self._set(self._marked())

    def _set(self, keys: list[Any]) -> None:
        for key in keys:
            self._charge(_work_of_key(key))
        self._extend(keys)

    # --- what is imported and called

    def _import(self, module: Any, name: Any) -> None:
        is_told = isinstance(module, str) and isinstance(name, str)
        full = f"{module}.{name}" if is_told else HIDDEN
        self.names[full] = None
        self._stack.append(ImportedName(full))

    def _global(self, argument: Any) -> None:
        self._import(*str(argument).split(" ", 1))

    def _stack_global(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._import(module, name)

    def _extension(self, number: Any) -> None:
        self._import("copyreg", f"extension {number}")

    def _instance(self, argument: Any) -> None:
        items = self._marked()
        self._import(*str(argument).split(" ", 1))
        self._call(self._stack.pop(), tuple(items))

    def _object(self, _: Any) -> None:
        function, *items = self._marked()
        self._call(function, tuple(items))

    def _reduce(self, _: Any) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        self._call(function, _as_arguments(arguments))

    def _new_with_names(self, _: Any) -> None:
        names, arguments, function = (self._stack.pop() for _ in range(3))
        self._call(function, (*_as_arguments(arguments), names))

    def _call(self, function: Any, arguments: tuple[Any, ...]) -> None:
        name = function.name if isinstance(function, ImportedName) else HIDDEN
        if name == HIDDEN:
            self.names[HIDDEN] = None
        self.calls.append(Call(name, arguments))
        self._charge(_CALL)
        if name == "_codecs.encode" and arguments and isinstance(arguments[0], str):
            self._charge(len(arguments[0]) // _CHARACTERS)
            self._stack.append(EncodedText(arguments[0]))
            return
        made = _CallResult()
        for argument in arguments:
            self._charge(_work_of_argument(argument))
            if isinstance(argument, _Items | _Tuple):
                made.extend(argument if isinstance(argument, _Items) else argument.items)
        self._stack.append(made)

    def _build(self, _: Any) -> None:
        state = self._stack.pop()
        self._charge(_CALL + _work_of_argument(state))

    def _persistent(self, key: Any) -> None:
        self._refer(key)

    def _binary_persistent(self, _: Any) -> None:
        self._refer(self._stack.pop())

    def _refer(self, key: Any) -> None:
        self._charge(_CALL)
        items = key.items if isinstance(key, _Tuple) else ()
        if (
            len(items) >= 5
            and items[0] == "storage"
            and isinstance(items[1], ImportedName)
            and isinstance(items[2], str | int)
            and isinstance(items[4], int)
        ):
            self.stored.append(StoredNumbers(items[1].name, items[2], items[4]))
            self._stack.append(self.stored[-1])
        else:
            self.regular = False
            self._stack.append(Unknown())


def _as_arguments(arguments: Any) -> tuple[Any, ...]:
    return arguments.items if isinstance(arguments, _Tuple) else (arguments,)


def _work_of_key(key: Any) -> int:
    """Return how many operations it takes to look a key up."""
    if isinstance(key, _Tuple):
        # Tuples, unlike texts, are gone through at each look, and different ones may be mixed up.
        return _TUPLE_AS_KEY + key.size
    if isinstance(key, _CallResult):
        return _TUPLE_AS_KEY + len(key)
    if isinstance(key, int) and abs(key) >= 1 << 60:
        raise LongPickleError("a pickle with keys that take long to be looked up")
    return 1


def _work_of_argument(argument: Any) -> int:
    """Return how many operations it takes to go through an argument, and through its items."""
    argument = argument.text if isinstance(argument, EncodedText) else argument
    if isinstance(argument, str | bytes | bytearray):
        return len(argument) // _CHARACTERS
    if not isinstance(argument, _Items | _Tuple):
        return 0
    work = 0
    for item in argument if isinstance(argument, _Items) else argument.items:
        work += 1
        if isinstance(item, _Tuple | _CallResult | int):
            work += _work_of_key(item)
        elif isinstance(item, _Items):
            # Such as the pairs of a dictionary.
            work += sum(_work_of_key(inner) for inner in item[:2])
        if work > limits.MOST_PICKLE_OPERATIONS:
            break
    return work


_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = {
    "INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_Program = PickleProgram
_OPERATIONS = {
    "PROTO": _Program._nothing, "FRAME": _Program._nothing, "STOP": _Program._nothing,
    "READONLY_BUFFER": _Program._nothing, "NEXT_BUFFER": lambda p, _: p._refer(None),
    "MARK": _Program._mark, "POP": _Program._pop, "POP_MARK": _Program._pop_marked,
    "DUP": _Program._double, "PUT": _Program._put, "BINPUT": _Program._put,
    "LONG_BINPUT": _Program._put, "MEMOIZE": _Program._memoise, "GET": _Program._get,
    "BINGET": _Program._get, "LONG_BINGET": _Program._get,
    "EMPTY_TUPLE": lambda p, _: p._tuple_of(()), "TUPLE": _Program._tuple,
    "TUPLE1": _Program._tuple1, "TUPLE2": _Program._tuple2, "TUPLE3": _Program._tuple3,
    "EMPTY_LIST": _Program._empty, "EMPTY_DICT": _Program._empty, "EMPTY_SET": _Program._empty,
    "LIST": _Program._list, "DICT": _Program._dict, "FROZENSET": _Program._frozen_set,
    "APPEND": _Program._append, "APPENDS": _Program._appends, "SETITEM": _Program._set_item,
    "SETITEMS": _Program._set_items, "ADDITEMS": _Program._add_items,
    "GLOBAL": _Program._global, "STACK_GLOBAL": _Program._stack_global,
    "EXT1": _Program._extension, "EXT2": _Program._extension, "EXT4": _Program._extension,
    "INST": _Program._instance, "OBJ": _Program._object, "REDUCE": _Program._reduce,
    "NEWOBJ": _Program._reduce, "NEWOBJ_EX": _Program._new_with_names, "BUILD": _Program._build,
    "PERSID": _Program._persistent, "BINPERSID": _Program._binary_persistent,
}  # fmt: skip


def program_of(content: bytes, most: int = 1) -> PickleProgram:
    """Follow the pickles at the start of some bytes.

    Parameters
    ----------
    content
        The bytes.
    most
        How many pickles are followed, one after another; what comes after the first may be none.

    Raises
    ------
    BrokenPickleError
        Where the first is cut off, or is none.
    LongPickleError
        Where they are more than the limits.
    """
    stream, program = io.BytesIO(content), PickleProgram()
    for number in range(most):
        try:
            program.follow(stream)
        except BrokenPickleError:
            if number == 0:
                raise
            break
    return program
