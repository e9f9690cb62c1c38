"""The network of a package, of the weights that show most of it and may be opened."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from napari_neuroscope.engine.errors import (
    FactoryNeededError,
    NeuroscopeError,
    first_line,
    shortened,
)
from napari_neuroscope.engine.files.code.factory import FileFactory
from napari_neuroscope.engine.files.code.trust import TrustStore, UntrustedError
from napari_neuroscope.engine.networks.bioimageio.description import (
    Architecture,
    Description,
    Weights,
)
from napari_neuroscope.engine.networks.bioimageio.package import Package

# The best first: all layers, inner operations, the input's gradient alone, scores alone.
FORMATS = ("pytorch_state_dict", "keras_v3", "keras_hdf5", "onnx", "torchscript",
           "tensorflow_saved_model_bundle")  # fmt: skip

OpenFile = Callable[..., Any]
"""Opens a file of weights: ``(path, factory=, arguments=, trust=)``."""


class OpenedWeights(NamedTuple):
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
) -> OpenedWeights:
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
    sources = frozenset(description.sources())
    refusal: UntrustedError | None = None
    passed: dict[str, NeuroscopeError] = {}
    for name, entry in entries.items():
        opener = _Opener(package, name, entry, sources, open_file, factory, arguments, trust)
        try:
            return OpenedWeights(opener.open(), name, _in_words(passed), refusal)
        except UntrustedError as error:
            passed[name] = error
            refusal = refusal or error
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
    sources: frozenset[str]
    open_file: OpenFile
    factory: Any
    arguments: dict[str, Any] | None
    trust: bool

    def open(self) -> Any:
        """Return the model; what would run is trusted by the hash of the package.

        Raises
        ------
        UntrustedError
            Where it is not trusted.
        """
        package = self.package
        try:
            return self._opened(trust=self.trust)
        except UntrustedError as error:
            if error.path == package.path:
                # A factory, whose own hash was looked for already.
                raise
            # Most are not trusted, and are told so before anything is copied.
            for digest in (package.digest, package.seal):
                sha256 = digest(self.sources)
                if sha256 not in TrustStore():
                    raise UntrustedError(package.path, sha256, error.would_run) from error
        return self._opened(trust=True)

    def _opened(self, *, trust: bool) -> Any:
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
        package = self.package
        if builder.source is None:
            # Also where the package is trusted: code in no installed package is no part of it.
            return FileFactory(
                f"{builder.import_from or ''}:{builder.callable}",
                package.path,
                digest=partial(package.digest, self.sources),
                seal=partial(package.seal, self.sources),
                trusted=self.trust,
            )
        content = package.content(builder.source, builder.sha256)
        path = package.file(builder.source)
        if not trust:
            would_run = f"the Python file “{shortened(builder.source, 100)}” that it holds"
            raise UntrustedError(path, "", would_run)
        # The bytes whose hash was compared run, whatever is written to the file since.
        function = getattr(_module_of(path, content), builder.callable, None)
        if not callable(function):
            raise NeuroscopeError(
                f"{shortened(builder.source, 100)} in “{package.path.name}” has no function or "
                f"class “{shortened(builder.callable)}”."
            )
        return function


def _saved_model(package: Package, path: Path) -> Path:
    folder = package.unpacked(path)
    program = min(folder.rglob("saved_model.pb"), key=lambda p: len(p.parts), default=None)
    if program is None:
        raise NeuroscopeError(
            f"“{path.name}” in “{package.path.name}” holds no SavedModel (no saved_model.pb)."
        )
    return program.parent


def _module_of(path: Path, content: bytes) -> ModuleType:
    """Run the content of a Python file as a module of a name that nothing else has."""
    module = ModuleType(f"_neuroscope_package_{path.stem}_{hashlib.sha256(content).hexdigest()}")
    module.__file__ = str(path)
    # Dataclasses and pickles look a class's module up.
    sys.modules[module.__name__] = module
    try:
        exec(compile(content, str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[module.__name__]
        raise NeuroscopeError(
            f"The package's {path.name} failed with {type(error).__name__}: "
            f"{shortened(first_line(error), 200)}; install what it imports, or give a factory of "
            f"your own."
        ) from error
    return module
