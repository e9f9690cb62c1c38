"""Which ground truth goes with which image: by the names of files, or by a table of classes."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.reading.bounded_file import read_text
from napari_neuroscope.engine.files.reading.csv_cells import with_formula
from napari_neuroscope.engine.images.pairing.image_search import stem_of
from napari_neuroscope.engine.images.pairing.pair import SkippedFile, Truth
from napari_neuroscope.engine.images.source import Source

TRUTH_ENDINGS = (
    "gt", "truth", "mask", "masks", "label", "labels", "l", "seg", "segmentation", "annotation",
    "instance", "instances",
)  # fmt: skip
"""What the name of a ground truth has more than its image's, after “_” or “-”."""
IMAGE_ENDINGS = ("image", "img", "im", "raw")
_FILE_COLUMNS = ("name", "file", "filename", "image", "path")
_CLASS_COLUMNS = ("class", "label", "truth")


def _base(stem: str, endings: Sequence[str]) -> str:
    """Return a stem without an ending that says what it is."""
    at = max(stem.rfind("_"), stem.rfind("-"))
    return stem[:at] if at > 0 and stem[at + 1 :].casefold() in endings else stem


def without_truths(paths: list[Path], truths: set[Path]) -> list[Path]:
    """Leave out files that are ground truth of their neighbours, where both share a folder."""
    stems = {_base(stem_of(path), IMAGE_ENDINGS) for path in paths}

    def is_truth(path: Path) -> bool:
        stem = stem_of(path)
        base = _base(stem, TRUTH_ENDINGS)
        return path in truths and base != stem and base in stems

    return [path for path in paths if not is_truth(path)]


def truths_of_images(
    paths: Sequence[Path],
    truths: Sequence[Path],
    classes: Sequence[str],
    skipped: list[SkippedFile],
) -> dict[Path, Truth]:
    """Return the ground truth of each image, by the names of their files.

    Parameters
    ----------
    paths, truths
        The files of images and of ground truths.
    classes
        The names of the classes, of which there may be a mask each.
    skipped
        Takes images of several ground truths, which are left out, and ground truths of none.
    """
    whole: dict[str, list[Path]] = defaultdict(list)
    masks: dict[str, list[Path]] = defaultdict(list)
    for truth in truths:
        stem = stem_of(truth)
        of_class = _class_of_mask(truth, classes)
        if of_class is not None:
            in_folder = truth.parent.name == of_class
            masks[stem if in_folder else stem.removesuffix(f"_{of_class}")].append(truth)
        else:
            whole[stem].append(truth)
            if (base := _base(stem, TRUTH_ENDINGS)) != stem:
                whole[base].append(truth)
    chosen: dict[Path, Truth] = {}
    used: set[Path] = set()
    for path in paths:
        stem = stem_of(path)
        stems = list(dict.fromkeys((stem, _base(stem, IMAGE_ENDINGS))))
        near = next((whole[stem] for stem in stems if stem in whole), [])
        # The very name comes before one with an ending.
        near = [truth for truth in near if stem_of(truth) in stems] or near
        several = next((masks[stem] for stem in stems if stem in masks), [])
        used.update(near, several)
        if len(near) > 1:
            names = " and ".join(f"“{truth.name}”" for truth in near[:3])
            skipped.append(
                SkippedFile(
                    path.name, f"“{path.name}” has several ground truths: {names}; keep one."
                )
            )
            continue
        if near:
            chosen[path] = Source.of(near[0])
        elif several:
            # A mask is called by its class.
            chosen[path] = [Source(_class_of_mask(mask, classes) or "", mask) for mask in several]
        else:
            chosen[path] = None
    for truth in truths:
        if truth not in used:
            skipped.append(SkippedFile(truth.name, f"No image goes with “{truth.name}”.", True))
    return chosen


def _class_of_mask(path: Path, classes: Sequence[str]) -> str | None:
    if path.parent.name in classes:
        return path.parent.name
    ends = [name for name in classes if stem_of(path).endswith(f"_{name}")]
    return max(ends, key=len, default=None)


# --- tables of classes ----------------------------------------------------------------------------


def read_class_tables(paths: Sequence[Path], skipped: list[SkippedFile]) -> dict[str, str]:
    """Return the class of each name in tables of two columns, or with a header that tells them.

    Raises
    ------
    NeuroscopeError
        Where a table can't be read, or gives a name two classes.
    """
    class_of: dict[str, str] = {}
    for path in paths:
        rows = _rows(path)
        header = [cell.strip().casefold() for cell in rows[0]] if rows else []
        name_at = next((n for n, cell in enumerate(header) if cell in _FILE_COLUMNS), None)
        class_at = next((n for n, cell in enumerate(header) if cell in _CLASS_COLUMNS), None)
        if name_at is not None and class_at is not None:
            del rows[0]
        else:
            name_at, class_at = 0, 1
        for number, row in enumerate(rows, 1):
            if len(row) <= max(name_at, class_at):
                skipped.append(
                    SkippedFile(path.name, f"Row {number} of “{path.name}” has no class.")
                )
                continue
            name, which = (with_formula(row[at].strip()) for at in (name_at, class_at))
            if class_of.setdefault(name, which) != which:
                raise NeuroscopeError(
                    f"“{path.name}” gives “{shortened(name)}” two classes, “{class_of[name]}” and "
                    f"“{which}”; keep one."
                )
    return class_of


def _rows(path: Path) -> list[list[str]]:
    text = read_text(path, limits.MOST_TEXT)
    first = text.partition("\n")[0]
    comma = max(",;\t", key=first.count)
    try:
        return [row for row in csv.reader(text.splitlines(), delimiter=comma) if any(row)]
    except csv.Error as error:
        raise NeuroscopeError(
            f"The classes in {shortened(str(path), 300)} can't be read: {error}; write a row for "
            f"each image."
        ) from error


def classes_of_names(
    paths: Sequence[Path], names: Sequence[str], table: dict[str, str], skipped: list[SkippedFile]
) -> dict[Path, Truth]:
    """Return the class of each image that a table gives; its names of no image are skipped."""
    chosen: dict[Path, Truth] = {}
    used: set[str] = set()
    ends = {Path(key).as_posix(): key for key in table}
    for path, name in zip(paths, names, strict=True):
        # A table may name a file with its folders, alone, or without its ending.
        parts = path.parts
        tried = ["/".join(parts[n:]) for n in range(len(parts))] + [name, stem_of(path)]
        key = next((ends[spelling] for spelling in tried if spelling in ends), None)
        chosen[path] = None if key is None else table[key]
        if key is not None:
            used.add(key)
    for key in table:
        if key not in used:
            skipped.append(SkippedFile(key, f"There is no image “{shortened(key)}”."))
    return chosen
