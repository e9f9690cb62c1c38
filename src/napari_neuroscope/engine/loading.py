"""Files to networks."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from napari_neuroscope.engine.bioimageio.description import read
from napari_neuroscope.engine.bioimageio.package import Package
from napari_neuroscope.engine.bioimageio.published import Published
from napari_neuroscope.engine.bioimageio.reading import spec_of
from napari_neuroscope.engine.bioimageio.weights import open_weights
from napari_neuroscope.engine.errors import NeuroscopeError, NeuroscopeWarning, nearest_names
from napari_neuroscope.engine.files.file_kind import Kind
from napari_neuroscope.engine.files.told import told_in_a_sentence
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
        TorchScript, ``torch.export`` (.pt2), a bioimage.io package (a zip, a folder, or the
        rdf.yaml in one), or what another installed framework opens; or ``"demo:nuclei"`` or
        ``"demo:blood-cells"``, the networks that are shipped.
    spec
        A spec, or the file of one; None: the file ``<model>.neuroscope.yaml`` beside it, if any.
        A package implies a spec: what is stated replaces its task, its input, and so on, each as
        a whole.
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
    origin = {"source": text} if name != text else _origin(Path(source), factory, arguments)
    if name != text:
        if name not in DEMOS:
            raise NeuroscopeError(
                f"There is no demo network “{name:.80}”; {nearest_names(name, DEMOS)}"
            )
        folder = Path(str(files("napari_neuroscope.samples"))) / name
        source = folder / "model.safetensors"
        factory = f"napari_neuroscope.samples.architectures:{DEMOS[name]}"
    path = Path(source)
    # Whatever a library says of a stranger's file becomes a sentence here.
    with told_in_a_sentence(path, "a network"):
        kind = kind_of(path)
        if kind == "bioimage.io":
            network = _of_package(path, spec, device, trust, factory, arguments)
        else:
            model = _opened(path, kind=kind, factory=factory, arguments=arguments, trust=trust)
            title = name if name != text else path.stem
            network = Network(model, _spec_for(path, spec), device=device, name=title)
            network.path = path
        network.origin = origin
        if network.spec.input.size is None or "task" not in network.spec.model_fields_set:
            network.infer()
    return network


def _origin(path: Path, factory: Any, arguments: dict[str, Any] | None) -> dict[str, Any]:
    origin: dict[str, Any] = {"source": str(path.absolute())}
    if isinstance(factory, str):
        # What can't be written down is left to whoever loads it again.
        with suppress(TypeError, ValueError):
            # A copy, in which the caller changes nothing any more.
            origin |= {"factory": factory, "arguments": json.loads(json.dumps(arguments or {}))}
    return origin


def spec_path(path: Path) -> Path:
    """Return where a network's spec lies, beside its file or folder."""
    stem = path.name if path.is_dir() else path.stem
    return path.with_name(f"{stem}.neuroscope.yaml")


def _opened(
    path: Path, *, factory: Any, arguments: dict[str, Any] | None, trust: bool, kind: str = ""
) -> Any:
    """Return the model in a file, opened by the framework of its kind."""
    kind = kind or kind_of(path)
    framework = next((f for f in frameworks() if kind in f.kinds), None)
    if framework is None:
        extra = _EXTRAS.get(kind)
        package = (
            f'"napari-neuroscope[{extra}]"' if extra else "--force-reinstall napari-neuroscope"
        )
        raise NeuroscopeError(
            f"“{path.name}” is a {kind} file, and what opens it is missing; install it with: "
            f"pip install {package}"
        )
    return framework.load(path, kind, factory=factory, arguments=arguments, trust=trust)


def _of_package(
    path: Path,
    spec: Any,
    device: str,
    trust: bool,
    factory: Any,
    arguments: dict[str, Any] | None,
) -> Network:
    """Return the network of a bioimage.io package, by the spec that the package implies."""
    with Package(path) as package:
        where = f"The package “{package.path.name}”"
        description = read(package.description(), where)
        implied, notes = spec_of(description, where)
        opened = open_weights(
            package, description, _opened, factory=factory, arguments=arguments, trust=trust
        )
        stated = _spec_for(package.path, spec)
        if stated is not None:
            said = {name: getattr(stated, name) for name in stated.model_fields_set}
            implied = implied.model_copy(update=said)
        # Weights may lie in files beside the network's, which are read only now.
        network = Network(opened.model, implied, device=device, name=description.name)
    network.path = package.path
    if opened.passed_over:
        notes.append(f"it was opened by {opened.format}, not by {' or '.join(opened.passed_over)}")
    network.published = Published(
        package.path, description, opened.format, tuple(notes), opened.untrusted
    )
    if notes:
        warnings.warn(f"{where}: {'; '.join(notes)}.", NeuroscopeWarning, stacklevel=3)
    return network


def _spec_for(path: Path, spec: Any) -> ModelSpec | None:
    if isinstance(spec, str | Path):
        return ModelSpec.load(spec)
    if spec is not None:
        return spec if isinstance(spec, ModelSpec) else ModelSpec.parse(spec)
    beside = spec_path(path)
    return ModelSpec.load(beside) if beside.is_file() else None
