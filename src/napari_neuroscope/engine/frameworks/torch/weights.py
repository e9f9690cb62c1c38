"""The weights of a PyTorch model: whether they changed, what they hash to, what shares them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from napari_neuroscope.engine.frameworks.common import digest_of_weights

_ROW = 1024
# Fixed, and unlike for each place in a row, so that values that change places are noticed too.
_ROW_FACTORS = torch.cos(torch.arange(1, _ROW + 1, dtype=torch.float32) ** 1.5) + 1.5


def _fingerprint(weights: Collection[Tensor]) -> int:
    """Return a number that changes with the values, at the cost of reading them once."""
    parts: dict[torch.device, list[Tensor]] = {}
    with torch.no_grad():
        for weight in weights:
            flat = weight.detach().view(-1) if weight.is_contiguous() else weight.reshape(-1)
            if flat.dtype is not torch.float32:
                flat = flat.to(torch.float32)
            whole = flat.numel() // _ROW * _ROW
            of_device = parts.setdefault(flat.device, [])
            if whole:
                # One product stands for each row.
                of_device.append(
                    torch.mv(flat[:whole].view(-1, _ROW), _ROW_FACTORS.to(flat.device))
                )
            of_device.append(flat[whole:])
        # One transfer a device.
        return hash(tuple(torch.cat(sums).cpu().numpy().tobytes() for sums in parts.values()))


def weights_of(model: nn.Module) -> list[Tensor]:
    """Return all parameters and buffers, quickly: it is asked before each question."""
    return [
        tensor
        for module in model.modules()
        for tensor in (*module._parameters.values(), *module._buffers.values())
        if tensor is not None and not is_lazy(tensor)
    ]


def state_of(model: nn.Module) -> Hashable:
    """Return what changes when the weights change, at the cost of reading them once."""
    weights = weights_of(model)
    marks = tuple((w.data_ptr(), 0 if w.is_inference() else w._version) for w in weights)
    # Versions miss what is written through ``.data``.
    return marks, _fingerprint(weights)


def digest_of(model: nn.Module) -> str:
    """Return a hash of all parameters and buffers, by their names."""
    named = [*model.named_parameters(), *model.named_buffers()]
    return digest_of_weights(
        (
            f"{name}:{weight.dtype}:{tuple(weight.shape)}",
            # As bytes: NumPy has not all types.
            weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy(),
        )
        for name, weight in sorted(named, key=lambda pair: pair[0])
    )


def shared_parts(model: nn.Module) -> Iterator[Hashable]:
    """Yield what two models may share: modules, weights, and the memory of weights."""
    yield from map(id, model.modules())
    for tensor in weights_of(model):
        yield id(tensor)
        try:
            place = tensor.untyped_storage().data_ptr()
        except (RuntimeError, NotImplementedError):
            continue  # sparse ones have none
        if place:
            yield "memory", place


@contextmanager
def randomised(model: nn.Module, seed: int) -> Iterator[Callable[[str], None]]:
    """Give a function that draws the weights of a layer anew; the old ones come back in the end."""
    generator = torch.Generator().manual_seed(seed)
    before: dict[int, tuple[Tensor, Tensor]] = {}

    def replace(layer: str) -> None:
        module = model.get_submodule(layer.partition(":")[0])
        for weight in module.parameters():
            if not weight.is_floating_point():
                continue
            # Tied weights are kept as they were at first.
            before.setdefault(id(weight), (weight, weight.detach().clone()))
            values = weight.detach().float()
            deviation = values.std(correction=0) if values.numel() > 1 else values.abs().sum()
            drawn = torch.randn(weight.shape, generator=generator).to(weight.device)
            # Beside autograd's count of changes: passes that are kept go on with the old
            # weights, which are back when they are asked.
            torch.add(drawn.mul_(deviation), values.mean(), out=weight.data)

    with torch.inference_mode(False), torch.no_grad():
        try:
            yield replace
        finally:
            # The first last: of weights that share memory it alone was held as it was.
            for weight, value in reversed(before.values()):
                weight.data.copy_(value)
