"""The images of the dock “Images” and their ground truth: added, paired, taken off again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari.layers import Image, Labels
from psygnal import Signal

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.evaluation.plane_pairs import plane_pairs
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.images.pairing.find_pairs import pairs_of
from napari_neuroscope.engine.images.pairing.pair import Pair, Pairs, SkippedFile
from napari_neuroscope.engine.images.pairing.truth_folder import with_truths_beside
from napari_neuroscope.engine.images.source import Source
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.image.shown_image import names_of_layer
from napari_neuroscope.widgets.parts.jobs.jobs import Jobs


class ImageList:
    """Images by name, each plane of a stack by itself.

    What is asked one after the other is done one after the other, and nothing is lost.

    Parameters
    ----------
    session
        Whose network tells planes from channels, and names the classes.
    failed
        Told of what went wrong.

    Attributes
    ----------
    pairs
        The images with their ground truth, by name.
    layers
        The viewer's layers among them, by name.
    skipped
        Files that were left out last, and why.
    unused
        How many files of ground truth go with no image, where a whole folder of images was given:
        who chose some of many knows that the rest have ground truth, too.
    """

    changed = Signal()

    def __init__(self, session: Session, failed: Callable[[Exception], None]) -> None:
        self._session, self._failed = session, failed
        self.jobs = Jobs()
        self.pairs: dict[str, Pair] = {}
        self.layers: dict[str, Any] = {}
        self.skipped: list[SkippedFile] = []
        self.unused = 0
        self._has_all = False
        self._given: list[Pair] = []
        self._waiting: deque[tuple[str, Callable[[], Any], Callable[[Any], None]]] = deque()

    def add_files(self, images: Any, truths: Any = None) -> None:
        """Add image files, folders or patterns, with their ground truth by name.

        Of a folder alone, the ground truth is looked for in the folder beside it, such as
        ``labels`` beside ``images``.
        """

        def find() -> Pairs:
            where, beside = (images, truths) if truths is not None else with_truths_beside(images)
            return pairs_of(where, beside, classes=self._classes())

        def done(pairs: Pairs) -> None:
            self._has_all = isinstance(images, str | Path) and Path(images).is_dir()
            self._take_skipped(pairs)
            self._list([*self._given, *pairs])

        self._do("Looking for images", find, done)

    def _take_skipped(self, pairs: Pairs) -> None:
        """Take note of what was left out; of ground truth without an image, only how many."""
        unused = [file for file in pairs.skipped if file.is_unused_truth]
        self.skipped = [file for file in pairs.skipped if not file.is_unused_truth]
        self.unused = len(unused) if self._has_all else 0

    def add_layers(self, layers: Iterable[Any]) -> None:
        """Add image layers, each with the labels layer of its name or its size.

        Raises
        ------
        NeuroscopeError
            Where there is no image among them.
        """
        # No maps of explanations.
        drawn = [layer for layer in layers if KEY not in layer.metadata]
        labels = [layer for layer in drawn if isinstance(layer, Labels)]
        pairs = []
        for layer in drawn:
            if not isinstance(layer, Image):
                continue
            pixels = layer.data[0] if layer.multiscale else layer.data
            shape = pixels.shape[:-1] if layer.rgb else pixels.shape
            fitting = [mask for mask in labels if mask.data.shape == shape[-mask.ndim :]]
            named = [mask for mask in fitting if mask.name.startswith(layer.name)]
            partner = next(iter(named or fitting), None)
            truth = None if partner is None else Source(partner.name, partner.data)
            self.layers[layer.name] = layer
            pairs.append(
                Pair(layer.name, Source(layer.name, pixels, names=names_of_layer(layer)), truth)
            )
        if not pairs:
            raise NeuroscopeError("The viewer has no image; open one, or add files.")
        self._list([*self._given, *pairs])

    def pair_with(self, truths: Any) -> None:
        """Pair all images that are files with the ground truth of a folder, files or a table.

        Raises
        ------
        NeuroscopeError
            Where no image is a file.
        """
        paths = [pair.image.path for pair in self._given if pair.image.path is not None]
        if not paths:
            raise NeuroscopeError("There is no image file in the list; add some first.")

        def done(pairs: Pairs) -> None:
            truth_of = {pair.image.path: pair.truth for pair in pairs}
            self._take_skipped(pairs)
            self._list([_with_truth(pair, truth_of.get(pair.image.path)) for pair in self._given])

        self._do("Looking for ground truth",
                 lambda: pairs_of(paths, truths, classes=self._classes()), done)  # fmt: skip

    def set_truth(self, name: str, path: Path) -> None:
        """Take a file for the ground truth of an image, or of the stack that it is a plane of."""
        self._list([
            _with_truth(pair, Source.of(path)) if _is_of(name, pair) else pair
            for pair in self._given
        ])  # fmt: skip

    def remove(self, names: Iterable[str]) -> None:
        """Take images off the list, a stack with its planes; their files stay."""
        names = set(names)
        self._list([pair for pair in self._given if not any(_is_of(n, pair) for n in names)])

    def refresh(self) -> None:
        """List the same images anew, as another network takes them."""
        if self._given:
            self._list(self._given)

    def layer_of(self, pair: Pair) -> Any:
        """Return the viewer's layer that an image is of, or None."""
        if pair.image.path is not None:
            return None
        return next((layer for name, layer in self.layers.items()
                     if pair.image.name == name or pair.image.name.startswith(f"{name} [")), None)  # fmt: skip

    def _classes(self) -> tuple[str, ...]:
        network = self._session.network
        return () if network is None else tuple(network.spec.class_names)

    def _list(self, pairs: list[Pair]) -> None:
        self._given = _uniquely_named(pairs)
        given, network = self._given, self._session.network

        def done(planes: list[Pair]) -> None:
            self.pairs = {pair.name: pair for pair in planes}
            self.changed.emit()

        self._do("Listing the images", lambda: plane_pairs(given, network), done)

    def _do(self, what: str, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        self._waiting.append((what, work, done))
        if len(self._waiting) == 1:
            self._go_on()

    def _go_on(self) -> None:
        what, work, done = self._waiting[0]

        def finished(result: Any) -> None:
            self._waiting.popleft()
            done(result)
            if self._waiting and not self.jobs.busy:
                self._go_on()

        def failed(error: Exception) -> None:
            self._waiting.popleft()
            self._failed(error)
            if self._waiting:
                self._go_on()

        self.jobs.submit(what, lambda _: work(), finished, failed)


def _with_truth(pair: Pair, truth: Any) -> Pair:
    return pair if truth is None else replace(pair, truth=truth)


def _is_of(name: str, pair: Pair) -> bool:
    """Whether a name is that of a pair, or of one of its planes."""
    return name == pair.name or name.startswith(f"{pair.name} [")


def _uniquely_named(pairs: Iterable[Pair]) -> list[Pair]:
    """Return the pairs, the last of each image, those of one name with numbers added."""
    names: dict[str, Pair] = {}
    for pair in pairs:
        name, number = pair.name, 1
        while name in names and not _is_same(names[name].image, pair.image):
            number += 1
            name = f"{pair.name} ({number})"
        names[name] = replace(pair, name=name)
    return list(names.values())


def _is_same(first: Source, second: Source) -> bool:
    if first.path is not None or second.path is not None:
        return first.path == second.path
    return first.origin is second.origin
