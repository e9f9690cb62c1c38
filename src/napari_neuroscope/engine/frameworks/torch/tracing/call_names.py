"""What the calls of a PyTorch network are named: modules by their path, operations by their own."""

from __future__ import annotations

from collections import Counter

from torch import nn


class CallNames:
    """Names calls in their order, the same in each pass, however much of it is watched.

    A module's calls are its path, then ``path:2``. An operation's are its name, then ``relu_2``,
    without those that are the path of a module: ``self.relu`` beside ``F.relu`` is common.

    Parameters
    ----------
    model
        The model, whose modules have the first right to a name.

    Attributes
    ----------
    counts
        How often each was named so far, modules apart from operations.
    """

    def __init__(self, model: nn.Module) -> None:
        # An operation's name has no dot, so that it can meet only these.
        # A scripted module has keys, but is no mapping.
        self._paths = frozenset(model._modules.keys())
        self.counts: Counter[tuple[str, str]] = Counter()

    def of_module(self, path: str) -> str:
        """Name a call of the module at a path."""
        return self._next("module", path, ":")

    def of_operation(self, operation: str) -> str:
        """Name a call of a functional operation."""
        while (name := self._next("operation", operation, "_")) in self._paths:
            pass
        return name

    def _next(self, kind: str, base: str, sign: str) -> str:
        self.counts[kind, base] += 1
        number = self.counts[kind, base]
        return base if number == 1 else f"{base}{sign}{number}"
