"""What one pass shows of a model: its layers, which output is explained, and what that means."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError, Progress
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.frameworks.base import Framework
from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from napari_neuroscope.engine.passes.output.measured_end import with_measured_end
from napari_neuroscope.engine.passes.output.output_finder import OutputFinder
from napari_neuroscope.engine.passes.output.outputs import Outputs
from napari_neuroscope.engine.spec.classes_beside import classes_beside
from napari_neuroscope.engine.spec.model_spec import ClassSpec, ModelSpec


@dataclass(frozen=True, eq=False)
class Discovery:
    """What was found by one pass.

    Attributes
    ----------
    layers
        The layers, in order of execution.
    outputs
        The answer of that pass.
    values_of_layers
        How many values all layers answer for each value of the input.
    values_held
        How many of these a pass holds at once for its way back.
    """

    layers: LayerGraph
    outputs: Outputs
    values_of_layers: float
    values_held: float


def discover(
    adapter: Framework,
    finder: OutputFinder,
    spec: ModelSpec,
    x: Tensor,
    progress: Progress,
    says_probabilities: Callable[[ModelSpec], bool],
) -> tuple[ModelSpec, Discovery]:
    """Pass an input forward, and return the completed spec and what the pass shows.

    Parameters
    ----------
    adapter
        The model, as its framework sees it.
    finder
        Asks about its output, and remembers the answers.
    spec
        What is known of the model.
    x
        The input (1, channel, *space).
    progress
        Follows the work, and may stop it.
    says_probabilities
        Whether the network comes with the word that its answers lie in 0..1.
    """
    spec, (layers, output) = finder.ask_of_chosen(
        x, spec, lambda chosen: adapter.layers(x, chosen, progress)
    )
    arranged = finder.with_axes(x, output, spec)
    if arranged != spec:
        # Along which axis the scores are tells whether the network ends in a softmax.
        spec = arranged
        layers, output = adapter.layers(x, spec, progress)
    layers.input_shape = tuple(x.shape[2:])
    layers.shapes_run.add(layers.input_shape)
    layers.of_positions = spec.task == "segmentation"
    finder.locate(output, spec, layers)
    grid = finder.grid_of_row(output, spec, layers, layers.input_shape)
    outputs = Outputs(output, None, spec, None, grid)
    of_pass = spec
    spec = with_measured_end(
        spec,
        layers,
        outputs,
        lambda inputs: adapter.output(inputs, of_pass, layers)[0],
        x,
        told=says_probabilities(spec),
    )
    ran = [layer for layer in layers.values() if layer.kind != "block"]
    # What works in place leaves its input no memory of its own, and dropout does nothing here.
    held = [layer for layer in ran if not layer.overwritten and layer.kind != "dropout"]
    values, held_values = (
        sum(math.prod(layer.output_shape) for layer in part) / x.numel() for part in (ran, held)
    )
    return spec, Discovery(layers, outputs, values, held_values)


def class_specs(
    outputs: Outputs, spec: ModelSpec, name: str, path: Path | None
) -> tuple[Path | None, tuple[ClassSpec, ...]]:
    """Return the classes of an output, and the file beside the network's own that names them.

    Parameters
    ----------
    outputs
        The answer.
    spec
        What is known of the model; the classes that it names count first.
    name
        What people call the network.
    path
        The network's file, beside which names may lie; None: they are not looked for.

    Raises
    ------
    NeuroscopeError
        Where there are more classes than can be shown, or names than classes.
    """
    count, classes = outputs.count, spec.classes
    if count > limits.MOST_CLASSES:
        raise NeuroscopeError(
            f"The network “{name}” answers {count:,} classes, more than can be shown "
            f"({limits.MOST_CLASSES:,}); set the spec's output.index or output.axes."
        )
    beside = classes_beside(path, count) if path is not None and not classes else None
    names_from, classes = beside or (None, classes)
    if len(classes) == 1 and outputs.one_output:
        classes = (ClassSpec(name="background"), *classes)
    if len(classes) > count:
        raise NeuroscopeError(
            f"The spec names {len(classes)} classes, but the network answers {count}."
        )
    return names_from, classes
