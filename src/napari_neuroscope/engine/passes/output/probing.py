"""Where a network's output lies on its input, found by asking it: for what can't be seen inside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from napari_neuroscope.engine.passes.unit_placement import Cells, Layout

Ask = Callable[[Tensor], Tensor | None]
"""Asks about an input (channel, *space): the answer (channel, *positions), or None where it fails."""

# What changes by less than this part of the most is rounding, or seen by all through a norm.
_CHANGED = 1e-5
# How much brighter than its noise the one pixel is.
_BRIGHT = 20.0
# How many neighbours are asked where units do not lie as expected.
_IN_TURN = 4
# How far from the middle another pixel is seen, as parts of the input.
_AWAY = (0.25, -0.25, 0.125, -0.125)


def measured_layout(
    ask: Ask, channels: int, pixels: Sequence[int], others: Sequence[Sequence[int]]
) -> Layout | None:
    """Return where an output lies.

    How far its units are apart follows from how many more there are of a larger image; where they
    begin from which of them see one pixel. What that does not tell otherwise is taken to be centred.

    Parameters
    ----------
    ask
        Asks the network.
    channels, pixels
        Of its input.
    others
        Larger shapes that it takes too, of one axis each.

    Returns
    -------
    tuple or None
        None where it does not answer.
    """
    noise = torch.randn(channels, *pixels, generator=torch.Generator().manual_seed(0))
    answer = ask(noise)
    if answer is None:
        return None
    units = tuple(answer.shape[1:])
    told = _pitches(ask, channels, pixels, others, units)
    middle = [n // 2 for n in pixels]
    seen = _seen(ask, noise, answer, middle)
    for part in _AWAY if seen is not None else ():
        if None not in told:
            break
        away = [n // 2 + int(n * part) for n in pixels]
        also = _seen(ask, noise, answer, away)
        told = _pitches_between(told, pixels, units, (middle, away), (seen, also))
    pitches = [p or Fraction(n, m) for p, n, m in zip(told, pixels, units, strict=True)]
    starts = _starts(pitches, middle, seen)
    left_over = [n - m * p for n, m, p in zip(pixels, units, pitches, strict=True)]
    # Of units that are cut or interpolated, neighbouring pixels are seen in turn.
    if any(_differ(s, o, p) for s, o, p in zip(starts, left_over, pitches, strict=True)):
        near = [[place + step for place in middle] for step in range(_IN_TURN)]
        each = [_starts(pitches, place, _seen(ask, noise, answer, place)) for place in near]
        starts = [_mean(along) for along in zip(*each, strict=True)]
    layouts = []
    for start, over, pitch in zip(starts, left_over, pitches, strict=True):
        at = over / 2
        if start is not None and _differ(start, over, pitch):
            at = Fraction(round(4 * start), 4)
        whole = abs(over) >= pitch
        layouts.append(Cells(at, pitch, over if whole else min(over, Fraction(0))))
    return tuple(layouts)


def _starts(
    pitches: Sequence[Fraction],
    place: Sequence[int],
    seen: Sequence[Fraction | None] | None,
) -> list[Fraction | None]:
    """Return where the first cell begins, by the middle of the units that see a pixel."""
    if seen is None:
        return [None] * len(place)
    return [
        None if middle is None
        else Fraction(2 * at + 1, 2) - (middle + Fraction(1, 2)) * pitch
        for at, middle, pitch in zip(place, seen, pitches, strict=True)
    ]  # fmt: skip


def _differ(start: Fraction | None, over: Fraction, pitch: Fraction) -> bool:
    """Whether cells begin elsewhere than centred ones; a unit's own place is no more exact."""
    return start is not None and abs(start - over / 2) > pitch / 2


def _mean(starts: Sequence[Fraction | None]) -> Fraction | None:
    known_starts = [start for start in starts if start is not None]
    return sum(known_starts, Fraction(0)) / len(known_starts) if known_starts else None


def _pitches(
    ask: Ask, channels: int, pixels: Sequence[int], others: Sequence[Sequence[int]],
    units: Sequence[int],
) -> list[Fraction | None]:  # fmt: skip
    """Return how far units are apart along each axis, None where no other size tells it."""
    starts: list[Fraction | None] = [None] * len(pixels)
    for shape in others:
        (axis,) = [a for a, (n, m) in enumerate(zip(pixels, shape, strict=True)) if n != m]
        answer = ask(torch.zeros(channels, *shape))
        if answer is None or answer.shape[1 + axis] <= units[axis]:
            continue
        starts[axis] = _pace(shape[axis] - pixels[axis], answer.shape[1 + axis] - units[axis])
    return starts


def _pace(pixels: int, units: int) -> Fraction:
    """Return how far units are apart, `units` of which take so many pixels more, about."""
    pace = Fraction(pixels, units)
    # Both sizes may have been rounded by one unit.
    whole = Fraction(round(pace)) if pace >= 1 else Fraction(1, round(1 / pace))
    return whole if abs(pixels / whole - units) <= 1 else pace


def _seen(
    ask: Ask, noise: Tensor, answer: Tensor, place: Sequence[int]
) -> list[Fraction | None] | None:
    """Return the middle of the units that see a pixel; None where it is cut off by a border."""
    changed = torch.zeros(answer.shape[1:], dtype=torch.bool)
    for sign in (1, -1):
        changed_noise = noise.clone()
        at: tuple[Any, ...] = (slice(None), *place)
        changed_noise[at] = sign * _BRIGHT
        of_changed = ask(changed_noise)
        if of_changed is None or of_changed.shape != answer.shape:
            return None
        change = (of_changed - answer).abs().amax(0).cpu()
        most = float(change.max())
        changed |= change > _CHANGED * most if most > 0 else changed
    if not changed.any():
        return None
    middles: list[Fraction | None] = []
    for axis, m in enumerate(changed.shape):
        rest = [a for a in range(changed.ndim) if a != axis]
        along = (changed.any(dim=tuple(rest)) if rest else changed).nonzero()[:, 0]
        low, high = int(along[0]), int(along[-1])
        middles.append(Fraction(low + high, 2) if low > 0 and high < m - 1 else None)
    return middles


def _pitches_between(
    measured: Sequence[Fraction | None], pixels: Sequence[int], units: Sequence[int],
    places: tuple[Sequence[int], Sequence[int]],
    seen: tuple[list[Fraction | None] | None, list[Fraction | None] | None],
) -> list[Fraction | None]:  # fmt: skip
    """Return how far units are apart, as far as it is told by where two pixels are seen."""
    starts = list(measured)
    powers = [*(Fraction(2) ** power for power in range(-3, 7)), Fraction(3)]
    for axis, (n, m) in enumerate(zip(pixels, units, strict=True)):
        if measured[axis] is not None:
            continue
        first, second = (None if size is None else size[axis] for size in seen)
        if first is not None and second is not None and first != second:
            apart = Fraction(places[1][axis] - places[0][axis]) / (second - first)
            near = [(abs(size / apart - 1), size) for size in (*powers, Fraction(n, m))]
            starts[axis] = min(near)[1]
    return starts
