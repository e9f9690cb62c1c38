"""PyTorch's files: pickled modules, state dicts, safetensors, TorchScript and torch.export."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from napari_neuroscope.engine.errors import (
    Cancelled,
    FactoryNeededError,
    NeuroscopeError,
    shortened,
)
from napari_neuroscope.engine.files.factory import build
from napari_neuroscope.engine.files.file_kind import Kind
from napari_neuroscope.engine.files.safetensors_header import check_header
from napari_neuroscope.engine.files.told import reason_of
from napari_neuroscope.engine.frameworks.torch_exported import load_exported
from napari_neuroscope.engine.frameworks.torch_pickles import load_checkpoint
from napari_neuroscope.engine.frameworks.torch_script import load_torchscript
from napari_neuroscope.engine.plain_text import quoted

KINDS: tuple[Kind, ...] = ("torch checkpoint", "TorchScript", "torch.export", "safetensors")
# Where training scripts keep the weights, or the network, in what they save.
_NESTED = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "ema", "module")


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
    network = _find_network(held)
    if isinstance(network, nn.Module):
        return network
    if network is None:
        holds = type(held).__name__
        raise NeuroscopeError(f"“{path.name}” holds a {holds}, neither a network nor its weights.")
    if factory is None:
        first = next(iter(network), "nothing")
        raise FactoryNeededError(
            f"“{path.name}” holds weights ({len(network)} tensors, such as {quoted(first)}) but no "
            f'network; say what builds it with factory="package.module:function".'
        )
    model = build(factory, arguments, trust=trust)
    if not isinstance(model, nn.Module):
        raise NeuroscopeError(f"The factory made a {type(model).__name__}, no torch.nn.Module.")
    _fill(model, network, path)
    return model.eval()


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    check_header(path)
    return load_file(path)


def _find_network(held: Any) -> nn.Module | dict[str, Tensor] | None:
    """Return the network in what was saved, or its weights."""
    waiting, seen = [held], set[int]()
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, nn.Module):
            return inner
        # What lies in itself is looked at once.
        if not isinstance(inner, Mapping) or id(inner) in seen:
            continue
        seen.add(id(inner))
        if inner and all(isinstance(value, Tensor) for value in inner.values()):
            return {str(name): value for name, value in inner.items()}
        waiting.extend(inner[key] for key in reversed(_NESTED) if key in inner)
    return None


def _fill(model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Load weights into a network that must take all of them, and have no others."""
    for prefix in ("module.", "model.", "_orig_mod."):
        if weights and all(name.startswith(prefix) for name in weights):
            own = model.state_dict()
            if not any(name.startswith(prefix) for name in own):
                weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    own = model.state_dict()
    missing, more = [n for n in own if n not in weights], [n for n in weights if n not in own]
    unlike = [n for n in own if n in weights and own[n].shape != weights[n].shape]
    if missing or more or unlike:
        parts = []
        for words, names in (("lacks", missing), ("has in excess", more)):
            if names:
                parts.append(f"{words} {len(names)} tensors, such as {quoted(names[0])}")
        if unlike:
            parts.append(
                f"has {quoted(unlike[0])} of shape {tuple(weights[unlike[0]].shape)} where the "
                f"network has {tuple(own[unlike[0]].shape)}"
            )
        raise NeuroscopeError(
            f"The weights in “{path.name}” don't fit the network that the factory builds: the file "
            f"{'; it '.join(parts)}. Check the factory's arguments."
        )
    try:
        model.load_state_dict(weights)
    except (RuntimeError, TypeError, ValueError) as error:
        # Such as tensors without data, or of a layout that the network's are not of.
        raise NeuroscopeError(
            f"The weights in “{path.name}” can't be copied into the network: "
            f"{shortened(' '.join(str(error).split()), 200).rstrip('.')}."
        ) from error
