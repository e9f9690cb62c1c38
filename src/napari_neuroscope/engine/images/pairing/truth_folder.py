"""The folder of ground truth that lies beside a folder of images, by the names that people give them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_neuroscope.engine.images.source import SUFFIXES

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "raw", "inputs", "input", "jpegimages")
"""What a folder of images is called."""
TRUTH_FOLDERS = (
    "labels", "label", "masks", "mask", "ground_truth", "groundtruth", "gt", "truth", "truths",
    "annotations", "annotation", "annot", "segmentations", "segmentation", "segmentationclass",
    "targets", "instances",
)  # fmt: skip
"""What the folder beside it is called, or has more in its name, such as “train_labels”."""


def with_truths_beside(images: Any) -> tuple[Any, Path | None]:
    """Return where images are, and the folder of their ground truth.

    Parameters
    ----------
    images
        Files, folders and patterns. Of one folder, the ground truth is looked for: beside it, as
        ``labels`` beside ``images``, and ``train_labels`` or ``trainannot`` beside ``train``; or
        in it, where it holds two such folders and no image.

    Returns
    -------
    images
        As given; the folder of the images in it, where it holds two.
    truths
        The folder of the ground truth; None where none is found, or several are.
    """
    if not isinstance(images, str | Path) or not Path(images).is_dir():
        return images, None
    folder = Path(images)
    if folder.suffix.lower() == ".zarr":
        return images, None
    if not _has_images(folder):
        inside = [path for path in _folders_in(folder) if path.name.casefold() in IMAGE_FOLDERS]
        if len(inside) != 1:
            return images, None
        folder = inside[0]
    truths = [path for path in _folders_in(folder.parent) if _goes_with(path.name, folder.name)]
    if len(truths) != 1:
        return folder if truths else images, None
    return folder, truths[0]


def _goes_with(truth: str, images: str) -> bool:
    truth, images = truth.casefold(), images.casefold()
    if truth == images:
        return False
    if images in IMAGE_FOLDERS:
        return truth in TRUTH_FOLDERS
    return truth.startswith(images) and truth[len(images) :].lstrip("_- ") in TRUTH_FOLDERS


def _has_images(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES for path in folder.iterdir())


def _folders_in(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
