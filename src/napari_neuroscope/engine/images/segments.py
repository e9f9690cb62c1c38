"""Regions of an image: overlapping segments, and the greedy choice among them.

Segments of several scales overlap. Where they are laid on top of each other they split the image
into atoms, pixels that lie in the same segments; all sums are over atoms, so what a step of the
choice costs does not depend on the number of pixels.
"""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.images.grid import Grid, resample_nearest

_Piece = tuple[tuple[slice, ...], np.ndarray]
"""A segment: a box of the image, and which of its pixels belong to it."""

_KEPT_BYTES = 64 << 20


@dataclass(frozen=True)
class Segmentation:
    """How an image is split into segments (Felzenszwalb & Huttenlocher 2004).

    Attributes
    ----------
    scales
        One split each; a higher scale makes larger segments.
    sigma
        The Gaussian that smooths the image before, in pixels of the smaller image.
    min_size
        The fewest pixels of a segment, in the smaller image.
    longest_side
        The image is made smaller until its longer side has at most so many pixels.
    dilation
        The radius of the disk that each segment grows by, in pixels of the image as it was.
    """

    scales: tuple[float, ...] = (50, 100, 150, 250, 500, 1200)
    sigma: float = 0.8
    min_size: int = 150
    longest_side: int = 224
    dilation: int = 5


class Incidence(NamedTuple):
    """Which items each owner has: those of n are ``items[starts[n] : starts[n + 1]]``."""

    starts: np.ndarray
    items: np.ndarray

    @classmethod
    def of(cls, owners: np.ndarray, items: np.ndarray, count: int) -> Incidence:
        """Return the incidence of pairs, for owners 0 .. count − 1."""
        starts = np.zeros(count + 1, np.int64)
        np.cumsum(np.bincount(owners, minlength=count), out=starts[1:])
        return cls(starts, items[np.argsort(owners, kind="stable")])

    @property
    def owners(self) -> np.ndarray:
        """The owner of each item."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    def places(self, owners: np.ndarray) -> np.ndarray:
        """Return where in `items` those of some owners are."""
        first, counts = self.starts[owners], self.starts[owners + 1] - self.starts[owners]
        before = np.cumsum(counts) - counts
        places: np.ndarray = np.arange(counts.sum()) + np.repeat(first - before, counts)
        return places


class Candidates:
    """Segments to choose from, as sets of atoms.

    Parameters
    ----------
    atoms
        The atom of each pixel, int (*space).
    segments, members
        Pairs of a segment and an atom in it, in the order of the segments.
    count
        How many segments there are.

    Attributes
    ----------
    atoms
        As given.
    sizes
        How many pixels each atom has.
    atoms_of
        The atoms of each segment.
    segments_of
        The segments of each atom.
    """

    def __init__(
        self, atoms: np.ndarray, segments: np.ndarray, members: np.ndarray, count: int
    ) -> None:
        self.atoms = atoms.astype(np.int32)
        self.sizes = np.bincount(atoms.ravel())
        self.atoms_of = Incidence.of(segments, members, count)
        self.segments_of = Incidence.of(members, segments, len(self.sizes))

    @classmethod
    def of_image(cls, image: Tensor, how: Segmentation) -> Candidates:
        """Return the segments of an image (channel, y, x), grown."""
        return cls.of_labels(felzenszwalb_labels(image, how), how.dilation)

    @classmethod
    def of_labels(cls, label_maps: Sequence[np.ndarray], dilation: int = 0) -> Candidates:
        """Return the segments of label maps: whole numbers from zero, int (*space) each.

        Parameters
        ----------
        label_maps
            One or more, of one shape.
        dilation
            The radius of the disk that each segment grows by, for two spatial axes.
        """
        shape = label_maps[0].shape
        return cls._of_pieces(
            shape, [piece for labels in label_maps for piece in _pieces(labels, dilation)]
        )

    @classmethod
    def of_masks(cls, masks: Sequence[np.ndarray]) -> Candidates:
        """Return segments given as masks, bool (*space) each."""
        whole = tuple(slice(0, n) for n in masks[0].shape)
        return cls._of_pieces(masks[0].shape, [(whole, mask) for mask in masks])

    @classmethod
    def _of_pieces(cls, shape: tuple[int, ...], pieces: Sequence[_Piece]) -> Candidates:
        # An atom's key is the sum of its segments' random numbers; of 64 bits, no two sums are
        # equal by chance.
        numbers = np.random.default_rng(0).integers(0, 1 << 64, len(pieces), np.uint64, False)
        keys = np.zeros(shape, np.uint64)
        for (box, mask), number in zip(pieces, numbers, strict=True):
            part = keys[box]
            np.add(part, number, out=part, where=mask)
        atoms, first = _numbered(keys)
        # One pixel of an atom tells which segments it is in.
        samples = np.zeros(shape, bool)
        samples.reshape(-1)[first] = True
        members = [atoms[box][mask & samples[box]] for box, mask in pieces]
        segments = np.repeat(np.arange(len(pieces)), [len(inside) for inside in members])
        return cls(atoms, segments, np.concatenate(members), len(pieces))

    def joined_by(self, labels: np.ndarray) -> Candidates:
        """Return these segments, and then the regions of a label map that are not empty."""
        atoms, whole, part = self._split(labels)
        segments, members = self._members(whole)
        present, region = np.unique(part, return_inverse=True)
        return Candidates(
            atoms,
            np.concatenate([segments, len(self) + region]),
            np.concatenate([members, np.arange(len(part))]),
            len(self) + len(present),
        )

    def cut_by(self, labels: np.ndarray) -> Candidates:
        """Return each segment's part in each region of a label map, where it has one."""
        atoms, whole, part = self._split(labels)
        segments, members = self._members(whole)
        pairs = segments * (int(part.max()) + 1) + part[members]
        present, cut = np.unique(pairs, return_inverse=True)
        return Candidates(atoms, cut, members, len(present))

    def _split(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Split the atoms by a label map; return them, and the old atom and the label of each."""
        count = int(labels.max()) + 1
        atoms, first = _numbered(self.atoms.astype(np.int64) * count + labels)
        return atoms, self.atoms.reshape(-1)[first], labels.reshape(-1)[first]

    def _members(self, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return pairs of a segment and an atom, for atoms that were split from `whole`."""
        parts = Incidence.of(whole, np.arange(len(whole)), len(self.sizes))
        old = self.atoms_of.items
        members = parts.items[parts.places(old)]
        return np.repeat(self.atoms_of.owners, np.diff(parts.starts)[old]), members

    def __len__(self) -> int:
        return len(self.atoms_of.starts) - 1

    @property
    def nbytes(self) -> int:
        """How much memory they hold."""
        arrays = (self.atoms, self.sizes, *self.atoms_of, *self.segments_of)
        return sum(array.nbytes for array in arrays)


def _numbered(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number equal keys alike, from zero; return the numbers, and where each comes first."""
    flat = keys.reshape(-1)
    # Neighbours are mostly equal: only the first of each run is sorted.
    runs = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    _, first, number = np.unique(flat[runs], return_index=True, return_inverse=True)
    lengths = np.diff(np.append(runs, flat.size))
    return np.repeat(number, lengths).reshape(keys.shape), runs[first]


def _pieces(labels: np.ndarray, dilation: int) -> Iterable[_Piece]:
    from scipy.ndimage import find_objects

    for number, box in enumerate(find_objects(labels.astype(np.int32) + 1)):
        if box is None:
            continue
        grown = tuple(
            slice(max(0, side.start - dilation), min(n, side.stop + dilation))
            for side, n in zip(box, labels.shape, strict=True)
        )
        mask = labels[grown] == number
        yield grown, dilated(mask, dilation) if dilation else mask


def dilated(mask: np.ndarray, radius: int) -> np.ndarray:
    """Dilate a mask, bool (y, x), by a disk: all pixels at most `radius` from one of it."""
    # The mask is one long whole number, a bit a pixel, with a frame that catches what is shifted
    # out: so each row of the disk takes two shifts, of a few bytes.
    framed = np.zeros([n + 2 * radius for n in mask.shape], bool)
    framed[radius : radius + len(mask), radius : radius + mask.shape[1]] = mask
    width = framed.shape[1]
    wide = int.from_bytes(np.packbits(framed).tobytes(), "big")
    bits = -(-framed.size // 8) * 8
    grown_bits = reached = 0
    for away in range(radius, -1, -1):
        reach = isqrt(radius**2 - away**2)
        while reached < reach:
            step = min(reach - reached, 2 * reached + 1)
            wide |= wide << step | wide >> step
            reached += step
        grown_bits |= wide << away * width | wide >> away * width
    grown_bits &= (1 << bits) - 1
    grown = np.unpackbits(np.frombuffer(grown_bits.to_bytes(bits // 8, "big"), np.uint8))
    inner = grown[: framed.size].reshape(framed.shape).view(bool)
    return inner[radius : radius + len(mask), radius : radius + mask.shape[1]]


def felzenszwalb_labels(image: Tensor, how: Segmentation) -> list[np.ndarray]:
    """Split an image at each scale.

    Parameters
    ----------
    image
        Finite values of any range, (channel, y, x). They are scaled to −1..1, all channels alike;
        pixels differ by the Euclidean distance over the channels, however many these are.
    how
        Its dilation is not used here.

    Returns
    -------
    list of ndarray
        A label map a scale, whole numbers from zero, int (y, x).
    """
    from skimage.segmentation import felzenszwalb

    low, high = (float(end) for end in image.aminmax())
    pixels = image.detach().cpu().float()
    grid = Grid.of_image(image.shape[1:])
    ratio = min(1.0, how.longest_side / max(grid.shape))
    small = grid.divided([max(1, round(n * ratio)) for n in grid.shape])
    if small.shape != grid.shape:
        pixels = functional.interpolate(
            pixels[None], small.shape, mode="bilinear", align_corners=False, antialias=True
        )[0]
    # It commutes with the resizing, which has fewer pixels to leave.
    scaled = (pixels.permute(1, 2, 0).double().numpy() - low) / ((high - low) or 1.0) * 2 - 1
    with warnings.catch_warnings():
        # More than three channels are meant.
        warnings.filterwarnings("ignore", "Got image with third dimension", RuntimeWarning)
        split = [
            felzenszwalb(scaled, scale=scale, sigma=how.sigma, min_size=how.min_size)
            for scale in how.scales
        ]
    return [resample_nearest(labels, small, grid) for labels in split]


class CandidateCache:
    """The segments of images, the newest kept, within a number of bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kept: OrderedDict[Hashable, Candidates] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, key: Hashable, find: Callable[[], Candidates]) -> Candidates:
        """Return the segments of `key`, which says of what and how, found if they are not kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        candidates = find()
        with self._lock:
            self._kept[key] = candidates
            while self._kept and sum(kept.nbytes for kept in self._kept.values()) > self.limit:
                self._kept.popitem(last=False)
        return candidates

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)


candidates_of_images = CandidateCache(_KEPT_BYTES)
"""They depend on the image alone, and serve every network, class and attribution."""


class RegionChoice(NamedTuple):
    """What the greedy choice makes of an attribution.

    Attributes
    ----------
    values
        On each region the attribution's mean over it, float32 (*space).
    order
        The number of each region, from 1 in the order of choice, int32 (*space).
    """

    values: Tensor
    order: Tensor


def paint(attribution: Tensor, candidates: Candidates, min_new_area: int = 50) -> RegionChoice:
    """Choose segments greedily by their mean attribution, and paint it on them.

    The segment whose part that is not yet painted has the largest mean comes next, the first of
    the candidates if there are several; parts of fewer than `min_new_area` pixels are passed over.
    What is left at the end is one region more. With integrated gradients this is XRAI (Kapishnikov
    et al., ICCV 2019).

    Parameters
    ----------
    attribution
        Finite values (*space).
    candidates
        Segments over the same pixels.
    min_new_area
        The fewest pixels that a choice must add.

    Raises
    ------
    NeuroscopeError
        Where the attribution has a value that is not finite.
    """
    given = attribution.detach().cpu().double().numpy()
    if not np.isfinite(given).all():
        raise NeuroscopeError(
            "The attribution has values that are not finite, so regions have no mean of it; look "
            "at the map that is the base by itself."
        )
    # As whole multiples of a small unit, sums of the values are exact in any order: equal means
    # are equal, and nothing drifts as parts are taken off.
    bits = int(np.frexp(np.abs(given).max())[1]) + given.size.bit_length() - 52
    units = np.rint(np.ldexp(given, -bits))
    sizes = candidates.sizes.astype(np.float64)
    sums = np.bincount(candidates.atoms.ravel(), units.ravel(), len(sizes))
    atoms_of, segments_of, count = candidates.atoms_of, candidates.segments_of, len(candidates)
    area = np.bincount(atoms_of.owners, sizes[atoms_of.items], count)
    total = np.bincount(atoms_of.owners, sums[atoms_of.items], count)

    means, order = np.zeros(len(sizes)), np.zeros(len(sizes), np.int32)
    left, regions, least = np.ones(len(sizes), bool), 0, max(min_new_area, 1)
    while (area >= least).any():
        of_segments = np.divide(total, area, out=np.full(count, -np.inf), where=area >= least)
        best = int(of_segments.argmax())
        atoms = atoms_of.items[atoms_of.starts[best] : atoms_of.starts[best + 1]]
        new = atoms[left[atoms]]
        regions += 1
        means[new], order[new], left[new] = of_segments[best], regions, False
        owners = segments_of.items[segments_of.places(new)]
        shares = np.diff(segments_of.starts)[new]
        area -= np.bincount(owners, np.repeat(sizes[new], shares), count)
        total -= np.bincount(owners, np.repeat(sums[new], shares), count)
    if left.any():
        means[left], order[left] = sums[left].sum() / sizes[left].sum(), regions + 1
    values = np.ldexp(means, bits).astype(np.float32)
    return RegionChoice(
        torch.from_numpy(values[candidates.atoms]), torch.from_numpy(order[candidates.atoms])
    )
