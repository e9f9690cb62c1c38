"""Keras's files: .keras, .h5 and SavedModel."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from napari_neuroscope.engine.errors import FactoryNeededError, NeuroscopeError, shortened
from napari_neuroscope.engine.files.factory import build
from napari_neuroscope.engine.files.file_kind import Kind
from napari_neuroscope.engine.files.told import reason_of
from napari_neuroscope.engine.files.trust import (
    TrustStore,
    UntrustedError,
    digest_of,
    private_copy,
    trusted_content,
)
from napari_neuroscope.engine.frameworks.keras_config import asked_of
from napari_neuroscope.engine.frameworks.keras_content import keras_content
from napari_neuroscope.engine.frameworks.keras_plan import UnplannedError, load_planned
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
        import keras  # noqa: F401  whether it is there
    except ImportError:
        raise NeuroscopeError(
            f"“{path.name}” is a {kind} file, and TensorFlow is not installed; install it with: "
            f'pip install "napari-neuroscope[tensorflow]"'
        ) from None
    if kind == "SavedModel":
        program = "the operations of a TensorFlow program, which may read and write files"
        with trusted_content(path, program, trust=trust) as content:
            return _load_saved_model(content)
    # What is looked at is what is loaded, whatever becomes of the file meanwhile.
    with nullcontext(path) if trust else private_copy(path) as content:
        return _load(content, path, kind, factory=factory, arguments=arguments, trust=trust)


def _load(
    content: Path,
    path: Path,
    kind: Kind,
    *,
    factory: Any,
    arguments: dict[str, Any] | None,
    trust: bool,
) -> Any:
    """Load the content of a file that is no program."""
    config, held = keras_content(content, kind)
    if config is None:
        if factory is None:
            raise FactoryNeededError(
                f"“{path.name}” holds weights but no network; say what builds it with "
                f'factory="package.module:function".'
            )
        return _fill(build(factory, arguments, trust=trust), content)
    asked = asked_of(config, path.name)
    if asked:
        _ask(path, content, ", ".join(asked[:4]), trust=trust)
    try:
        if trust or asked:
            return _load_model(content, safe=not asked)
        return load_planned(content, held)
    except NeuroscopeError:
        raise
    except UnplannedError:
        _ask(path, content, "code of a layer that makes values of a size that is not known before",
             trust=trust)  # fmt: skip
        return _load_model(content, safe=True)
    except Exception as error:
        import keras

        raise NeuroscopeError(
            f"“{path.name}” can't be loaded by Keras {keras.__version__}: {_reason(error)}. If "
            f"it has layers of your own, import the package that registers them first, or give a "
            f"factory."
        ) from error


def _reason(error: Exception) -> str:
    """Return what Keras says, without what it says around it."""
    inner = str(error).rpartition("Exception encountered: ")[2].strip()
    return shortened(inner.splitlines()[0], 200).rstrip(".") if inner else reason_of(error)


def _load_model(content: Path, *, safe: bool) -> Any:
    import keras

    return keras.saving.load_model(content, compile=False, safe_mode=safe)


def _ask(path: Path, content: Path, would_run: str, *, trust: bool) -> None:
    """Ask whether the content of a file is trusted."""
    if not trust and (sha256 := digest_of(content)) not in TrustStore():
        raise UntrustedError(path, sha256, would_run)


def _fill(model: Any, path: Path) -> Any:
    import keras

    if not isinstance(model, keras.Model):
        raise NeuroscopeError(f"The factory made a {type(model).__name__}, no keras.Model.")
    try:
        model.load_weights(path)
    except Exception as error:
        raise NeuroscopeError(
            f"The weights in “{path.name}” don't fit the network that the factory builds: "
            f"{reason_of(error)}."
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
