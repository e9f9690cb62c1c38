"""What a person at the window is told of an error: one sentence, without a word of Python."""

from __future__ import annotations

import logging
import re

from napari_neuroscope.engine.errors import FactoryNeededError, NeuroscopeError, shortened
from napari_neuroscope.engine.files.code.trust import UntrustedError
from napari_neuroscope.engine.methods.registry import methods

_NAME = re.compile(r"\b[a-z]+(?:_[a-z0-9]+)+\b")
_log = logging.getLogger(__name__)
# What is said to who writes Python, and what to who looks at the window.
_IN_THE_WINDOW = (
    ("; relu=False shows what", "; without “Only what speaks for it” the map shows what"),
    ("Grad-CAM with relu=False", "Grad-CAM without “Only what speaks for it”"),
    ("the spec's output.index chooses another", "“Output” under Options… chooses another"),
    (
        "set the spec's input.resize to fit, crop or stretch",
        "choose another “Resize” under Options…",
    ),
    ("say so with output.activation: sigmoid", "say so by “Ends in” under Options…"),
    ("log_probability", "the log probability"),
    ("which trust=True allows", "which your trust allows"),
    ('device="cpu"', "the device “cpu” in the preferences"),
    ("with ns.open_image", "in Python, with open_image"),
)


def in_a_sentence(error: Exception) -> str:
    """Return what a person is told of an error; what is a fault is logged."""
    if isinstance(error, UntrustedError):
        return (
            f"“{shortened(error.path.name)}” would run code of its own, and you have not trusted it; "
            f"open it again to decide anew."
        )
    if isinstance(error, FactoryNeededError):
        what = str(error).partition(";")[0]
        return f"{what}; open the file again to say what builds it."
    if isinstance(error, NeuroscopeError):
        return for_the_window(str(error))
    _log.error("what was asked in a dock failed", exc_info=error)
    return (
        f"Something failed that should not: {type(error).__name__}: {error}. Your layers are as "
        f"they were; please report it with what is in the log."
    )


def for_the_window(text: str) -> str:
    """Return words that may be for who writes Python in those of the window."""
    for code, words in _IN_THE_WINDOW:
        text = text.replace(code, words)
    return _NAME.sub(lambda name: _title_of(name[0]), text)


def _title_of(name: str) -> str:
    """Return what people call a method that is told by its name in Python."""
    return methods[name].title if name in methods else name
