"""Whether an operation runs inside of a custom ``torch.autograd.Function``."""

from __future__ import annotations

import sys

from torch import nn
from torch.autograd import Function
from torch.utils.checkpoint import CheckpointFunction

_APPLY = Function.__dict__["apply"].__func__.__code__
_CALL = nn.Module._call_impl.__code__


def runs_in_custom_function() -> bool:
    """Whether the caller is run by a custom Function, and by no module that this calls.

    The stack tells it, so that nothing needs to be patched and a ``swish = Swish.apply`` that was
    made long before is seen too. Reentrant checkpoints run parts of the network itself.
    """
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code is _CALL:
            return False
        if frame.f_code is _APPLY and frame.f_locals["cls"] is not CheckpointFunction:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False
