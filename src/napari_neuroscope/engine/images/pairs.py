"""Images and their ground truth, found and paired by name."""

from __future__ import annotations

import csv
import glob
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.reading.bounded_file import read_text
from napari_neuroscope.engine.files.reading.csv_cells import with_formula
from napari_neuroscope.engine.images.formats.zarr_image import container_of, images_of, is_zarr
from napari_neuroscope.engine.images.source import SUFFIXES, Source, name_of, read_image

if TYPE_CHECKING:
    from napari_neuroscope.engine.networks.network import Network

__all__ = ["Pair", "Pairs", "SkippedFile", "Source", "pairs_of", "read_image"]

TRUTH_ENDINGS = (
    "gt", "truth", "mask", "masks", "label", "labels", "l", "seg", "segmentation", "annotation",
    "instance", "instances",
)  # fmt: skip
"""What the name of a ground truth has more than its image's, after “_” or “-”."""
IMAGE_ENDINGS = ("image", "img", "im", "raw")
_TABLES = (".csv", ".tsv")
_FILE_COLUMNS = ("name", "file", "filename", "image", "path")
_CLASS_COLUMNS = ("class", "label", "truth")

Truth = Source | Sequence[Source] | str | int | None
"""A ground truth: an image, several of one class or instance each, a class, or none."""
Where = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class SkippedFile:
    """Something that was left out, and why, as a sentence."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Pair:
    """An image and its ground truth.

    Attributes
    ----------
    name
        What people call the image; of several, no two are equal.
    image
        Where it is read from.
    truth
        Its ground truth; several are masks of one class or instance each.
    """

    name: str
    image: Source
    truth: Truth = None

    def planes(self, network: Network) -> Iterator[Pair]:
        """Return the pairs of a stack's planes that a network takes, or the pair itself.

        Each is read by itself, when it is needed.

        Raises
        ------
        NeuroscopeError
            Where the image can't be read, or its ground truth is no stack like it.
        """
        image, (shape, axes) = self.image, self.image.axes(network)
        stack = tuple(shape[n] for n in axes.stack)
        if not stack:
            yield self
            return
        truths = self._stacked_truth(stack)
        for plane in np.ndindex(*stack):
            name = f"{self.name} [{', '.join(map(str, plane))}]"
            truth: Truth = self.truth  # a class holds for each of the planes
            if truths:
                parts = [replace(one, plane=(*one.plane, *plane)) for one in truths]
                truth = parts[0] if isinstance(self.truth, Source) else parts
            yield Pair(name, image.at(axes.stack, plane, name), truth)

    def _stacked_truth(self, stack: tuple[int, ...]) -> list[Source]:
        if self.truth is None or isinstance(self.truth, str | int):
            return []
        sources = [self.truth] if isinstance(self.truth, Source) else list(self.truth)
        for source in sources:
            shape = source.shape
            if shape[: len(stack)] != stack:
                raise NeuroscopeError(
                    f"The image is a stack of {' × '.join(map(str, stack))} planes, but the ground "
                    f"truth “{source.name}” has shape {shape}; give a stack as long."
                )
        return sources


@dataclass(frozen=True, eq=False)
class Pairs(Sequence[Pair]):
    """Images with their ground truth, and what was left out.

    Attributes
    ----------
    found
        The pairs, in natural order; those without ground truth are among them.
    skipped
        Files that are no part of it, and why.
    """

    found: tuple[Pair, ...]
    skipped: tuple[SkippedFile, ...] = ()

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, which):  # type: ignore[no-untyped-def]
        return self.found[which]

    @property
    def without_truth(self) -> tuple[str, ...]:
        """The names of the images that have no ground truth."""
        return tuple(pair.name for pair in self.found if pair.truth is None)


def pairs_of(
    images: Where,
    truths: Where | None = None,
    *,
    classes: Sequence[str] = (),
    folder_names: bool = False,
) -> Pairs:
    """Find images, and the ground truth of each by its name.

    Parameters
    ----------
    images
        Files, folders and patterns such as ``"scans/*.tif"``. A ``.zarr`` folder is an image; an
        OME-Zarr plate is one image a field, such as “plate.zarr/A/1/0”.
    truths
        The same of ground truth. A file goes with the image of the same stem, whatever its
        ending, or with that stem and ``_gt``, ``_mask``, ``_labels``, ... after it. Or a CSV
        table of names and classes, for a classification.
    classes
        The names of the classes: then ``a_car.png``, or ``a.png`` in a folder ``car``, is the
        mask of that class for image ``a``.
    folder_names
        Look for images in the folders of `images`, too: the name of an image's folder is its
        class.

    Returns
    -------
    Pairs
        Images without ground truth are among them, with None.

    Raises
    ------
    NeuroscopeError
        Where a file or folder does not exist, or no image is found.
    """
    skipped: list[SkippedFile] = []
    paths = _image_files(images, skipped, within=None if folder_names else ())
    truth_paths: list[Path] = []
    table = None
    if truths is not None:
        tables = [path for path in _each(truths) if path.suffix.lower() in _TABLES]
        if tables:
            table = _table(tables, skipped)
        else:
            truth_paths = _image_files(truths, skipped, within=classes, what="ground truth")
            paths = _without_truths(paths, set(truth_paths))
            truth_paths = [path for path in truth_paths if path not in set(paths)]
    if not paths:
        raise NeuroscopeError(f"There is no image in {_in_words(images)}.")
    names = _names(paths)
    if folder_names:
        chosen: dict[Path, Truth] = {path: _container(path).parent.name for path in paths}
    elif table is not None:
        chosen = _classes_of(paths, names, table, skipped)
    else:
        chosen = _matched(paths, truth_paths, classes, skipped)
    found = [
        Pair(name, Source(name, path), chosen[path])
        for path, name in zip(paths, names, strict=True)
        if path in chosen
    ]
    return Pairs(tuple(found), tuple(skipped))


# --- files ----------------------------------------------------------------------------------------


def _each(where: Where) -> list[Path]:
    return [Path(where)] if isinstance(where, str | Path) else [Path(one) for one in where]


def _in_words(where: Where) -> str:
    return shortened(", ".join(str(path) for path in _each(where)), 200)


def _image_files(
    where: Where, skipped: list[SkippedFile], *, within: Sequence[str] | None, what: str = "image"
) -> list[Path]:
    """Return the image files of files, folders and patterns, in natural order.

    Of a folder, those of its own folders named `within` belong to it; None: of all.
    """
    files: dict[Path, None] = {}
    for place in _each(where):
        if place.is_dir() and not is_zarr(place):
            folders = [p for p in place.iterdir() if p.is_dir() and not p.name.startswith(".")]
            folders = [p for p in folders if not is_zarr(p)]
            inside: Iterable[Path] = [
                *place.iterdir(),
                *(p for f in folders if within is None or f.name in within for p in f.iterdir()),
            ]
        elif place.exists():
            inside = [place]
        elif glob.has_magic(str(place)):
            inside = [Path(name) for name in glob.glob(str(place), recursive=True)]
        else:
            raise NeuroscopeError(f"There is no {what} {place}.")
        # Hidden files are the system's own.
        files.update(
            (p, None) for p in inside if not p.name.startswith(".") and (p.is_file() or is_zarr(p))
        )
    kept = []
    for path in sorted(files, key=natural_key):
        if path.is_dir():
            try:
                kept += images_of(path)
            except NeuroscopeError as error:
                skipped.append(SkippedFile(path.name, str(error)))
        elif path.suffix.lower() not in SUFFIXES:
            skipped.append(SkippedFile(path.name, f"“{path.name}” is no image that can be read."))
        elif path.stat().st_size == 0:
            skipped.append(SkippedFile(path.name, f"“{path.name}” is empty."))
        else:
            kept.append(path)
    return kept


def natural_key(path: Path | str) -> list[tuple[int, int, str]]:
    """Return a key to sort by: numbers in names by their value, and cell2 before cell10."""
    parts = re.split(r"(\d+)", str(path).casefold())
    return [(1, int(p), p) if p.isdecimal() and p.isascii() else (0, 0, p) for p in parts]


def _names(paths: Sequence[Path]) -> list[str]:
    """Return file names, with as much of their folders as tells them apart."""
    depth, names = 1, [path.name if _is_file(path) else name_of(path) for path in paths]
    # Those of a Zarr folder have the folders in it anyway.
    inside = [name.count("/") for name in names]
    while len(set(names)) < len(names) and depth < max(len(path.parts) for path in paths):
        depth += 1
        count = Counter(names)
        names = [
            "/".join(path.parts[-depth - below :]) if count[name] > 1 else name
            for path, name, below in zip(paths, names, inside, strict=True)
        ]
    return names


def _is_file(path: Path) -> bool:
    # By its name alone, for there may be a million.
    suffix = path.suffix.lower()
    return suffix in SUFFIXES and suffix != ".zarr"


def _container(path: Path) -> Path:
    return path if _is_file(path) else container_of(path)


def _stem(path: Path) -> str:
    """Return what the names of an image and its ground truth share: no ending of a file."""
    outer = _container(path)
    inside = path.relative_to(outer).as_posix()
    stem = outer.stem.removesuffix(".ome")
    return stem if inside == "." else f"{inside}/{stem}"


# --- images of ground truth -----------------------------------------------------------------------


def _base(stem: str, endings: Sequence[str]) -> str:
    """Return a stem without an ending that says what it is."""
    base, mark, ending = re.fullmatch(r"(?:(.*)([_-]))?(.*)", stem, re.DOTALL).groups()  # type: ignore[union-attr]
    return base if mark and base and ending.casefold() in endings else stem


def _without_truths(paths: list[Path], truths: set[Path]) -> list[Path]:
    """Leave out files that are ground truth of their neighbours, where both share a folder."""
    stems = {_base(_stem(path), IMAGE_ENDINGS) for path in paths}

    def is_truth(path: Path) -> bool:
        stem = _stem(path)
        base = _base(stem, TRUTH_ENDINGS)
        return path in truths and base != stem and base in stems

    return [path for path in paths if not is_truth(path)]


def _matched(
    paths: Sequence[Path],
    truths: Sequence[Path],
    classes: Sequence[str],
    skipped: list[SkippedFile],
) -> dict[Path, Truth]:
    whole: dict[str, list[Path]] = defaultdict(list)
    masks: dict[str, list[Path]] = defaultdict(list)
    for truth in truths:
        stem = _stem(truth)
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
        stem = _stem(path)
        stems = list(dict.fromkeys((stem, _base(stem, IMAGE_ENDINGS))))
        near = next((whole[stem] for stem in stems if stem in whole), [])
        # The very name comes before one with an ending.
        near = [truth for truth in near if _stem(truth) in stems] or near
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
            skipped.append(SkippedFile(truth.name, f"No image goes with “{truth.name}”."))
    return chosen


def _class_of_mask(path: Path, classes: Sequence[str]) -> str | None:
    if path.parent.name in classes:
        return path.parent.name
    ends = [name for name in classes if _stem(path).endswith(f"_{name}")]
    return max(ends, key=len, default=None)


# --- tables of classes ----------------------------------------------------------------------------


def _table(paths: Sequence[Path], skipped: list[SkippedFile]) -> dict[str, str]:
    """Return the class of each name in tables of two columns, or with a header that tells them."""
    found: dict[str, str] = {}
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
            if found.setdefault(name, which) != which:
                raise NeuroscopeError(
                    f"“{path.name}” gives “{shortened(name)}” two classes, “{found[name]}” and "
                    f"“{which}”; keep one."
                )
    return found


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


def _classes_of(
    paths: Sequence[Path], names: Sequence[str], table: dict[str, str], skipped: list[SkippedFile]
) -> dict[Path, Truth]:
    chosen: dict[Path, Truth] = {}
    used: set[str] = set()
    ends = {Path(key).as_posix(): key for key in table}
    for path, name in zip(paths, names, strict=True):
        # A table may name a file with its folders, alone, or without its ending.
        parts = path.parts
        tried = ["/".join(parts[n:]) for n in range(len(parts))] + [name, _stem(path)]
        key = next((ends[one] for one in tried if one in ends), None)
        chosen[path] = None if key is None else table[key]
        if key is not None:
            used.add(key)
    for key in table:
        if key not in used:
            skipped.append(SkippedFile(key, f"There is no image “{shortened(key)}”."))
    return chosen
