"""Network: a model with its spec, and what can be asked of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError, Progress, no_progress
from napari_neuroscope.engine.frameworks.base import OtherLayersError, Run
from napari_neuroscope.engine.images.axes import in_read_order
from napari_neuroscope.engine.images.digest import image_digest
from napari_neuroscope.engine.images.preprocessing import as_array
from napari_neuroscope.engine.methods.applicability import why_not
from napari_neuroscope.engine.methods.interface import Method
from napari_neuroscope.engine.networks.bioimageio.published import PublishedTest
from napari_neuroscope.engine.passes.model import Model
from napari_neuroscope.engine.passes.output_notes import chance_notes, output_notes
from napari_neuroscope.engine.passes.prediction import Prediction
from napari_neuroscope.engine.passes.spec_inference import complete_task
from napari_neuroscope.engine.passes.trace import Trace, TraceKey
from napari_neuroscope.engine.passes.trace_cache import TraceCache
from napari_neuroscope.engine.spec.model_spec import ModelSpec
from napari_neuroscope.engine.tiles.one_size import find_spec_of_tiles, is_larger, leaves_size_open
from napari_neuroscope.engine.tiles.prediction import predict_tiled
from napari_neuroscope.engine.tiles.tiling import by_tiles

DEFAULT_CACHE_BYTES = 1 << 30


class Network(Model):
    """A model with its spec, where it comes from, and the passes that are kept of it.

    Made by `load` and `wrap`.

    Attributes
    ----------
    traces
        The forward passes that are kept for reuse.
    origin
        What `load` makes it anew from: "source", and "factory" and "arguments" where they were
        given as plain values; empty for a model in memory.
    published
        What its bioimage.io package says of it, where it has one.
    """

    def __init__(
        self,
        model: Any,
        spec: ModelSpec | None = None,
        *,
        device: str = "auto",
        name: str = "",
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        super().__init__(model, spec, device=device, name=name)
        self.origin: dict[str, Any] = {}
        self.published: PublishedTest | None = None
        self.traces = TraceCache(cache_bytes)

    def __repr__(self) -> str:
        return f"<Network “{self.name}”: {self.spec.task}, {self.framework} on {self.device}>"

    def with_spec(self, spec: ModelSpec) -> Self:
        """Return a network of the same model in memory with another spec."""
        network = super().with_spec(spec)
        network.traces.limit = self.traces.limit
        network.origin, network.published = self.origin, self.published
        return network

    def for_a_pass(self) -> Network:
        """Return the same network with a cache of its own that is empty; see `Model.for_a_pass`."""
        network = copy(self)
        network.traces = TraceCache(self.traces.limit)
        return network

    def forget_passes(self) -> None:
        """Drop all passes that are kept."""
        self.traces.clear()

    def _says_probabilities(self, spec: ModelSpec) -> bool:
        return self.published is not None and self.published.says_probabilities(spec)

    def why_not(self, method: Method, options: Mapping[str, Any] | None = None) -> str | None:
        """Return why a method can't be used with the network, as `applicability.why_not`."""
        return why_not(self, method, options)

    @cached_property
    def spec_of_tiles(self) -> ModelSpec | None:
        """By which spec a segmenter of one size is run tile by tile on larger images.

        None where it can't be, or its own spec says what is done with them.
        """
        self.layers  # noqa: B018  they complete the spec
        return find_spec_of_tiles(self, is_published=self.published is not None)

    @cached_property
    def tiled(self) -> Network | None:
        """The same network by that spec, whose layers are found once."""
        return None if self.spec_of_tiles is None else self.with_spec(self.spec_of_tiles)

    def tiled_for(self, image: Any) -> Network | None:
        """Return the network as it is run tile by tile, for an image larger than its one size.

        None where the image is not larger, its spec says what to do, or it is not convolutional.
        """
        is_open = leaves_size_open(self, is_published=self.published is not None)
        return self.tiled if is_open and is_larger(self.spec, image, self.channels) else None

    def digests(self, image: Any) -> tuple[str, str]:
        """Return the digests of the network and of an image, as the record of a map has them."""
        self.find_value_range()
        with self.frozen():
            key = self._key(as_array(in_read_order(image, self.spec, self.channels)))
            return self.digest(key.state), key.image

    def discover(self, image: Any, progress: Progress = no_progress) -> None:
        """Find the layers with this image, unless they are known."""
        self.find_value_range()
        image = in_read_order(image, self.spec, self.channels)
        if not self.has_layers and not by_tiles(self, image):
            self.discover_by(self.prepare(image).input[None], progress)

    def predict(self, image: Any) -> Prediction:
        """Ask the network for its answer to an image.

        Parameters
        ----------
        image
            An array with the spec's ``image_axes``, of any real type. Where the spec says tile by
            tile, one larger than a tile is read window by window.

        Returns
        -------
        Prediction
            Scores, probabilities and labels on the image's own grid.
        """
        self.find_value_range()
        image = in_read_order(image, self.spec, self.channels)
        if by_tiles(self, image):
            return predict_tiled(self, image)
        if (tiled := self.tiled_for(image)) is not None:
            return predict_tiled(tiled, image)
        array = as_array(image)
        with self.frozen():
            kept = self.traces.get(self._key(array))
            if kept is not None:
                prepared, outputs = kept.prepared, kept.outputs
            else:
                prepared = self.prepare(array)
                output, scores = self.output(prepared.input[None])
                outputs = self.outputs_of(output, scores, prepared.grid.shape)
            grid = None
            if self.spec.task == "segmentation":
                grid = self.grid_of_output(prepared.grid, outputs.predicted.shape)
        notes = (
            *prepared.notes, *output_notes(self, grid, prepared.grid), *chance_notes(self)
        )  # fmt: skip
        return Prediction(self.class_names, outputs, grid, prepared.image, notes)

    def trace(
        self,
        image: Any,
        layers: Sequence[str] = (),
        *,
        keep: Literal["asked", "everything", "fit"] = "fit",
        progress: Progress = no_progress,
    ) -> Trace:
        """Pass an image forward, or return the pass that is kept of it.

        Parameters
        ----------
        image
            An array with the spec's ``image_axes``.
        layers
            The layers whose activations are needed.
        keep
            ``"asked"`` keeps those alone; ``"everything"`` keeps all, and all gradients of each
            target, so that the next question about the image takes no pass; ``"fit"`` keeps
            everything where that takes a quarter of the cache at most.
        progress
            Follows the work, and may stop it.

        Raises
        ------
        NeuroscopeError
            Where the image does not fit the network, or is larger than a tile of one that is run
            tile by tile.
        """
        self.find_value_range()
        image = in_read_order(image, self.spec, self.channels)
        if by_tiles(self, image):
            raise NeuroscopeError(
                "The image is larger than a tile, as which the spec has the network run, and this "
                "asks for the whole at once; take a part of it, or set the spec's input.resize to "
                "pad."
            )
        with self.frozen():
            return self._traced(as_array(image), layers, keep, progress)

    def _traced(
        self,
        array: np.ndarray,
        layers: Sequence[str],
        keep: Literal["asked", "everything", "fit"],
        progress: Progress,
    ) -> Trace:
        key = self._key(array)
        kept = self.traces.get(key)
        if kept is not None and (
            kept.everything or (keep != "everything" and set(layers) <= set(kept.layers))
        ):
            return kept
        prepared = self.prepare(array)
        x = prepared.input[None]
        self.discover_by(x, progress)
        everything = keep == "everything" or (keep == "fit" and self._fits_whole(x))

        def run_of_its_layers() -> Run:
            if missing := set(layers) - set(self.layers):
                raise OtherLayersError(
                    f"The layer “{min(missing)}” does not run for this image: the network chooses "
                    f"its way by its input."
                )
            wanted: Collection[str] = list(self.layers) if everything else layers
            return self.adapter.run(x, self.spec, self.layers, wanted, progress)

        run = self.with_its_layers(x, run_of_its_layers)
        trace = Trace(self, prepared, run, key=key, everything=everything)
        self.traces.put(key, trace)
        return trace

    def _fits_whole(self, x: Tensor) -> bool:
        """Whether all activations and gradients of an input take a small part of the cache."""
        return 2 * self.bytes_of_layers(x) <= self.traces.limit / 4

    def _key(self, image: np.ndarray) -> TraceKey:
        return TraceKey(
            image_digest(image), image.shape, image.dtype.str, self.spec, self.adapter.state()
        )


def wrap(
    model: Any,
    spec: ModelSpec | dict[str, Any] | None = None,
    *,
    device: str = "auto",
    name: str = "",
) -> Network:
    """Make a network of a model in memory.

    Parameters
    ----------
    model
        A ``torch.nn.Module``, or a model of another installed framework, left as it is but for
        being moved to `device`; or a function that returns scores of float32 NumPy arrays with the
        spec's ``input.axes``, of which nothing else can be seen.
    spec
        What it expects and what its outputs mean. A task that it doesn't state is found out.
    device
        "cpu", "cuda", "cuda:1", "mps", or "auto": an accelerator where there is one.
    name
        What people call it.

    Raises
    ------
    NeuroscopeError
        Where the model is of no known framework, or the device does not exist.
    """
    if spec is not None and not isinstance(spec, ModelSpec):
        spec = ModelSpec.parse(spec)
    network = Network(model, spec, device=device, name=name)
    complete_task(network)
    return network
