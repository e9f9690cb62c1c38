"""Weights as training scripts save them fit the network; the answers are PyTorch's own."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from napari_neuroscope.engine.errors import NeuroscopeError, NeuroscopeWarning
from napari_neuroscope.engine.frameworks.torch.files.load import load_torch

IMAGE = torch.rand(1, 3, 6, 7, generator=torch.Generator().manual_seed(0))


def network(depth: int = 1) -> nn.Sequential:
    more = [layer for _ in range(depth) for layer in (nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))]
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), *more, nn.ReLU())


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    torch.manual_seed(1)
    model = network()
    model.train()(IMAGE)
    return model.eval()


def opened(
    held: Any, folder: Path, factory: Callable[[], nn.Module] = network, *, safe: bool = False
) -> tuple[torch.Tensor, str]:
    """Return what the opened network answers, and what was told."""
    path = folder / ("w.safetensors" if safe else "w.pt")
    if safe:
        safetensors.torch.save_model(held, str(path))
    else:
        torch.save(held, path)
    kind = "safetensors" if safe else "torch checkpoint"
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", NeuroscopeWarning)
        model = load_torch(path, kind, factory=factory, arguments=None, trust=False)
    with torch.no_grad():
        answer = model(IMAGE)
    return answer, " ".join(str(one.message) for one in told)


@pytest.mark.parametrize(
    ("key", "prefix"),
    [
        ("state_dict", "_orig_mod.module."),
        ("model", "model.module."),
        ("network_weights", ""),
        ("model_state", "net."),
        ("state_dict_ema", "anything.inside."),
        ("what nobody foresaw", "unet."),
    ],
)
def test_keys_and_prefixes(key: str, prefix: str, trained: nn.Module, tmp_path: Path) -> None:
    weights = {prefix + name: value for name, value in trained.state_dict().items()}
    held = {"epoch": 3, key: weights, "optimizer": {"state": {0: {"step": torch.ones(1)}}}}
    answer, told = opened(held, tmp_path)
    assert torch.equal(answer, trained(IMAGE))
    assert not told


def test_a_compiled_part_and_a_wrapper_of_the_factory(trained: nn.Module, tmp_path: Path) -> None:
    state = trained.state_dict()
    inside = {f"{name[0]}._orig_mod{name[1:]}": value for name, value in state.items()}
    assert torch.equal(opened(inside, tmp_path)[0], trained(IMAGE))
    wrapped, _ = opened(state, tmp_path, lambda: nn.Sequential(network()))
    assert torch.equal(wrapped, trained(IMAGE))


@pytest.mark.parametrize(
    "more",
    ["n_averaged", "criterion.weight", "0.total_ops", "aux_classifier.0.weight", "pixel_mean"],
)
@pytest.mark.parametrize("prefix", ["", "model."])
def test_tensors_of_the_training_are_told(
    more: str, prefix: str, trained: nn.Module, tmp_path: Path
) -> None:
    state = {prefix + name: value for name, value in trained.state_dict().items()}
    answer, told = opened({**state, more: torch.ones(2), "step": 7}, tmp_path)
    assert torch.equal(answer, trained(IMAGE))
    assert more in told


def test_which_of_several_was_taken_is_told(trained: nn.Module, tmp_path: Path) -> None:
    other = {name: value * 2 for name, value in trained.state_dict().items()}
    answer, told = opened({"ema": other, "model": trained.state_dict()}, tmp_path)
    assert torch.equal(answer, trained(IMAGE))
    assert "“model” was taken, “ema” not" in told
    # What doesn't fit is passed over.
    held = {"generator": nn.Linear(3, 2).state_dict(), "critic": trained.state_dict()}
    answer, told = opened(held, tmp_path)
    assert torch.equal(answer, trained(IMAGE))
    assert not told


def test_what_pytorch_itself_does_without(trained: nn.Module, tmp_path: Path) -> None:
    state = {n: v for n, v in trained.state_dict().items() if "num_batches" not in n}
    answer, told = opened({**state, "4._extra_state": None}, tmp_path)
    assert torch.equal(answer, trained(IMAGE))
    assert not told

    def lazy() -> nn.Module:
        return nn.Sequential(nn.LazyConv2d(4, 3))

    made = lazy()
    made(IMAGE)
    assert torch.equal(opened(made.state_dict(), tmp_path, lazy)[0], made(IMAGE))


@pytest.mark.parametrize(
    ("norm", "factory"),
    [
        (weight_norm, parametrizations.weight_norm),
        (parametrizations.weight_norm, weight_norm),
        (spectral_norm, parametrizations.spectral_norm),
        (weight_norm, nn.Identity),
        (parametrizations.weight_norm, nn.Identity),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_norms_of_weights(norm: Any, factory: Any, tmp_path: Path) -> None:
    model = nn.Sequential(norm(nn.Conv2d(3, 4, 3))).eval()

    def plain() -> nn.Module:
        layer = nn.Conv2d(3, 4, 3)
        return nn.Sequential(layer if factory is nn.Identity else factory(layer))

    answer, told = opened(model.state_dict(), tmp_path, plain)
    torch.testing.assert_close(answer, model(IMAGE))
    assert not told


def test_tied_weights_of_safetensors(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1))
    model.append(nn.Sequential(model[0]))
    answer, _ = opened(model, tmp_path, lambda: copy.deepcopy(model).apply(_spoiled), safe=True)
    assert torch.equal(answer, model(IMAGE))


def _spoiled(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)


def test_a_name_of_very_many_parts_takes_no_time(trained: nn.Module, tmp_path: Path) -> None:
    _, told = opened({**trained.state_dict(), "aux." * 500_000: torch.ones(1)}, tmp_path)
    assert "aux.aux." in told


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        (lambda: network(2), "lacks 6 tensors, such as “4.weight”"),
        # A shallower network is another one, though all of its own tensors are there.
        (lambda: network(0), "has in excess"),
        (lambda: nn.Sequential(nn.Conv2d(3, 5, 3)), "where the network has (5, 3, 3, 3)"),
    ],
)
def test_another_network_is_refused(
    factory: Any, says: str, trained: nn.Module, tmp_path: Path
) -> None:
    with pytest.raises(NeuroscopeError) as refusal:
        opened(trained.state_dict(), tmp_path, factory)
    assert says in str(refusal.value)
