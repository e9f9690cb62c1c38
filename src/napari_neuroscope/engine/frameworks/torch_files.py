"""PyTorch's files: pickled modules, state dicts, safetensors, TorchScript and torch.export."""

from __future__ import annotations

import io
import pickle
import pickletools
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from napari_neuroscope.engine.errors import FactoryNeededError, NeuroscopeError, first_line
from napari_neuroscope.engine.files.factory import build
from napari_neuroscope.engine.files.file_kind import Kind
from napari_neuroscope.engine.files.trust import require_trust
from napari_neuroscope.engine.frameworks.torch_precision import unset_traced_tf32

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
            scripted = torch.jit.load(str(path), map_location="cpu")
            unset_traced_tf32(scripted)
            return scripted
        if kind == "torch.export":
            return _load_exported(path, trust=trust)
        held = _load_safetensors(path) if kind == "safetensors" else _load_pickle(path, trust=trust)
    except (RuntimeError, EOFError, OSError, zipfile.BadZipFile, pickle.UnpicklingError,
            KeyError, ValueError) as error:  # fmt: skip
        raise NeuroscopeError(
            f"“{path.name}” is a broken {kind} file ({first_line(error):.160}); download or save it again."
        ) from error
    found = _find_network(held)
    if isinstance(found, nn.Module):
        return found
    if found is None:
        holds = type(held).__name__
        raise NeuroscopeError(f"“{path.name}” holds a {holds}, neither a network nor its weights.")
    if factory is None:
        first = next(iter(found), "nothing")
        raise FactoryNeededError(
            f"“{path.name}” holds weights ({len(found)} tensors, such as “{first}”) but no network; "
            f'say what builds it with factory="package.module:function".'
        )
    model = build(factory, arguments, trust=trust)
    if not isinstance(model, nn.Module):
        raise NeuroscopeError(f"The factory made a {type(model).__name__}, no torch.nn.Module.")
    _fill(model, found, path)
    return model.eval()


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def _load_pickle(path: Path, *, trust: bool) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Weights only load failed" not in str(error):
            raise
    imports = imports_of(path.read_bytes())
    shown = ", ".join(imports[:6]) + (", …" if len(imports) > 6 else "")
    require_trust(path, f"it is a pickled object that imports and calls {shown}", trust=trust)
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except (ImportError, AttributeError) as error:
        raise NeuroscopeError(
            f"“{path.name}” is a pickled network whose code is not here ({error}); install the "
            f"package that defines it, or save its state dict and give a factory."
        ) from error


def imports_of(content: bytes) -> list[str]:
    """Return what a pickle would import, read without running it."""
    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            pickles = [archive.read(name) for name in archive.namelist() if name.endswith(".pkl")]
    else:
        pickles = [content]
    found: dict[str, None] = {}
    for data in pickles:
        strings: list[str] = []
        for opcode, argument in _operations(data):
            if opcode == "GLOBAL":
                found[str(argument).replace(" ", ".")] = None
            elif opcode == "STACK_GLOBAL" and len(strings) > 1:
                found[".".join(strings[-2:])] = None
            elif isinstance(argument, str):
                strings.append(argument)
    harmless = ("torch._utils.", "torch.storage.", "collections.OrderedDict", "__builtin__.set")
    named = [
        name
        for name in found
        if not name.startswith(harmless) and not (name.startswith("torch.") and "Storage" in name)
    ]
    # What could do most harm comes first, so that a long list can't hide it.
    named.sort(key=lambda name: (name.startswith("torch."), not _is_of_python(name)))
    return named or ["unknown code"]


def _is_of_python(name: str) -> bool:
    top = name.partition(".")[0]
    return top in sys.stdlib_module_names or top in ("__builtin__", "builtins")


def _operations(data: bytes) -> Iterator[tuple[str, Any]]:
    """Yield the operations of the pickles at the start of some bytes, one after another."""
    stream = io.BytesIO(data)
    while stream.tell() < len(data):
        try:
            for opcode, argument, _ in pickletools.genops(stream):
                yield opcode.name, argument
        except (ValueError, IndexError):
            return


def _load_exported(path: Path, *, trust: bool) -> nn.Module:
    # The format reads what it holds by pickle without limits, so each part is looked at first.
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            if data.startswith((b"PK\x03\x04", b"\x80")) and _is_unsafe(data):
                imports = ", ".join(imports_of(data)[:6])
                require_trust(path, f"its part {name} imports and calls {imports}", trust=trust)
    program = torch.export.load(path)
    module = program.module()
    shapes = [tuple(value.shape) for value in program.example_inputs[0]
              if isinstance(value, Tensor)] if program.example_inputs else []  # fmt: skip
    if shapes:
        # An exported network takes the size that it was exported with.
        module.register_buffer("example_shape", torch.tensor(shapes[0]), persistent=False)
    return module


def _is_unsafe(data: bytes) -> bool:
    try:
        torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError):
        return True
    return False


def _find_network(held: Any) -> nn.Module | dict[str, Tensor] | None:
    """Return the network in what was saved, or its weights."""
    if isinstance(held, nn.Module):
        return held
    if not isinstance(held, Mapping):
        return None
    if held and all(isinstance(value, Tensor) for value in held.values()):
        return dict(held)
    for key in _NESTED:
        if key in held and (found := _find_network(held[key])) is not None:
            return found
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
                parts.append(f"{words} {len(names)} tensors, such as “{names[0]}”")
        if unlike:
            parts.append(
                f"has “{unlike[0]}” of shape {tuple(weights[unlike[0]].shape)} where the network "
                f"has {tuple(own[unlike[0]].shape)}"
            )
        raise NeuroscopeError(
            f"The weights in “{path.name}” don't fit the network that the factory builds: the file "
            f"{'; it '.join(parts)}. Check the factory's arguments."
        )
    model.load_state_dict(weights)
