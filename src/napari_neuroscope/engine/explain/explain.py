"""explain(): the one way in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from typing import Any

from napari_neuroscope.engine.errors import NotByTilesError, Progress, no_progress
from napari_neuroscope.engine.explain.tiled import explain_tiled
from napari_neuroscope.engine.explain.whole import Keep, explain_whole
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.request import Request
from napari_neuroscope.engine.images.axes import in_read_order
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.target import Target
from napari_neuroscope.engine.tiles.tiling import by_tiles


def explain(
    network: Network,
    image: Any,
    method: str,
    target: Target | str | int | Sequence[Target | str | int] | None = None,
    layer: str | Sequence[str] | None = None,
    *,
    ground_truth: Any = None,
    keep: Keep | None = None,
    progress: Progress = no_progress,
    partial: Callable[[Explanation], None] | None = None,
    **options: Any,
) -> Explanation:
    """Explain what a network says about an image.

    Parameters
    ----------
    network
        Made by `load` or `wrap`.
    image
        An array of axes as the spec's ``image_axes`` say, of any real type and size: it is
        resized and normalised as the spec says. Where that is tile by tile (``input.resize``), one
        larger than a tile is read window by window; see `explain_tiled`.
    method
        The name of a method; `methods` lists them.
    target
        The class by name or index, a `Target`, or a list of them: then the first axis of the
        values is "class". None: the top prediction of a classifier.
    layer
        A name, a pattern, ``"all"``, or a list of these (see `LayerGraph.select`): all but a
        single name give an axis "layer". None: the last layer with positions, of a segmentation the
        last before the head that gives the scores.
    ground_truth
        Classes of the image's pixels, for targets of the region "ground_truth".
    keep
        ``"asked"`` keeps the layers that are asked for and drops each gradient when it has been
        used; ``"everything"`` keeps all, so that other layers and methods take no pass;
        ``"fit"`` keeps everything where that takes a quarter of the cache at most. None: ``"fit"``
        where a single layer is asked for, else ``"asked"``.
    progress
        Called with (done, total, what) as the work goes on; it may raise `Cancelled`.
    partial
        Called a few times a second with what a method of many passes, such as RISE, has found so
        far; its `unfinished` says how far that is. Not where several layers are asked for.
    **options
        The method's own options.

    Returns
    -------
    Explanation

    Raises
    ------
    NeuroscopeError
        Where something asked for does not exist or does not go together: one sentence.
    """
    image = in_read_order(image, network.spec, network.channels)
    tiled = network if by_tiles(network, image) else network.tiled_for(image)
    if tiled is not None:
        by_itself = tiled is not network
        if not by_itself or methods[method].tiles is not None:
            with suppress(NotByTilesError) if by_itself else nullcontext():
                return explain_tiled(
                    tiled, image, method, target, layer,
                    ground_truth=ground_truth, partial=partial, progress=progress, **options,
                )  # fmt: skip
    request = Request.of(method, target, layer, options, ground_truth)
    return explain_whole(network, image, request, keep=keep, progress=progress, partial=partial)
