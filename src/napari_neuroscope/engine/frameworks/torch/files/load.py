"""PyTorch's files: pickled modules, state dicts, safetensors, TorchScript and torch.export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from napari_neuroscope.engine.errors import (
    Cancelled,
    FactoryNeededError,
    NeuroscopeError,
    shortened,
)
from napari_neuroscope.engine.files.code.factory import build
from napari_neuroscope.engine.files.file_kind import Kind
from napari_neuroscope.engine.files.reading.safetensors_header import check_header
from napari_neuroscope.engine.files.told import reason_of
from napari_neuroscope.engine.frameworks.torch.files.checkpoint import fill, networks_in
from napari_neuroscope.engine.frameworks.torch.files.exported import load_exported
from napari_neuroscope.engine.frameworks.torch.files.pickles import load_checkpoint
from napari_neuroscope.engine.frameworks.torch.files.script import load_torchscript
from napari_neuroscope.engine.plain_text import quoted

KINDS: tuple[Kind, ...] = ("torch checkpoint", "TorchScript", "torch.export", "safetensors")


def load_torch(
    path: Path, kind: Kind, *, factory: Any, arguments: dict[str, Any] | None, trust: bool
) -> nn.Module:
    """Load a module from a file.

    Parameters
    ----------
    path, kind
        The file, and what it is.
    factory, arguments
        What builds the network where the file holds weights alone.
    trust
        Whether code in the file may run.

    Raises
    ------
    NeuroscopeError
        Where the file is broken, or needs a factory.
    UntrustedError
        Where it would run code.
    """
    try:
        if kind == "TorchScript":
            return load_torchscript(path, trust=trust)
        if kind == "torch.export":
            return load_exported(path, trust=trust)
        held = (
            _load_safetensors(path) if kind == "safetensors" else load_checkpoint(path, trust=trust)
        )
    except (NeuroscopeError, Cancelled, Warning):
        raise
    except Exception as error:
        raise NeuroscopeError(
            f"“{path.name}” is a broken {kind} file ({shortened(reason_of(error), 160)}); download "
            f"or save it again."
        ) from error
    saved = networks_in(held)
    whole = next((each.content for each in saved if isinstance(each.content, nn.Module)), None)
    weights = [each for each in saved if isinstance(each.content, dict)]
    tensors = next((each.content for each in saved if isinstance(each.content, dict)), None)
    if whole is not None and (factory is None or whole is saved[0].content):
        return whole
    if tensors is None:
        holds = type(held).__name__
        raise NeuroscopeError(f"“{path.name}” holds a {holds}, neither a network nor its weights.")
    if factory is None:
        first = next(iter(tensors), "nothing")
        raise FactoryNeededError(
            f"“{path.name}” holds weights ({len(tensors)} tensors, such as {quoted(first)}) but no "
            f'network; say what builds it with factory="package.module:function", or '
            f'factory="./script.py:function" of a script beside it.'
        )
    model = build(factory, arguments, trust=trust)
    if not isinstance(model, nn.Module):
        raise NeuroscopeError(f"The factory made a {type(model).__name__}, no torch.nn.Module.")
    fill(model, weights, path.name)
    return model.eval()


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    check_header(path)
    return load_file(path)
