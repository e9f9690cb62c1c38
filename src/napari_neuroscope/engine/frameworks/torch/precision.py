"""On GPUs: full float32, where they would round to 10 bits (TF32), and the same in each run."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch

from napari_neuroscope.engine.frameworks.process_setting import ProcessSetting

# Of ``aten::_convolution``, whose last one is whether TF32 is let.
_TRACED_INPUTS = 13


def _settings() -> list[tuple[Any, str, Any]]:
    """Return where PyTorch keeps what is to be set: owner, name and value."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    places: list[tuple[Any, str, Any]] = [
        (cudnn, "allow_tf32", False),
        (matmul, "allow_tf32", False),
        (cudnn, "deterministic", True),
    ]
    if hasattr(cudnn, "conv"):  # PyTorch 2.9 and later; last, since the old names write these too
        places += [(of, "fp32_precision", "ieee") for of in (cudnn.conv, cudnn.rnn, matmul)]
    return places


def _readable(of: Any, name: str) -> bool:
    """Whether a setting can be read: old names can't where new ones have contradicted them."""
    try:
        getattr(of, name)
    except RuntimeError:
        return False
    return True


def _set() -> list[tuple[Any, str, Any]]:
    settings = [place for place in _settings() if _readable(*place[:2])]
    before = [(of, name, getattr(of, name)) for of, name, _ in settings]
    for of, name, value in settings:
        setattr(of, name, value)
    return before


def _put_back(before: list[tuple[Any, str, Any]]) -> None:
    for of, name, value in before:
        setattr(of, name, value)


_held = ProcessSetting(_set, _put_back)


def full_precision() -> AbstractContextManager[None]:
    """Compute in full float32 and the same in each run, then put PyTorch's own settings back.

    They are of the whole process: with several threads inside, the last one out puts them back.
    With TF32, PyTorch's default for convolutions, scores are off by 0.3 to 1 %, saliency by 10 %,
    and guided backpropagation, where a gate may flip, by all of it (ResNet-18 and -50 on an H200).
    """
    return _held()


def unset_traced_tf32(module: torch.jit.ScriptModule) -> None:
    """Let the convolutions of a traced module follow PyTorch's settings, as all others do.

    ``torch.jit.trace`` writes down whether TF32 was let when the module was traced.
    """
    for part in module.modules():
        compiled: Any = getattr(part, "_c", None)
        for name in compiled._method_names() if compiled is not None else ():
            graph = compiled._get_method(name).graph
            for node in graph.findAllNodes("aten::_convolution"):
                if len(list(node.inputs())) == _TRACED_INPUTS:
                    graph.setInsertPoint(node)
                    node.replaceInput(_TRACED_INPUTS - 1, graph.insertConstant(False))
