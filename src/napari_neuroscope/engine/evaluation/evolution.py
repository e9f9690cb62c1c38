"""How a map evolves through the layers: where its mass lies, and how it changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError

# More cells than these tell nothing more of a rank correlation.
_MOST_CELLS = 1 << 16


@dataclass(frozen=True, eq=False)
class Evolution:
    """What the maps of several layers have in common, in the order of the network.

    Attributes
    ----------
    layers
        The names of the layers.
    share
        The share of each map's positive values that lies inside the region, float64 (layer,);
        NaN where a map has none.
    by_chance
        The share that a map of equal values would have: that of the region in the image.
    correlation
        The rank correlation (Spearman) of each map with the next, float64 (layer − 1,); NaN where
        one of them is constant.
    """

    layers: tuple[str, ...]
    share: np.ndarray
    by_chance: float
    correlation: np.ndarray

    @classmethod
    def of(cls, maps: np.ndarray, layers: Sequence[str], inside: np.ndarray) -> Evolution:
        """Measure a stack of maps.

        Parameters
        ----------
        maps
            Real numbers (layer, *space); what is not finite was not seen, and counts for nothing.
        layers
            Their names.
        inside
            The region, bool (*space).

        Raises
        ------
        NeuroscopeError
            Where the region is empty, or the shapes don't fit.
        """
        maps, inside = np.asarray(maps, np.float64), np.asarray(inside, bool)
        if maps.shape[1:] != inside.shape or len(maps) != len(layers):
            raise NeuroscopeError(
                f"The maps have shape {maps.shape}, but there are {len(layers)} layers and a "
                f"region of shape {inside.shape}."
            )
        if not inside.any():
            raise NeuroscopeError("The region is empty on these maps; choose another.")
        finite = np.isfinite(maps)
        positive = np.where(finite, maps, 0).clip(min=0).reshape(len(maps), -1)
        whole = positive.sum(1)
        share = np.full(len(maps), np.nan)
        np.divide(positive[:, inside.ravel()].sum(1), whole, out=share, where=whole > 0)
        return cls(tuple(layers), share, float(inside.mean()), _correlations(maps, finite))

    @property
    def wrong_from(self) -> int | None:
        """The first layer from which on the share stays low, to the end; None where it does not.

        Low is below half of the best share before, or no more than by chance.
        """
        if np.isnan(self.share).all():
            return None
        best = np.fmax.accumulate(self.share)
        low = np.isnan(self.share) | (self.share <= self.by_chance) | (self.share < best / 2)
        if not low[-1]:
            return None
        # From the end, as far as all are low.
        return len(low) - int(np.argmin(low[::-1])) if not low.all() else 0


def _correlations(maps: np.ndarray, finite: np.ndarray) -> np.ndarray:
    seen = np.flatnonzero(finite.all(0).ravel())
    step = max(1, -(-len(seen) // _MOST_CELLS))
    flat = maps.reshape(len(maps), -1)[:, seen[::step]]
    if flat.shape[1] < 2:
        return np.full(max(len(maps) - 1, 0), np.nan)
    from scipy.stats import rankdata

    ranks = rankdata(flat, axis=1)
    ranks -= ranks.mean(1, keepdims=True)
    sizes = np.sqrt((ranks**2).sum(1))
    correlations = np.full(len(maps) - 1, np.nan)
    np.divide((ranks[:-1] * ranks[1:]).sum(1), sizes[:-1] * sizes[1:], out=correlations,
              where=(sizes[:-1] > 0) & (sizes[1:] > 0))  # fmt: skip
    return correlations
