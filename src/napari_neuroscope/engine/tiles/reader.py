"""An image that is read by parts, each prepared as it would be within the whole."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.images.axes import image_axes_of, in_read_order
from napari_neuroscope.engine.images.digest import image_digest
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.images.preprocessing import PreparedImage, as_array, prepare
from napari_neuroscope.engine.images.value_range import range_of
from napari_neuroscope.engine.spec.input_spec import Normalization, SizeRule
from napari_neuroscope.engine.spec.model_spec import ModelSpec


class TiledInput:
    """What a network takes of an image, read window by window.

    What hangs on the whole image, such as its least value or a percentile, is found first by
    reading it once or more in blocks.

    Parameters
    ----------
    image
        An array that can be sliced and has a shape and a dtype: of NumPy, dask, zarr or h5py.
    spec, channels
        What the network expects.
    block
        The shape (*space) in which the image is read for what hangs on all of it.
    step
        Called before each of these reads; it may raise.
    stride
        What distances of tiles are multiples of, for a network of one size alone.

    Attributes
    ----------
    record
        What is said of the image: its shape and type, and a hash: of one that is not in memory that
        of its windows, as they were read first.
    image_shape
        The image's pixels along the spatial axes.
    shape
        The same, padded to a size that the network takes.
    notes
        What a reader of the result should know.

    Raises
    ------
    NeuroscopeError
        Where the image does not fit the network, or would have to be resized.
    """

    def __init__(
        self,
        image: Any,
        spec: ModelSpec,
        channels: int,
        block: Sequence[int],
        step: Callable[[], None] = lambda: None,
        *,
        stride: Sequence[int] = (1, 1, 1),
    ) -> None:
        lazy = all(hasattr(image, name) for name in ("shape", "dtype", "__getitem__"))
        if isinstance(image, Tensor) or not lazy:
            image = as_array(image)
        image = in_read_order(image, spec, channels)
        self._image, self.dtype = image, np.dtype(image.dtype)
        if self.dtype.kind not in "buif":
            raise NeuroscopeError(f"The image's type is {self.dtype}; real numbers are needed.")
        if 0 in image.shape:
            raise NeuroscopeError(f"The image is empty: its shape is {tuple(image.shape)}.")
        space, self._channels, self._step = spec.input.space, channels, step
        self._axes = image_axes_of(image.shape, spec, channels)
        self._space = space
        self.image_shape = tuple(int(image.shape[self._axes.index(axis)]) for axis in space)
        self.record: dict[str, Any] = {}
        self._read_so_far: Any = None
        self._begin_record()
        self.shape = padded_shape(self.image_shape, spec, stride)
        self.notes: list[str] = []
        self._block = tuple(block)
        self._lowest = 0.0
        as_is = spec.with_input(size=None, resize="stretch")
        self._spec = as_is.model_copy(update={"image_axes": self._axes})
        self._fix_range()
        self._fix_normalization()

    @property
    def whole_grid(self) -> Grid:
        """Where the pixels of the padded image lie."""
        return Grid.of_image(self.image_shape).window((0,) * len(self.shape), self.shape)

    def window(self, start: Sequence[int], shape: Sequence[int]) -> PreparedImage:
        """Return a window of the padded image as the network takes it, on its place in the whole."""
        whole = Grid.of_image(self.image_shape)
        # The last pixel is what padding continues.
        first = [min(s, n - 1) for s, n in zip(start, self.image_shape, strict=True)]
        last = [min(s + n, m) for s, n, m in zip(start, shape, self.image_shape, strict=True)]
        last = [max(stop, begin + 1) for begin, stop in zip(first, last, strict=True)]
        prepared = self._prepared(first, last)
        values = prepared.input
        missing = [s + n - stop for s, n, stop in zip(start, shape, last, strict=True)]
        if any(missing):
            padding = [n for after in reversed(missing) for n in (0, after)]
            values = functional.pad(values[None], padding, mode="replicate")[0]
        cut = tuple(slice(-n, None) for n in shape)
        return PreparedImage(
            values[(slice(None), *cut)].contiguous(),
            whole,
            whole.window(start, shape),
            prepared.gain,
            prepared.shift,
            prepared.order,
        )

    def begin(self) -> None:
        """Forget what was read, where not all of it was."""
        if self._read_so_far is not None:
            self._read_so_far = hashlib.blake2b(digest_size=16)

    def again(self) -> TiledInput:
        """Return the same image to be read anew, with what was found of all of it."""
        reader = copy(self)
        reader._begin_record()
        return reader

    def _begin_record(self) -> None:
        image = self._image
        self.record = {
            "shape": [int(n) for n in image.shape],
            "dtype": str(self.dtype),
        }
        self._read_so_far = hashlib.blake2b(digest_size=16)
        if isinstance(image, np.ndarray):
            self.record["digest"], self._read_so_far = image_digest(image), None

    def end_of_pass(self) -> None:
        """Tell that all windows were read."""
        if self._read_so_far is not None:
            self.record["digest"], self._read_so_far = self._read_so_far.hexdigest(), None

    def _prepared(self, first: Sequence[int], last: Sequence[int]) -> PreparedImage:
        values = self._read(first, last)
        if self._read_so_far is not None:
            self._read_so_far.update(np.ascontiguousarray(values).data)
        return prepare(values, self._spec, self._channels)

    def _read(self, first: Sequence[int], last: Sequence[int]) -> np.ndarray:
        values = self._raw(first, last)
        if self.dtype.kind == "f":
            values = np.where(np.isfinite(values), values, self.dtype.type(self._lowest))
        return values

    def _raw(self, first: Sequence[int], last: Sequence[int]) -> np.ndarray:
        places = dict(zip(self._space, zip(first, last, strict=True), strict=True))
        cut = tuple(slice(*places[axis]) if axis in places else slice(None) for axis in self._axes)
        return np.asarray(self._image[cut])

    def _blocks(self) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Yield the first and the last pixels of blocks that cover the image once."""
        starts = [range(0, n, b) for n, b in zip(self.image_shape, self._block, strict=True)]
        for first in itertools.product(*starts):
            self._step()
            last = (min(s + b, n)
                    for s, b, n in zip(first, self._block, self.image_shape, strict=True))  # fmt: skip
            yield first, tuple(last)

    def _fix_range(self) -> None:
        """Find which values become 0 and 1, where that hangs on the whole image."""
        stated, kind = self._spec.input.value_range, self.dtype.kind
        wide = kind in "ui" and self.dtype.itemsize > 2
        if kind != "f" and stated != "data" and not (stated == "auto" and wide):
            return
        low, high, unfit = np.inf, -np.inf, 0
        for first, last in self._blocks():
            values = self._raw(first, last)
            if kind == "f":
                finite = np.isfinite(values)
                unfit += values.size - int(np.count_nonzero(finite))
                values = values[finite]
            if values.size:
                low, high = min(low, float(values.min())), max(high, float(values.max()))
        if low > high:
            raise NeuroscopeError("The image has no finite value: every pixel is NaN or infinite.")
        if unfit:
            self.notes.append(
                f"{unfit} values that are not finite were read as the lowest, {low:g}"
            )
        self._lowest = low
        extremes = np.array([low, high]).astype(self.dtype)
        value_range = range_of(extremes, stated, self.notes)
        self._spec = self._spec.with_input(value_range=value_range)

    def _fix_normalization(self) -> None:
        """Replace each normalisation by the image's own values by one with fixed numbers."""
        fixed: list[Normalization] = []
        for step in self._spec.input.normalization.steps:
            alone = step.model_copy(update={"then": None})
            if step.percentile is not None or step.per_image:
                # Of what the steps before made of the image.
                so_far = self._spec.with_input(normalization=_chained(fixed))
                mean, std = self._statistics(alone, so_far)
                std = std + step.eps if step.eps else np.maximum(std, 1e-6)
                alone = Normalization(
                    mean=tuple(map(float, mean)), std=tuple(map(float, std)), clip=step.clip
                )
            fixed.append(alone)
        if fixed:
            self._spec = self._spec.with_input(normalization=_chained(fixed))

    def _statistics(self, step: Normalization, spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
        """Return what is taken from the values, and what they are divided by: one, or a channel."""
        groups = self._channels if step.per_channel else 1

        def parts() -> Iterator[np.ndarray]:
            for first, last in self._blocks():
                values = prepare(self._read(first, last), spec, self._channels).input.numpy()
                yield values.reshape(groups, -1)

        if step.percentile is not None:
            limits = percentiles(parts, groups, step.percentile)
            return limits[:, 0], limits[:, 1] - limits[:, 0]
        count, mean = 0, np.zeros(groups)
        for part in parts():
            count += part.shape[1]
            mean += part.sum(1, dtype=np.float64)
        mean /= count
        squares = np.zeros(groups)
        for part in parts():
            squares += np.square(part - mean[:, None]).sum(1)
        return mean, np.sqrt(squares / count)


def percentiles(
    parts: Callable[[], Iterator[np.ndarray]], groups: int, wanted: Sequence[float]
) -> np.ndarray:
    """Return percentiles of numbers that are read by parts, exactly, as ``numpy.percentile``.

    Parameters
    ----------
    parts
        Yields all numbers, float32 (group, number), each time that it is called: twice.
    groups
        How many groups there are.
    wanted
        Which percentiles.

    Returns
    -------
    ndarray
        float64 (group, percentile).
    """
    # Numbers are counted by the upper half of their bits, then those of the few counts that hold
    # a percentile by the lower half.
    upper = np.zeros((groups, 1 << 16), np.int64)
    for part in parts():
        for group, numbers in enumerate(part):
            upper[group] += np.bincount(_ordered(numbers) >> 16, minlength=1 << 16)
    places = np.asarray(wanted, float) / 100 * (upper[0].sum() - 1)
    ranks = np.unique([np.floor(places), np.ceil(places)]).astype(np.int64)
    below = np.cumsum(upper, 1)
    held = np.stack([np.searchsorted(ordered, ranks, side="right") for ordered in below])
    lower: list[dict[int, np.ndarray]] = [
        {int(bucket): np.zeros(1 << 16, np.int64) for bucket in row} for row in held
    ]
    for part in parts():
        for counts, numbers in zip(lower, part, strict=True):
            keys = _ordered(numbers)
            for bucket, count in counts.items():
                counts[bucket] = count + np.bincount(
                    keys[keys >> 16 == bucket] & 0xFFFF, minlength=1 << 16
                )
    bounds = np.empty((groups, len(places)))
    for group in range(groups):
        values = []
        for rank, bucket in zip(ranks, held[group], strict=True):
            before = below[group, bucket] - upper[group, bucket]
            rest = np.searchsorted(
                np.cumsum(lower[group][int(bucket)]), rank - before, side="right"
            )
            values.append(_number((int(bucket) << 16) | int(rest)))
        bounds[group] = np.interp(places, ranks, values)
    return bounds


def _ordered(numbers: np.ndarray) -> np.ndarray:
    """Return whole numbers in the same order as finite float32 numbers."""
    bits = np.ascontiguousarray(numbers, np.float32).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.int64)


def _number(key: int) -> float:
    """Return the float32 number that `_ordered` gives a whole number."""
    bits = key & 0x7FFFFFFF if key >> 31 else ~key & 0xFFFFFFFF
    return float(np.array(bits, np.uint32).view(np.float32))


def _chained(steps: list[Normalization]) -> Normalization:
    chained: Normalization | None = None
    for step in reversed(steps):
        chained = step.model_copy(update={"then": chained})
    return chained or Normalization()


def padded_shape(shape: tuple[int, ...], spec: ModelSpec, stride: Sequence[int]) -> tuple[int, ...]:
    """Return the size to which an image is padded, refusing one that would be resized."""
    rule = spec.input.size
    if rule is None:
        return shape
    sizes = " × ".join(map(str, shape))
    if isinstance(rule, SizeRule) and any(step == 0 for _, step in rule.each(len(shape))):
        if rule.smallest_shape(shape) == shape:
            return shape
        raise NeuroscopeError(
            "The network takes images of one size alone along an axis, so a larger one can't be run "
            "tile by tile; explain parts of the image of that size."
        )
    if isinstance(rule, SizeRule):
        wanted = rule.smallest_shape(shape)
    else:
        # Tiles of the one size end with the image.
        wanted = tuple(
            size + max(0, -(-(n - size) // block)) * block
            for n, size, block in zip(shape, rule, stride, strict=False)
        )
    if wanted != shape and spec.input.resize not in ("pad", "tile"):
        raise NeuroscopeError(
            f"An image of {sizes} is brought to {' × '.join(map(str, wanted))} for this network, "
            f"which tiles can't; set the spec's input.resize to pad, or cut the image."
        )
    return wanted
