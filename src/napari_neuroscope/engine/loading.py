"""Files to networks."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError, nearest_names
from napari_neuroscope.engine.network import Network, wrap
from napari_neuroscope.engine.spec import ModelSpec

DEMOS = ("nuclei", "blood-cells")
"""The networks that are shipped: ``load("demo:nuclei")``."""


def load(
    source: str | Path,
    spec: ModelSpec | dict[str, Any] | str | Path | None = None,
    *,
    device: str = "auto",
    trust: bool = False,
) -> Network:
    """Load a network.

    Parameters
    ----------
    source
        ``"demo:nuclei"`` or ``"demo:blood-cells"``, the networks that are shipped.
    spec
        A spec, or the file of one, in place of the network's own.
    device
        "cpu", "cuda", "cuda:1", "mps", or "auto".
    trust
        Whether code that comes with the file may run. The shipped networks need none.

    Raises
    ------
    NeuroscopeError
        Where there is no such network, or its kind of file is unknown.
    """
    text = str(source)
    if text.startswith("demo:"):
        return _load_demo(text.removeprefix("demo:"), spec, device)
    raise NeuroscopeError(
        f"“{text:.80}” can't be loaded: the shipped networks are "
        + " and ".join(f"“demo:{name}”" for name in DEMOS)
        + "; build any other in Python and give it to wrap()."
    )


def _load_demo(name: str, spec: Any, device: str) -> Network:
    from safetensors.torch import load_file

    from napari_neuroscope.samples.architectures import CellClassifier, UNet

    if name not in DEMOS:
        raise NeuroscopeError(f"There is no demo network “{name}”; {nearest_names(name, DEMOS)}")
    architecture = {"nuclei": UNet, "blood-cells": CellClassifier}[name]
    folder = Path(str(files("napari_neuroscope.samples"))) / name
    model = architecture()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    model.eval()
    if isinstance(spec, str | Path):
        spec = ModelSpec.load(spec)
    own = ModelSpec.load(folder / "model.neuroscope.yaml")
    return wrap(model, spec or own, device=device, name=name)
