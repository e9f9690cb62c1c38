"""A method, as the decorator makes it of a function: what it is called with, and where it can be used."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError, nearest_names
from napari_neuroscope.engine.frameworks.base import Capability, Framework
from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from napari_neuroscope.engine.methods.interface.family import Family
from napari_neuroscope.engine.methods.interface.needs import Needs, in_words
from napari_neuroscope.engine.methods.interface.option import Option
from napari_neuroscope.engine.methods.interface.pass_count import PassCount
from napari_neuroscope.engine.methods.interface.result import Map
from napari_neuroscope.engine.methods.interface.tiling import ChannelWeights, Local
from napari_neuroscope.engine.spec.model_spec import Task


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
    remarks
        What else is to be said of its cost.
    caution
        When it misleads.
    signed
        Whether its values are about zero, by its options.
    instead
        The names of what comes near where it can't be used, the nearest first.
    passes
        How many passes it takes; None where it doesn't say.
    tiles
        How its maps are made tile by tile; None where they can't be, or it doesn't say.
    family
        Among which methods it is offered.
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
    remarks: str
    caution: str
    signed: Callable[[Mapping[str, Any]], bool]
    instead: tuple[str, ...] = ()
    passes: PassCount | None = None
    tiles: Local | ChannelWeights | None = None
    family: Family = "other"

    @property
    def cost(self) -> str:
        """What one target of one layer takes, in words; empty where nothing is said of it."""
        return " ".join(part for part in (str(self.passes or ""), self.remarks) if part)

    @property
    def gradual(self) -> bool:
        """Whether it takes many passes, asks for all targets at once, and yields `Step`s."""
        return inspect.isgeneratorfunction(self.function)

    def __call__(self, trace: Any, target: Any, layer: str | None, **options: Any) -> Map:
        if self.gradual:
            for step in self.function(trace, [target], layer, **options):
                last = step
            return self.placed(last.maps()[0], trace, layer)
        if not isinstance(self.tiles, ChannelWeights) or layer is None:
            return self.placed(self.function(trace, target, layer, **options), trace, layer)
        weights = self.tiles.of(trace, target, layer)
        result = self.with_weights(trace, target, layer, weights, **options)
        notes = self.tiles.notes(trace, target, layer)
        return self.placed(replace(result, notes=(*result.notes, *notes)), trace, layer)

    def with_weights(
        self, trace: Any, target: Any, layer: str, weights: Tensor | None, **options: Any
    ) -> Map:
        """Return the map of a method of `ChannelWeights` by weights that are known already."""
        result = self.function(trace, target, layer, weights, **options)
        return result if isinstance(result, Map) else Map(result)

    def placed(self, result: Tensor | Map, trace: Any, layer: str | None) -> Map:
        """Return what the method made as a map that knows where it lies."""
        placed = result if isinstance(result, Map) else Map(result)
        if placed.grid is not None or layer is None or placed.values.ndim == len(placed.axes):
            return placed
        grid = trace.grid_of_layer(layer)
        shape = placed.values.shape[placed.values.ndim - len(grid.shape) :]
        even = grid == trace.prepared.grid.divided(grid.shape)
        return placed if even or tuple(shape) != grid.shape else replace(placed, grid=grid)

    def needs_with(self, options: Mapping[str, Any]) -> Needs:
        """Return what the method must be given with these options."""
        return self.needs | self.needs_more(options)

    def requires(self, options: Mapping[str, Any] | None = None) -> Capability:
        """Return what the framework must be able to tell."""
        return self.needs_with(options or {}).capabilities

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
            needed = in_words(next(iter(missing)))
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

    def why_not_on_tiles(self, options: Mapping[str, Any] | None = None) -> str | None:
        """Return why its maps can't be made tile by tile, as a sentence; None where they can."""
        if self.tiles is None:
            return f"{self.title} looks at an image as a whole."
        return self.tiles.why_not(options or {})

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
