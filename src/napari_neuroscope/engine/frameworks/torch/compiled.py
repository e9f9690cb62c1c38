"""Compiled parts of networks are run as they were written, since nothing is seen inside of them."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from napari_neuroscope.engine.frameworks.process_setting import ProcessSetting


def _set() -> Any:
    from torch._dynamo import eval_frame

    before = eval_frame._stance
    torch.compiler.set_stance("force_eager")
    return before


def _put_back(before: Any) -> None:
    from torch._dynamo import eval_frame

    eval_frame._set_stance(before)


_eager = ProcessSetting(_set, _put_back)


def run_eagerly() -> AbstractContextManager[None]:
    """Run what was compiled by ``torch.compile`` eagerly meanwhile, wherever it is inside.

    Where the compiler was never imported, nothing is compiled.
    """
    if "torch._dynamo" not in sys.modules or not hasattr(torch.compiler, "set_stance"):
        return nullcontext()
    return _eager()
