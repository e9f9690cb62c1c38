"""The layers of a network: a graph in the order of execution, and how to choose from it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from napari_neuroscope.engine.errors import NeuroscopeError, nearest_names
from napari_neuroscope.engine.graph.name_pattern import fits
from napari_neuroscope.engine.graph.reach import Reach
from napari_neuroscope.engine.graph.token_layout import TokenLayout

Kind = Literal[
    "convolution", "transposed convolution", "dense", "pooling", "normalisation", "activation",
    "attention", "add", "concatenate", "upsampling", "reshape", "dropout", "block", "other",
]  # fmt: skip


WITHOUT_GRADIENT = (
    "runs without a gradient: it is detached, under torch.no_grad(), or in a reentrant checkpoint "
    "(use_reentrant=False keeps it); choose another"
)


# What may come after the layer that gives the scores of each position.
_AFTER_A_HEAD = frozenset(
    {"activation", "normalisation", "upsampling", "reshape", "add", "concatenate"}
)


@dataclass(frozen=True)
class Layer:
    """One call of a module, or one functional operation.

    Attributes
    ----------
    name
        The model's own: a dotted module path (its second call ``path:2``), or an operation's name
        and number (``cat``, ``cat_2``).
    kind
        What it does; a ``block`` is a module made of other layers.
    output_shape
        Of its output, without the batch, for the input it was found with: (channel, *space), but
        for layers of another `layout`.
    parameters
        How many numbers it learnt.
    inputs, outputs
        The names of the layers before and after it.
    operation
        The class or function, such as ``Conv2d`` or ``cat``.
    block
        The path of the module that it is part of; "" for the network itself.
    overwritten
        Whether a later in-place operation changes its output.
    altered
        Whether arithmetic that is no layer lies between it and the layers after it.
    differentiable
        Whether a gradient can be pulled back to it.
    description
        Its configuration, as its framework prints it.
    reach
        What its units take of the layers before it; None where that is not known.
    takes_input
        Whether it takes the network's input, perhaps beside other layers.
    moved
        Whether what is no layer, such as a slice, moves positions that it takes.
    cut
        Of what was cut, evenly along each axis: the middle of the first position and how far they
        are apart, as parts of what it was cut from, and how many there are. None elsewhere.
    layout
        Where its positions are: as its ``"shape"`` says, (channel, *space); in an order of their
        own, as tokens have; or ``"unknown"``.
    read_beside
        Where the network's answer depends on none of its positions, but on places beside them,
        such as a class token: which; None for all others.
    leads
        Whether the network's answer depends on it, as far as that is known; not of an auxiliary
        head, say.
    """

    name: str
    kind: Kind
    output_shape: tuple[int, ...]
    parameters: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operation: str
    block: str
    overwritten: bool = False
    altered: bool = False
    differentiable: bool = True
    description: str = ""
    reach: Reach = None
    takes_input: bool = False
    moved: bool = False
    cut: tuple[tuple[float, float, int], ...] | None = None
    layout: TokenLayout | Literal["shape", "unknown"] = field(default="shape", compare=False)
    read_beside: tuple[int, ...] | None = None
    leads: bool = True

    @property
    def silent(self) -> bool:
        """Whether the network's answer depends on none of its positions."""
        return self.read_beside is not None


class LayerGraph(Mapping[str, Layer]):
    """An ordered mapping of names to layers, in the order in which the network runs them.

    Parameters
    ----------
    layers
        The layers, in order.
    space
        How many spatial axes the network's input has.
    final_activation
        The layer (a softmax or sigmoid) whose output is the network's, and its kind; or None.

    Attributes
    ----------
    input_shape
        The spatial shape of the input that the layers were found with; () where there was none.
    of_positions
        Whether the answer is one for each position, so that its last layers are but the scores.
    shapes_run
        The spatial shapes of inputs that are known to run these layers in this order.
    """

    def __init__(
        self,
        layers: Iterable[Layer],
        space: int,
        final_activation: tuple[str, Literal["softmax", "sigmoid"]] | None = None,
    ) -> None:
        self._layers = {layer.name: layer for layer in layers}
        self.space = space
        self.final_activation = final_activation
        self.input_shape: tuple[int, ...] = ()
        self.of_positions = False
        self.shapes_run: set[tuple[int, ...]] = set()
        self._derived: dict[Hashable, Any] = {}

    def __getitem__(self, name: str) -> Layer:
        try:
            return self._layers[name]
        except KeyError:
            self._ask_for_some()
            raise NeuroscopeError(
                f"The network has no layer “{name:.60}”; {nearest_names(name, self._layers)}"
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._layers

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def of_kind(self, *kinds: Kind) -> list[str]:
        """Return the names of the layers of some kinds, in order."""
        return [layer.name for layer in self.values() if layer.kind in kinds]

    def grid(self, name: str) -> tuple[int, ...]:
        """Return the shape of the positions of a layer's output, (*space); () where it has none."""
        layer = self[name]
        if isinstance(layer.layout, TokenLayout):
            return layer.layout.grid
        by_shape = layer.layout == "shape" and len(layer.output_shape) == self.space + 1
        return layer.output_shape[1:] if by_shape else ()

    @property
    def folded(self) -> bool:
        """Whether some layers have their positions in an order of their own."""
        return any(isinstance(layer.layout, TokenLayout) for layer in self.values())

    @property
    def attends(self) -> bool:
        """Whether some layer weights tokens by attention, or may do so."""
        return any(
            layer.kind == "attention"
            or (layer.operation.lower() == "softmax" and isinstance(layer.layout, TokenLayout))
            for layer in self.values()
        )

    def has_positions(self, name: str) -> bool:
        """Whether a layer's output has the spatial axes of the input, with several positions."""
        return max(self.grid(name), default=1) > 1

    def select(
        self,
        which: str | Sequence[str],
        *,
        positions: bool = True,
        gradient: bool = False,
        scored: bool = False,
    ) -> list[str]:
        """Return the layers that are asked for, in the order of the network.

        Parameters
        ----------
        which
            ``"all"``, a name, a pattern, or a list of names and patterns. In a pattern ``*``
            stands for anything within one part of a dotted name and ``**`` for any parts, at an
            end for one at least: ``enc*`` is enc1 and enc2 but not what is inside them, which is
            ``enc*.**``.
        positions
            Ask that layers have positions: named ones are refused without, others left out.
        gradient
            Ask that a gradient can be pulled back to them, likewise.
        scored
            Leave out of patterns what has no part in the scores that are explained.

        Raises
        ------
        NeuroscopeError
            Where nothing fits; it names the nearest.
        """
        self._ask_for_some()
        chosen: set[str] = set()
        for pattern in [which] if isinstance(which, str) else which:
            chosen.update(self._match(pattern, positions, gradient, scored))
        if not chosen:
            raise NeuroscopeError('No layer was chosen; name one, or ask for layer="all".')
        return [name for name in self if name in chosen]

    def _match(self, pattern: str, positions: bool, gradient: bool, scored: bool) -> list[str]:
        if pattern == "all":
            names = [n for n in self if self[n].kind != "block"]
        elif pattern in self or not any(sign in pattern for sign in "*?"):
            layer = self[pattern]
            if positions and not self.has_positions(pattern):
                better = self.last_with_positions()
                shaped = len(layer.output_shape) == self.space + 1
                unknown = layer.layout == "unknown" and shaped and max(layer.output_shape[1:]) > 1
                advice = (
                    f"choose one {'' if unknown else 'before the pooling, '}such as “{better}”"
                    if better
                    else "none has"
                )
                what = "no positions that are known" if unknown else "no positions"
                raise NeuroscopeError(
                    f"The layer “{pattern}” ({layer.operation}) has {what}: its output is "
                    f"{layer.output_shape}; {advice}."
                )
            if gradient and not layer.differentiable:
                raise NeuroscopeError(f"The layer “{pattern}” {WITHOUT_GRADIENT}.")
            return [pattern]
        else:
            names = [n for n in self if fits(pattern, n)]
        usable = [n for n in names if not positions or self.has_positions(n)]
        why = "none of them has positions." if names else nearest_names(pattern, self)
        if usable and gradient:
            usable = [n for n in usable if self[n].differentiable]
            why = "none of them has a gradient."
        if scored:
            usable = [n for n in usable if self.has_part(n)] or usable
        if not usable:
            raise NeuroscopeError(f"No layer fits “{pattern:.60}”; {why}")
        return usable

    def _ask_for_some(self) -> None:
        if not self._layers:
            raise NeuroscopeError(
                "The network has no layers that can be seen: it is one piece, as a function or a "
                "scripted network is; use a method that asks for scores alone, such as RISE, or "
                "the network as it was before."
            )

    def or_last(self, names: Sequence[str]) -> list[str]:
        """Return layers to keep a pass of: these, or where there are none the last with positions."""
        return list(names) or [name for name in [self.last_with_positions()] if name]

    def has_part(self, name: str) -> bool:
        """Whether a layer has a part in the scores that are explained: it leads to them."""
        return self[name].leads and not self.is_behind(name)

    def is_behind(self, name: str) -> bool:
        """Whether a layer lies behind the scores, as the final softmax does and what it ends."""
        if self.final_activation is None:
            return False
        final = self.final_activation[0]
        if name == final:
            return True
        ends = [n for n, layer in self.items() if layer.block == name and layer.kind != "block"]
        return self[name].kind == "block" and bool(ends) and ends[-1] == final

    def last_with_positions(self) -> str | None:
        """Return the last layer whose output has positions: what a CAM explains by default.

        It leads to the scores, by a gradient where the network has one. Where each position has
        scores of its own it is the last before the head that gives them. Of a transformer, it is
        the last norm or sum whose positions matter for the answer: what only the class token is
        read of has no gradient elsewhere, and inside of attention a layer is but a part.
        """
        names = [n for n in self if self[n].kind != "block" and self.has_positions(n)]
        leading = [n for n in names if self.has_part(n)]
        telling = [n for n in leading if not self[n].silent]
        entire = [n for n in telling if self._is_entire(self[n])]
        differentiable = [n for n in entire if self[n].differentiable]
        usual = next(
            (some for some in (differentiable, entire, telling, leading, names) if some), []
        )
        scores = self._scores() if self.of_positions else set()
        before = [n for n in usual if n not in scores and not self._changes_nothing(self[n])]
        return next(reversed(before or usual), None)

    def _scores(self) -> set[str]:
        """Return the layers that give each position's scores, and those that only pass these on."""
        ran = {n: layer for n, layer in self.items() if layer.kind != "block" and self.has_part(n)}
        ahead = [n for n, layer in ran.items() if not ran.keys() & set(layer.outputs)]
        scores: set[str] = set()
        while ahead:
            name = ahead.pop()
            if name not in scores:
                scores.add(name)
                before = [n for n in ran[name].inputs if n in ran]
                ahead += before if self._passes_scores_on(ran[name], before) else []
        return scores

    def _passes_scores_on(self, layer: Layer, before: Sequence[str]) -> bool:
        if layer.kind == "transposed convolution":
            # It makes the scores larger where it makes as many of them.
            return [self[n].output_shape[:1] for n in before] == [layer.output_shape[:1]]
        # A bias that is added by itself is no sum of layers.
        is_bias = layer.kind == "other" and layer.operation == "Add"
        return layer.kind in _AFTER_A_HEAD or is_bias or self._changes_nothing(layer)

    @staticmethod
    def _changes_nothing(layer: Layer) -> bool:
        return layer.kind == "dropout" or layer.operation in ("Identity", "Dropout")

    def why_score(self, name: str) -> str | None:
        """Return why a map of a layer shows but the score, for a note; None where it shows more."""
        inside = [n for n in self if n.startswith(f"{name}.") and self[n].kind != "block"]
        last = inside[-1] if self[name].kind == "block" and inside else name
        if not self.of_positions or last not in (scores := self._scores()):
            return None
        better = self.last_with_positions()
        advice = f"; explain “{better}”" if better is not None and better not in scores else ""
        return f"“{name}” is the score itself, so the map shows it and not what led to it{advice}"

    def why_zero(self, name: str) -> str | None:
        """Return why a map of the answer is zero at a layer, for a note; None where it need not be."""
        layer, behind = self[name], self.is_behind(name)
        if layer.leads and not layer.silent and not behind:
            return None
        better = self.last_with_positions()
        helps = better is not None and self.has_part(better) and not self[better].silent
        advice = f"; explain “{better}”" if helps else ""
        if behind:
            return f"“{name}” lies behind the scores that are explained, so the map is zero{advice}"
        if not layer.leads:
            return (
                f"“{name}” does not lead to the scores that are explained, so the map is "
                f"zero{advice}"
            )
        return (
            f"of “{name}” the answer depends on nothing but what is beside its positions, such as a "
            f"class token, so the map is zero{advice}"
        )

    @staticmethod
    def _is_entire(layer: Layer) -> bool:
        """Whether a layer is no part of a step that works on tokens."""
        if not isinstance(layer.layout, TokenLayout):
            return True
        return layer.kind in ("normalisation", "add") and len(layer.layout.channels) == 1


_Arguments = ParamSpec("_Arguments")
_Derived = TypeVar("_Derived")


def derived_once(
    derive: Callable[Concatenate[LayerGraph, _Arguments], _Derived],
) -> Callable[Concatenate[LayerGraph, _Arguments], _Derived]:
    """Let what follows from a graph be derived once for the same arguments, and kept with the graph.

    The arguments are hashable, and what is returned is changed by nobody.
    """

    @wraps(derive)
    def kept(
        graph: LayerGraph, /, *arguments: _Arguments.args, **named: _Arguments.kwargs
    ) -> _Derived:
        # The shape is set when the layers are found, after the first may have been asked about.
        key = (derive, graph.input_shape, arguments, *named.items())
        if key not in graph._derived:
            graph._derived[key] = derive(graph, *arguments, **named)
        derived: _Derived = graph._derived[key]
        return derived

    return kept
