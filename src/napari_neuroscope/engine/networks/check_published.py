"""How near a network comes to the answer that its package publishes to an image of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.files.told import told_in_a_sentence
from napari_neuroscope.engine.images.preprocessing import prepare
from napari_neuroscope.engine.networks.bioimageio.description import Tolerance
from napari_neuroscope.engine.networks.bioimageio.processing import postprocessed
from napari_neuroscope.engine.networks.bioimageio.published import PublishedTest
from napari_neuroscope.engine.networks.network import Network


@dataclass(frozen=True)
class Agreement:
    """How near a network comes to the answer that was published for it.

    Attributes
    ----------
    max_abs, max_rel
        The largest difference, and the largest in relation to the published value.
    differing
        The part of the values that differ by more than is allowed.
    tolerance
        What is allowed.
    """

    max_abs: float
    max_rel: float
    differing: float
    tolerance: Tolerance

    @property
    def passed(self) -> bool:
        """Whether so few values differ that the network is the published one."""
        return self.differing <= self.tolerance.mismatched_elements_per_million / 1e6


def check_published(network: Network) -> Agreement:
    """Compare a network's answer to its package's own image with the published one.

    The image takes the way of all images, by the network's spec, and the answer passes through the
    postprocessing that the package describes.

    Raises
    ------
    NeuroscopeError
        Where the network is of no package, or what it publishes can't be compared.
    """
    published = network.published
    if published is None:
        raise NeuroscopeError(f"“{network.name}” comes from no package that publishes an answer.")
    # What it describes may not fit what it holds, in ways that only NumPy finds.
    with told_in_a_sentence(published.path, "what it publishes"):
        return _compared(network, published)


def _compared(network: Network, published: PublishedTest) -> Agreement:
    output = published.output(network.spec)
    image, wanted = published.test_tensors(output)
    taken = published.description.inputs[0]
    if image.ndim != len(taken.axes):
        raise NeuroscopeError(
            f"The test image of “{published.path.name}” has {image.ndim} axes, but its description "
            f"{len(taken.axes)}."
        )
    axes = network.spec.input.axes
    if "b" in axes:
        image, axes = image.take(0, axes.index("b")), axes.replace("b", "")
    if network.spec.input.order == "bgr":
        # It has the network's order, and images of users have red first.
        image = np.flip(image, axes.index("c"))
    spec = network.spec.model_copy(update={"image_axes": axes})
    answer = network.output(prepare(image, spec, network.channels).input[None])[0]
    answered = postprocessed(answer.cpu().double().numpy(), output)
    if answered is None:
        steps = ", ".join(step.id for step in output.postprocessing)
        raise NeuroscopeError(
            f"What “{published.path.name}” publishes can't be compared: its answer passes through "
            f"{steps}, which is not done here."
        )
    wanted = wanted.astype(np.float64)
    if "b" in output.letters and wanted.ndim == len(output.axes):
        wanted = wanted.take([0], output.letters.index("b"))
    if answered.shape != wanted.shape:
        raise NeuroscopeError(
            f"“{network.name}” answers its package's image in shape {answered.shape}, but "
            f"{wanted.shape} was published."
        )
    return _agreement(
        answered, wanted, published.description.tolerance(output.id, published.weights)
    )


def _agreement(answered: np.ndarray, wanted: np.ndarray, allowed: Tolerance) -> Agreement:
    difference, size = np.abs(answered - wanted), np.abs(wanted)
    limit = allowed.absolute_tolerance + allowed.relative_tolerance * size
    # Not “differs”, so that NaN is no agreement.
    agrees = difference <= limit
    return Agreement(
        float(difference.max(initial=0.0)),
        float((difference / np.maximum(size, np.finfo(np.float32).tiny)).max(initial=0.0)),
        float(1 - agrees.mean()) if agrees.size else 0.0,
        allowed,
    )
