"""Where the numbers of PyTorch's tensors come from, followed through a forward pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.weak import WeakTensorKeyDictionary

from napari_neuroscope.engine.graph.layer_graph import Kind
from napari_neuroscope.engine.graph.token_layout import (
    SAME_PLACE,
    Places,
    TokenLayout,
    averaged,
    compact,
    is_plain,
    spread,
    token_layout_of,
    whole,
)

# These move numbers and change none: what they do to a tensor they do to its places.
_MOVES = frozenset({
    "reshape", "view", "reshape_as", "view_as", "flatten", "unflatten", "ravel", "squeeze",
    "unsqueeze", "permute", "transpose", "t", "swapaxes", "swapdims", "movedim", "moveaxis", "get",
    "adjoint", "getitem", "select", "narrow", "index_select", "gather", "take_along_dim", "split",
    "tensor_split", "chunk", "unbind", "expand", "expand_as", "broadcast_to", "repeat", "tile",
    "repeat_interleave", "roll", "flip", "rot90", "unfold", "diagonal", "as_strided", "slice",
})  # fmt: skip
_JOINS = frozenset({"cat", "concat", "concatenate", "stack", "hstack", "vstack"})
_REDUCES = frozenset({
    "mean", "sum", "amax", "amin", "max", "min", "std", "var", "norm", "logsumexp", "median",
})  # fmt: skip
_MULTIPLIES = frozenset({"matmul", "bmm", "mm"})
# What these answer has the channels first, whatever is known of what they take.
_ON_GRIDS = frozenset({"fold", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle"})
# Numbers change their order with their values, or no longer stand for a place.
_MIXES = frozenset({"sort", "argsort", "topk", "cumsum", "cumprod", "rfft2", "fft2", "argmax"})


class PositionTracker:
    """Follow places from the input of a network through what it runs.

    What it can't follow has no places from there on, until a convolution, a pooling or a resizing
    says by its own nature where its output lies.

    Parameters
    ----------
    axes
        The axes of the network's input, such as "bcyx".
    """

    def __init__(self, axes: str) -> None:
        self._axes = axes
        self._space = [axis for axis in axes if axis in "zyx"]
        self._places: MutableMapping[Tensor, Places] = WeakTensorKeyDictionary()
        self._whole: dict[tuple[int, ...], Places] = {}
        self._plain: set[int] = set()
        self._token_layouts: dict[int, tuple[Places, TokenLayout | Literal["unknown"]]] = {}

    def begin(self, network_input: Tensor) -> None:
        """Take the network's input."""
        order = sorted(self._space, key="zyx".index)
        self._places[network_input] = whole(
            network_input.shape, [self._axes.index(axis) for axis in order]
        )

    def layout(self, output: Tensor) -> TokenLayout | Literal["shape", "unknown"] | None:
        """Return where the positions of an output are; None where nothing is known of it."""
        places = self._places.get(output)
        if places is None:
            return None
        if self._is_plain(places):
            return "shape"
        if id(places) not in self._token_layouts:
            batched = "b" in self._axes
            layout = token_layout_of(places if batched else tuple(along[None] for along in places))
            # Held together: an id is of what still lives.
            self._token_layouts[id(places)] = places, layout or "unknown"
        return self._token_layouts[id(places)][1]

    def cut_of(self, tensor: Tensor) -> tuple[tuple[float, float, int], ...] | None:
        """Return where the positions of a tensor lie along each axis, as `Layer.cut`."""
        places = self._places.get(tensor)
        if places is None or tensor.ndim < len(self._space):
            return None
        with torch._C.DisableTorchFunction(), torch.no_grad():
            cuts = [
                _evenly(compact(along), tensor.ndim - len(self._space) + axis)
                for axis, along in enumerate(places)
            ]
        return None if None in cuts else tuple(cut for cut in cuts if cut is not None)

    def ran_module(
        self, module: nn.Module, kind: Kind, inputs: Sequence[Tensor], output: Tensor
    ) -> None:
        """Take the output of a module that is one layer."""
        followed = [tensor for tensor in inputs if tensor in self._places]
        if isinstance(module, nn.Flatten | nn.Unflatten | nn.Unfold):
            if followed:
                self._move(module.forward, (followed[0],), {}, output)
            return
        # What else changes shapes, such as padding, works on channels and positions.
        kind = "pooling" if kind == "reshape" else kind
        self._follow(type(module).__name__, kind, inputs, output)

    def ran_function(
        self,
        function: Callable[..., Any],
        operation: str,
        kind: Kind | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        inputs: Sequence[Tensor],
        output: Any,
    ) -> None:
        """Take what a function or method of tensors answers."""
        is_followed = any(tensor in self._places for tensor in inputs)
        if not is_followed and kind not in ("convolution", "transposed convolution", "upsampling"):
            return
        first = next((t for t in tree_leaves(output) if isinstance(t, Tensor)), None)
        if first is None:
            return
        if not is_followed:
            self._follow(operation, kind, inputs, first)
            return
        if operation in _MIXES:
            return
        if operation == "pad":
            self._pad(args, kwargs, inputs[0], first)
        elif operation in _JOINS:
            self._join(function, args, kwargs, inputs, first)
        elif operation in _MOVES:
            self._move(function, args, kwargs, output)
        elif operation in _REDUCES and first.shape != inputs[0].shape:
            self._reduce(args, kwargs, first)
        elif operation in _MULTIPLIES:
            self._multiply(inputs, first)
        elif operation == "einsum":
            self._sum_products(args, inputs, first)
        else:
            self._follow(operation, kind, inputs, first)

    # --- rules ---

    def _follow(
        self, operation: str, kind: Kind | None, inputs: Sequence[Tensor], output: Tensor
    ) -> None:
        followed = [tensor for tensor in inputs if tensor in self._places]
        if (
            kind in ("convolution", "transposed convolution", "pooling", "upsampling")
            or operation in _ON_GRIDS
        ):
            self._on_grid(followed, output)
        elif not followed:
            return
        elif kind in ("dense", "attention"):
            # All that is along the last axis goes into each number.
            places = [averaged(along, -1) for along in self._places[followed[0]]]
            self._keep(output, [self._like(along, output) for along in places])
        else:
            same = [tensor for tensor in followed if tensor.shape == output.shape]
            first = (same or followed)[0]
            if first.shape == output.shape:
                self._places[output] = self._places[first]
            else:
                self._keep(output, [self._like(along, output) for along in self._places[first]])

    def _on_grid(self, followed: Sequence[Tensor], output: Tensor) -> None:
        """Convolutions, poolings and resizings: all of the input, where they have its axes."""
        space = len(self._space)
        places = self._places[followed[0]] if followed else None
        fits = output.ndim in (space + 1, space + 2)
        if places is None or self._is_plain(places):
            if fits and all(n == 1 for n in output.shape[: -space - 1]):
                self._places[output] = self._all_of(tuple(output.shape))
        elif output.ndim > 1 and followed[0].shape[2:] == output.shape[2:]:
            # Of tokens: each number is of its own place still.
            self._keep(output, [self._like(averaged(along, 1), output) for along in places])

    def _move(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        output: Any,
    ) -> None:
        if not any(isinstance(t, Tensor) and t in self._places for t in tree_leaves(args[:1])):
            return
        moved = []
        for axis in range(len(self._space)):
            answer = self._moved(function, args, kwargs, axis)
            moved.append([t for t in tree_leaves(answer) if isinstance(t, Tensor)])
        outputs = [t for t in tree_leaves(output) if isinstance(t, Tensor)]
        for number, tensor in enumerate(outputs):
            if all(number < len(tensors) for tensors in moved):
                self._keep(tensor, [tensors[number] for tensors in moved])

    def _moved(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], axis: int
    ) -> Any:
        """Return what a function does to the places along an axis; None where it can't be told."""

        def places(tensor: Tensor) -> Tensor:
            followed = self._places.get(tensor)
            # A new view: what works in place changes that alone.
            return tensor.cpu() if followed is None else followed[axis][...]

        for how in (places, lambda tensor: places(tensor).contiguous()):
            try:
                return function(*tree_map_only(Tensor, how, args),
                                **tree_map_only(Tensor, how, kwargs))  # fmt: skip
            except (RuntimeError, TypeError, ValueError, IndexError):
                # A view of numbers in a row, where places are repeated; else not followed.
                continue
        return None

    def _join(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        inputs: Sequence[Tensor],
        output: Tensor,
    ) -> None:
        space = len(self._space)
        joined_places = [self._places.get(tensor) for tensor in inputs]
        if all(
            places is not None and id(places) in self._plain for places in joined_places
        ) and all(tensor.shape[-space:] == output.shape[-space:] for tensor in inputs):
            # Of channels, where all of the input is in each: nothing need be written out.
            self._places[output] = self._all_of(tuple(output.shape))
            return
        joined = []
        for axis in range(space):
            nowhere = {
                id(t): torch.full(t.shape, torch.nan, dtype=torch.float64)
                for t in inputs
                if t not in self._places
            }

            def places(
                t: Tensor, axis: int = axis, nowhere: Mapping[int, Tensor] = nowhere
            ) -> Tensor:
                return nowhere[id(t)] if id(t) in nowhere else self._places[t][axis]

            joined.append(function(*tree_map_only(Tensor, places, args),
                                   **tree_map_only(Tensor, places, kwargs)))  # fmt: skip
        self._keep(output, joined)

    def _pad(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], given: Tensor, output: Tensor
    ) -> None:
        places = self._places[given]
        if self._is_plain(places):
            self._places[output] = self._all_of(tuple(output.shape))
            return
        widths = kwargs.get("pad", args[1] if len(args) > 1 else None)
        mode = kwargs.get("mode", args[2] if len(args) > 2 else "constant")
        if widths is not None and mode == "constant":
            padded = [functional.pad(along, list(widths), value=math.nan) for along in places]
            self._keep(output, padded)

    def _reduce(self, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        if isinstance(dim, int | tuple | list) and not isinstance(dim, bool) and dim != ():
            places = self._places.get(args[0])
            if places is not None:
                keep = output.ndim == places[0].ndim
                self._keep(output, [along.mean(dim, keepdim=keep) for along in places])

    def _multiply(self, inputs: Sequence[Tensor], output: Tensor) -> None:
        """A matrix product: rows keep the places of the first, or columns those of the second."""
        for tensor, summed_axis in zip(inputs[:2], (-1, -2), strict=False):
            if tensor in self._places and tensor.ndim > 1:
                places = [
                    self._like(averaged(along, summed_axis), output)
                    for along in self._places[tensor]
                ]
                if self._keep(output, places):
                    return

    def _sum_products(self, args: Sequence[Any], inputs: Sequence[Tensor], output: Tensor) -> None:
        """Einstein's sums: as matrix products, with the letters in place of rows and columns."""
        if not isinstance(args[0], str) or "->" not in args[0]:
            return
        given, _, letters = args[0].replace(" ", "").partition("->")
        if "." in given:
            return
        for axes_of_tensor, tensor in zip(given.split(","), inputs, strict=False):
            if tensor not in self._places:
                continue
            kept = "".join(letter for letter in letters if letter in axes_of_tensor)
            gone = math.prod(
                n
                for n, letter in zip(tensor.shape, axes_of_tensor, strict=True)
                if letter not in letters
            )
            axes = tuple(slice(None) if letter in axes_of_tensor else None for letter in letters)
            places = [
                (torch.einsum(f"{axes_of_tensor}->{kept}", along) / gone)[axes].expand(output.shape)
                for along in self._places[tensor]
            ]
            if self._keep(output, places):
                return

    # --- keeping ---

    def _like(self, places: Tensor, output: Tensor) -> Tensor | None:
        """Return places for an output of other sizes along some axes, of which the mean is taken."""
        if places.ndim == output.ndim:
            for axis, (count, n) in enumerate(zip(places.shape, output.shape, strict=True)):
                if count not in (1, n):
                    places = averaged(places, axis)
        elif places.ndim > output.ndim:
            return None
        try:
            return places.expand(output.shape)
        except RuntimeError:
            return None

    def _keep(self, output: Tensor, places: Sequence[Tensor | None]) -> bool:
        """Keep the places of an output, where there are several; tell whether."""
        # Few numbers are held, and looked at, for what is repeated along an axis.
        kept = tuple(
            compact(along).expand(output.shape)
            for along in places
            if along is not None and along.shape == output.shape
        )
        if len(kept) < len(self._space) or not spread(kept):
            self._places.pop(output, None)
            return False
        self._places[output] = kept
        return True

    def _all_of(self, shape: tuple[int, ...]) -> Places:
        if shape not in self._whole:
            space = len(self._space)
            places = whole(shape, range(len(shape) - space, len(shape)))
            self._whole[shape] = places
            self._plain.add(id(places))
        return self._whole[shape]

    def _is_plain(self, places: Places) -> bool:
        return id(places) in self._plain or is_plain(places)


def _evenly(places: Tensor, axis: int) -> tuple[float, float, int] | None:
    """Return the first place, how far they are apart, and their number, where they lie evenly."""
    count = places.shape[axis]
    if places.numel() != count or count < 2:
        return None
    steps = places.flatten().diff()
    if not bool((steps > 0).all()) or float(steps.max() - steps.min()) > SAME_PLACE:
        return None
    return float(places.flatten()[0]), float(steps.mean()), count
