"""Files of networks are opened once on trial, in a process of its own; see `files.trial`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError, OutOfMemoryError
from napari_neuroscope.engine.files.code.trial import TrialError
from napari_neuroscope.engine.frameworks.registry import frameworks
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.spec_inference import complete_spec
from napari_neuroscope.engine.spec.model_spec import ModelSpec


def open_file(argument: dict[str, Any]) -> None:
    """Open a file as it will be opened, and look at all that is looked at then.

    Parameters
    ----------
    argument
        Its ``path``, its ``kind``, and the ``spec`` as plain values.

    Raises
    ------
    NeuroscopeError
        Where it takes too much memory or time. What else is wrong with it is told when it is opened
        where its user is.
    """
    path, kind = Path(argument["path"]), argument["kind"]
    framework = next(each for each in frameworks() if kind in each.kinds)
    try:
        model = framework.load(path, kind, factory=None, arguments=None, trust=True)
        network = Network(model, ModelSpec.parse(argument["spec"]), device="cpu")
        complete_spec(network)
        network.layers  # noqa: B018  found by a pass that keeps all of them
    except (OutOfMemoryError, TrialError):
        raise
    except NeuroscopeError:
        return
