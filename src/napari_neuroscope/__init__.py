"""See why a network decides as it does: explanations of image networks, over the image itself.

The public names are loaded when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_neuroscope.engine.batch.run import BatchEvent, BatchResult, run_batch
    from napari_neuroscope.engine.errors import Cancelled, NeuroscopeError, NeuroscopeWarning
    from napari_neuroscope.engine.evaluation.confusion import Confusion
    from napari_neuroscope.engine.evaluation.consensus import Consensus, consensus
    from napari_neuroscope.engine.evaluation.evaluate import evaluate
    from napari_neuroscope.engine.evaluation.evaluation import Evaluation
    from napari_neuroscope.engine.evaluation.map_metric import MetricResult, metric
    from napari_neuroscope.engine.evaluation.metric_registry import metrics
    from napari_neuroscope.engine.evaluation.scoring import score_images
    from napari_neuroscope.engine.explain.difference import difference
    from napari_neuroscope.engine.explain.explain import explain
    from napari_neuroscope.engine.explain.instances import explain_instances
    from napari_neuroscope.engine.explain.recipe import Recipe, recipe_in
    from napari_neuroscope.engine.explain.stacked_planes import explain_stack
    from napari_neuroscope.engine.explain.tiled import explain_tiled
    from napari_neuroscope.engine.explanation.explanation import Explanation
    from napari_neuroscope.engine.files.code.trust import require_trust
    from napari_neuroscope.engine.frameworks.base import Capability, Framework, Run
    from napari_neuroscope.engine.graph.receptive_field import receptive_field
    from napari_neuroscope.engine.images.formats.image_file import open_image
    from napari_neuroscope.engine.images.pairing.find_pairs import pairs_of
    from napari_neuroscope.engine.images.source import read_image
    from napari_neuroscope.engine.methods.interface import (
        ChannelWeights,
        Local,
        Map,
        Method,
        Needs,
        PassCount,
        Sums,
        method,
    )
    from napari_neuroscope.engine.methods.registry import methods
    from napari_neuroscope.engine.networks.check_published import check_published
    from napari_neuroscope.engine.networks.load import load
    from napari_neuroscope.engine.networks.network import Network, wrap
    from napari_neuroscope.engine.passes.prediction import Prediction
    from napari_neuroscope.engine.passes.target import Instance, Target
    from napari_neuroscope.engine.passes.trace import Trace
    from napari_neuroscope.engine.results.read import Result, read_result
    from napari_neuroscope.engine.results.save import save
    from napari_neuroscope.engine.spec.model_spec import ModelSpec
    from napari_neuroscope.engine.tiles.tiling import Tiling

_PLACES = {
    "BatchEvent": "batch.run",
    "BatchResult": "batch.run",
    "Cancelled": "errors",
    "Capability": "frameworks.base",
    "ChannelWeights": "methods.interface",
    "Confusion": "evaluation.confusion",
    "Consensus": "evaluation.consensus",
    "Evaluation": "evaluation.evaluation",
    "Explanation": "explanation.explanation",
    "Framework": "frameworks.base",
    "Instance": "passes.target",
    "Local": "methods.interface",
    "Map": "methods.interface",
    "Method": "methods.interface",
    "MetricResult": "evaluation.map_metric",
    "ModelSpec": "spec.model_spec",
    "Needs": "methods.interface",
    "Network": "networks.network",
    "NeuroscopeError": "errors",
    "NeuroscopeWarning": "errors",
    "PassCount": "methods.interface",
    "Prediction": "passes.prediction",
    "Recipe": "explain.recipe",
    "Result": "results.read",
    "Run": "frameworks.base",
    "Sums": "methods.interface",
    "Target": "passes.target",
    "Tiling": "tiles.tiling",
    "Trace": "passes.trace",
    "check_published": "networks.check_published",
    "consensus": "evaluation.consensus",
    "difference": "explain.difference",
    "evaluate": "evaluation.evaluate",
    "explain": "explain.explain",
    "explain_instances": "explain.instances",
    "explain_stack": "explain.stacked_planes",
    "explain_tiled": "explain.tiled",
    "load": "networks.load",
    "method": "methods.interface",
    "methods": "methods.registry",
    "metric": "evaluation.map_metric",
    "metrics": "evaluation.metric_registry",
    "open_image": "images.formats.image_file",
    "pairs_of": "images.pairing.find_pairs",
    "read_image": "images.source",
    "read_result": "results.read",
    "receptive_field": "graph.receptive_field",
    "recipe_in": "explain.recipe",
    "require_trust": "files.code.trust",
    "run_batch": "batch.run",
    "save": "results.save",
    "score_images": "evaluation.scoring",
    "wrap": "networks.network",
}

__all__ = [
    "BatchEvent",
    "BatchResult",
    "Cancelled",
    "Capability",
    "ChannelWeights",
    "Confusion",
    "Consensus",
    "Evaluation",
    "Explanation",
    "Framework",
    "Instance",
    "Local",
    "Map",
    "Method",
    "MetricResult",
    "ModelSpec",
    "Needs",
    "Network",
    "NeuroscopeError",
    "NeuroscopeWarning",
    "PassCount",
    "Prediction",
    "Recipe",
    "Result",
    "Run",
    "Sums",
    "Target",
    "Tiling",
    "Trace",
    "check_published",
    "consensus",
    "difference",
    "evaluate",
    "explain",
    "explain_instances",
    "explain_stack",
    "explain_tiled",
    "load",
    "method",
    "methods",
    "metric",
    "metrics",
    "open_image",
    "pairs_of",
    "read_image",
    "read_result",
    "receptive_field",
    "recipe_in",
    "require_trust",
    "run_batch",
    "save",
    "score_images",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.engine.{_PLACES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
