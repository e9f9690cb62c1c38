"""A Keras model is called once with a symbolic input, which gives its graph and its layers.

Where a model hides operations in functions of its own (`tf.function`), it is called a second time
with these unrolled, if they can be. TensorFlow says for the whole process alone that functions are
run step by step (`tf.config.run_functions_eagerly`), so that for the time of that call a function
of another thread would run that way, too: slower, to the same values. The setting is put back as
it was, and one trace runs at a time.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from napari_neuroscope.engine.errors import Cancelled, NeuroscopeError, Progress
from napari_neuroscope.engine.frameworks.keras.outputs import choose_output
from napari_neuroscope.engine.frameworks.keras.tracing.recorder import Recorder
from napari_neuroscope.engine.spec.model_spec import ModelSpec

# Keras's classes are recorded, and functions unrolled, in the whole process: one trace at a time.
_TRACING = threading.Lock()


@dataclass(frozen=True)
class ModelTrace:
    """What a call with a symbolic input left.

    Attributes
    ----------
    recorder
        The layers.
    x, output
        The symbolic input, and the output that is explained.
    concrete
        The concrete function, which owns the graph.
    """

    recorder: Recorder
    x: Any
    output: Any
    concrete: Any


def trace(model: Any, shape: tuple[int, ...], spec: ModelSpec, progress: Progress) -> ModelTrace:
    """Trace a model for inputs of a shape, its functions unrolled if they can be."""
    traced = _trace(model, shape, spec, progress, inline=False)
    if _can_inline(traced.concrete.graph):
        try:
            return _trace(model, shape, spec, progress, inline=True)
        except (NeuroscopeError, Cancelled):
            raise
        except Exception:  # noqa: BLE001  whatever the function minds: it works as it is
            pass
    return traced


def _can_inline(graph: Any) -> bool:
    """Whether there are functions that could be unrolled; what XLA compiles may need it."""
    calls = [op for op in graph.get_operations() if op.type.endswith("PartitionedCall")]
    compiled = [op for op in calls if "_XlaMustCompile" in op.node_def.attr]
    return bool(calls) and not any(op.node_def.attr["_XlaMustCompile"].b for op in compiled)


def _trace(
    model: Any, shape: tuple[int, ...], spec: ModelSpec, progress: Progress, *, inline: bool
) -> ModelTrace:
    import tensorflow as tf

    recorder = Recorder(model, progress, channels_last=spec.input.axes.endswith("c"))
    ends: list[Any] = []

    def forward(x: Any) -> Any:
        eagerly = tf.config.functions_run_eagerly()
        with recorder.recording(tf.compat.v1.get_default_graph(), x):
            if inline:
                tf.config.run_functions_eagerly(True)
            try:
                answer = model(x, training=False)
            finally:
                if inline:
                    tf.config.run_functions_eagerly(eagerly)
        recorder.answers_several = not hasattr(answer, "op")
        output = choose_output(answer, spec.output.index, getattr(model, "output_names", None))
        ends[:] = [x, output]
        return output

    with _TRACING:
        try:
            concrete = tf.function(forward, autograph=False).get_concrete_function(
                tf.TensorSpec(shape, tf.float32)
            )
        except Exception:
            if recorder.interruption is not None:
                raise recorder.interruption from None
            raise
    x, output = ends
    return ModelTrace(recorder, x, output, concrete)
