"""Classes of networks that a file may name, and that are built without being asked.

What a file names is a stranger's choice, also where it is installed: `os.system` is. So only classes
of networks are built, of the packages of `PACKAGES`, with plain arguments; and of these, only what
was built before in a process of its own, within limits of time and memory, and without reaching for
files, programs or the internet (some download weights when they are built).
"""

from __future__ import annotations

import importlib
import math
import os
import reprlib
import sys
import sysconfig
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError, first_line
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.code.python_package import PythonPackage
from napari_neuroscope.engine.files.code.trial import TrialError, try_in_process

PACKAGES = (
    "torch.nn",
    "torchvision.models",
    "timm.models",
    "monai.networks.nets",
    "segmentation_models_pytorch",
    "keras_hub.models",
    "napari_neuroscope.samples.architectures",
)
"""Packages of classes of networks, with all that lies below them."""

_GREATEST_NUMBER = 1 << 63
# How many arguments are shown to a person, and about how many letters of them together.
_MOST_SHOWN, _MOST_WORDS = 10, 320


class NotTriedError(NeuroscopeError):
    """A class that is not built without being asked.

    Attributes
    ----------
    reason
        Why, as the end of a sentence; empty where it is of no such package.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


def tried_class(name: str, arguments: Mapping[str, Any]) -> type:
    """Return a class of networks that a file names, once it was built with its arguments on trial.

    Nothing is imported before it is clear that it is of a package of `PACKAGES`.

    Parameters
    ----------
    name
        The class, as ``package.module:Class``.
    arguments
        Its keyword arguments.

    Raises
    ------
    NotTriedError
        Where it is no such class, its arguments are not plain, or its trial was ended.
    NeuroscopeError
        Where it can't be built with these arguments.
    """
    network_class = _class(name)
    if network_class is None or not _are_plain(arguments):
        raise NotTriedError
    module = name.partition(":")[0]
    job = {"name": name, "arguments": dict(arguments)}
    try:
        answer = try_in_process(f"{__name__}:build_on_trial", job, imports=(module,))
    except TrialError as error:
        raise NotTriedError(f"when it was tried, {error.reason}") from error
    if reached := answer["reached"]:
        raise NotTriedError(f"when it was tried, it reached for {reached}")
    if failed := answer["failed"]:
        raise NeuroscopeError(
            f"“{name}” can't be built with {in_words(arguments)}: {failed.rstrip('.')}."
        )
    return network_class


def may_be_tried(name: str, arguments: Mapping[str, Any]) -> bool:
    """Whether a file names a class of networks of a package of `PACKAGES`, with plain arguments."""
    return _class(name) is not None and _are_plain(arguments)


def _are_plain(arguments: Mapping[str, Any]) -> bool:
    """Whether arguments are numbers, texts, truth values and nothing, or lists and mappings of these.

    Those of more or larger values than networks are built with are not.
    """
    count, waiting = 0, [(arguments, 0)]
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if count + len(waiting) > limits.MOST_ARGUMENTS or depth > limits.MOST_DEPTH:
            return False
        inner: list[Any] = []
        if isinstance(value, dict):
            inner = [*value.keys(), *value.values()]
            if not all(isinstance(key, str) for key in value):
                return False
        elif isinstance(value, list):
            inner = value
        elif not _is_plain(value):
            return False
        if len(inner) > limits.MOST_ARGUMENTS:
            return False
        waiting += [(part, depth + 1) for part in inner]
    return True


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= limits.MOST_LETTERS
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return abs(value) < _GREATEST_NUMBER
    return value is None


def in_words(arguments: Mapping[str, Any]) -> str:
    """Return arguments for a person: a part of each, of long ones the beginning and the end."""
    if not arguments:
        return "no arguments"
    shown = list(arguments.items())[:_MOST_SHOWN]
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = max(16, _MOST_WORDS // len(shown) - 20)
    short.maxdict = short.maxlist = 4
    short.maxlevel = 2
    try:
        said = ", ".join(f"{short.repr(name)}: {short.repr(value)}" for name, value in shown)
    except ValueError:
        # A number of more digits than Python prints.
        return "arguments that are too large to be shown"
    more = len(arguments) - len(shown)
    return f"the arguments {{{said}{f', and {more:,} more' if more else ''}}}"


def _class(name: str) -> type | None:
    """Return the class of a name, if it is one of networks, of a package of `PACKAGES`."""
    module_name, _, class_name = name.partition(":")
    if not class_name.isidentifier() or class_name.startswith("_") or not _is_known(module_name):
        return None
    package = PythonPackage.find(module_name.partition(".")[0])
    if package is None or not package.is_installed:
        return None
    # A module that fails is told when its trial fails as well, or where the user trusts it.
    with suppress(Exception):
        target = getattr(importlib.import_module(module_name), class_name, None)
        if isinstance(target, type) and _is_known(target.__module__) and _is_network(target):
            return target
    return None


def _is_known(module: str) -> bool:
    if not all(part.isidentifier() for part in module.split(".")):
        return False
    return any(module == package or module.startswith(f"{package}.") for package in PACKAGES)


def _is_network(target: type) -> bool:
    torch, keras = sys.modules.get("torch"), sys.modules.get("keras")
    kinds = [torch.nn.Module] if torch is not None else []
    kinds += [keras.Model] if keras is not None else []
    return issubclass(target, tuple(kinds))


# --- within the process of the trial --------------------------------------------------------------


def build_on_trial(job: Mapping[str, Any]) -> dict[str, str]:
    """Build a class of networks, and tell whether it failed, or what it reached for."""
    reached: list[str] = []
    failed = ""
    target = _class(job["name"])
    if target is None:
        return {"reached": "", "failed": "there is no such class in this environment"}
    with _ConstructorGuard(reached):
        try:
            target(**job["arguments"])
        except MemoryError:
            raise
        except (Exception, SystemExit) as error:
            failed = first_line(error)[:300]
            if "can't allocate memory" in failed:
                # PyTorch says it so, where the trial may take no more.
                raise MemoryError from error
    # What was refused to it counts, whatever became of it.
    return {"reached": reached[0] if reached else "", "failed": failed}


_REACHING = ("os.exec", "os.fork", "os.kill", "os.link", "os.mkdir", "os.posix_spawn", "os.remove",
             "os.rename", "os.rmdir", "os.spawn", "os.startfile", "os.symlink", "os.system",
             "os.truncate", "os.utime", "os.chmod", "os.chown", "shutil.", "socket.", "subprocess.",
             "tempfile.", "urllib.", "webbrowser.", "http.", "ftplib.", "ssl.", "ctypes.",
             "winreg.", "pickle.find_class")  # fmt: skip
_READABLE = ("/proc/", "/sys/", "/dev/null", "/dev/urandom")


class _ConstructorGuard:
    """Refuses what a network's constructor has no need of: files, programs, the internet.

    Parameters
    ----------
    reached
        Takes what was refused, in words.
    """

    _active: _ConstructorGuard | None = None
    _installed = False

    def __init__(self, reached: list[str]) -> None:
        self._reached, self._caches = reached, True
        names = ("stdlib", "platstdlib", "purelib", "platlib")
        folders = [sys.prefix, sys.base_prefix, *map(sysconfig.get_path, names)]
        # Where packages lie, this one among them.
        folders += [path for path in sys.path if path]
        self._folders = tuple(os.path.abspath(folder) + os.sep for folder in folders)

    def __enter__(self) -> None:
        if not _ConstructorGuard._installed:
            # A hook can't be taken away again.
            sys.addaudithook(_ConstructorGuard._hear)
            _ConstructorGuard._installed = True
        _ConstructorGuard._active = self
        # What is imported only now is read, but not cached.
        self._caches, sys.dont_write_bytecode = not sys.dont_write_bytecode, True

    def __exit__(self, *_: object) -> None:
        _ConstructorGuard._active = None
        sys.dont_write_bytecode = not self._caches

    @staticmethod
    def _hear(event: str, arguments: Any) -> None:
        if (active := _ConstructorGuard._active) is not None:
            active._refuse(event, arguments)

    def _refuse(self, event: str, arguments: Any) -> None:
        if event == "open":
            path, mode, flags = (*arguments, None, None)[:3]
            if not isinstance(path, str | bytes) or self._may_read(os.fsdecode(path), mode, flags):
                return
            what = f"the file {os.fsdecode(path)[:200]}"
        elif event.startswith(_REACHING):
            what = f"what it has no need of ({event})"
        else:
            return
        self._reached.append(what)
        raise PermissionError(f"a network that is built on trial may not reach for {what}")

    def _may_read(self, path: str, mode: Any, flags: Any) -> bool:
        if isinstance(mode, str) and set(mode) & set("wax+"):
            return False
        if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return False
        return os.path.realpath(path).startswith(self._folders) or path.startswith(_READABLE)
