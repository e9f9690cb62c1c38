"""What ONNX Runtime raises, as a sentence that says what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from napari_neuroscope.engine.errors import (
    Cancelled,
    NeuroscopeError,
    OutOfMemoryError,
    shortened,
)
from napari_neuroscope.engine.frameworks.common import CHECK_THE_INPUT, size_in_words

_CODES = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")


def in_one_line(text: str) -> str:
    """Return what ONNX Runtime says, in one line without its codes."""
    return shortened(" ".join(_CODES.sub("", text).split()), 300).rstrip(".")


_UNKNOWN = re.compile(
    r"(?P<domain>[\w.\-]*):(?P<operation>\w+)(?:\([^)]*\))? is not a registered function/op"
    r"|No Op registered for (?P<standard>\w+)"
    r"|No opset import for domain '(?P<missing>[^']*)'"
)
_NEWER = re.compile(r"Opset (\d+) is under development|Unsupported model IR version: (\d+)")


def why_not_opened(text: str, version: str, title: str) -> str:
    """Say why ONNX Runtime can't run a model, from what it raised."""
    what = title[:1].upper() + title[1:]
    if unknown := _UNKNOWN.search(text):
        domain = unknown["domain"] or unknown["missing"]
        operation = unknown["operation"] or unknown["standard"]
        if operation is None:
            named = re.search(r'\(".*?", (\w+),', text)
            operation = named[1] if named else "?"
        whose = f" of “{domain}”" if domain else ""
        return (
            f"{what} uses the operator “{operation}”{whose}, which ONNX Runtime does not "
            f"know; operators of shared libraries are not loaded: export the network with "
            f"standard ones."
        )
    if newer := _NEWER.search(text):
        needs = f"opset {newer[1]}" if newer[1] else f"version {newer[2]} of the format"
        return (
            f"{what} needs {needs}, which is newer than ONNX Runtime {version}; upgrade it "
            f"(pip install -U onnxruntime), or export the network for an older one."
        )
    return f"ONNX Runtime {version} can't open {title}: {in_one_line(text)}."


@contextmanager
def translated_errors(x: Tensor) -> Iterator[None]:
    """Turn what ONNX Runtime raises into a sentence."""
    try:
        yield
    except (NeuroscopeError, Cancelled):
        raise
    except Exception as error:
        text = str(error)
        if isinstance(error, MemoryError) or "Failed to allocate memory" in text:
            raise OutOfMemoryError(
                "The forward pass ran out of memory; try a smaller image or fewer layers."
            ) from error
        raise NeuroscopeError(
            f"The network's forward pass failed on {size_in_words(x)}: {in_one_line(text)}; "
            f"{CHECK_THE_INPUT}."
        ) from error
