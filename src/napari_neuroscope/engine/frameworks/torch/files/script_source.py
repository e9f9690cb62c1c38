"""The source of TorchScript programs, looked through before any of it runs.

PyTorch writes it in a small part of Python's grammar. It is read as a row of words here, not as
Python: what isn't of the form that PyTorch writes is told to be so, and how PyTorch would read it
doesn't matter.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

import torch

from napari_neuroscope.engine.frameworks.torch.files.script_loops import Loops, closing
from napari_neuroscope.engine.frameworks.torch.files.script_operators import (
    ATEN,
    BUILTINS,
    CLASSES,
    METHODS,
    NAMESPACES,
)
from napari_neuroscope.engine.plain_text import quoted

_WORD = re.compile(
    r"""
    (?P<space>[ ]+) | (?P<line>\n)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<number>[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?j?)
    | (?P<text>"(?:[^"\\\n]|\\[^\n])*"(?!")|'(?:[^'\\\n]|\\[^\n])*'(?!'))
    | (?P<sign>->|[-+*/%&|^<>=!]=|\*\*|//|<<|>>|[-+*/%&|^~<>=()\[\]{},.:@])
    """,
    re.VERBOSE,
)
_DEPTH = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
# What a text may be written with that isn't seen where it is shown: control characters.
_ESCAPE = re.compile(r"""\\[^"'\\nt]""")
_KEYWORDS = {"if", "elif", "else", "for", "in", "return", "not", "and", "or", "is", "with", "as",
             "assert", "raise", "def", "class", "pass"}  # fmt: skip
_STARTS_THREADS = {"fork", "awaitable"}
# Words that name an attribute: ``getattr(self, "0")``.
_LONGEST_ATTRIBUTE = 60

UNREADABLE = "text that isn't of the form that PyTorch writes"


@functools.cache
def _asked_about() -> frozenset[str]:
    """Return the names of all operators that are asked about: any value has them as methods."""
    # As a method, an operator is one of PyTorch's own.
    names = {s.name for s in torch._C._jit_get_all_schemas() if s.name.startswith("aten::")}
    return frozenset(name.removeprefix("aten::") for name in names) - ATEN


def questions(sources: Iterable[str]) -> list[str]:
    """Return what in the source of a program is asked about, the operators first.

    Parameters
    ----------
    sources
        The text of each file of the program.
    """
    files = []
    for text in sources:
        words = _words(text)
        if words is None:
            return [UNREADABLE]
        files.append(words)
    defined = {
        words[i + 1]
        for words in files
        for i, word in enumerate(words[:-1])
        if word in ("def", "class")
    }
    operators: dict[str, None] = {}
    others: dict[str, None] = {}
    for words in files:
        _Source(words, files, defined, operators, others).look_through()
    asked = [f"the operator {quoted(name, 60)}" for name in operators]
    return [*asked, *others]


def _words(text: str) -> list[str] | None:
    """Return the words of a source, with ends of lines; None where it has others than PyTorch's."""
    words, end, depth = [], 0, 0
    for match in _WORD.finditer(text):
        if match.start() != end:
            return None
        end = match.end()
        word, kind = match.group(), match.lastgroup
        # Within brackets, a line may end anywhere.
        if kind == "space" or (kind == "line" and depth):
            continue
        if kind == "text" and _ESCAPE.search(word):
            return None
        depth += _DEPTH.get(word, 0)
        if depth < 0:
            return None
        words.append(word)
    return words if end == len(text) and depth == 0 else None


class _Source:
    """The words of one file, and what is noted of them."""

    def __init__(
        self,
        words: list[str],
        files: list[list[str]],
        defined: set[str],
        operators: dict[str, None],
        others: dict[str, None],
    ) -> None:
        # So that there is always a word before and after.
        self.words = ["\n", *words, "\n", "\n", "\n", "\n", "\n", "\n"]
        self.defined, self.operators, self.others = defined, operators, others
        assigned = {
            word
            for i, word in enumerate(self.words[:-1])
            if self.words[i + 1] in ("=", ":", ",") and word.isidentifier()
        }
        self.functions = BUILTINS | _KEYWORDS | assigned | defined
        self.methods = ATEN | METHODS | defined
        self.loops = Loops(self.words, files)

    def look_through(self) -> None:
        words, seen = self.words, 0
        for i in range(1, len(words) - 6):
            word = words[i]
            if i < seen or not (word[0].isalpha() or word[0] == "_"):
                continue
            if words[i - 1] == ".":
                self._attribute(i)
            elif word == "torch":
                self._operator(i, [words[i + 2]], ATEN, words[i + 1 : i + 4 : 2])
                seen = i + 3
            elif word == "ops":
                allowed = NAMESPACES.get(words[i + 2], frozenset())
                names = [words[i + 2], words[i + 4]]
                self._operator(i, names, allowed, words[i + 1 : i + 6 : 2])
                seen = i + 5
            elif word in ("__torch__", "CONSTANTS"):
                seen = self._path(i)
            elif word == "while":
                self.others["a loop that may never end"] = None
            elif word == "for":
                if not self.loops.is_short(i):
                    self.others["a loop of so many rounds that only running it tells"] = None
            elif word == "getattr":
                self._get_attribute(i)
            elif word in _STARTS_THREADS or (words[i + 1] == "(" and word not in self.functions):
                self.operators[word] = None

    def _operator(
        self, i: int, names: list[str], allowed: frozenset[str], signs: list[str]
    ) -> None:
        """Look at an operator: it is called where it is named, or else it could go anywhere."""
        full = ".".join([self.words[i], *(name for name in names if name != "\n")])
        if names[-1] not in allowed or signs != ["."] * len(names) + ["("]:
            self.operators[full] = None

    def _attribute(self, i: int) -> None:
        name = self.words[i]
        called = self.words[i + 1] == "("
        if name in _asked_about() or (called and name not in self.methods):
            self.operators[name] = None

    def _get_attribute(self, i: int) -> None:
        inside = self.words[i + 1 : i + 1 + _LONGEST_ATTRIBUTE]
        end = closing(inside, 0)
        if end is None:
            self.operators["getattr"] = None
        for word in inside[:end]:
            if "\\" in word or (word[0] in "\"'" and word[1:-1] in _asked_about()):
                self.operators[word[1:-1]] = None

    def _path(self, i: int) -> int:
        """Look at the path of what the archive defines, or is written in C++; return its end."""
        names = [self.words[i]]
        while self.words[i + 1] == ".":
            names.append(self.words[i + 2])
            i += 2
        if len(names) == 1 or names[-1] in _asked_about():
            self.operators[".".join(names)] = None
        if names[1:3] == ["torch", "classes"] and not CLASSES.issuperset(names[3:4]):
            self.others[f"the class {quoted('.'.join(names[1:5]), 80)}"] = None
        return i + 1
