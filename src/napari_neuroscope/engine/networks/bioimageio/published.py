"""The answer that a package publishes to an image of its own, to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files.code.trust import UntrustedError
from napari_neuroscope.engine.files.told import reason_of, told_in_a_sentence
from napari_neuroscope.engine.images.formats.npy_image import read_npy
from napari_neuroscope.engine.images.preprocessing import prepare
from napari_neuroscope.engine.networks.bioimageio.description import Description, File, Tolerance
from napari_neuroscope.engine.networks.bioimageio.description import Tensor as Described
from napari_neuroscope.engine.networks.bioimageio.package import Package
from napari_neuroscope.engine.networks.bioimageio.processing import changed, postprocessed

if TYPE_CHECKING:
    from napari_neuroscope.engine.networks.network import Network
    from napari_neuroscope.engine.spec.model_spec import ModelSpec


@dataclass(frozen=True)
class PublishedTest:
    """What a package says of its network, and can be held to.

    Attributes
    ----------
    path
        The package.
    description
        What it says.
    weights
        The format of the weights that were opened.
    notes
        What to know of how it was understood.
    untrusted
        What trust would let run to open better weights; None where the best were opened.
    """

    path: Path
    description: Description
    weights: str
    notes: tuple[str, ...] = ()
    untrusted: UntrustedError | None = None

    def test_tensors(self, output: Described) -> tuple[np.ndarray, np.ndarray]:
        """Return the package's own image, axes as the network takes it, and the answer to it.

        Raises
        ------
        NeuroscopeError
            Where it has none, or they are broken.
        """
        taken = self.description.inputs[0]
        with Package(self.path) as package:
            return _array(package, taken), _array(package, output)

    def output(self, spec: ModelSpec) -> Described:
        """Return the output that a spec chooses."""
        outputs, index = self.description.outputs, spec.output.index
        named = next((tensor for tensor in outputs if tensor.id == index), None)
        number = index if isinstance(index, int) and index < len(outputs) else 0
        return named or outputs[number]

    def says_probabilities(self, spec: ModelSpec) -> bool:
        """Whether the output that a spec chooses is said to lie in 0..1 as the network gives it."""
        output = self.output(spec)
        # What is said holds behind the postprocessing, and labels are no probabilities.
        if changed(output.postprocessing) or not (output.type or "float").startswith("float"):
            return False
        return output.range is not None and 0 <= output.range[0] < output.range[1] <= 1


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
    found = postprocessed(answer.cpu().double().numpy(), output)
    if found is None:
        steps = ", ".join(step.id for step in output.postprocessing)
        raise NeuroscopeError(
            f"What “{published.path.name}” publishes can't be compared: its answer passes through "
            f"{steps}, which is not done here."
        )
    wanted = wanted.astype(np.float64)
    if "b" in output.letters and wanted.ndim == len(output.axes):
        wanted = wanted.take([0], output.letters.index("b"))
    if found.shape != wanted.shape:
        raise NeuroscopeError(
            f"“{network.name}” answers its package's image in shape {found.shape}, but "
            f"{wanted.shape} was published."
        )
    return _agreement(found, wanted, published.description.tolerance(output.id, published.weights))


def _agreement(found: np.ndarray, wanted: np.ndarray, allowed: Tolerance) -> Agreement:
    difference, size = np.abs(found - wanted), np.abs(wanted)
    limit = allowed.absolute_tolerance + allowed.relative_tolerance * size
    # Not “differs”, so that NaN is no agreement.
    agrees = difference <= limit
    return Agreement(
        float(difference.max(initial=0.0)),
        float((difference / np.maximum(size, np.finfo(np.float32).tiny)).max(initial=0.0)),
        float(1 - agrees.mean()) if agrees.size else 0.0,
        allowed,
    )


def _array(package: Package, tensor: Described) -> np.ndarray:
    file: File | None = tensor.test_tensor
    if file is None:
        raise NeuroscopeError(
            f"“{package.path.name}” publishes no test tensor for “{tensor.id}”, so that there is "
            f"nothing to compare with."
        )
    path = package.file(file.source, file.sha256)
    said = f"“{shortened(file.source, 200)}” in “{package.path.name}”"
    try:
        values = read_npy(path)
    except NeuroscopeError:
        raise
    except Exception as error:
        raise NeuroscopeError(f"{said} is no array file of NumPy: {reason_of(error)}.") from error
    if values.dtype.kind not in "buif":
        raise NeuroscopeError(f"{said} holds no array of real numbers.")
    return values
