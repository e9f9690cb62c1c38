"""``napari-neuroscope check --image``: what a network gets of an image, and what it answers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_neuroscope.cli.arguments import refuse_taken, say
from napari_neuroscope.engine.errors import NeuroscopeError

if TYPE_CHECKING:
    from torch import Tensor

    from napari_neuroscope.engine.images.preprocessing import PreparedImage
    from napari_neuroscope.engine.networks.network import Network
    from napari_neuroscope.engine.passes.prediction import Prediction

_MOST_CLASSES = 5
_OF_COLOURS = 3


def add_image(command: argparse.ArgumentParser) -> None:
    """Add what names the image, and where the picture of what is seen of it goes."""
    command.add_argument(
        "--image", type=Path, metavar="IMAGE", help="an image to ask the network about"
    )
    command.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="PICTURE",
        help="with --image: a .png of what the network gets of it",
    )
    command.add_argument("--force", action="store_true", help="write over an existing picture")


def refuse_picture(parsed: argparse.Namespace) -> None:
    """Refuse what can't be written before anything is computed.

    Raises
    ------
    NeuroscopeError
        Where there is no image to make a picture of, or none can be written there.
    """
    out = parsed.out
    if out is None:
        return
    if parsed.image is None:
        raise NeuroscopeError("What the network gets is a picture of an image; add --image.")
    if out.suffix.lower() != ".png":
        raise NeuroscopeError(f"“{out.name}” is no name of a PNG; let it end in .png.")
    refuse_taken(out, force=parsed.force)


def say_answer(network: Network, path: Path, out: Path | None) -> None:
    """Print what a network gets of an image and what it answers; write what it gets as a picture.

    Raises
    ------
    NeuroscopeError
        Where the image can't be read, or doesn't fit the network.
    """
    from napari_neuroscope.engine.images.formats.image_file import open_image
    from napari_neuroscope.engine.tiles.tiling import by_tiles

    with open_image(path) as image:
        answer = network.predict(image)
        tiled = by_tiles(network, image) or network.tiled_for(image) is not None
        prepared = None if tiled else network.prepare(image)
        whole = tuple(image.shape)
        values = None if prepared is None else np.asarray(image[...])
    rows = [("image", f"{_by(whole)}, {image.dtype}" + ("" if values is None else _range(values)))]
    if prepared is None:
        rows.append(("gets", "tiles of it, of the size above"))
    else:
        given = prepared.input
        channels = f"{given.shape[0]} channels ({prepared.order}), {_by(given.shape[1:])}"
        rows.append(("gets", channels + _range(given)))
    rows += [("note", note) for note in answer.notes]
    rows += [("answer", line) for line in _answers(network, answer)]
    say("", *(f"{label:<10}{value}" for label, value in rows))
    if out is not None:
        if prepared is None:
            raise NeuroscopeError(
                f"“{path.name}” is read tile by tile, so there is no one picture of what the network "
                f"gets; give an image of a tile's size."
            )
        _write(prepared, out)
        say(f"Saved {out}.")


def _answers(network: Network, answer: Prediction) -> list[str]:
    """Return the likeliest classes, or what share of the pixels each has."""
    names = answer.class_names
    if network.spec.task == "segmentation":
        labels = answer.labels[answer.labels >= 0]
        shares = np.bincount(labels.ravel(), minlength=len(names)) / max(labels.size, 1)
        words = "of the pixels"
    else:
        shares, words = answer.probabilities.reshape(-1), "probable"
    order = [n for n in np.argsort(-shares, kind="stable") if shares[n] > 0][:_MOST_CLASSES]
    return [f"{names[n]}: {shares[n]:.1%} {words}" for n in order]


def _write(prepared: PreparedImage, out: Path) -> None:
    from PIL import Image

    from napari_neuroscope.engine.files.atomic_write import write_whole

    values = prepared.displayable().numpy()
    while values.ndim > _OF_COLOURS:
        # Of a volume, the plane in its middle.
        values = values[:, values.shape[1] // 2]
    values = values.reshape(values.shape[0], -1, values.shape[-1])
    shown = values[:_OF_COLOURS] if len(values) >= _OF_COLOURS else np.repeat(values[:1], 3, 0)
    picture = (np.moveaxis(shown, 0, -1).clip(0, 1) * 255).round().astype(np.uint8)
    write_whole(out, lambda part: Image.fromarray(picture).save(part, "PNG"))


def _range(values: np.ndarray | Tensor) -> str:
    return f", values {float(values.min()):.4g}..{float(values.max()):.4g}"


def _by(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
