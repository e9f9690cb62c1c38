"""PyTorch: answers for any module; each step of it lies in a file of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from napari_neuroscope.engine.errors import NeuroscopeError, Progress
from napari_neuroscope.engine.files.file_kind import Kind as FileKind
from napari_neuroscope.engine.frameworks.base import Capability, Framework
from napari_neuroscope.engine.frameworks.output_choice import OfferedOutput
from napari_neuroscope.engine.frameworks.torch import input_shape, weights
from napari_neuroscope.engine.frameworks.torch.files.load import KINDS, load_torch
from napari_neuroscope.engine.frameworks.torch.input_values import takes_bytes
from napari_neuroscope.engine.frameworks.torch.layer_search import find_layers
from napari_neuroscope.engine.frameworks.torch.lrp.relevance_pass import (
    TorchRelevance,
    record_relevance,
)
from napari_neuroscope.engine.frameworks.torch.model_runner import ModelRunner, final_activation_of
from napari_neuroscope.engine.frameworks.torch.outputs import offered_outputs
from napari_neuroscope.engine.frameworks.torch.resumed_pass import resumed
from napari_neuroscope.engine.frameworks.torch.run import TorchRun, run_kept
from napari_neuroscope.engine.frameworks.torch.tracing.activation_keeper import ActivationKeeper
from napari_neuroscope.engine.frameworks.torch.tracing.attention import AttentionKeeper
from napari_neuroscope.engine.frameworks.torch.tracing.recorder import PassObserver
from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from napari_neuroscope.engine.spec.model_spec import ModelSpec

_QUANTISED = Capability.SCORES | Capability.ACTIVATIONS | Capability.RESUMED | Capability.ATTENTION
_WHY_QUANTISED = "and the network is quantised (int8): what it rounds has none; give the network as it was before"


class TorchFramework(ModelRunner, Framework):
    """Any ``torch.nn.Module``."""

    name = "torch"
    capabilities = (
        Capability.SCORES
        | Capability.ACTIVATIONS
        | Capability.GRADIENTS
        | Capability.GUIDED
        | Capability.RESUMED
        | Capability.RANDOMISED
        | Capability.RELEVANCE
        | Capability.ATTENTION
    )

    kinds = KINDS

    @classmethod
    def load(
        cls,
        path: Path,
        kind: FileKind,
        *,
        factory: Any,
        arguments: dict[str, Any] | None,
        trust: bool,
    ) -> nn.Module:
        return load_torch(path, kind, factory=factory, arguments=arguments, trust=trust)

    @classmethod
    def recognises(cls, model: Any) -> bool:
        return isinstance(model, nn.Module)

    def __init__(self, model: nn.Module, device: str) -> None:
        super().__init__(model, device)
        self._digest: tuple[Hashable, str] | None = None
        self._is_quantised = any(
            ".quantized" in type(module).__module__ for module in self.model.modules()
        )
        if self._is_quantised:
            self.capabilities, self.limits = _QUANTISED, _WHY_QUANTISED

    def input_channels(self) -> int | None:
        return input_shape.input_channels(self.model)

    def completed(self, spec: ModelSpec) -> ModelSpec:
        if "axes" not in spec.input.model_fields_set and input_shape.takes_volumes(self.model):
            return spec.with_input(axes="bczyx")
        return spec

    def normalises_bytes(self, spec: ModelSpec, black: Tensor) -> bool | None:
        def forward(image: Tensor) -> None:
            self.forward(image, spec, PassObserver(), only=())

        with self.lock, torch.no_grad():
            return takes_bytes(forward, black)

    def example_shape(self) -> tuple[int, ...] | None:
        return input_shape.example_shape(self.model)

    def layers(self, x: Tensor, spec: ModelSpec, progress: Progress) -> tuple[LayerGraph, Tensor]:
        return find_layers(self, x, spec, progress)

    def run(
        self,
        x: Tensor,
        spec: ModelSpec,
        layers: LayerGraph,
        keep: Collection[str],
        progress: Progress,
    ) -> TorchRun:
        if any(weight.is_inference() for weight in weights.weights_of(self.model)):
            raise NeuroscopeError(
                "The network's weights were made under torch.inference_mode(), which keeps them "
                "from every gradient; make or load the network outside of it."
            )
        gradients = not self._is_quantised
        return run_kept(self, x, spec, layers, keep, progress, gradients=gradients)

    def run_no_grad(
        self, x: Tensor, spec: ModelSpec, layers: LayerGraph, keep: Collection[str]
    ) -> TorchRun:
        return run_kept(self, x, spec, layers, keep, None, gradients=False)

    def output(
        self, x: Tensor, spec: ModelSpec, layers: LayerGraph
    ) -> tuple[Tensor, Tensor | None]:
        keeper = ActivationKeeper(final_activation=final_activation_of(layers))
        only = self.module_paths((), keeper.final_activation)
        with self.lock, torch.no_grad():
            x = x.detach().to(self.device, self.dtype)
            output = self.forward(x, spec, keeper, only=only)
        if only is None:
            self.check_order(keeper.order, layers)
        return output.detach(), keeper.scores.value if keeper.scores else None

    def outputs(self, x: Tensor, spec: ModelSpec) -> list[OfferedOutput]:
        with self.frozen(), torch.inference_mode(False), torch.enable_grad():
            leaf = self.copied(x, gradients=True)
            return self.forward_and(
                lambda answer, _: offered_outputs(answer), leaf, spec, PassObserver(), only=()
            )

    def resumed(
        self, x: Tensor, spec: ModelSpec, layers: LayerGraph, layer: str
    ) -> Callable[[Tensor, int], tuple[Tensor, Tensor | None]]:
        return resumed(self, x, spec, layers, layer)

    def relevance(self, x: Tensor, spec: ModelSpec, layers: LayerGraph) -> TorchRelevance:
        return record_relevance(self, x, spec, layers)

    def attention(self, x: Tensor, spec: ModelSpec) -> list[Tensor]:
        keeper = AttentionKeeper()
        with self.lock, torch.no_grad(), keeper:
            self.forward_and(lambda *_: None, x, spec, PassObserver(), only=())
        return keeper.weights

    @contextmanager
    def randomised(self, layers: LayerGraph, seed: int) -> Iterator[Callable[[str], None]]:
        with self.frozen(), weights.randomised(self.model, seed) as replace:
            yield replace

    def state(self) -> Hashable:
        # A sanity check of another thread has random weights there meanwhile.
        with self.lock:
            return weights.state_of(self.model)

    def digest(self, state: Hashable = None) -> str:
        with self.lock:
            state = self.state() if state is None else state
            if self._digest is None or self._digest[0] != state:
                self._digest = state, weights.digest_of(self.model)
            return self._digest[1]

    def guided_notes(self, layers: LayerGraph) -> list[str]:
        for path, module in self.model.named_modules():
            if isinstance(module, torch.jit._script.RecursiveScriptModule):
                raise NeuroscopeError(
                    f"Guided backpropagation can't see inside the scripted module "
                    f"“{path or type(module).__name__}” and its answer would be wrong; use the "
                    f"network as it was before torch.jit.script, or Saliency."
                )
        return []
