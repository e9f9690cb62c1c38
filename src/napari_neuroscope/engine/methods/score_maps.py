"""Maps of what the network itself says: scores and probabilities of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.frameworks.base import Capability
from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from napari_neuroscope.engine.methods.cams import weighted
from napari_neuroscope.engine.methods.interface import (
    Count,
    Local,
    Map,
    Needs,
    PassCount,
    Workload,
    method,
)
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.trace import Trace


def _passes_of_cam(workload: Workload) -> int:
    return int(pooled_layer(workload.graph) is not None)


@method(
    "Score map",
    family="score",
    needs=Needs.TARGET,
    passes=PassCount(backward=Count("0, or 1 for the CAM of a classifier", _passes_of_cam)),
    tiles=Local("output"),
    reference="Schorr et al., Appl. Sci. 2021, doi:10.3390/app11052199; "
    "Zhou et al., CVPR 2016, doi:10.1109/CVPR.2016.319",
)
def score_map(trace: Trace, target: ResolvedTarget, layer: str | None) -> Map:
    """How the network scores the class at each position.

    Segmentation: the class's logit or probability (the target's score) over the output grid.
    Classification: the scores of all classes as a table; where global average pooling and one
    linear layer follow a spatial one, also the map that they come from, CAM = Σ_k W_ck A_k.

    Misleads
    --------
    It shows the answer, not its reasons. A logit can be high for several classes at once: compare
    probabilities.
    """
    outputs = trace.outputs
    if trace.network.spec.task == "segmentation":
        values = outputs.value(outputs.raw.float(), target.score, target.index)
        return Map(
            values,
            signed=target.score != "probability",
            unit=target.score,
            grid=trace.output_grid,
        )
    scores = outputs.value(outputs.raw.float(), target.score)
    names = tuple(trace.network.spec.class_name(i) for i in range(outputs.count))
    table = {
        str(target.score): scores.tolist(),
        "probability": outputs.probabilities.tolist(),
    }
    pooled = pooled_layer(trace.network.layers)
    if (
        pooled is None
        or not Capability.GRADIENTS & trace.network.capabilities
        or outputs.ends_in
        or pooled not in trace.layers
        or not trace.layers_run[pooled].differentiable
    ):
        return Map(
            scores,
            ("class",),
            {"class": names},
            signed=target.score != "probability",
            unit=target.score,
            table=table,
        )
    # Behind average pooling W_ck is the sum over positions of the class's gradient, everywhere
    # equal; so it needs no look at how the framework keeps its weights.
    logit = trace.resolve(target.index)
    weights = trace.gradient(logit, pooled).flatten(1).sum(1)
    return Map(
        weighted(trace.activation(pooled), weights),
        signed=True,
        unit="logit",
        labels={"table": names},
        table=table,
        grid=trace.grid_of_layer(pooled),
    )


def pooled_layer(layers: LayerGraph) -> str | None:
    """Return the spatial layer before global average pooling and a linear head, if that is all."""
    calls = [layer for layer in layers.values() if layer.kind != "block"]
    if (
        layers.final_activation is not None
        and calls
        and calls[-1].name == layers.final_activation[0]
    ):
        calls.pop()
    past_dense = False
    while calls:
        layer = calls.pop()
        if layer.altered:
            return None
        if layer.kind == "dense" and not past_dense:
            past_dense = True
        elif layer.kind == "pooling" and past_dense:
            name = layer.operation.lower()
            average = "avg" in name or "average" in name or name == "mean"
            everything = max(layer.output_shape[1:], default=1) == 1
            source = layer.inputs[0] if len(layer.inputs) == 1 else None
            if source and layers[source].altered:
                return None
            if not (average and everything and source and layers.has_positions(source)):
                return None
            return source
        elif layer.kind not in ("reshape", "dropout") and layer.operation != "Identity":
            return None
    return None


@method(
    "Fusion score map",
    family="score",
    tasks=("segmentation",),
    reference="Schorr et al., Appl. Sci. 2021, doi:10.3390/app11052199",
    instead=("score_map",),
    passes=PassCount(),
    tiles=Local("output"),
)
def fusion_score_map(
    trace: Trace,
    target: ResolvedTarget | None,
    layer: str | None,
    *,
    classes: Annotated[
        Sequence[str | int] | None,
        Field(description="The classes of which the highest is taken, by name or number."),
    ] = None,
) -> Map:
    """How sure the network is of its answer: the highest probability of the chosen classes.

    max_c π_c over ``classes`` (all by default), with the predicted classes as labels beside it.
    Returns (*space) on the output's grid.

    Misleads
    --------
    A softmax is often sure where it is wrong: high is not right.
    """
    outputs = trace.outputs
    if classes is not None and not classes:
        raise NeuroscopeError(
            "The fusion score map needs at least one class; leave classes out for all."
        )
    chosen = (
        range(outputs.count)
        if classes is None
        else [trace.network.spec.class_index(which, outputs.count) for which in classes]
    )
    values = outputs.probabilities[list(chosen)].amax(0)
    return Map(
        values,
        unit="probability",
        companions={"prediction": outputs.predicted},
        grid=trace.output_grid,
    )
