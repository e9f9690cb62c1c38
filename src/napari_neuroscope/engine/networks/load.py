"""Files to networks."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError, NeuroscopeWarning, nearest_names
from napari_neuroscope.engine.files.code.factory import FileFactory, version_of
from napari_neuroscope.engine.files.code.script import found_script, is_script, script_beside
from napari_neuroscope.engine.files.code.trust import digest_of
from napari_neuroscope.engine.files.file_kind import Kind
from napari_neuroscope.engine.files.told import told_in_a_sentence
from napari_neuroscope.engine.frameworks.registry import frameworks, kind_of
from napari_neuroscope.engine.networks.bioimageio.package import Package
from napari_neuroscope.engine.networks.bioimageio.package_spec import spec_of
from napari_neuroscope.engine.networks.bioimageio.published import PublishedTest
from napari_neuroscope.engine.networks.bioimageio.read_description import read
from napari_neuroscope.engine.networks.bioimageio.weights import open_weights
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.spec_inference import complete_spec
from napari_neuroscope.engine.plain_text import visible
from napari_neuroscope.engine.spec.model_spec import ModelSpec

DEMOS = {"nuclei": "UNet", "blood-cells": "CellClassifier"}
"""The networks that are shipped, ``load("demo:nuclei")``, and their architectures."""

_LONGEST_NOTE = 500
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
    factory: str | Callable[..., Any] | FileFactory | None = None,
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
        ``"package.module:function"``, or as ``"./unet.py:UNet"`` in a script, which lies in the
        current folder or beside the file; and its keyword arguments. None: what the spec says.

    Raises
    ------
    NeuroscopeError
        Where there is no such file, or it is no network: it says what it is.
    UntrustedError
        Where the file would run code, and is not trusted.
    """
    # Whatever a library says of a stranger's file becomes a sentence here.
    with told_in_a_sentence(source, "a network"):
        text = str(source)
        if text.startswith("demo:"):
            network = _of_demo(text.removeprefix("demo:"), spec, device)
            network.origin = {"source": text}
        else:
            network = _of_file(Path(source), spec, device, trust, factory, arguments)
        if network.spec.input.size is None or "task" not in network.spec.model_fields_set:
            complete_spec(network)
    return network


def _of_file(
    path: Path,
    spec: Any,
    device: str,
    trust: bool,
    factory: str | Callable[..., Any] | FileFactory | None,
    arguments: dict[str, Any] | None,
) -> Network:
    """Load a network from a file or package; the parameters are those of `load`."""
    kind = kind_of(path)
    if isinstance(factory, str):
        factory = found_script(factory, path.parent)
    if kind == "bioimage.io":
        network = _of_package(path, spec, device, trust, factory, arguments)
    else:
        stated = _spec_for(path, spec)
        if factory is None and stated is not None and stated.factory is not None:
            factory, arguments = _stated_factory(path, stated, trust=trust)
        model = _opened(path, kind=kind, factory=factory, arguments=arguments, trust=trust)
        stated = _with_factory(stated, path, factory, arguments)
        network = Network(model, stated, device=device, name=path.stem)
        network.path = path
    network.origin = _origin(path, factory, arguments)
    return network


def _of_demo(name: str, spec: Any, device: str) -> Network:
    """Return a network that is shipped."""
    if name not in DEMOS:
        raise NeuroscopeError(
            f"There is no demo network “{name:.80}”; {nearest_names(name, DEMOS)}"
        )
    path = Path(str(files("napari_neuroscope.samples"))) / name / "model.safetensors"
    factory = f"napari_neuroscope.samples.architectures:{DEMOS[name]}"
    model = _opened(path, factory=factory, arguments=None, trust=False)
    network = Network(model, _spec_for(path, spec), device=device, name=name)
    network.path = path
    return network


def _stated_factory(
    path: Path, spec: ModelSpec, *, trust: bool
) -> tuple[FileFactory, dict[str, Any]]:
    """Return what a spec says builds the network: whoever wrote the spec chose it."""
    arguments = dict(spec.arguments or {})
    name = found_script(spec.factory or "", path.parent)

    def digest() -> str:
        # A script is hashed with it, and the weights are the input of a package's function.
        weights = "" if is_script(name) else digest_of(path)
        said = [name, arguments, version_of(name), weights]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    said_by = FileFactory(name, spec_path(path), digest=digest, seal=digest, trusted=trust)
    said_by.require_trust(arguments)
    return said_by, arguments


def _with_factory(
    spec: ModelSpec | None, path: Path, factory: Any, arguments: dict[str, Any] | None
) -> ModelSpec | None:
    """Return a spec that says what built the network, so that it is remembered where it is saved."""
    origin = _origin(path, factory, arguments)
    if "factory" not in origin or (spec is not None and spec.factory is not None):
        return spec
    said = {"factory": script_beside(origin["factory"], path.parent)}
    if origin["arguments"]:
        said["arguments"] = origin["arguments"]
    return (spec or ModelSpec()).model_copy(update=said)


def _origin(path: Path, factory: Any, arguments: dict[str, Any] | None) -> dict[str, Any]:
    origin: dict[str, Any] = {"source": str(path.absolute())}
    name = factory.name if isinstance(factory, FileFactory) else factory
    if isinstance(name, str):
        # What can't be written down is left to whoever loads it again.
        with suppress(TypeError, ValueError):
            # A copy, in which the caller changes nothing any more.
            origin |= {"factory": name, "arguments": json.loads(json.dumps(arguments or {}))}
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
        network = Network(opened.model, implied, device=device, name=visible(description.name, 200))
    network.path = package.path
    if opened.passed_over:
        notes.append(f"it was opened by {opened.format}, not by {' or '.join(opened.passed_over)}")
    # They hold words of the package.
    notes = [visible(note, _LONGEST_NOTE) for note in notes]
    network.published = PublishedTest(
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
    # What is no file, such as a pipe, is told; a name that is too long is none.
    return ModelSpec.load(beside) if os.path.exists(beside) else None
