"""Loops of TorchScript programs: which of them end soon, whatever the program is given."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence

MOST_ROUNDS = 10_000
"""Rounds of a loop whose number is written in the program."""
_MOST_LOOKED_AT = 5_000_000
_DEEPEST = 20

# Numbers that are never large: of the axes of a tensor, of the items of a list.
SMALL = {"len", "dim", "ndimension"}
OF_SMALL = {"add", "sub", "floordiv", "neg", "min", "max", "__range_length"}
_CHANGES = {"+=", "-=", "*=", "/=", "%=", "&=", "|=", "^="}


def closing(words: Sequence[str], i: int) -> int | None:
    """Return where the bracket at `i` is closed; None where it never is."""
    depth = 0
    for j in range(i, len(words)):
        depth += {"(": 1, ")": -1}.get(words[j], 0)
        if depth == 0:
            return j
    return None


def arguments(words: Sequence[str], i: int) -> list[Sequence[str]]:
    """Return the arguments, or parameters, between the bracket at `i` and where it is closed."""
    given: list[list[str]] = [[]]
    depth = 0
    for word in words[i:]:
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(word, 0)
        if depth == 0:
            break
        if depth == 1 and word == ",":
            given.append([])
        elif word != "\n" and (given[-1] or depth > 1 or word != "("):
            given[-1].append(word)
    return [words for words in given if words]


class Loops:
    """The loops of a file of source.

    Parameters
    ----------
    words
        Its words, with ends of lines.
    files
        The words of all files of the program, that one among them.
    """

    def __init__(self, words: list[str], files: Sequence[list[str]]) -> None:
        self.words, self.files = words, files
        self._left = _MOST_LOOKED_AT
        self._functions = [i for i, word in enumerate(words) if word == "def"]

    def is_short(self, i: int) -> bool:
        """Whether the loop at the word `i`, a “for”, has few rounds however the program runs."""
        words = self.words
        if self._left < 0:
            return False
        end = closing(self._until(words.index("\n", i), i + 4), 0)
        if end is None or words[i + 2 : i + 5] != ["in", "range", "("]:
            return False
        end += i + 4
        return words[end + 1] == ":" and self._is_small(words[i + 5 : end], i, 0)

    def _until(self, end: int, i: int) -> list[str]:
        self._left -= end - i
        return self.words[i:end]

    def _is_small(self, words: Sequence[str], i: int, depth: int) -> bool:
        """Whether a number is small however the program runs: the words that give it, at `i`."""
        self._left -= len(words)
        if depth > _DEEPEST or self._left < 0:
            return False
        j = 0
        while j < len(words):
            word = words[j]
            operator = words[j + 2] if words[j : j + 2] == ["torch", "."] else ""
            if words[j : j + 4] == ["ops", ".", "prim", "."] and j + 4 < len(words):
                operator, j = words[j + 4], j + 2
            if operator in SMALL:
                end = closing(words, j + 3)
                if end is None:
                    return False
                j = end
            elif operator in OF_SMALL:
                j += 2
            elif operator or not self._is_small_word(word, i, depth):
                return False
            j += 1
        return True

    def _is_small_word(self, word: str, i: int, depth: int) -> bool:
        if word.isidentifier():
            return self._is_always_small(word, i, depth)
        return word in ("(", ")", ",", "-") or self._is_number(word)

    def _is_always_small(self, name: str, i: int, depth: int) -> bool:
        """Whether all that a function gives a name are small numbers."""
        words = self.words
        start = self._functions[max(0, bisect(self._functions, i) - 1)] if self._functions else 0
        given = False
        for j in range(start, len(words) - 1):
            self._left -= 1
            if self._left < 0 or (j > i and words[j] == "def"):
                break
            if words[j] != name or words[j - 1] == ".":
                continue
            if words[j + 1] == "=" and words[j - 1] == "\n":
                value = self._until(words.index("\n", j), j + 2)
                if not self._is_small(value, i, depth + 1):
                    return False
                given = True
            elif words[j + 1] == ":" and j < self._signature_end(start):
                if not self._is_small_parameter(name, start, depth):
                    return False
                given = True
            elif self._is_given_otherwise(j):
                return False
        return given and self._left >= 0

    def _signature_end(self, start: int) -> int:
        end = closing(self.words, start + 2)
        return len(self.words) if end is None else end

    def _is_small_parameter(self, name: str, start: int, depth: int) -> bool:
        """Whether all calls of the method that is defined at `start` give it a small number."""
        parameters = arguments(self.words, start + 2)
        place = next((k for k, words in enumerate(parameters) if words[0] == name), 0)
        method, default = self.words[start + 1], parameters[place][3:]
        if not place or parameters[0][0] != "self":
            return False
        if default and not self._is_number(default[-1]):
            return False
        for words in self.files:
            self._left -= len(words)
            for i in range(1, len(words) - 1):
                if words[i].strip("\"'") != method or words[i - 1] in ("def", "class"):
                    continue
                if words[i - 1] != "." or words[i + 1] != "(" or self._left < 0 or depth > 1:
                    return False
                self._left -= len(words)
                given = arguments(words, i + 1)
                # The object itself is no argument of the call.
                if len(given) < place or not self._is_number(given[place - 1][-1]):
                    return False
                if len(given[place - 1]) > 1:
                    return False
        return True

    def _is_number(self, word: str) -> bool:
        return word.isdigit() and len(word) < 10 and int(word) <= MOST_ROUNDS

    def _is_given_otherwise(self, j: int) -> bool:
        """Whether the name at `j` is a parameter, of a loop, changed, or one of several."""
        words = self.words
        if words[j + 1] in {":", *_CHANGES} or words[j - 1] in ("for", "as"):
            return True
        if words[j + 1] != "," and words[j - 1] != ",":
            return False
        first = j
        while words[first] == "," or words[first].isidentifier():
            first -= 1
        return words[first] == "\n" and "=" in self._until(words.index("\n", j), j)
