"""A method is one function with a decorator; more come by entry point."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Flag, auto
from importlib.metadata import entry_points
from typing import Any

from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError, nearest_names
from napari_neuroscope.engine.frameworks.base import Capability, Framework
from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.spec.model_spec import Task

GROUP = "napari_neuroscope.methods"


class Needs(Flag):
    """What a method must be given, and what it asks of the framework."""

    NOTHING = 0
    LAYER = auto()
    TARGET = auto()
    POSITIONS = auto()
    GRADIENTS = auto()
    GUIDED = auto()
    PLANE = auto()
    """A network that looks along two axes."""
    RESUMED = auto()
    """A framework that can go on from the output of a layer."""
    RELEVANCE = auto()
    """A framework that can carry relevance back."""
    ATTENTION = auto()
    """A framework that can tell what attends to what."""


@dataclass
class Map:
    """What a method returns where a tensor alone does not say enough.

    Attributes
    ----------
    values
        (*leading axes, *space), or a table without spatial axes.
    axes
        The names of the leading axes.
    labels
        What the steps of a leading axis are called.
    signed
        Whether zero is the middle; None: as the method is declared.
    unit
        What the values are.
    companions
        Label maps beside it, on the same grid: name to whole numbers (*space).
    ordered
        Those of the companions that count regions in their order from 1, and not classes: each
        class and layer has its own.
    table
        Numbers beside it: name to one entry a class, a number or a list of them.
    notes
        What a reader should know.
    grid
        Where it lies; None: it divides the network's input evenly.
    """

    values: Tensor
    axes: tuple[str, ...] = ()
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    signed: bool | None = None
    unit: str = ""
    companions: dict[str, Tensor] = field(default_factory=dict)
    ordered: frozenset[str] = frozenset()
    table: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    grid: Grid | None = None

    def lies_on(self, prepared: Grid) -> Grid:
        """Return where its cells lie on the image, from the grid of the network's input."""
        if self.grid is not None:
            return self.grid
        space = len(prepared.shape)
        return prepared.divided(self.values.shape[self.values.ndim - space :])


@dataclass(frozen=True)
class Step:
    """How far a method of many passes has come.

    Attributes
    ----------
    done, total
        How many of its passes are over.
    maps
        Makes the map of each target from the passes so far; of the last step, the result.
    """

    done: int
    total: int
    maps: Callable[[], Sequence[Tensor | Map]]


@dataclass(frozen=True)
class Choices:
    """What an option is offered as, found out when that is asked: metadata of its type."""

    find: Callable[[], Sequence[str]]


@dataclass(frozen=True)
class Option:
    """An option of a method: its name, plain type, type with its limits, and default."""

    name: str
    annotation: Any
    limited: Any
    default: Any

    @property
    def choices(self) -> Sequence[str] | None:
        """What is offered, for an option with `Choices`."""
        found = [extra for extra in self._extras if isinstance(extra, Choices)]
        return found[0].find() if found else None

    @property
    def limits(self) -> dict[str, float]:
        """The least and the greatest number, as far as there are, as "min" and "max"."""
        found = [limit for extra in self._extras for limit in getattr(extra, "metadata", ())]
        named = {"ge": "min", "le": "max"}
        return {
            word: getattr(limit, name)
            for limit in found
            for name, word in named.items()
            if hasattr(limit, name)
        }

    @property
    def meaning(self) -> str:
        """What it does, as its type's ``Field(description=…)`` says."""
        texts = (getattr(extra, "description", None) for extra in self._extras)
        return next((text for text in texts if text), "")

    @property
    def _extras(self) -> tuple[Any, ...]:
        return getattr(self.limited, "__metadata__", ())


@dataclass(frozen=True)
class Method:
    """A way to explain, ready to be called with (trace, target, layer, **options).

    Attributes
    ----------
    name, title
        As code and as people call it.
    tasks
        For which tasks it is.
    needs
        What it must be given, whatever its options.
    needs_more
        What some of its options need besides.
    options
        Its own options, by name.
    reference
        The paper.
    summary
        What it shows, in one line.
    description
        How it is made, exactly.
    cost
        How many passes one target takes; see `method`.
    caution
        When it misleads.
    instead
        The names of what comes near where it can't be used, the nearest first.
    """

    name: str
    title: str
    function: Callable[..., Any]
    tasks: tuple[Task, ...]
    needs: Needs
    needs_more: Callable[[Mapping[str, Any]], Needs]
    options: Mapping[str, Option]
    reference: str
    summary: str
    description: str
    cost: str
    caution: str
    signed: Callable[[Mapping[str, Any]], bool]
    instead: tuple[str, ...] = ()

    @property
    def gradual(self) -> bool:
        """Whether it takes many passes, asks for all targets at once, and yields `Step`s."""
        return inspect.isgeneratorfunction(self.function)

    def __call__(self, trace: Any, target: Any, layer: str | None, **options: Any) -> Map:
        if not self.gradual:
            return self.placed(self.function(trace, target, layer, **options), trace, layer)
        for step in self.function(trace, [target], layer, **options):
            last = step
        return self.placed(last.maps()[0], trace, layer)

    def placed(self, result: Tensor | Map, trace: Any, layer: str | None) -> Map:
        """Return what the method made as a map that knows where it lies."""
        made = result if isinstance(result, Map) else Map(result)
        if made.grid is not None or layer is None or made.values.ndim == len(made.axes):
            return made
        grid = trace.grid_of_layer(layer)
        own = made.values.shape[made.values.ndim - len(grid.shape) :]
        even = grid == trace.prepared.grid.divided(grid.shape)
        return made if even or tuple(own) != grid.shape else replace(made, grid=grid)

    def needs_with(self, options: Mapping[str, Any]) -> Needs:
        """Return what the method must be given with these options."""
        return self.needs | self.needs_more(options)

    def requires(self, options: Mapping[str, Any] | None = None) -> Capability:
        """Return what the framework must be able to tell."""
        needs, needed = self.needs_with(options or {}), Capability.SCORES
        if Needs.LAYER in needs:
            needed |= Capability.ACTIVATIONS
        if Needs.GRADIENTS in needs:
            needed |= Capability.GRADIENTS
        if Needs.GUIDED in needs:
            needed |= Capability.GRADIENTS | Capability.GUIDED
        if Needs.RESUMED in needs:
            needed |= Capability.RESUMED
        if Needs.RELEVANCE in needs:
            needed |= Capability.RELEVANCE
        if Needs.ATTENTION in needs:
            needed |= Capability.ATTENTION
        return needed

    def why_not(
        self,
        task: Task,
        capabilities: Capability,
        options: Mapping[str, Any] | None = None,
        *,
        limits: str = Framework.limits,
        space: str = "yx",
    ) -> str | None:
        """Return why the method can't be used with such a network, as a sentence; else None.

        `limits` is what the network's framework says of what it can't tell, `space` the axes that
        the network looks along.
        """
        if task not in self.tasks:
            return f"{self.title} is for {' and '.join(self.tasks)}, not for {task}."
        if Needs.PLANE in self.needs_with(options or {}) and len(space) != 2:
            return (
                f"{self.title} splits images of two axes, but the network looks along "
                f"{', '.join(space)}."
            )
        missing = self.requires(options) & ~capabilities
        if missing:
            # What has no gradients has none to guide.
            first = next(iter(missing))
            words = {
                "GUIDED": "guided gradients",
                "RESUMED": "passes that begin at a layer",
                "RELEVANCE": "rules for relevance",
            }
            needed = words.get(first.name or "", str(first.name).lower())
            always = self.requires() & missing
            return (
                f"{self.title}{'' if always else ' with these options'} needs {needed}, {limits}."
            )
        return None

    def why_not_of_layers(
        self, layers: LayerGraph, options: Mapping[str, Any] | None = None
    ) -> str | None:
        """Return why the method can't be used with a network of such layers; None where it can."""
        needs = self.needs_with(options or {})
        if Needs.ATTENTION in needs and not layers.attends:
            return f"{self.title} needs attention, which this network has none of."
        if Needs.LAYER in needs and not layers:
            return f"{self.title} needs a layer, and none of this network's can be seen."
        if Needs.POSITIONS in needs and layers.last_with_positions() is None:
            return f"{self.title} needs a layer with positions, and this network has none."
        return None

    def nearest(self, runs: Callable[[Method], bool]) -> Method | None:
        """Return what comes nearest of what runs: itself, perhaps, with its own options."""
        near = (self, *(methods[name] for name in self.instead))
        return next((other for other in near if runs(other)), None)

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options with their defaults, refusing unknown names and values."""
        checked = {name: option.default for name, option in self.options.items()}
        for name, value in options.items():
            if name not in self.options:
                hint = nearest_names(name, self.options) if self.options else "it has none."
                raise NeuroscopeError(f"{self.title} has no option “{name:.60}”; {hint}")
            option = self.options[name]
            try:
                checked[name] = TypeAdapter(option.limited).validate_python(value)
            except ValidationError as error:
                reason = error.errors()[0]["msg"]
                raise NeuroscopeError(
                    f"{self.title} can't take {name}={value!r:.60}: {reason[0].lower()}{reason[1:]}."
                ) from error
        return checked


_HEADING = re.compile(r"^(\w+)\n-{3,}\n", re.MULTILINE)


def _sections(function: Callable[..., Any]) -> dict[str, str]:
    """Return a docstring's first line as "summary", what follows it, and each of its sections."""
    opening, *rest = _HEADING.split(inspect.getdoc(function) or "")
    summary, _, description = opening.partition("\n")
    sections = dict(zip(map(str.lower, rest[::2]), rest[1::2], strict=True))
    lines = {name: " ".join(text.split()) for name, text in sections.items()}
    return {"summary": summary, "description": description.strip(), **lines}


def method(
    title: str,
    *,
    needs: Needs = Needs.NOTHING,
    tasks: tuple[Task, ...] = ("classification", "segmentation"),
    reference: str = "",
    needs_more: Callable[[Mapping[str, Any]], Needs] = lambda options: Needs.NOTHING,
    signed: bool | Callable[[Mapping[str, Any]], bool] = False,
    instead: Sequence[str] = ("occlusion",),
) -> Callable[[Callable[..., Any]], Method]:
    """Make a function a method.

    The function takes ``(trace, target, layer)`` and its own options as keywords with types and
    defaults, of which the dock makes its widgets. It returns a `Tensor` (*space) on any grid that
    divides the network's input evenly, or a `Map`.

    One of many passes is a generator: it takes ``(trace, targets, layer)``, so that the same passes
    serve all targets, and yields a `Step` after each batch; the last has the result. Without
    targets to choose, it gets none.

    Its docstring is its card in the dock and the docs: the first line says what the map shows, the
    text below how it is made, exactly. The section “Cost” begins with “Forward passes: …. Backward
    passes: ….”: what one target takes beside the one pass of the image, in its options,
    ``channels`` of the layer, or numbers; a pass is one input through the network. “Misleads” says
    when. What an option means stands with its type, as pydantic's ``Field(description=…)``.

    Parameters
    ----------
    title
        What people call it.
    needs
        What it must be given.
    tasks
        For which tasks it is.
    reference
        The paper, its identifier last, such as “Selvaraju et al., ICCV 2017, doi:10.1109/…” or
        “…, arXiv:1610.02391”; several are parted by semicolons.
    needs_more
        What some of its options need besides: called with the options by name.
    signed
        Whether its values are about zero, perhaps as its options say.
    instead
        The names of the methods that come near where it can't be used, the nearest first: the first
        that runs with the network is advised.
    """

    def decorate(function: Callable[..., Any]) -> Method:
        plain = typing.get_type_hints(function)
        limited = typing.get_type_hints(function, include_extras=True)
        options = {
            name: Option(name, plain.get(name, Any), limited.get(name, Any), parameter.default)
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY
        }
        card = _sections(function)
        tells: Callable[[Mapping[str, Any]], bool] = (
            signed if callable(signed) else lambda _: bool(signed)
        )
        return Method(
            function.__name__,
            title,
            function,
            tasks,
            needs,
            needs_more,
            options,
            reference,
            card["summary"],
            card["description"],
            card.get("cost", ""),
            card.get("misleads", ""),
            tells,
            tuple(instead),
        )

    return decorate


class Methods(Mapping[str, Method]):
    """All methods that are installed, by name, in the order in which they are offered."""

    def __init__(self) -> None:
        self._found: dict[str, Method] | None = None

    def _all(self) -> dict[str, Method]:
        if self._found is None:
            from napari_neuroscope.engine.methods import (
                activations,
                averaged_gradients,
                cams,
                gradients,
                perturbations,
            )
            from napari_neuroscope.engine.methods import attention_rollout as attention
            from napari_neuroscope.engine.methods import gradient_free_cams as masked_cams
            from napari_neuroscope.engine.methods import lrp as relevance
            from napari_neuroscope.engine.methods import region_maps as regions
            from napari_neuroscope.engine.methods import score_maps as scores

            own = [
                value
                for module in (
                    activations,
                    gradients,
                    averaged_gradients,
                    relevance,
                    cams,
                    masked_cams,
                    attention,
                    perturbations,
                    scores,
                    regions,
                )
                for value in vars(module).values()
                if isinstance(value, Method)
            ]
            others = [
                entry.load()
                for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
            ]
            self._found = {m.name: m for m in [*own, *others]}
        return self._found

    def __getitem__(self, name: str) -> Method:
        try:
            return self._all()[name]
        except KeyError:
            raise NeuroscopeError(
                f"There is no method “{name!s:.60}”; {nearest_names(str(name), self._all())}"
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


methods = Methods()
"""The methods that are installed."""
