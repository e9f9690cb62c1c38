"""Layers whose positions are not simply their last axes: tokens, channels last, windows.

Where the numbers of an output come from is known by *places*: one tensor an axis of space, shaped
as the output, with the centre of the part of the input that each number stands for, as a fraction
of that axis; NaN for what stands for no part, such as a class token. A framework that sees how a
network moves its numbers about keeps them; the layout of a layer is then read off, not guessed
from its shape:

- an axis along which no place changes is one of channels; all others hold positions;
- the places that are known must fill a grid, each cell once. Their order tells which cell is which,
  whatever was flattened, transposed, rolled or cut into windows before, and which numbers are
  beside the grid (class and register tokens, the padding of windows).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Places of one row or column agree to this part of the image, and different ones don't.
SAME_PLACE = 1e-6


@dataclass(frozen=True, eq=False)
class TokenLayout:
    """How the output of a layer is laid out on its grid.

    Attributes
    ----------
    shape
        The output's own shape for one input, its batch included.
    batch
        Which axis is the batch; None where the first axis has the parts of one input (its
        windows), and those of the next input after them.
    channels
        The axes of its channels: several where they are split, as among the heads of attention.
    grid
        The shape of its positions.
    cells
        For each cell of the grid, in order, its place among all places of the other axes.
    """

    shape: tuple[int, ...]
    batch: int | None
    channels: tuple[int, ...]
    grid: tuple[int, ...]
    cells: Tensor

    @property
    def own_shape(self) -> tuple[int, ...]:
        """The output's shape without the batch."""
        return tuple(n for axis, n in enumerate(self.shape) if axis != self.batch)

    @property
    def places(self) -> int:
        """How many places there are: the cells of the grid, and those beside it."""
        return math.prod(self.own_shape) // math.prod(self.shape[axis] for axis in self.channels)

    @property
    def beside(self) -> tuple[int, ...]:
        """The places that are no cell of the grid, such as a class token."""
        return tuple(sorted(set(range(self.places)) - set(self.cells.tolist())))

    def flat(self, output: Tensor) -> Tensor:
        """Bring outputs of n inputs to (n, channel, place)."""
        return self._arranged(output).reshape(self.count(output), -1, self.places)

    def __call__(self, output: Tensor) -> Tensor:
        """Bring outputs of n inputs, as the network has them, to (n, channel, *grid)."""
        flat = self.flat(output)
        cells = flat[..., self.cells.to(flat.device)]
        return cells.reshape(*cells.shape[:-1], *self.grid)

    def back(self, values: Tensor, single: Tensor) -> Tensor:
        """Bring values (n, channel, *grid) to n outputs as the network has them.

        What is beside the grid is as in `single`, the output of one input.
        """
        output = self.repeated(single, len(values))
        # The arranged tensor is a view: what is written on it is written on the output.
        arranged = self._arranged(output)
        flat = self.flat(output).clone()
        flat[..., self.cells.to(flat.device)] = values.flatten(2).to(flat)
        arranged.copy_(flat.reshape(arranged.shape))
        return output

    def repeated(self, single: Tensor, count: int) -> Tensor:
        """Return the output of one input as that of several equal inputs, a copy."""
        batch = self.batch or 0
        return single.repeat([count if axis == batch else 1 for axis in range(single.ndim)])

    def count(self, output: Tensor) -> int:
        """Return of how many inputs an output is."""
        return output.shape[self.batch or 0] // self.shape[self.batch or 0]

    def _arranged(self, output: Tensor) -> Tensor:
        """Return a view (n, *channels, *places) of outputs."""
        if self.batch is None:
            # A view, for `back` writes on it.
            apart = output.view(-1, self.shape[0], *output.shape[1:])
            channels = [axis + 1 for axis in self.channels]
        else:
            apart = output.movedim(self.batch, 0)
            channels = [axis + 1 if axis < self.batch else axis for axis in self.channels]
        others = [axis for axis in range(1, apart.ndim) if axis not in channels]
        return apart.permute(0, *channels, *others)


Places = tuple[Tensor, ...]
"""Where each number of a tensor comes from: a float64 tensor of its shape for each axis of space."""


def whole(shape: Sequence[int], space: Sequence[int]) -> Places:
    """Return the places of a tensor whose axes `space` have all of the input, evenly."""
    centres = []
    for axis in space:
        n = shape[axis]
        along = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        centres.append(along.reshape([-1 if a == axis else 1 for a in range(len(shape))]))
    return tuple(along.expand(*shape) for along in centres)


def averaged(places: Tensor, axis: int) -> Tensor:
    """Return the mean along an axis, which stays with one entry."""
    axis %= places.ndim
    mean = compact(places).mean(axis, keepdim=True)
    return mean.expand([1 if a == axis else n for a, n in enumerate(places.shape)])


def compact(places: Tensor) -> Tensor:
    """Return places without what is repeated along an axis, which stays with one entry."""
    for axis in reversed(range(places.ndim)):
        if places.shape[axis] > 1 and (places.stride(axis) == 0 or _repeats(places, axis)):
            places = places.narrow(axis, 0, 1)
    return places


def _repeats(places: Tensor, axis: int) -> bool:
    # Bit for bit: what is nowhere equals itself.
    bits = places.view(torch.int64)
    first = bits.narrow(axis, 0, 1)
    if not torch.equal(first, bits.narrow(axis, 1, 1)):
        return False
    return bool((bits == first).all())


def spread(places: Places) -> bool:
    """Whether there are several places at all."""
    for along in places:
        distinct = compact(along)
        distinct = distinct[~distinct.isnan()]
        if len(distinct) and float(distinct.max() - distinct.min()) > SAME_PLACE:
            return True
    return False


def is_plain(places: Places) -> bool:
    """Whether a tensor is (..., channel, *space), its positions in order."""
    space = len(places)
    if places[0].ndim <= space:
        return False
    for axis, centres in enumerate(places):
        if any(n != 1 for n in centres.shape[: centres.ndim - space - 1]):
            return False
        values = averaged(centres, centres.ndim - space - 1).reshape(centres.shape[-space:])
        along = compact(values).movedim(axis, 0)
        if len(along) != values.shape[axis]:
            return False
        along = along.reshape(len(along), -1)
        still = (along.amax(1) - along.amin(1) <= SAME_PLACE).all()
        if not bool(still & (along.diff(dim=0) > 0).all()):
            return False
    return True


def token_layout_of(places: Places) -> TokenLayout | None:
    """Return how an output with its batch axis, of one input, is laid out; None if on no grid."""
    shape = tuple(places[0].shape)
    if len(shape) < 2:
        return None
    batch = 0 if shape[0] == 1 else 1 if len(shape) > 2 and shape[1] == 1 else None
    for mixed in (False, True):
        # What comes of several places at once, as neighbours that are channels now, is in between.
        centres = [averaged(along, -1).expand(shape) if mixed else along for along in places]
        small = [compact(along) for along in centres]
        axes = [axis for axis in range(len(shape)) if axis != batch]
        channels = [axis for axis in axes if all(_constant(along, axis) for along in small)]
        others = [axis for axis in axes if axis not in channels]
        if not channels or not others:
            continue
        first = [0 if axis not in others else slice(None) for axis in range(len(shape))]
        grid_and_cells = _on_grid([along[tuple(first)].flatten() for along in centres])
        if grid_and_cells is not None:
            return TokenLayout(shape, batch, tuple(channels), *grid_and_cells)
    return None


def _constant(places: Tensor, axis: int) -> bool:
    if places.shape[axis] == 1:
        return True
    values = places.nan_to_num(-1.0)
    return bool((values.amax(axis) - values.amin(axis) <= SAME_PLACE).all())


def _on_grid(places: list[Tensor]) -> tuple[tuple[int, ...], Tensor] | None:
    """Return the shape of the grid that places (place,) fill, and which place each cell is."""
    placed = torch.stack([~along.isnan() for along in places]).all(0).nonzero()[:, 0]
    if len(placed) < 2:
        return None
    number, grid = torch.zeros(len(placed), dtype=torch.long), []
    for along in places:
        values, order = along[placed].sort()
        steps = (values.diff() > SAME_PLACE).long().cumsum(0)
        level = torch.zeros(len(placed), dtype=torch.long)
        level[order[1:]] = steps
        grid.append(int(steps[-1]) + 1)
        number = number * grid[-1] + level
    if math.prod(grid) != len(placed):
        return None
    cells = torch.full((len(placed),), -1, dtype=torch.long)
    cells[number] = placed
    return (tuple(grid), cells) if bool((cells >= 0).all()) else None
