"""TorchScript: looked through, tried in a process of its own, and only then opened."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from napari_neuroscope.engine.errors import NeuroscopeError, first_line, shortened
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.pickle_calls import program_of
from napari_neuroscope.engine.files.pickle_values import BrokenPickleError, LongPickleError
from napari_neuroscope.engine.files.trial import TrialError, try_in_process
from napari_neuroscope.engine.files.trust import TrustStore, digest_of, trusted_content
from napari_neuroscope.engine.frameworks.torch_archive import TorchArchive, open_torch_archive
from napari_neuroscope.engine.frameworks.torch_precision import unset_traced_tf32
from napari_neuroscope.engine.frameworks.torch_script_operators import CLASSES
from napari_neuroscope.engine.frameworks.torch_script_source import UNREADABLE, questions
from napari_neuroscope.engine.plain_text import quoted

_SHOWN = 4
# Files of an archive that are needed; the others tell of its making, or are for other programs.
_FOLDERS = ("code/", "data/", "constants/")
_FILES = {"data.pkl", "constants.pkl", "version", "byteorder", ".data/version"}

_OF_TENSORS = {"torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2",
               "torch._utils._rebuild_qtensor", "torch._utils._rebuild_parameter",
               "torch._utils._rebuild_sparse_tensor", "torch._utils._rebuild_sparse_csr_tensor",
               "torch._utils._rebuild_meta_tensor_no_storage", "torch.device",
               "torch.serialization._get_layout", "collections.OrderedDict", "builtins.complex",
               "torch.per_tensor_affine", "torch.per_channel_affine",
               "torch.per_channel_affine_float_qparams"}  # fmt: skip

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
                would_run = _tried_out(copy, path)
                if not would_run:
                    return _opened(copy)
            would_run = reason or would_run
        would_run = f"a TorchScript program with {would_run}"
    with trusted_content(path, would_run, trust=trust) as content:
        return _opened(content)


def _opened(path: Path) -> torch.jit.ScriptModule:
    grad = torch.is_grad_enabled()
    try:
        scripted = torch.jit.load(str(path), map_location="cpu")
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
            asked = _asked_about(archive)
        shown = asked[:_SHOWN] + (["more"] if len(asked) > _SHOWN else [])
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
    asked = [] if program.regular else ["data that isn't of the form that PyTorch writes"]
    return asked + [f"the import {quoted(n, 60)}" for n in program.names if not _is_of_data(n)]


def _is_of_data(name: str) -> bool:
    if name.startswith("__torch__.torch.classes."):
        return name.split(".")[3] in CLASSES
    return (
        name in _OF_TENSORS
        or name.startswith(("__torch__.", "torch.jit._pickle."))
        or (name.startswith("torch.") and name.endswith("Storage"))
    )


def _tried_out(copy: Path, path: Path) -> str:
    """Try a program in a process of its own; say why it should be asked about, if it should."""
    digest = digest_of(copy)
    with _tried_lock:
        if digest in _tried:
            return ""
    size = copy.stat().st_size
    job = {"path": str(copy), "seconds": limits.TRIAL_SECONDS}
    try:
        # Its weights are read, and laid out, more than once.
        said = try_in_process(
            f"{__name__}:try_torchscript", job, memory=limits.TRIAL_MEMORY + 3 * size
        )
    except TrialError as error:
        return f"something unusual in its trial: {shortened(error.reason, 200)}"
    if said.get("broken"):
        raise NeuroscopeError(
            f"“{path.name}” is a broken TorchScript file ({shortened(said['broken'], 160)}); "
            f"download or save it again."
        )
    if said.get("greedy"):
        return "something unusual in its trial: it needs more memory than it may take"
    with _tried_lock:
        _tried.add(digest)
    return ""


# --- within the process for trials ----------------------------------------------------------------


def try_torchscript(job: dict[str, Any]) -> dict[str, str]:
    """Load a program, and ask it as a network is asked when it is opened: about empty images."""
    end = time.monotonic() + job["seconds"] / 2
    # Threads that wait for each other cost more than they bring for small inputs.
    torch.set_num_threads(1)
    try:
        scripted = torch.jit.load(job["path"], map_location="cpu").eval()
        for sizes in _SIZES:
            for channels in _channels(scripted):
                shapes = [(1, channels, *size) for size in sizes]
                works = next((x for x in shapes if _answers(scripted, x, end)), None)
                if works is not None:
                    _try_more(scripted, works, job["seconds"] / 20)
                    return {}
    except Exception as error:  # noqa: BLE001  of whatever kind PyTorch's are
        return {"greedy" if _is_of_memory(error) else "broken": first_line(error)}
    return {}


_SIZES: list[list[tuple[int, ...]]] = [
    [(n,) * 2 for n in (64, 128, 224, 256, 32, 299, 384, 512, 28, 448)],
    [(n,) * 3 for n in (32, 64, 16)],
]


def _try_more(scripted: torch.jit.ScriptModule, shape: tuple[int, ...], seconds: float) -> None:
    """Ask a program again, and about larger inputs, where it is quick."""
    # Twice, since PyTorch rewrites a program after its first passes.
    for more in (0, 0, 1, shape[-1]):
        begun = time.monotonic()
        larger = (*shape[:2], *(n + more for n in shape[2:]))
        _answers(scripted, larger, begun + seconds)
        if time.monotonic() - begun > seconds:
            break


def _answers(scripted: torch.jit.ScriptModule, shape: tuple[int, ...], end: float) -> bool:
    """Whether a program takes an input of a shape; no more are asked after the time `end`."""
    # Slow networks are asked less; only what can't end is none.
    if time.monotonic() > end:
        return False
    try:
        with torch.no_grad():
            scripted(torch.zeros(shape))
    except Exception as error:
        if _is_of_memory(error):
            raise
        return False
    return True


def _is_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or "allocate memory" in text or "out of memory" in text


def _channels(scripted: torch.jit.ScriptModule) -> list[int]:
    """Return the numbers of channels that a program may take, the likely ones first."""
    kernels = [p.shape[1] for p in scripted.parameters() if p.ndim in (4, 5)]
    return list(dict.fromkeys([*kernels[:1], 3, 1]))
