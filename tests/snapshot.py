"""All of a model that an explanation could leave changed."""

from __future__ import annotations

import random
import warnings

import numpy as np
import torch
from torch import nn

_HOOKS = [
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks_always_called",
]


class Snapshot:
    """A model as it is now, to be compared with what it is later."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.tensors = {name: tensor.detach().clone() for name, tensor in self._tensors().items()}
        self.facts = self._facts()

    def _tensors(self) -> dict[str, torch.Tensor]:
        return {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}

    def _facts(self) -> dict[str, object]:
        modules = dict(self.model.named_modules(remove_duplicate=False))
        parameters = dict(self.model.named_parameters())
        return {
            "modules": {path: id(module) for path, module in modules.items()},
            "forward": {path: module.__dict__.get("forward") for path, module in modules.items()},
            "places": {name: t.data_ptr() for name, t in self._tensors().items()},
            "objects": {name: id(t) for name, t in self._tensors().items()},
            "training": {path: module.training for path, module in modules.items()},
            "inplace": {path: getattr(module, "inplace", None) for path, module in modules.items()},
            "hooks": {
                path: {name: list(getattr(module, name)) for name in _HOOKS}
                for path, module in modules.items()
            },
            "requires_grad": {name: p.requires_grad for name, p in parameters.items()},
            "grad": {name: p.grad for name, p in parameters.items()},
            "tensor hooks": {name: p._backward_hooks for name, p in parameters.items()},
            "random state": torch.get_rng_state().tolist(),
            "random state of NumPy": np.random.get_state()[1].tolist(),
            "random state of Python": random.getstate(),
            "deterministic": (
                torch.are_deterministic_algorithms_enabled(),
                torch.backends.cudnn.deterministic,
                torch.backends.cudnn.benchmark,
                torch.backends.cudnn.allow_tf32,
                torch.get_float32_matmul_precision(),
            ),
            "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
            "default dtype": torch.get_default_dtype(),
            "autocast": (torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")),
            "warnings": ("ignore", None, Warning, None, 0) in warnings.filters,
            "grad mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
            "function modes": torch._C._len_torch_function_stack(),
            "dispatch modes": torch._C._len_torch_dispatch_stack(),
        }

    def assert_unchanged(self) -> None:
        """Compare bit for bit."""
        now = self._facts()
        for what, then in self.facts.items():
            assert now[what] == then, what
        tensors = self._tensors()
        assert tensors.keys() == self.tensors.keys()
        for name, tensor in tensors.items():
            assert tensor.dtype == self.tensors[name].dtype
            assert torch.equal(tensor, self.tensors[name]), name
