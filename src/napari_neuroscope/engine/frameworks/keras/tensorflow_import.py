"""Importing TensorFlow so that it leaves room for others in the process.

Three things are set in the whole process. From the first call on, a module of TensorFlow that would
offer its symbols to all libraries is marked as missing, before anything imports TensorFlow. While it
is imported, the flags by which libraries are loaded are others, if a graphics driver with an LLVM
is there; the last thread that imports it puts them back. A library that another thread loads
meanwhile finds its own symbols first, too. And each GPU's memory is taken as it is needed, unless
somebody used it before.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from napari_neuroscope.engine.frameworks.process_setting import ProcessSetting


def keep_symbols_private() -> None:
    """Let a later import of TensorFlow keep its symbols to itself.

    It would offer them to all libraries that are loaded later, for operations of others that were
    linked without naming it; a graphics driver that brings the compiler LLVM (Mesa) then calls
    TensorFlow's LLVM in place of its own, and crashes.
    """
    # The import of this module is what asks for it; TensorFlow goes on where it fails. That None
    # stands for a module that can't be imported is Python's own, and missing in its types.
    sys.modules.setdefault("tensorflow.python.pywrap_dlopen_global_flags", None)  # type: ignore[arg-type]


def import_tensorflow() -> Any:
    """Import TensorFlow beside a graphics driver, and let it take a GPU's memory as it needs it.

    Raises
    ------
    ImportError
        Where it is not installed.
    """
    keep_symbols_private()
    with _own_symbols_first():
        import tensorflow as tf
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except (RuntimeError, ValueError):
            # It is in use already, as its owner set it.
            break
    return tf


def _bind_deep() -> int | None:
    """Let libraries find their own symbols first, before those of a driver that offers its LLVM."""
    if not hasattr(os, "RTLD_DEEPBIND") or not _has_another_llvm():
        return None
    flags = sys.getdlopenflags()
    sys.setdlopenflags(os.RTLD_NOW | os.RTLD_LOCAL | os.RTLD_DEEPBIND)
    return flags


def _bind_by(flags: int | None) -> None:
    if flags is not None:
        sys.setdlopenflags(flags)


def _has_another_llvm() -> bool:
    try:
        return "libLLVM" in Path("/proc/self/maps").read_text("utf-8", "replace")
    except OSError:
        return False


_own_symbols_first = ProcessSetting(_bind_deep, _bind_by)
