"""Warnings are ignored while a network runs, in all threads alike."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from napari_neuroscope.engine.frameworks.process_setting import ProcessSetting


def _ignored() -> warnings.catch_warnings:
    held = warnings.catch_warnings()
    held.__enter__()
    warnings.simplefilter("ignore")
    return held


_ignoring = ProcessSetting(_ignored, lambda held: held.__exit__(None, None, None))


@contextmanager
def quiet() -> Iterator[None]:
    """Ignore warnings; afterwards the filters are what they were, whichever thread ends last.

    Filters are of the whole process: two threads that put back what each met would leave warnings
    ignored for ever.
    """
    if getattr(sys.flags, "context_aware_warnings", False):
        # Free-threaded Python keeps them for each thread.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    else:
        with _ignoring():
            yield
