"""Whether an operation runs inside of a custom ``torch.autograd.Function``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import CodeType
from typing import Any

from torch import nn
from torch.autograd import Function
from torch.utils.checkpoint import CheckpointFunction

_CALL = nn.Module._call_impl.__code__
_is_forward: dict[CodeType, bool] = {}


def runs_in_custom_function() -> bool:
    """Whether the caller is run by a custom Function, and by no module that this calls.

    The stack tells it, so that nothing needs to be patched and a ``swish = Swish.apply`` that was
    made long before is seen too. What calls ``forward`` has no frame of its own from PyTorch 2.14
    on. Reentrant checkpoints run parts of the network itself.
    """
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code is _CALL:
            return False
        if code not in _is_forward:
            _is_forward[code] = any(code is forward for forward in _forwards(Function))
        if _is_forward[code]:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _forwards(kind: type[Any]) -> Iterator[CodeType | None]:
    """Yield what the Functions of a kind run forward, as far as it is Python."""
    function: type[Any]
    for function in kind.__subclasses__():
        if function is not CheckpointFunction:
            yield getattr(function.forward, "__code__", None)
            yield from _forwards(function)
