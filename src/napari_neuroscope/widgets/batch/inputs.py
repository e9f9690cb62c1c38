"""What lies where a batch is to read and write: a recipe, images, and what was done before."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from napari_neuroscope.engine.batch.journal import ImageRecord, records_in
from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explain.recipe import Recipe
from napari_neuroscope.engine.images.pairing.find_pairs import pairs_of


@dataclass(frozen=True, eq=False)
class BatchInputs:
    """What was found at the places that a form names.

    Attributes
    ----------
    recipe
        The recipe; None where it is of no file, or can't be read.
    recipe_problem, images_problem
        Why the recipe and the images can't be read, as sentences.
    paths
        The images.
    skipped
        Files that are none, with the reasons.
    without_truth
        How many images have no ground truth.
    records
        What a batch has done in the folder already.
    """

    recipe: Recipe | None
    recipe_problem: str
    paths: tuple[str, ...]
    skipped: tuple[str, ...]
    images_problem: str
    without_truth: int
    records: tuple[ImageRecord, ...]

    @classmethod
    def at(cls, file: str | None, images: list[str], truth: str, out: str) -> BatchInputs:
        """Look at a recipe's file, for images and their ground truth, and what is done already."""
        recipe, recipe_problem, images_problem = None, "", ""
        try:
            recipe = None if file is None else Recipe.load(file)
        except NeuroscopeError as error:
            recipe_problem = str(error)
        paths: tuple[str, ...] = ()
        skipped: tuple[str, ...] = ()
        without_truth = 0
        if images:
            try:
                pairs = pairs_of(images, truth or None)
                paths = tuple(os.path.abspath(str(pair.image.path)) for pair in pairs)
                skipped = tuple(f"{entry.name}: {entry.reason}" for entry in pairs.skipped)
                without_truth = len(pairs.without_truth)
            except NeuroscopeError as error:
                images_problem = str(error)
        records = tuple(records_in(Path(out))) if out else ()
        return cls(recipe, recipe_problem, paths, skipped, images_problem, without_truth, records)

    def in_words(self, *, with_truth: bool) -> str:
        """Return how many images there are, for a person; empty where there are none."""
        if not self.paths:
            return ""
        words = f"{len(self.paths):,} images"
        if with_truth and self.without_truth:
            words += f", {self.without_truth:,} without ground truth"
        if self.skipped:
            words += f"; {len(self.skipped):,} files are none"
        return words
