"""Keras's files: .keras, .h5 and SavedModel."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from napari_neuroscope.engine.errors import FactoryNeededError, NeuroscopeError, shortened
from napari_neuroscope.engine.files.factory import build
from napari_neuroscope.engine.files.file_kind import Kind
from napari_neuroscope.engine.files.trust import require_trust
from napari_neuroscope.engine.frameworks.tensorflow_import import import_tensorflow

KINDS: tuple[Kind, ...] = ("keras", "h5", "SavedModel")


def load_keras(
    path: Path, kind: Kind, *, factory: Any, arguments: dict[str, Any] | None, trust: bool
) -> Any:
    """Load a Keras model from a file.

    Parameters
    ----------
    path, kind
        The file or folder, and what it is.
    factory, arguments
        What builds the network where the file holds weights alone.
    trust
        Whether code in the file may run.

    Raises
    ------
    NeuroscopeError
        Where TensorFlow is missing, the file is broken, or needs a factory.
    UntrustedError
        Where it would run code.
    """
    try:
        import_tensorflow()
        import keras
    except ImportError:
        raise NeuroscopeError(
            f"“{path.name}” is a {kind} file, and TensorFlow is not installed; install it with: "
            f'pip install "napari-neuroscope[tensorflow]"'
        ) from None
    if kind == "SavedModel":
        require_trust(path, "the operations of a TensorFlow program, which may read and write "
                            "files", trust=trust)  # fmt: skip
        return _load_saved_model(path)
    config = _config(path, kind)
    if config is None:
        if factory is None:
            raise FactoryNeededError(
                f"“{path.name}” holds weights but no network; say what builds it with "
                f'factory="package.module:function".'
            )
        return _fill(build(factory, arguments, trust=trust), path)
    code = sorted(set(_code_in(config)))
    if code:
        require_trust(path, f"Python code that it holds ({', '.join(code[:4])})", trust=trust)
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=not code)
    except Exception as error:
        reason = shortened(str(error).strip().splitlines()[0], 300) if str(error) else "no reason"
        raise NeuroscopeError(
            f"“{path.name}” can't be loaded by Keras {keras.__version__}: "
            f"{type(error).__name__}: {reason}. If it has layers of your own, import the package "
            f"that registers them first, or give a factory."
        ) from error


def _config(path: Path, kind: Kind) -> Any:
    """Return the configuration of a model that is saved whole; None for weights alone."""
    try:
        if kind == "keras":
            with zipfile.ZipFile(path) as archive:
                return json.loads(archive.read("config.json"))
        import h5py

        with h5py.File(path, "r") as file:
            text = file.attrs.get("model_config")
            return None if text is None else json.loads(text)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        reason = shortened((str(error) or type(error).__name__).splitlines()[0], 160)
        raise NeuroscopeError(
            f"“{path.name}” is a broken {kind} file ({reason}); download or save it again."
        ) from error


def _code_in(config: Any) -> Iterator[str]:
    """Yield what in a configuration is Python bytecode, by the names of its layers."""
    if isinstance(config, dict):
        name = config.get("class_name")
        if name in ("Lambda", "__lambda__", "function") and _has_bytecode(config):
            inner = config.get("config")
            yield str(inner.get("name", name)) if isinstance(inner, dict) else str(name)
        for value in config.values():
            yield from _code_in(value)
    elif isinstance(config, list):
        for value in config:
            yield from _code_in(value)


def _has_bytecode(config: dict[str, Any]) -> bool:
    text = json.dumps(config)
    # Keras 3 writes “__lambda__”; older files keep a function as [code, defaults, closure].
    return '"__lambda__"' in text or '"function_type": "lambda"' in text or '"function": ["' in text


def _fill(model: Any, path: Path) -> Any:
    import keras

    if not isinstance(model, keras.Model):
        raise NeuroscopeError(f"The factory made a {type(model).__name__}, no keras.Model.")
    try:
        model.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        reason = shortened(str(error).splitlines()[0], 300) if str(error) else "no reason"
        raise NeuroscopeError(
            f"The weights in “{path.name}” don't fit the network that the factory builds: {reason}."
        ) from error
    return model


def _load_saved_model(path: Path) -> Any:
    import keras

    for endpoint in ("serving_default", "serve"):
        try:
            layer = keras.layers.TFSMLayer(str(path), call_endpoint=endpoint)
        except (ValueError, OSError, AttributeError) as error:
            reason = str(error)
            continue
        signature = layer.call_endpoint_fn if hasattr(layer, "call_endpoint_fn") else None
        specs: Any = getattr(signature, "structured_input_signature", ((), {}))
        tensors = [*specs[0], *specs[1].values()]
        shape = tuple(tensors[0].shape)[1:] if tensors else (None, None, 3)
        inputs = keras.Input(shape)
        outputs = layer(inputs)
        if isinstance(outputs, dict) and len(outputs) == 1:
            (outputs,) = outputs.values()
        return keras.Model(inputs, outputs)
    raise NeuroscopeError(
        f"The SavedModel “{path.name}” has no endpoint to call: {shortened(reason, 200)}."
    )
