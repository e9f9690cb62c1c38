"""The answer that a package publishes to an image of its own, to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files.code.trust import UntrustedError
from napari_neuroscope.engine.files.told import reason_of
from napari_neuroscope.engine.images.formats.npy_image import read_npy
from napari_neuroscope.engine.networks.bioimageio.description import Description, File
from napari_neuroscope.engine.networks.bioimageio.description import Tensor as Described
from napari_neuroscope.engine.networks.bioimageio.package import Package
from napari_neuroscope.engine.networks.bioimageio.processing import changed
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
