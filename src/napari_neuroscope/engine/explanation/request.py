"""Request: what is asked of a network and an image, in one shape for all who ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.passes.target import ResolvedTarget, Target
from napari_neuroscope.engine.tiles.geometry import Window
from napari_neuroscope.engine.tiles.tiling import Tiling


@dataclass(frozen=True, eq=False)
class Request:
    """What an explanation is asked for with, so that it can be asked again.

    Attributes
    ----------
    method
        The method by name.
    targets
        The targets; none where there is none, or a classifier's top prediction is meant.
    layer
        The layers: a name, a pattern, a list of these, or None.
    options
        The method's options.
    ground_truth
        The classes of the image's pixels, for targets of that region.
    several
        Whether the targets were given as a list, so that the values have an axis "class".
    planes
        Which planes of a stack, as `explain_stack` takes them; None: the image is no stack.
    tiling
        How the image is cut into tiles; None: it is not, or as the network's spec says.
    window
        Which of its pixels are looked at, (first, stop) an axis; None: all.
    """

    method: str
    targets: tuple[Target, ...] = ()
    layer: str | list[str] | tuple[str, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    ground_truth: Any = None
    several: bool = False
    planes: str | None = None
    tiling: Tiling | None = None
    window: Window | None = None

    @classmethod
    def of(
        cls,
        method: str,
        target: Target | str | int | Sequence[Target | str | int] | None,
        layer: str | Sequence[str] | None,
        options: Mapping[str, Any],
        ground_truth: Any = None,
    ) -> Request:
        """Return what is asked for, from what `explain` takes.

        Raises
        ------
        NeuroscopeError
            Where the list of targets is empty.
        """
        if isinstance(target, list | tuple):
            if not target:
                raise NeuroscopeError("The list of targets is empty; name at least one class.")
            targets, several = tuple(map(Target.of, target)), True
        else:
            single = cast(Target | str | int | None, target)
            targets, several = () if single is None else (Target.of(single),), False
        layers = layer if layer is None or isinstance(layer, str) else list(layer)
        return cls(method, targets, layers, dict(options), ground_truth, several)

    @property
    def target(self) -> Target | list[Target] | None:
        """The targets as `explain` takes them."""
        return list(self.targets) if self.several else next(iter(self.targets), None)

    def resolved(
        self,
        targets: Sequence[ResolvedTarget | None],
        layers: Sequence[str],
        options: Mapping[str, Any],
        *,
        one_layer: bool,
    ) -> Request:
        """Return it with what was found: classes by number, layers by name, and all options."""
        given = self.targets or (Target(),) * len(targets)
        return replace(
            self,
            targets=tuple(
                replace(target, class_=resolved.index)
                for target, resolved in zip(given, targets, strict=True)
                if resolved is not None
            ),
            layer=next(iter(layers), None) if one_layer else list(layers),
            options=dict(options),
        )
