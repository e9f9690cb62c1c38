"""What the configuration of a Keras file would build: classes of Keras alone are built unasked."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files import limits

_PUBLIC = ("layers", "models", "initializers", "regularizers", "constraints", "dtype_policies",
           "optimizers", "optimizers.schedules", "losses", "metrics")  # fmt: skip
_FUNCTIONS = ("activations", "ops", "initializers", "regularizers", "constraints", "losses",
              "metrics")  # fmt: skip
_PLAIN = {
    "__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__",
    "__tuple__", "TensorShape",
}  # fmt: skip
"""Values that are no numbers or words, as Keras writes them."""
_PROGRAMS = {
    "TFSMLayer": "a TensorFlow program, which may read and write files",
    "TorchModuleWrapper": "a pickled PyTorch module",
    "JaxLayer": "a JAX program",
    "FlaxLayer": "a JAX program",
    "__typespec__": "a type that TensorFlow makes of it",
    "TypeSpec": "a type that TensorFlow makes of it",
    "CompositeTensor": "a type that TensorFlow makes of it",
}
_LAMBDAS = {"Lambda", "__lambda__"}
_LOOKUPS = {"StringLookup", "IntegerLookup", "IndexLookup", "TextVectorization"}


def side_effects_of(config: Any, name: str) -> list[str]:
    """Return what a configuration would run or read besides its layers, in words.

    The user is asked about it.

    Parameters
    ----------
    config
        Plain values, bounded in number and depth.
    name
        The file.

    Raises
    ------
    NeuroscopeError
        Where it is no configuration of a model, has too many layers, or has classes that neither
        Keras nor the user's own packages know.
    """
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        raise NeuroscopeError(
            f"“{shortened(name, 200)}” is a broken Keras file: its configuration names no class of "
            f"a model; download or save it again."
        )
    effects: list[str] = []
    layers = 0
    # How it was trained is not built.
    for part in _parts({key: value for key, value in config.items() if key != "compile_config"}):
        layers += _calls(part)
        if layers > limits.MOST_KERAS_LAYERS:
            raise NeuroscopeError(
                f"“{shortened(name, 200)}” has more than {limits.MOST_KERAS_LAYERS:,} layers, more "
                f"than any network that can be opened here."
            )
        effects += _side_effects_of_part(part, name)
    return list(dict.fromkeys(effects))


def _calls(part: dict[str, Any]) -> int:
    """Return how often a layer is called; 0 for what is none."""
    inner, nodes = part.get("config"), part.get("inbound_nodes")
    if (
        not isinstance(inner, dict)
        or "name" not in inner
        or "Policy" in str(part.get("class_name"))
    ):
        return 0
    return max(len(nodes), 1) if isinstance(nodes, list) else 1


def _parts(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield all mappings in a configuration."""
    waiting: list[Any] = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _side_effects_of_part(part: dict[str, Any], name: str) -> list[str]:
    effects = []
    if part.get("unroll") is True:
        effects.append("steps of a recurrence that are laid out one by one")
    if "class_name" not in part:
        return effects
    kind = part["class_name"]
    if not isinstance(kind, str):
        raise _unknown(name, shortened(str(kind)), None)
    if _is_registered(part, kind):
        return effects
    # Keras 2 wrote the package before a name.
    last = kind.replace(">", ".").rpartition(".")[2]
    if last in _LAMBDAS:
        return [*effects, f"Python code that it holds (Lambda “{_title(part, last)}”)"]
    if last in _PROGRAMS:
        return [*effects, f"{_PROGRAMS[last]} ({last} “{_title(part, last)}”)"]
    if last in _PLAIN:
        return effects
    if last in _LOOKUPS:
        effects += _read_by(part)
    if kind == "function":
        _refuse_function(part, name)
    else:
        _refuse_class(part, kind, name)
    return effects


def _is_registered(part: dict[str, Any], kind: str) -> bool:
    """Whether the user's own packages have said which class it is."""
    import keras

    if kind in _LAMBDAS or kind in _PROGRAMS:
        return False
    called = part.get("config") if kind == "function" else part.get("registered_name") or kind
    return isinstance(called, str) and keras.saving.get_registered_object(called) is not None


def _title(part: dict[str, Any], otherwise: str) -> str:
    inner = part.get("config")
    title = inner.get("name", otherwise) if isinstance(inner, dict) else otherwise
    return shortened(str(title), 60)


def _read_by(part: dict[str, Any]) -> list[str]:
    """Return the files that a layer would read: Keras takes a path for a list of words."""
    inner = part.get("config")
    given = inner if isinstance(inner, dict) else {}
    paths = (given.get(key) for key in ("vocabulary", "idf_weights", "vocabulary_file"))
    return [f"reading the file “{shortened(path, 120)}”" for path in paths if isinstance(path, str)]


def _refuse_function(part: dict[str, Any], name: str) -> None:
    function, module = part.get("config"), part.get("module")
    is_of_keras = isinstance(function, str) and function in _keras_functions()
    if not is_of_keras or not _is_of_keras(module):
        raise _unknown(name, f"function “{shortened(str(function))}”", module)


def _refuse_class(part: dict[str, Any], kind: str, name: str) -> None:
    module = part.get("module")
    if module is None:
        # Keras looks for it among its own layers alone, by its name.
        from keras.src import layers

        named = vars(layers).get(kind)
        if named is None or inspect.isclass(named):
            return
    elif _is_of_keras(module) and (kind in _keras_classes() or _is_of_source(module, kind)):
        return
    raise _unknown(name, f"class “{shortened(kind)}”", module)


def _is_of_keras(module: Any) -> bool:
    return module is None or (
        isinstance(module, str) and module.partition(".")[0] in ("keras", "builtins")
    )


@cache
def _keras_classes() -> frozenset[str]:
    import keras

    classes = {"Functional", "Model", "Sequential", "DTypePolicy", "FloatDTypePolicy"}
    for place in _PUBLIC:
        module: Any = keras
        for step in place.split("."):
            module = getattr(module, step)
        classes |= {name for name, value in vars(module).items() if inspect.isclass(value)}
    return frozenset(classes - _LAMBDAS - _PROGRAMS.keys())


@cache
def _keras_functions() -> frozenset[str]:
    import keras

    return frozenset(
        name
        for place in _FUNCTIONS
        for name, value in vars(getattr(keras, place)).items()
        if inspect.isfunction(value) and not name.startswith("_")
    ) - {"serialize", "deserialize", "get", "custom_gradient"}


def _is_of_source(module: str, kind: str) -> bool:
    """Whether Keras has it for itself: an operation such as an addition, a layer of an application."""
    import sys

    import keras

    named = vars(sys.modules.get(module, object)).get(kind)
    return (
        module.startswith(("keras.src.ops.", "keras.src.applications."))
        and inspect.isclass(named)
        and issubclass(named, keras.Operation)
    )


def _unknown(name: str, what: str, module: Any) -> NeuroscopeError:
    place = "" if module is None else f" of “{shortened(str(module))}”"
    return NeuroscopeError(
        f"“{shortened(name, 200)}” asks for the {what}{place}, which is none of Keras's own for "
        f"networks; if it is yours, import the package that registers it first, or give a factory."
    )
