"""One place that turns whatever a reader raises into a sentence with the file's name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_neuroscope.engine.errors import (
    Cancelled,
    NeuroscopeError,
    first_line,
    shortened,
)


@contextmanager
def told_in_a_sentence(path: str | Path, what: str) -> Iterator[None]:
    """Turn what is raised within into a `NeuroscopeError` that names a file.

    Parameters
    ----------
    path
        The file.
    what
        What it was to be read as, with its article, such as “a TIFF image”.

    Raises
    ------
    NeuroscopeError
        In place of any other error; what is one already, and a cancelled reading, stay as they are.
    """
    try:
        yield
    except (NeuroscopeError, Cancelled, Warning):
        raise
    except Exception as error:
        raise NeuroscopeError(
            f"“{shortened(Path(path).name or str(path), 200)}” can't be read as {what}: "
            f"{reason_of(error)}."
        ) from error


def reason_of(error: BaseException) -> str:
    """Return what an error of any library says, as the end of a sentence, without its full stop."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if isinstance(error, KeyError):
        return f"it lacks {shortened(first_line(error), 120)}"
    said = shortened(first_line(error), 200).rstrip(".")
    # Names of exceptions tell people nothing, but where they are all there is.
    return said or type(error).__name__
