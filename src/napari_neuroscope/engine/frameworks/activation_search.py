"""Which operations of a network are activations: nonlinear functions of each value of one tensor.

Many are written by hand, of several operations: x · sigmoid(x), log(1 + exp(x)). Such a one has one
way in and one way out: all its ways lead back to one tensor by elementwise operations. It is one
activation, and what it is made of is none.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

OperationKind = Literal[
    "activation", "exponential", "power", "clipping", "comparison", "product", "scalar", "flip",
    "linear", "weighted", "other",
]  # fmt: skip
"""What an operation does with each value.

``activation``, ``exponential``, ``power`` (also roots, logarithms, sizes), ``clipping`` and
``comparison`` (also signs and steps) are nonlinear, and the first is an activation even if alone.
``product`` is one of several tensors, or a quotient. ``scalar`` adds a number or multiplies with a
positive one, ``flip`` multiplies with a negative one, ``linear`` is what else is linear. Never
elementwise are ``weighted`` (convolutions, matrix products) and ``other``.
"""

_NONLINEAR = {"activation", "exponential", "power", "clipping", "comparison"}
_ARITHMETIC = {"exponential", "power"}
_UNARY = {"scalar", "flip", "linear", "exponential", "power", "product"}


@dataclass(frozen=True)
class Operation:
    """An operation whose value is known by `key`, and the keys of the values that it takes.

    It is `elementwise` where all that it takes from the network's input has the shape of what it
    answers. Keys that are no operation's own are values from outside.
    """

    key: Hashable
    kind: OperationKind
    sources: tuple[Hashable, ...]
    elementwise: bool = True


@dataclass(frozen=True)
class Activations:
    """What a search comes to.

    Attributes
    ----------
    parts
        The operations that an activation consists of besides its last, by its last.
    clippings
        Clippings that may be activations, or arithmetic.
    unclear
        Other operations that may be activations, or arithmetic.
    """

    parts: dict[Hashable, frozenset[Hashable]]
    clippings: list[Hashable]
    unclear: list[Hashable]


def find_activations(operations: Sequence[Operation]) -> Activations:
    """Find the activations among operations, each of which comes after what it takes."""
    return _Search(operations).result()


class _Search:
    def __init__(self, operations: Sequence[Operation]) -> None:
        self._operations = {op.key: op for op in operations}
        self._place = {op.key: number for number, op in enumerate(operations)}
        self._consumers: dict[Hashable, list[Hashable]] = {}
        for op in operations:
            for source in dict.fromkeys(op.sources):
                self._consumers.setdefault(source, []).append(op.key)
        # The nearest value that all ways back from an operation go through, if it is elementwise.
        self._dominator: dict[Hashable, Hashable] = {}
        self._nonlinear: set[Hashable] = set()
        self._activations: dict[Hashable, frozenset[Hashable]] = {}
        self._single: dict[Hashable, OperationKind] = {}
        self._clippings: dict[Hashable, None] = {}
        self._used_inside: list[Hashable] = []
        for op in operations:
            if op.sources and op.elementwise and op.kind not in ("weighted", "other"):
                self._classify(op)

    def result(self) -> Activations:
        for end in list(self._activations):
            by_hand = bool(self._activations[end])
            self._take_tail(end, self._tail(end, flips=by_hand or self._is_flipped(end)))
        unclear = self._chains()
        told = {*self._used_inside, *(key for key in unclear if self._may_be_activation(key))}
        inside = self._inside()
        return Activations(
            self._activations,
            [key for key in self._clippings if key not in inside],
            sorted(told - inside, key=self._place.__getitem__),
        )

    # --- where ways meet ---

    def _classify(self, op: Operation) -> None:
        sources = list(dict.fromkeys(op.sources))
        ways = [self._dominators_of(source) for source in sources]
        meeting = next((key for key in ways[0] if all(key in way for way in ways[1:])), None)
        if meeting is None:
            return
        self._dominator[op.key] = meeting
        if len(sources) == 1:
            self._classify_single(op)
            return
        inside = self._between(op, meeting)
        if op.kind == "comparison":
            self._nonlinear.add(op.key)
            return
        if op.kind != "clipping" and not inside & self._nonlinear:
            if op.kind in ("product", "power"):
                self._nonlinear.add(op.key)
                self._single[op.key] = "power"
            return
        self._nonlinear.add(op.key)
        if self._is_used_inside(op, inside):
            self._used_inside.append(op.key)
            return
        for key in inside:
            self._discard(key)
        self._activations[op.key] = frozenset(inside)

    def _classify_single(self, op: Operation) -> None:
        kind = "power" if op.kind == "product" else op.kind
        if kind not in _NONLINEAR:
            return
        self._nonlinear.add(op.key)
        if kind == "activation":
            self._activations[op.key] = frozenset()
        elif kind in _ARITHMETIC:
            self._single[op.key] = kind
        elif kind == "clipping" and not set(op.sources) & self._nonlinear:
            # To clip what was just guided changes nothing: both let the same gradient through.
            self._clippings[op.key] = None

    def _dominators_of(self, key: Hashable) -> list[Hashable]:
        way = [key]
        while key in self._dominator:
            key = self._dominator[key]
            way.append(key)
        return way

    def _between(self, op: Operation, meeting: Hashable) -> set[Hashable]:
        """Return what lies on the ways from an operation back to where they meet."""
        met: set[Hashable] = set()
        stack = list(op.sources)
        while stack:
            key = stack.pop()
            if key != meeting and key not in met:
                met.add(key)
                stack.extend(self._operations[key].sources)
        return met

    def _is_used_inside(self, op: Operation, inside: set[Hashable]) -> bool:
        """Whether a nonlinear value in the middle is taken elsewhere too, with a gradient."""
        bent: set[Hashable] = set()
        for key in sorted(inside, key=self._place.__getitem__):
            if key in self._nonlinear or not bent.isdisjoint(self._operations[key].sources):
                bent.add(key)
        whole = {*inside, op.key}
        return any(
            not whole.issuperset(self._consumers[key])
            for key in bent
            if self._operations[key].kind != "comparison"
        )

    def _discard(self, key: Hashable) -> None:
        self._activations.pop(key, None)
        self._single.pop(key, None)
        self._clippings.pop(key, None)
        if key in self._used_inside:
            self._used_inside.remove(key)

    # --- what follows one after the other ---

    def _steps(self, key: Hashable) -> Iterable[Operation]:
        """Yield what alone takes a value, and what alone takes that, as long as it takes no other.

        An activation ends it.
        """
        while len(takers := self._consumers.get(key, [])) == 1:
            op = self._operations[takers[0]]
            if set(op.sources) != {key} or op.kind not in _UNARY or not op.elementwise:
                return
            yield op
            key = op.key

    def _tail(self, key: Hashable, *, flips: bool) -> list[Hashable]:
        """Return a value and what comes after it that belongs to the same activation.

        Arithmetic that is nonlinear does, as the square of a relu; a change of sign by a number
        where `flips`, as the last of −softplus(−x); nothing behind weights.
        """
        way, last = [key], 1
        numbers = True
        for op in self._steps(key):
            way.append(op.key)
            numbers = numbers and op.kind != "linear"
            if op.key in self._single or (op.kind == "flip" and flips and numbers):
                last = len(way)
        return way[:last]

    def _take_tail(self, end: Hashable, tail: list[Hashable]) -> None:
        if len(tail) > 1:
            inside = self._activations[end].union(tail[:-1])
            for key in tail:
                self._discard(key)
            self._activations[tail[-1]] = inside

    def _is_flipped(self, key: Hashable) -> bool:
        """Whether an activation takes what has its sign changed by a number."""
        while (op := self._operations.get(self._operations[key].sources[0])) is not None:
            if op.kind == "flip":
                return True
            if op.kind != "scalar":
                return False
            key = op.key
        return False

    def _chains(self) -> list[Hashable]:
        """Find activations among arithmetic that follows on itself; return what is left of it.

        An exponential function with other arithmetic is one: log(1 + exp(x)), 1 / (1 + exp(−x)).
        """
        unclear: list[Hashable] = []
        left = list(self._single)
        done: set[Hashable] = set()
        for first in left:
            if first in done:
                continue
            tail = self._tail(first, flips=True)
            chain = [key for key in tail if key in self._single]
            done.update(chain)
            if len(chain) > 1 and any(self._single[key] == "exponential" for key in chain):
                self._activations[tail[-1]] = frozenset(tail[:-1])
            else:
                unclear.extend(chain)
        return unclear

    # --- what remains unclear ---

    def _inside(self) -> set[Hashable]:
        return {*self._activations, *(key for parts in self._activations.values() for key in parts)}

    def _may_be_activation(self, key: Hashable) -> bool:
        """Whether arithmetic might be an activation that is not guided otherwise.

        It is none where what is guided comes just before or after it, before no weights, and where
        what it leads to is a factor of other values, or meets what it came from: so do a norm and
        a softmax that are written out.
        """
        guided = self._inside()
        before = self._dominators_of(key)[1:]
        after = [op.key for op in self._steps(key)]
        ends = [key, *after]
        takers = self._consumers.get(ends[-1], ())
        if guided & {*before, *after, *(takers if len(takers) == 1 else ())}:
            return False
        met, stack = {key, *before}, [key]
        weighted = False
        while stack:
            here = stack.pop()
            for taker in self._consumers.get(here, ()):
                op = self._operations[taker]
                if op.kind == "weighted":
                    weighted = True
                    continue
                others = [source for source in op.sources if source != here]
                meets = any(not met.isdisjoint(self._dominators_of(source)) for source in others)
                # One of another shape is a number for many, such as a sum.
                spread = op.kind != "other" and not op.elementwise
                if others and (op.kind == "product" or spread or meets):
                    return False
                if taker not in met:
                    met.add(taker)
                    stack.append(taker)
        return weighted
