"""Keras files as Keras 3 reads them: by their ending, and without what only Keras 2 wrote."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from napari_neuroscope.engine.files.file_kind import Kind

_CONFIG = "config.json"
_WEIGHTS_ALONE = ".weights.h5"
_ENGINES = ("keras.engine.", "keras.src.engine.")
# These have no groups in Keras 3; Keras 2 wrote that they had one.
_UNGROUPED = ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "DepthwiseConv1D",
              "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D")  # fmt: skip


def modern(config: Any) -> Any:
    """Return a model's configuration in the words of Keras 3: the same, where it has no others."""
    changed = deepcopy(config)
    waiting = [changed]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            _modernise(part)
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
    return changed


def _modernise(part: dict[str, Any]) -> None:
    module, kind, inner = part.get("module"), part.get("class_name"), part.get("config")
    if isinstance(module, str):
        if module.partition(".")[0] == "tf_keras":
            module = part["module"] = module.removeprefix("tf_")
        if f"{module}.".startswith(_ENGINES):
            part["module"] = "keras.src.models.functional" if kind == "Functional" else "keras"
    if not isinstance(inner, dict):
        return
    if kind in _UNGROUPED and inner.get("groups") == 1:
        del inner["groups"]
    axis = inner.get("axis")
    if kind == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:
        inner["axis"] = axis[0]


@contextmanager
def readable(content: Path, kind: Kind, config: Any, changed: Any) -> Iterator[Path]:
    """Yield a file as Keras 3 reads it: with the ending of its kind, and a changed configuration.

    Parameters
    ----------
    content, kind
        A file that was looked at, and what it is.
    config, changed
        The configuration in it, None for weights alone; and what it shall be.
    """
    ending = _ending(content, kind, config)
    if changed == config and _has(content.name, ending):
        yield content
        return
    with TemporaryDirectory(prefix="neuroscope-", ignore_cleanup_errors=True) as folder:
        copy = Path(folder) / f"{content.name}{ending}"
        if changed == config:
            _place(content, copy)
        elif kind == "keras":
            _rewrite(content, copy, changed)
        else:
            import h5py

            shutil.copyfile(content, copy)
            with h5py.File(copy, "a") as file:
                file.attrs["model_config"] = json.dumps(changed)
        yield copy


def _ending(content: Path, kind: Kind, config: Any) -> str:
    if kind == "keras":
        return ".keras"
    if config is None:
        import h5py

        with h5py.File(content, "r") as file:
            if "layer_names" not in file.attrs and "model_weights" not in file:
                return _WEIGHTS_ALONE
    return ".h5"


def _has(name: str, ending: str) -> bool:
    # Of two endings that Keras takes for the same, and one that it takes for another.
    if ending == ".h5":
        return name.endswith((".h5", ".hdf5")) and not name.endswith(_WEIGHTS_ALONE)
    return name.endswith(ending)


def _place(content: Path, copy: Path) -> None:
    try:
        os.link(content, copy)
    except OSError:
        shutil.copyfile(content, copy)


def _rewrite(content: Path, copy: Path, config: Any) -> None:
    """Copy an archive with another configuration."""
    with zipfile.ZipFile(content) as old, zipfile.ZipFile(copy, "w") as new:
        for entry in old.infolist():
            if entry.filename == _CONFIG:
                new.writestr(_CONFIG, json.dumps(config))
                continue
            with old.open(entry) as source, new.open(entry.filename, "w", force_zip64=True) as to:
                shutil.copyfileobj(source, to)
