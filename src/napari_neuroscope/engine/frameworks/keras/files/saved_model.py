"""SavedModels of Keras 2 without the state of their optimizers, which Keras 3 can't make anew."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_DESCRIPTION = "saved_model.pb"


def without_optimizer(path: Path, folder: Path) -> Path | None:
    """Write a SavedModel anew into an empty folder, without its optimizer's variables.

    Whatever was saved after ``compile`` and ``fit`` has some for each weight; the network is none
    the different without them.

    Parameters
    ----------
    path
        The SavedModel, whose content is trusted.
    folder
        Where what is loaded lies for as long as it is loaded.

    Returns
    -------
    Path or None
        None where it has no optimizer.
    """
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    if not (path / _DESCRIPTION).is_file():
        return None
    description = SavedModel()
    description.ParseFromString((path / _DESCRIPTION).read_bytes())
    has_optimizer = False
    for graph in description.meta_graphs:
        for node in graph.object_graph_def.nodes:
            has_optimizer |= bool(node.slot_variables)
            del node.slot_variables[:]
    if not has_optimizer:
        return None
    (folder / _DESCRIPTION).write_bytes(description.SerializeToString())
    for part in ("variables", "assets"):
        if (path / part).is_dir():
            # Weights may be large, so that they are linked where the disk can do that.
            shutil.copytree(path / part, folder / part, copy_function=_link_or_copy)
    return folder


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
