"""Consensus: what several methods agree on, and where they don't."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import rankdata

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.record import Record, TargetRecord
from napari_neuroscope.engine.images.grid import Grid, resample


@dataclass(frozen=True, eq=False)
class Consensus:
    """The agreement of several maps of one image.

    Attributes
    ----------
    mean
        The mean of their ranks: 0 where all maps are lowest, 1 where all are highest.
    disagreement
        The standard deviation of their ranks: 0 where all agree, at most 0.5.
    """

    mean: Explanation
    disagreement: Explanation


def consensus(explanations: Sequence[Explanation]) -> Consensus:
    """Join maps of several methods, each by the ranks of its values.

    Each map is resampled linearly to the grid with the smallest cells; then each value becomes its
    rank, from 0 for the lowest to 1 for the highest (equal values share their mean rank, a constant
    map is 0.5 everywhere). So maps of any unit and size can be joined.

    Parameters
    ----------
    explanations
        At least two, of one image, each of one value a position; several classes or layers count as
        maps of their own.

    Returns
    -------
    Consensus
        Float32 maps (*space) in the range of ranks; NaN where one of the maps has no value.

    Raises
    ------
    NeuroscopeError
        Where there are fewer than two maps, or they are of different images.
    """
    if not explanations:
        raise NeuroscopeError("A consensus needs at least two maps; choose some.")
    first = explanations[0]
    for explanation in explanations:
        title = explanation.record.title
        if explanation.is_table or "channel" in explanation.axes:
            raise NeuroscopeError(
                f"{title} has not one value a position, so it has no part in a consensus."
            )
        if explanation.record.image_digest != first.record.image_digest:
            raise NeuroscopeError(f"{title} is of another image; explain one image by all methods.")
    onto = min(
        (explanation.grid for explanation in explanations), key=lambda grid: math.prod(grid.scale)
    )
    ranked = np.concatenate([_ranks_on(onto, explanation) for explanation in explanations])
    if len(ranked) < 2:
        raise NeuroscopeError("A consensus needs at least two maps; choose another.")
    return Consensus(
        _made(explanations, onto, ranked.mean(0), "Consensus", "mean rank"),
        _made(explanations, onto, ranked.std(0), "Disagreement", "spread of ranks"),
    )


def _ranks_on(onto: Grid, explanation: Explanation) -> np.ndarray:
    """Return the ranks of each of an explanation's maps, (map, *space)."""
    fine = resample(torch.from_numpy(explanation.values), explanation.grid, onto).numpy()
    maps = fine.reshape(-1, *onto.shape)
    return np.stack([_ranks(values) for values in maps])


def _ranks(values: np.ndarray) -> np.ndarray:
    ranks = np.full(values.shape, np.nan)
    finite = np.isfinite(values)
    count = int(finite.sum())
    if count:
        ranks[finite] = (rankdata(values[finite]) - 1) / (count - 1) if count > 1 else 0.5
    return ranks


def _made(
    explanations: Sequence[Explanation], grid: Grid, values: np.ndarray, title: str, unit: str
) -> Explanation:
    first = explanations[0]
    classes = dict.fromkeys(
        target.class_ for explanation in explanations for target in explanation.record.targets
    )
    notes = [] if len(classes) < 2 else [f"of different classes: {', '.join(classes)}"]
    return Explanation(
        values=values.astype(np.float32),
        axes=first.space,
        labels={"target": tuple(classes)} if len(classes) == 1 else {},
        grid=grid,
        image=first.image,
        signed=False,
        unit=unit,
        classes=first.classes,
        record=Record(
            method=title.lower(),
            title=title,
            reference="",
            options={},
            targets=tuple(TargetRecord(name) for name in classes),
            network=first.record.network,
            image=first.record.image,
            versions=first.record.versions,
            notes=tuple(notes),
            of=tuple(explanation.record for explanation in explanations),
        ),
    )
