"""What a forward pass in PyTorch changes besides its answer, put back, so that passes are alike."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from napari_neuroscope.engine.frameworks.process_setting import ProcessSetting


def _random_states() -> list[Any]:
    """Return the states of all generators of the process, as values that can be compared."""
    kind, keys, *rest = np.random.get_state()
    states: list[Any] = [
        torch.get_rng_state().numpy().tobytes(),
        (kind, np.asarray(keys).tobytes(), *rest),
        random.getstate(),
    ]
    if torch.cuda.is_initialized():
        states.append([state.numpy().tobytes() for state in torch.cuda.get_rng_state_all()])
    return states


def _set_random_states(states: list[Any]) -> None:
    of_torch, (kind, keys, *rest), of_python, *of_gpus = states
    torch.set_rng_state(_as_tensor(of_torch))
    np.random.set_state((kind, np.frombuffer(keys, np.uint32), *rest))
    random.setstate(of_python)
    for gpus in of_gpus:
        torch.cuda.set_rng_state_all([_as_tensor(state) for state in gpus])


def _seed_all(seed: int) -> None:
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


def _as_tensor(state: bytes) -> Tensor:
    return torch.frombuffer(bytearray(state), dtype=torch.uint8)


# They are of the whole process, as two threads draw from them.
_same_random_numbers = ProcessSetting(_random_states, _set_random_states)


class _Buffer(NamedTuple):
    """A buffer as it was."""

    owner: dict[str, Tensor | None]
    name: str
    tensor: Tensor
    version: int
    values: Tensor

    def changed(self) -> bool:
        here = self.owner.get(self.name)
        return here is not self.tensor or self.version != _version(self.tensor)

    def put_back(self) -> None:
        self.owner[self.name] = self.tensor
        # Beside autograd's count of changes, as weights that come back after a sanity check.
        self.tensor.data.copy_(self.values)


class SideEffects:
    """Undoes what passes of a model change besides.

    Most models change nothing. That is seen in the first pass, for which all is kept; later ones
    keep only what it changed: random numbers that someone else draws meanwhile stay drawn.

    Parameters
    ----------
    model
        The model.

    Attributes
    ----------
    draws
        Whether passes were seen to draw random numbers.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.draws = self._is_known = self._writes = False

    def first_pass_ended(self) -> None:
        """Say that a pass has come to its end since `undone` was entered."""
        self._is_known = True

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Put back in the end what was changed meanwhile."""
        draws = self.draws or not self._is_known
        writes = self._writes or not self._is_known
        buffers = _buffers(self._model) if writes else []
        if not draws:
            try:
                yield
            finally:
                self._put_back(buffers)
            return
        with _same_random_numbers():
            try:
                yield
            finally:
                self._put_back(buffers)

    @contextmanager
    def same_draws(self) -> Iterator[None]:
        """Let a pass draw the same random numbers as each other, while `undone` is entered."""
        if self._is_known and not self.draws:
            yield
            return
        _seed_all(0)
        before = _random_states()
        try:
            yield
        finally:
            self.draws = self.draws or _random_states() != before

    def _put_back(self, buffers: list[_Buffer]) -> None:
        with torch.inference_mode(False), torch.no_grad():
            for buffer in buffers:
                if buffer.changed():
                    self._writes = True
                    buffer.put_back()


@contextmanager
def attributes_put_back(model: nn.Module, *, numbers: bool) -> Iterator[None]:
    """Put back the plain attributes of modules that a pass sets, such as a grid of the first call.

    Later passes would run other operations than those that the layers were found with.

    Parameters
    ----------
    model
        The model.
    numbers
        Whether numbers are put back too; whoever counts passes would else count none.
    """
    before = [
        (module.__dict__, dict(module.__dict__))
        for module in model.modules()
        if not isinstance(module, torch.jit.ScriptModule)
    ]
    try:
        yield
    finally:
        for here, held in before:
            # Compared as what they are: values may have no truth of their own.
            if list(map(id, here.values())) == list(map(id, held.values())):
                continue
            counts = {} if numbers else _numbers_of_both(here, held)
            here.clear()
            here.update(held, **counts)


def _numbers_of_both(here: dict[str, Any], held: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in here.items()
        if type(value) in (int, float) and type(held.get(name)) in (int, float)
    }


def _buffers(model: nn.Module) -> list[_Buffer]:
    with torch.inference_mode(False), torch.no_grad():
        return [
            _Buffer(module._buffers, name, tensor, _version(tensor), tensor.detach().clone())
            for module in model.modules()
            if not isinstance(module, torch.jit.ScriptModule)
            for name, tensor in module._buffers.items()
            if tensor is not None and not is_lazy(tensor)
        ]


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version
