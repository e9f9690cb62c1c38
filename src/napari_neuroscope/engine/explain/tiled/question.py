"""What is asked of an image that is seen tile by tile, checked, and how its tiles lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError, NotByTilesError, Progress
from napari_neuroscope.engine.explain.maps import choose_layers
from napari_neuroscope.engine.explain.whole import with_classes_as_option
from napari_neuroscope.engine.explanation.request import Request
from napari_neuroscope.engine.methods.interface import ChannelWeights, Method, Needs
from napari_neuroscope.engine.methods.interface.tiling import Positions
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.target import ResolvedTarget, Target
from napari_neuroscope.engine.tiles.geometry import Geometry, Tile, Window
from napari_neuroscope.engine.tiles.reader import TiledInput
from napari_neuroscope.engine.tiles.targets import TiledTargets
from napari_neuroscope.engine.tiles.tiling import Tiling


class TiledQuestion:
    """One question about one image, with all that hangs on neither tiles nor passes.

    Parameters
    ----------
    network, image, method, target, layer, options, tiling, window, ground_truth
        As `explain_tiled` takes them.
    progress
        Called while what hangs on all of the image is found out.

    Attributes
    ----------
    network
        The network, its layers found anew with a size whose divisions leave no rest.
    options
        All options of the method.
    layers, one_layer
        Which the method looks at, and whether a single one was named.
    pulled
        The layers that gradients are pulled back to, "" the input.
    several
        Whether a list of targets was given.
    weights
        How channels are weighed by the whole image, where they are.
    input, targets
        What is read of the image, and the targets on it.

    Raises
    ------
    NeuroscopeError
        Where it can't be answered tile by tile.
    """

    def __init__(
        self,
        network: Network,
        image: Any,
        method: Method,
        target: Any,
        layer: str | Sequence[str] | None,
        options: dict[str, Any],
        *,
        tiling: Tiling,
        window: Sequence[tuple[int, int]] | None,
        ground_truth: Any,
        progress: Progress,
    ) -> None:
        if network.spec.task != "segmentation":
            raise NeuroscopeError(
                "A classifier answers once for the whole image, so it can't be run tile by tile; "
                "explain it as a whole."
            )
        _refuse_method(method)
        request = with_classes_as_option(
            method, Request.of(method.name, target, layer, options, ground_truth)
        )
        options = dict(request.options)
        self.network, self.method = network.with_spec(network.spec), method
        self._refuse(options)
        self.options = method.check_options(options)
        if refusal := method.why_not_on_tiles(self.options):
            raise NeuroscopeError(refusal)
        graph = self.network.layers
        # Now it is known what layers there are.
        self._refuse(options)
        self.geometry = Geometry.of(graph, self.network.spec)
        self.layers = self._choose_layers(layer)
        self.one_layer = layer is None or (isinstance(layer, str) and self.layers == [layer])
        self.pulled = self._choose_pulled()
        # Where a method needs no target, none is looked at.
        needed = Needs.TARGET in method.needs_with(self.options)
        self._request = request if needed else replace(request, targets=(), several=False)
        self.several = self._request.several
        targets = list(request.targets or (Target(),)) if needed else []
        self.tiling = tiling
        self.tile = tiling.sizes(self.network.spec)
        self.input = self._read(image, progress)
        self.targets = TiledTargets(targets, self.geometry, self.input, ground_truth)
        self.window = None if window is None else self._snapped(window, targets)
        self.weights: ChannelWeights | None = None
        if isinstance(method.tiles, ChannelWeights) and tiling.weights == "global":
            self.weights = method.tiles

    # --- what is asked ---

    def _refuse(self, options: dict[str, Any]) -> None:
        if refusal := self.network.why_not(self.method, options):
            raise NeuroscopeError(refusal)

    def _choose_layers(self, layer: str | Sequence[str] | None) -> list[str]:
        names = choose_layers(self.network, self.method, layer, self.options)
        for name in names:
            if name not in self.geometry.steps:
                raise NotByTilesError(
                    f"Of the layer “{name}” it is not known where its positions lie in a tile; "
                    f"choose one before it."
                )
        return names

    def _choose_pulled(self) -> list[str]:
        needs = self.method.needs_with(self.options)
        if not needs & (Needs.GRADIENTS | Needs.GUIDED):
            return []
        layers = self.layers if Needs.GRADIENTS in needs else []
        with_input = Needs.GUIDED in needs or not self.layers
        return [*layers, ""] if with_input else list(layers)

    def _read(self, image: Any, progress: Progress) -> TiledInput:
        if isinstance(image, TiledInput):
            return image.again()
        return TiledInput(
            image,
            self.network.spec,
            self.network.channels,
            self.tile,
            lambda: progress(0, 0, self.method.title),
            stride=self.geometry.block,
        )

    def _snapped(
        self, window: Sequence[tuple[int, int]], targets: Sequence[Target]
    ) -> Window | None:
        """Return the window in whole units of the network; None where it is the whole image."""
        shape = self.input.image_shape
        if len(window) != len(shape) or any(
            not 0 <= first < stop <= n for (first, stop), n in zip(window, shape, strict=True)
        ):
            raise NeuroscopeError(
                f"The window {tuple(window)} is no part of an image of {by(shape)} pixels; give "
                f"(first, stop) of each axis."
            )
        if any(target.reduce == "mean" for target in targets):
            raise NeuroscopeError("The mean isn't known from a window alone; use reduce=“sum”.")
        # The padding goes with the pixels that it continues.
        ends = [
            (int(first), m if stop == n else int(stop))
            for (first, stop), n, m in zip(window, shape, self.input.shape, strict=True)
        ]
        snapped = self.geometry.snapped(tuple(ends), self.input.shape)
        return None if snapped == tuple((0, n) for n in self.input.shape) else snapped

    @property
    def resolved(self) -> list[ResolvedTarget | None]:
        """The targets as they were resolved last; None for a method without."""
        return [tally.resolved for tally in self.targets.tallies] or [None]

    @property
    def request(self) -> Request:
        """What was asked for, so that it can be asked again."""
        request = self._request.resolved(
            self.resolved, self.layers, self.options, one_layer=self.one_layer
        )
        by_spec = self.tiling == Tiling() and self.network.spec.input.resize == "tile"
        return replace(request, tiling=None if by_spec else self.tiling, window=self.window)

    # --- how its tiles lie ---

    @property
    def positions(self) -> Positions:
        """Where the positions of the map lie."""
        assert self.method.tiles is not None
        return self.method.tiles.positions or ("layer" if self.layers else "input")

    @property
    def resamples(self) -> bool:
        """Whether maps are brought to a finer grid, for which their neighbours must be right."""
        several_steps = len({self.geometry.steps[name] for name in self.layers}) > 1
        return several_steps or (bool(self.layers) and self.positions == "input")

    def tiles(self, size: Sequence[int], pulled: Sequence[str]) -> list[Tile]:
        """Return tiles of at most a size, on whose cores gradients of `pulled` are right."""
        spec, more = self.network.spec, int(self.resamples)
        margins = self.tiling.margins(self.geometry, spec, pulled, more=more)
        return self.geometry.tiles(self.input.shape, size, margins, self.window)


def _refuse_method(method: Method) -> None:
    if method.tiles is None:
        able = ", ".join(name for name, installed in methods.items() if installed.tiles is not None)
        raise NeuroscopeError(f"{method.title} can't be made tile by tile; {able} can.")


def by(shape: Sequence[int]) -> str:
    """Return a shape in words."""
    return " × ".join(str(n) for n in shape)
