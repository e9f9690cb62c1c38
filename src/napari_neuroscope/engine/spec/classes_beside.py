"""Names of classes in files beside a network's, as training scripts write them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.spec.class_files import read_classes
from napari_neuroscope.engine.spec.model_spec import ClassSpec

# Those of one network come first, then those that any network of the folder may share.
_OF_NETWORK = ("{}.labels.txt", "{}_labels.txt", "{}.classes.txt", "{}_classes.txt", "{}.names",
               "{}_labels.json", "{}_classes.json", "{}_class_indices.json")  # fmt: skip
_OF_FOLDER = ("class_indices.json", "class_names.json", "classes.json", "labels.json",
              "id2label.json", "config.json", "labels.txt", "classes.txt", "class_names.txt")  # fmt: skip
_NO_NAME = re.compile(r"LABEL_\d+")


def classes_beside(path: Path, count: int) -> tuple[Path, tuple[ClassSpec, ...]] | None:
    """Return the file beside a network's that names its classes, and these; None where none does.

    Parameters
    ----------
    path
        The network's file or folder.
    count
        How many classes the network has: a file of any other number is of another network.
    """
    for file in _files(path):
        try:
            if not file.is_file():
                continue
            classes = read_classes(file)
        except (NeuroscopeError, OSError):
            # Of these names there are files of all kinds.
            continue
        unnamed = all(_NO_NAME.fullmatch(c.name) for c in classes)
        if len(classes) == count and not unnamed:
            return file, classes
    return None


def _files(path: Path) -> Iterator[Path]:
    for name in _OF_NETWORK:
        yield path.with_name(name.format(path.stem))
    for folder in (path, path.parent) if path.is_dir() else (path.parent,):
        for name in _OF_FOLDER:
            yield folder / name
