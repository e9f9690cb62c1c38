"""Files to networks."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError, nearest_names
from napari_neuroscope.engine.files import Kind
from napari_neuroscope.engine.frameworks.base import frameworks, kind_of
from napari_neuroscope.engine.network import Network
from napari_neuroscope.engine.spec import ModelSpec

DEMOS = {"nuclei": "UNet", "blood-cells": "CellClassifier"}
"""The networks that are shipped, ``load("demo:nuclei")``, and their architectures."""

_EXTRAS: dict[Kind, str] = {
    "keras": "tensorflow",
    "h5": "tensorflow",
    "SavedModel": "tensorflow",
    "onnx": "onnx",
    "bioimage.io": "bioimageio",
}


def load(
    source: str | Path,
    spec: ModelSpec | dict[str, Any] | str | Path | None = None,
    *,
    device: str = "auto",
    trust: bool = False,
    factory: str | Callable[..., Any] | None = None,
    arguments: dict[str, Any] | None = None,
) -> Network:
    """Load a network from a file.

    Parameters
    ----------
    source
        A file: a pickled ``torch.nn.Module``, a state dict or ``.safetensors`` (with `factory`),
        TorchScript, ``torch.export`` (.pt2), or what another installed framework opens; or
        ``"demo:nuclei"`` or ``"demo:blood-cells"``, the networks that are shipped.
    spec
        A spec, or the file of one; None: the file ``<model>.neuroscope.yaml`` beside it, if any.
    device
        "cpu", "cuda", "cuda:1", "mps", or "auto".
    trust
        Whether code that comes with the file may run.
    factory, arguments
        What builds the network where the file holds weights alone: a function, or its name as
        ``"package.module:function"``; and its keyword arguments.

    Raises
    ------
    NeuroscopeError
        Where there is no such file, or it is no network: it says what it is.
    UntrustedError
        Where the file would run code, and is not trusted.
    """
    text = str(source)
    name = text.removeprefix("demo:")
    if name != text:
        if name not in DEMOS:
            raise NeuroscopeError(
                f"There is no demo network “{name:.80}”; {nearest_names(name, DEMOS)}"
            )
        folder = Path(str(files("napari_neuroscope.samples"))) / name
        source = folder / "model.safetensors"
        factory = f"napari_neuroscope.samples.architectures:{DEMOS[name]}"
    path = Path(source)
    kind = kind_of(path)
    framework = next((f for f in frameworks() if kind in f.kinds), None)
    if framework is None:
        extra = _EXTRAS.get(kind)
        how = f'install it with: pip install "napari-neuroscope[{extra}]"' if extra else "sorry"
        raise NeuroscopeError(
            f"“{path.name}” is a {kind} file, and what opens it is missing; {how}"
        )
    model = framework.load(path, kind, factory=factory, arguments=arguments, trust=trust)
    title = name if name != text else path.stem
    network = Network(model, _spec_for(path, spec), device=device, name=title)
    network.path = path
    if network.spec.input.size is None or "task" not in network.spec.model_fields_set:
        network.infer()
    return network


def spec_path(path: Path) -> Path:
    """Return where a network's spec lies, beside its file."""
    return path.with_name(f"{path.stem}.neuroscope.yaml")


def _spec_for(path: Path, spec: Any) -> ModelSpec | None:
    if isinstance(spec, str | Path):
        return ModelSpec.load(spec)
    if spec is not None:
        return spec if isinstance(spec, ModelSpec) else ModelSpec.parse(spec)
    beside = spec_path(path)
    return ModelSpec.load(beside) if beside.is_file() else None
