"""The network of a package, of the weights that show most of it and may be opened."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from napari_neuroscope.engine.bioimageio.description import Architecture, Description, Weights
from napari_neuroscope.engine.bioimageio.package import Package
from napari_neuroscope.engine.errors import FactoryNeededError, NeuroscopeError, shortened
from napari_neuroscope.engine.files.trust import TrustStore, UntrustedError

# The best first: all layers, inner operations, the input's gradient alone, scores alone.
FORMATS = ("pytorch_state_dict", "keras_v3", "keras_hdf5", "onnx", "torchscript",
           "tensorflow_saved_model_bundle")  # fmt: skip

OpenFile = Callable[..., Any]
"""Opens a file of weights: ``(path, factory=, arguments=, trust=)``."""


class Opened(NamedTuple):
    """A model, the format of its weights, and why better ones were passed over.

    The last is what trust would let run to open those that are best.
    """

    model: Any
    format: str
    passed_over: list[str]
    untrusted: UntrustedError | None


def open_weights(
    package: Package,
    description: Description,
    open_file: OpenFile,
    *,
    factory: Any,
    arguments: dict[str, Any] | None,
    trust: bool,
) -> Opened:
    """Open the best weights of a package that may be opened.

    Weights that would run code come after all others, unless the package is trusted.

    Raises
    ------
    UntrustedError
        Where all of them would run code.
    NeuroscopeError
        Where none can be opened: it says why, for each.
    """
    entries = {name: entry for name in FORMATS if (entry := description.weights.get(name))}
    if not entries:
        others = ", ".join(description.weights) or "none"
        raise NeuroscopeError(
            f"“{package.path.name}” holds no weights of a format that is known here "
            f"({', '.join(FORMATS)}), but: {shortened(others, 200)}."
        )
    refusal: UntrustedError | None = None
    passed: dict[str, NeuroscopeError] = {}
    for name, entry in entries.items():
        opener = _Opener(package, name, entry, open_file, factory, arguments)
        try:
            try:
                return Opened(opener.open(trust=trust), name, _in_words(passed), refusal)
            except UntrustedError as error:
                digest = package.digest(set(description.sources()))
                if digest in TrustStore():
                    return Opened(opener.open(trust=True), name, _in_words(passed), refusal)
                passed[name] = untrusted = UntrustedError(package.path, digest, error.would_run)
                refusal = refusal or untrusted
        except NeuroscopeError as error:
            passed[name] = error
    if refusal is not None:
        raise refusal
    if len(passed) == 1:
        raise next(iter(passed.values()))
    raise NeuroscopeError(
        f"None of the weights in “{package.path.name}” can be opened: {'; '.join(_in_words(passed))}."
    )


def _in_words(passed: dict[str, NeuroscopeError]) -> list[str]:
    def why(error: NeuroscopeError) -> str:
        if isinstance(error, UntrustedError):
            return f"they would run {error.would_run}, which trust=True allows"
        return str(error).rstrip(".")

    return [f"{name} ({why(error)})" for name, error in passed.items()]


class _Opener(NamedTuple):
    package: Package
    name: str
    entry: Weights
    open_file: OpenFile
    factory: Any
    arguments: dict[str, Any] | None

    def open(self, *, trust: bool) -> Any:
        path = self.package.file(self.entry.source, self.entry.sha256)
        if self.entry.external_data is not None:
            self.package.file(self.entry.external_data.source, self.entry.external_data.sha256)
        factory, arguments = self.factory, self.arguments
        if self.name == "tensorflow_saved_model_bundle":
            path = _saved_model(self.package, path)
        elif self.name == "pytorch_state_dict" and factory is None:
            builder = self.entry.builder()
            if builder is None:
                raise FactoryNeededError(
                    f"“{self.package.path.name}” doesn't say what builds the network of its "
                    f'weights; say it with factory="package.module:function".'
                )
            factory, arguments = self._factory(builder, trust=trust), builder.kwargs
        return self.open_file(path, factory=factory, arguments=arguments, trust=trust)

    def _factory(self, builder: Architecture, *, trust: bool) -> Any:
        if builder.source is None:
            return f"{builder.import_from or ''}:{builder.callable}"
        path = self.package.file(builder.source, builder.sha256)
        if not trust:
            raise UntrustedError(
                self.package.path, "", f"the Python file {builder.source} that it holds"
            )
        function = getattr(_module_of(path), builder.callable, None)
        if not callable(function):
            raise NeuroscopeError(
                f"{builder.source} in “{self.package.path.name}” has no function or class "
                f"“{shortened(builder.callable)}”."
            )
        return function


def _saved_model(package: Package, path: Path) -> Path:
    folder = package.unpacked(path)
    found = min(folder.rglob("saved_model.pb"), key=lambda p: len(p.parts), default=None)
    if found is None:
        raise NeuroscopeError(
            f"“{path.name}” in “{package.path.name}” holds no SavedModel (no saved_model.pb)."
        )
    return found.parent


def _module_of(path: Path) -> ModuleType:
    """Run a Python file as a module of a name that nothing else has."""
    content = path.read_bytes()
    module = ModuleType(f"_neuroscope_package_{path.stem}_{abs(hash(content)):x}")
    module.__file__ = str(path)
    # Dataclasses and pickles look a class's module up.
    sys.modules[module.__name__] = module
    try:
        exec(compile(content, str(path), "exec"), module.__dict__)
    except Exception as error:
        del sys.modules[module.__name__]
        reason = shortened((str(error) or "no reason").splitlines()[0], 200)
        raise NeuroscopeError(
            f"The package's {path.name} failed with {type(error).__name__}: {reason}; install what "
            f"it imports, or give a factory of your own."
        ) from error
    return module
