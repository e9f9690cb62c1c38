"""Programs of ``torch.export`` (.pt2): opened where they are trusted, and never with file operators.

What describes such a program is evaluated and unpickled as Python code when PyTorch reads it, in
more places than could be looked through. So it is asked before any part of it is read.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.code.trust import trusted_content
from napari_neuroscope.engine.files.reading.bounded_zip import open_zip, read_entry
from napari_neuroscope.engine.frameworks.torch.files.archive import open_torch_archive
from napari_neuroscope.engine.plain_text import quoted

_LEGACY = "serialized_exported_program.json"
_WOULD_RUN = ("a PyTorch program, with Python code in its description and in pickled values, which "
              "may do anything")  # fmt: skip

_OPERATOR = re.compile(r"torch\.ops\.([A-Za-z0-9_]+)\.([A-Za-z0-9_]+)(?:\.[A-Za-z0-9_]+)?")
_NAMESPACES = {"aten", "prims", "quantized", "quantized_decomposed", "torchvision"}
_FILE_OPERATORS = {"from_file", "save"}
# Control flow and the like, which only holds other graphs of the same program.
_HIGHER_ORDER = {"associative_scan", "cond", "flex_attention", "hints_wrapper", "invoke_subgraph",
                 "map_impl", "out_dtype", "scan", "strict_mode", "tag_activation_checkpoint",
                 "while_loop", "wrap", "wrap_activation_checkpoint", "wrap_with_autocast",
                 "wrap_with_set_grad_enabled"}  # fmt: skip
# Arithmetic of sizes.
_OF_SIZES = re.compile(
    r"(_operator|operator)\.(eq|ne|le|ge|lt|gt|neg|pos|mul|add|sub|floordiv|mod|pow|truediv|and_|or_|"
    r"lshift|rshift|getitem)|math\.(trunc|ceil|floor)|"
    r"torch\.(_sym_sqrt|sym_not|sym_int|sym_float|sym_ite|sym_max|sym_min|sym_sqrt|sym_sum)"
)


def load_exported(path: Path, *, trust: bool) -> nn.Module:
    """Open a program of ``torch.export``.

    Parameters
    ----------
    path
        The file.
    trust
        Whether the user trusts it.

    Raises
    ------
    NeuroscopeError
        Where it is broken, or has operators that read or write files, or a compiled library.
    UntrustedError
        Where it is not trusted.
    """
    with trusted_content(path, _WOULD_RUN, trust=trust) as content:
        # Other names of the same file, or another list of files, would not be those looked at.
        with open_zip(content) as archive:
            legacy = _LEGACY in archive.namelist()
            _refuse_what_is_no_network(archive, path.name)
        if not legacy:
            with open_torch_archive(content):
                pass
        program = torch.export.load(content)
        module = program.module()
    shapes = [tuple(value.shape) for value in program.example_inputs[0]
              if isinstance(value, Tensor)] if program.example_inputs else []  # fmt: skip
    if shapes:
        # An exported network takes the size that it was exported with.
        module.register_buffer("example_shape", torch.tensor(shapes[0]), persistent=False)
    return module


def _refuse_what_is_no_network(archive: zipfile.ZipFile, name: str) -> None:
    """Refuse compiled libraries, and operators that do more than compute."""
    for entry in archive.namelist():
        inner = entry.lower()
        if "data/aotinductor" in inner or inner.endswith((".so", ".dll", ".dylib", ".pyd")):
            raise NeuroscopeError(
                f"“{name}” holds a compiled library ({quoted(entry)}), which is not loaded here; "
                f"export the network with torch.export.save."
            )
        if not inner.endswith(".json") or not (inner == _LEGACY or "models/" in inner):
            continue
        for target in _targets(_graph(archive, entry, name)):
            if not computes(target):
                raise NeuroscopeError(
                    f"“{name}” uses {quoted(target)}, which is no operator of networks that is let "
                    f"here; export the network without it."
                )


def _graph(archive: zipfile.ZipFile, entry: str, name: str) -> Any:
    try:
        return json.loads(read_entry(archive, entry, limits.MOST_GRAPH, name))
    except RecursionError:
        reason = "it is nested too deeply"
    except ValueError as error:
        reason = f"it is no JSON: {str(error)[:120]}"
    raise NeuroscopeError(
        f"“{name}” is a broken torch.export file ({quoted(entry)}: {reason}); save it again."
    )


def _targets(graph: Any) -> Iterator[str]:
    """Yield what the nodes of a graph, and of the graphs in it, call."""
    waiting = [graph]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, dict):
            if "target" in inner and "inputs" in inner:
                yield str(inner["target"])
            waiting.extend(inner.values())
        elif isinstance(inner, list):
            waiting.extend(inner)


def computes(target: str) -> bool:
    """Whether what a graph calls is an operator of networks, and nothing else."""
    match = _OPERATOR.fullmatch(target)
    if match is None:
        return _OF_SIZES.fullmatch(target) is not None
    namespace, operator = match.groups()
    if namespace == "higher_order":
        return operator in _HIGHER_ORDER
    return namespace in _NAMESPACES and operator not in _FILE_OPERATORS
