"""A Keras file is loaded without giving weights room before it is known how many they are.

Keras builds a model of a few words of a file, with weights of any size, and only then looks whether
the file has them. Here the model is first built with weights that have a shape and no values, of
which no more are let in than the file holds; then they get the file's values.

For that time the list in which Keras keeps weights that have no values yet is one of ours. The list
belongs to a thread, so that what another thread builds meanwhile is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files import limits

_WAITING = "uninitialized_variables"
"""What Keras calls the list of weights that have no values yet."""
_WIDER = 4
"""Weights may be saved with so many times fewer bytes than they have in memory."""


class UnplannedError(Exception):
    """A layer that gives its weights values at once."""


def load_planned(path: Path, held: int) -> Any:
    """Load a whole model, with no more weights than its file has.

    Parameters
    ----------
    path
        A file that nobody changes, of classes of Keras alone.
    held
        How many bytes of weights it holds.

    Raises
    ------
    NeuroscopeError
        Where it asks for more.
    UnplannedError
        Where that can't be told before.
    """
    import keras

    most = _WIDER * held + limits.ALWAYS_WEIGHTS
    with _planned(path.name, held, most) as planned:
        try:
            with keras.StatelessScope(initialize_variables=False) as scope:
                model = keras.saving.load_model(path, compile=False, safe_mode=True)
        except Exception as error:
            if planned.problem is not None:
                # Keras may have put it in words of its own.
                raise planned.problem from error
            if "in a stateless scope" in str(error):
                raise UnplannedError from error
            raise
    for variable in planned:
        value = scope.get_current_value(variable)
        if value is not None:
            # Its own first values would be thrown away.
            variable._initializer = _LoadedValue(value)
        variable._deferred_initialize()
    return model


class _LoadedValue:
    """Gives a weight the value that was loaded."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return self._value


class _WeightPlan(list[Any]):
    """Weights without values, as many as a file has."""

    def __init__(self, name: str, held: int, most: int) -> None:
        self._name, self._held, self._left = name, held, most
        self.problem: NeuroscopeError | None = None

    def append(self, variable: Any) -> None:
        """Let a weight in."""
        import keras

        bits = _bits(keras.backend.standardize_dtype(variable.dtype))
        nbytes = math.prod(variable.shape) * bits // 8
        self._left -= nbytes
        if self._left < 0:
            self.problem = NeuroscopeError(
                f"“{shortened(self._name, 200)}” asks for weights that it doesn't hold, such as "
                f"“{shortened(variable.path, 100)}” of {nbytes:,} bytes: it has {self._held:,} bytes "
                f"of weights in all; download or save it again."
            )
            raise self.problem
        super().append(variable)


def _bits(dtype: str) -> int:
    """Return how many bits a number takes, of such as “float32”, “float8_e4m3fn” or “bool”."""
    digits = "".join(c for c in dtype.partition("_")[0] if c.isdigit())
    return int(digits or 8)


@contextmanager
def _planned(name: str, held: int, most: int) -> Iterator[_WeightPlan]:
    """Have Keras put the weights of this thread that have no values yet into a list of ours."""
    from keras.src.backend.common import global_state

    before = global_state.get_global_attribute(_WAITING)
    planned = _WeightPlan(name, held, most)
    global_state.set_global_attribute(_WAITING, planned)
    try:
        yield planned
    finally:
        global_state.set_global_attribute(_WAITING, before)
