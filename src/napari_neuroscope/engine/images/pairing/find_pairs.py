"""Images and their ground truth, found and paired by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.images.pairing.by_name import (
    classes_of_names,
    read_class_tables,
    truths_of_images,
    without_truths,
)
from napari_neuroscope.engine.images.pairing.image_search import (
    Where,
    container,
    find_images,
    listed,
    names_of_files,
)
from napari_neuroscope.engine.images.pairing.pair import Pair, Pairs, SkippedFile, Truth
from napari_neuroscope.engine.images.source import Source

_TABLES = (".csv", ".tsv")


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
    paths = find_images(images, skipped, within=None if folder_names else ())
    tables = [path for path in listed(truths or ()) if path.suffix.lower() in _TABLES]
    class_of = read_class_tables(tables, skipped) if tables else None
    truth_paths: list[Path] = []
    if truths is not None and class_of is None:
        truth_paths = find_images(truths, skipped, within=classes, what="ground truth")
        paths = without_truths(paths, set(truth_paths))
        truth_paths = [path for path in truth_paths if path not in set(paths)]
    if not paths:
        places = shortened(", ".join(map(str, listed(images))), 200)
        raise NeuroscopeError(f"There is no image in {places}.")
    names = names_of_files(paths)
    if folder_names:
        truth_of: dict[Path, Truth] = {path: container(path).parent.name for path in paths}
    elif class_of is not None:
        truth_of = classes_of_names(paths, names, class_of, skipped)
    else:
        truth_of = truths_of_images(paths, truth_paths, classes, skipped)
    pairs = (
        Pair(name, Source(name, path), truth_of[path])
        for path, name in zip(paths, names, strict=True)
        if path in truth_of
    )
    return Pairs(tuple(pairs), tuple(skipped))
