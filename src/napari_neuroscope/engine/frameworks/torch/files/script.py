"""TorchScript: looked through, tried in a process of its own, and only then opened."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.code.pickle_calls import program_of
from napari_neuroscope.engine.files.code.pickle_values import BrokenPickleError, LongPickleError
from napari_neuroscope.engine.files.code.trial import TrialError, try_in_process
from napari_neuroscope.engine.files.code.trust import TrustStore, digest_of, trusted_content
from napari_neuroscope.engine.frameworks.torch.files.archive import TorchArchive, open_torch_archive
from napari_neuroscope.engine.frameworks.torch.files.script_operators import CLASSES
from napari_neuroscope.engine.frameworks.torch.files.script_source import UNREADABLE, questions
from napari_neuroscope.engine.frameworks.torch.precision import unset_traced_tf32
from napari_neuroscope.engine.plain_text import quoted

_MOST_SHOWN = 4
# Files of an archive that are needed; the others tell of its making, or are for other programs.
_FOLDERS = ("code/", "data/", "constants/")
_FILES = {"data.pkl", "constants.pkl", "version", "byteorder", ".data/version"}

_TENSOR_IMPORTS = {"torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2",
               "torch._utils._rebuild_qtensor", "torch._utils._rebuild_parameter",
               "torch._utils._rebuild_sparse_tensor", "torch._utils._rebuild_sparse_csr_tensor",
               "torch._utils._rebuild_meta_tensor_no_storage", "torch.device",
               "torch.serialization._get_layout", "collections.OrderedDict", "builtins.complex",
               "torch.per_tensor_affine", "torch.per_channel_affine",
               "torch.per_channel_affine_float_qparams"}  # fmt: skip

_TRIAL = "napari_neuroscope.engine.frameworks.torch.files.script_trial:try_torchscript"
_tried: set[str] = set()
_tried_lock = threading.Lock()


def load_torchscript(path: Path, *, trust: bool) -> torch.jit.ScriptModule:
    """Open a TorchScript program.

    What uses nothing but operators that compute, and behaves when it is tried, is opened without a
    question; of all else it is asked.

    Parameters
    ----------
    path
        The file.
    trust
        Whether the program may do whatever it does.

    Raises
    ------
    NeuroscopeError
        Where it is broken.
    UntrustedError
        Where it uses other operators, or took too long or too much memory when it was tried.
    """
    would_run = ""
    if not trust:
        with _checked_copy(path) as (copy, reason):
            if not reason and digest_of(path) not in TrustStore():
                would_run = _trial_objection(copy, path)
                if not would_run:
                    return _load(copy)
            would_run = reason or would_run
        would_run = f"a TorchScript program with {would_run}"
    with trusted_content(path, would_run, trust=trust) as content:
        return _load(content)


def _load(path: Path) -> torch.jit.ScriptModule:
    grad = torch.is_grad_enabled()
    try:
        scripted: torch.jit.ScriptModule = torch.jit.load(str(path), map_location="cpu")
    finally:
        # What runs as it is loaded could change this for the whole thread.
        torch.set_grad_enabled(grad)
    unset_traced_tf32(scripted)
    return scripted


@contextmanager
def _checked_copy(path: Path) -> Iterator[tuple[Path, str]]:
    """Yield a private copy with nothing but the program, and what is asked about it, in words."""
    with TemporaryDirectory(prefix="neuroscope-", ignore_cleanup_errors=True) as folder:
        copy = Path(folder) / path.name
        with open_torch_archive(path) as archive:
            archive.write_copy(copy, _is_needed)
        with open_torch_archive(copy) as archive:
            questions_asked = _asked_about(archive)
        shown = questions_asked[:_MOST_SHOWN] + (
            ["more"] if len(questions_asked) > _MOST_SHOWN else []
        )
        yield copy, ", ".join(shown)


def _is_needed(record: str) -> bool:
    # A “model.json” makes it a program of PyTorch 1.0, which lies in other places.
    return record.startswith(_FOLDERS) or record in _FILES | {"model.json"}


def _asked_about(archive: TorchArchive) -> list[str]:
    if "model.json" in archive.records:
        return ["a form of PyTorch 1.0 that can't be looked through"]
    sources, left = [], limits.MOST_SOURCE
    for record, entry in archive.records.items():
        if record.startswith("code/") and record.endswith(".py"):
            left -= entry.file_size
            if left < 0:
                return [f"more than {limits.MOST_SOURCE:,} letters, too long to be looked through"]
            try:
                sources.append(archive.read(record, limits.MOST_SOURCE).decode("ascii"))
            except UnicodeDecodeError:
                return [UNREADABLE]
    return [*questions(sources), *_imports(archive, "data"), *_imports(archive, "constants")]


def _imports(archive: TorchArchive, folder: str) -> list[str]:
    """Return what a pickle of the archive imports and needs to be asked about."""
    try:
        program = program_of(archive.read(f"{folder}.pkl", limits.MOST_PICKLE))
    except BrokenPickleError as error:
        raise NeuroscopeError(
            f"“{archive.path.name}” is broken: its {folder}.pkl is no whole pickle; download or save "
            f"it again."
        ) from error
    except LongPickleError as error:
        return [str(error)]
    archive.refuse_what_is_not_stored(program.stored, folder)
    questions_asked = [] if program.regular else ["data that isn't of the form that PyTorch writes"]
    return questions_asked + [
        f"the import {quoted(n, 60)}" for n in program.names if not _is_of_data(n)
    ]


def _is_of_data(name: str) -> bool:
    if name.startswith("__torch__.torch.classes."):
        return name.split(".")[3] in CLASSES
    return (
        name in _TENSOR_IMPORTS
        or name.startswith(("__torch__.", "torch.jit._pickle."))
        or (name.startswith("torch.") and name.endswith("Storage"))
    )


def _trial_objection(copy: Path, path: Path) -> str:
    """Try a program in a process of its own; say why it should be asked about, if it should."""
    digest = digest_of(copy)
    with _tried_lock:
        if digest in _tried:
            return ""
    size = copy.stat().st_size
    job = {"path": str(copy), "seconds": limits.TRIAL_SECONDS}
    try:
        # Its weights are read, and laid out, more than once.
        said = try_in_process(_TRIAL, job, memory=limits.TRIAL_MEMORY + 3 * size)
    except TrialError as error:
        return f"something unusual in its trial: {shortened(error.reason, 200)}"
    if said.get("broken"):
        raise NeuroscopeError(
            f"“{path.name}” is a broken TorchScript file ({shortened(said['broken'], 160)}); "
            f"download or save it again."
        )
    if said.get("greedy"):
        return f"something unusual in its trial: {said['greedy']}"
    with _tried_lock:
        _tried.add(digest)
    return ""
