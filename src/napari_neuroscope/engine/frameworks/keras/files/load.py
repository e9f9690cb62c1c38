"""Keras's files: .keras, .h5 and SavedModel.

While a SavedModel is loaded without its optimizer, TensorFlow's logger is set to errors alone, in
the whole process, since it has one logger; the last thread that loads one puts it back.
"""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from napari_neuroscope.engine.errors import FactoryNeededError, NeuroscopeError, shortened
from napari_neuroscope.engine.files.code.factory import build
from napari_neuroscope.engine.files.code.trust import (
    TrustStore,
    UntrustedError,
    digest_of,
    private_copy,
    trusted_content,
)
from napari_neuroscope.engine.files.file_kind import Kind
from napari_neuroscope.engine.files.told import reason_of
from napari_neuroscope.engine.frameworks.input_shape import refuse_without_image
from napari_neuroscope.engine.frameworks.keras.files.configuration import side_effects_of
from napari_neuroscope.engine.frameworks.keras.files.content import keras_content
from napari_neuroscope.engine.frameworks.keras.files.keras_2 import modern, readable
from napari_neuroscope.engine.frameworks.keras.files.saved_model import without_optimizer
from napari_neuroscope.engine.frameworks.keras.files.weight_plan import UnplannedError, load_planned
from napari_neuroscope.engine.frameworks.keras.tensorflow_import import import_tensorflow
from napari_neuroscope.engine.frameworks.process_setting import ProcessSetting

_LONGEST_REASON = 800

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
    stored, held = keras_content(content, kind)
    if factory is not None:
        model = build(factory, arguments, trust=trust)
        with readable(content, kind, stored, stored) as file:
            return _fill(model, file, path.name)
    if stored is None:
        raise FactoryNeededError(
            f"“{path.name}” holds weights but no network; say what builds it with "
            f'factory="package.module:function".'
        )
    config = modern(stored)
    effects = side_effects_of(config, path.name)
    if effects:
        _require_trust(path, content, ", ".join(effects[:4]), trust=trust)
    with readable(content, kind, stored, config) as file:
        try:
            if trust or effects:
                return _load_model(file, safe=not effects)
            return load_planned(file, held)
        except NeuroscopeError:
            raise
        except UnplannedError:
            _require_trust(path, content, "code of a layer that makes values of a size that is not known "
                 "before", trust=trust)  # fmt: skip
            return _load_model(file, safe=True)
        except Exception as error:
            import keras

            raise NeuroscopeError(
                f"“{path.name}” can't be loaded by Keras {keras.__version__}: {_reason(error)}. If "
                f"it has layers of your own, import the package that registers them first, or give "
                f"a factory."
            ) from error


def _reason(error: Exception) -> str:
    """Return all that Keras says of what was wrong, in one line."""
    text = str(error)
    # Around it, it shows the configuration that it was about.
    said = " ".join((text.rpartition("Exception encountered: ")[2] or text).split())
    return shortened(said, _LONGEST_REASON).rstrip(".") if said else reason_of(error)


def _load_model(content: Path, *, safe: bool) -> Any:
    import keras

    return keras.saving.load_model(content, compile=False, safe_mode=safe)


def _require_trust(path: Path, content: Path, would_run: str, *, trust: bool) -> None:
    """Ask whether the content of a file is trusted."""
    if not trust and (sha256 := digest_of(content)) not in TrustStore():
        raise UntrustedError(path, sha256, would_run)


def _fill(model: Any, path: Path, name: str) -> Any:
    import keras

    if not isinstance(model, keras.Model):
        raise NeuroscopeError(f"The factory made a {type(model).__name__}, no keras.Model.")
    try:
        model.load_weights(path)
    except Exception as error:
        raise NeuroscopeError(
            f"The weights in “{name}” don't fit the network that the factory builds: "
            f"{_reason(error)}."
        ) from error
    return model


def _load_saved_model(path: Path) -> Any:
    with ExitStack() as stack:
        try:
            return _of_endpoint(path, path.name)
        except NeuroscopeError:
            bare = without_optimizer(path, Path(stack.enter_context(TemporaryDirectory())))
            if bare is None:
                raise
        # It is told of each variable of the optimizer that it is left out.
        with _errors_alone():
            return _of_endpoint(bare, path.name)


def _log_errors_alone() -> int:
    """Have TensorFlow's logger say errors alone; return what it said before."""
    import tensorflow as tf

    level = int(tf.get_logger().level)
    tf.get_logger().setLevel("ERROR")
    return level


def _log_from(level: int) -> None:
    import tensorflow as tf

    tf.get_logger().setLevel(level)


_errors_alone = ProcessSetting(_log_errors_alone, _log_from)


def _of_endpoint(path: Path, name: str) -> Any:
    import keras

    for endpoint in ("serving_default", "serve"):
        try:
            layer = keras.layers.TFSMLayer(str(path), call_endpoint=endpoint)
        except (ValueError, OSError, AttributeError) as error:
            reason = str(error)
            continue
        shape, dtype = _input_of(layer)
        if dtype != "float32" and dtype.startswith(("float", "bfloat")):
            layer = keras.layers.TFSMLayer(str(path), call_endpoint=endpoint, dtype=dtype)
        inputs = keras.Input(shape, dtype=dtype)
        outputs = layer(inputs)
        if isinstance(outputs, dict) and len(outputs) == 1:
            (outputs,) = outputs.values()
        return keras.Model(inputs, outputs)
    raise NeuroscopeError(
        f"The SavedModel “{name}” has no endpoint to call: {shortened(reason, 200)}."
    )


def _input_of(layer: Any) -> tuple[tuple[int | None, ...], str]:
    """Return the shape without the batch, and the type, of what an endpoint takes."""
    signature = getattr(layer, "call_endpoint_fn", None)
    specs: Any = getattr(signature, "structured_input_signature", None) or ((), {})
    tensors = [*specs[0], *specs[1].values()]
    if not tensors:
        return (None, None, 3), "float32"
    shape, dtype = tensors[0].shape, tensors[0].dtype.name
    if shape.rank is None:
        return (None, None, 3), dtype
    refuse_without_image(shape, "byx" if shape.rank == 3 else "byxc")
    return tuple(shape)[1:], dtype
