"""PyTorch's checkpoints: pickles of weights, or of whole networks, that are looked through first."""

from __future__ import annotations

import pickle
import tarfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.code.pickle_calls import PickleProgram, program_of
from napari_neuroscope.engine.files.code.pickle_names import HIDDEN, most_dangerous_first
from napari_neuroscope.engine.files.code.pickle_values import (
    BrokenPickleError,
    Call,
    EncodedText,
    ImportedName,
    LongPickleError,
)
from napari_neuroscope.engine.files.code.trust import trusted_content
from napari_neuroscope.engine.files.reading.bounded_file import open_regular
from napari_neuroscope.engine.frameworks.torch.files.archive import bytes_of, open_torch_archive
from napari_neuroscope.engine.plain_text import quoted

# A magic number, two of versions, what was saved, and the keys of its numbers.
_PICKLES_OF_LEGACY_FILE = 5
_MOST_SHOWN = 6

_REBUILDERS = {
    f"torch._utils.{name}"
    for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3",
                 "_rebuild_parameter", "_rebuild_parameter_with_state", "_rebuild_qtensor",
                 "_rebuild_sparse_tensor", "_rebuild_meta_tensor_no_storage")
}  # fmt: skip
_CONTAINERS = {"collections.OrderedDict", "collections.Counter", "builtins.set", "__builtin__.set"}
_VALUES = {"torch.Size", "torch.device", "torch.serialization._get_layout", "builtins.complex",
           "__builtin__.complex", "torch.nn.parameter.Parameter"}  # fmt: skip
_HARMLESS = _REBUILDERS | _CONTAINERS | {"_codecs.encode"}
_ENCODINGS = {"latin1", "latin-1", "ascii", "utf-8", "utf8"}


def load_checkpoint(path: Path, *, trust: bool) -> Any:
    """Return what a checkpoint holds: weights without a question, all else where it is trusted.

    Parameters
    ----------
    path
        The file.
    trust
        Whether code in the file may run.

    Raises
    ------
    NeuroscopeError
        Where it is broken, or claims more than it holds.
    UntrustedError
        Where it would run code, or is too long to be looked through.
    """
    with open_regular(path) as file:
        zipped = file.read(4) == b"PK\x03\x04"
    try:
        program = _program_of_archive(path) if zipped else _program_of_legacy(path)
    except LongPickleError as error:
        would_run = str(error)
    except BrokenPickleError as error:
        raise NeuroscopeError(
            f"“{path.name}” is a broken torch checkpoint ({error}); download or save it again."
        ) from error
    else:
        if program.regular and all(map(_is_of_weights, program.calls)):
            weights, would_run = _weights(path, program)
            if not would_run:
                return weights
        else:
            would_run = _in_words(program)
    with trusted_content(path, would_run, trust=trust) as content:
        try:
            return torch.load(content, map_location="cpu", weights_only=False)
        except (ImportError, AttributeError) as error:
            raise NeuroscopeError(
                f"“{path.name}” is a pickled network whose code is not here ({error}); install the "
                f"package that defines it, or save its state dict and give a factory."
            ) from error


def imports_of(content: bytes) -> list[str]:
    """Return what pickles at the start of some bytes import, read without running them.

    What could do most harm comes first. What only rebuilds tensors is left out.

    Raises
    ------
    BrokenPickleError
        Where the first is cut off, or is none.
    LongPickleError
        Where they are more than the limits.
    """
    return _dangerous(program_of(content, _PICKLES_OF_LEGACY_FILE).names)


def _dangerous(names: Iterable[str]) -> list[str]:
    left = [name for name in names if name not in _HARMLESS and not _is_storage(name)]
    return most_dangerous_first(left or names) or [HIDDEN]


def _is_storage(name: str) -> bool:
    module = name.rpartition(".")[0]
    return module in ("torch", "torch.cuda", "torch.storage") and name.endswith("Storage")


def _in_words(program: PickleProgram) -> str:
    names = _dangerous(program.names)
    shown = ", ".join(name if name == HIDDEN else quoted(name, 60) for name in names[:_MOST_SHOWN])
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return f"it is a pickled object that imports and calls {shown}{more}"


def _program_of_archive(path: Path) -> PickleProgram:
    with open_torch_archive(path) as archive:
        entry = archive.records.get("data.pkl")
        if entry is not None and entry.file_size > limits.MOST_PICKLE:
            raise LongPickleError(
                f"a pickle of more than {limits.MOST_PICKLE:,} bytes, too long to be looked through"
            )
        program = program_of(archive.read("data.pkl", limits.MOST_PICKLE))
        if program.regular:
            archive.refuse_what_is_not_stored(program.stored, "data")
        return program


def _program_of_legacy(path: Path) -> PickleProgram:
    with open_regular(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        if _is_tar(file):
            raise NeuroscopeError(
                f"“{path.name}” is a tar archive of a PyTorch before 0.1.10; save it again with a "
                f"newer one."
            )
        program = program_of(file.read(limits.MOST_PICKLE), _PICKLES_OF_LEGACY_FILE)
    claimed: dict[str | int, int] = {}
    for numbers in program.stored:
        claimed[numbers.key] = max(bytes_of(numbers) or 0, claimed.get(numbers.key, 0))
    if program.regular and sum(claimed.values()) > size:
        raise NeuroscopeError(
            f"“{path.name}” is broken: its tensors claim {sum(claimed.values()):,} bytes, and it "
            f"has {size:,}; download or save it again."
        )
    return program


def _is_tar(file: BinaryIO) -> bool:
    try:
        tarfile.TarInfo.frombuf(file.read(512), "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError):
        return False
    finally:
        file.seek(0)
    return True


def _weights(path: Path, program: PickleProgram) -> tuple[Any, str]:
    """Return the weights; or, where they need more than PyTorch lets weights do, what they call."""
    with open_regular(path) as file, warnings.catch_warnings():
        # That a pickle is of another protocol than PyTorch's own.
        warnings.filterwarnings("ignore", message="Detected pickle protocol")
        try:
            return torch.load(file, map_location="cpu", weights_only=True), ""
        except pickle.UnpicklingError as error:
            if "Weights only load failed" not in str(error):
                raise
            return None, _in_words(program)


def _is_of_weights(call: Call) -> bool:
    """Whether a call makes weights or plain values, of no more memory than the file has."""
    name, given = call.name, call.arguments
    if name == "torch._tensor._rebuild_from_type_v2":
        # It calls its first argument with its third.
        inner = given[2] if len(given) > 2 else None
        return (
            isinstance(given[0], ImportedName)
            and given[0].name in _REBUILDERS
            and not any(
                isinstance(item, ImportedName) for item in getattr(inner, "items", (inner,))
            )
        )
    if name in _REBUILDERS | _CONTAINERS | _VALUES:
        return True
    if name == "_codecs.encode":
        # Other encodings make more of a text, again and again.
        return len(given) == 2 and isinstance(given[0], str) and str(given[1]) in _ENCODINGS
    if name in ("builtins.bytearray", "__builtin__.bytearray"):
        # A number would be a size.
        of_values = bool(given) and isinstance(given[0], str | bytes | EncodedText)
        return of_values and given[1:] in ((), *_LATIN)
    return name in _allowed_by_the_user()


_LATIN = (("latin-1",), ("latin1",))


def _allowed_by_the_user() -> set[str]:
    """Return what the user has told PyTorch to take for safe in this process."""
    given = torch.serialization.get_safe_globals()
    return {
        str(safe[1]) if isinstance(safe, tuple) else f"{safe.__module__}.{safe.__qualname__}"
        for safe in given
    }
