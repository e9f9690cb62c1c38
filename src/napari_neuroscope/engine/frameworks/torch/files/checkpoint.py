"""Weights as training scripts save them: where they lie in a file, and how they fit a network."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from napari_neuroscope.engine.errors import NeuroscopeError, NeuroscopeWarning, shortened
from napari_neuroscope.engine.plain_text import quoted

# Where training scripts keep the weights, or the network, in what they save; the first is taken.
_KEYS = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "ema", "module",
         "network_weights", "model_state", "model_weights", "net_state_dict", "params", "params_ema",
         "state_dict_ema", "model_ema", "ema_state_dict", "generator", "student", "teacher")  # fmt: skip
# What lies beside the weights and is none of a network.
_NO_WEIGHTS = re.compile(
    r"optim|sched|scaler|criterion|loss|metric|rng|arg|config|hyper|callback|loop"
)
# Parts of names that training adds to a network's own.
_TRAINING_ONLY = re.compile(
    r"(^|[._])(aux|loss|criterion|metric)|^(n_averaged|total_ops|total_params)$"
)
# Modules around a network, such as torch.compile's and DataParallel's.
_WRAPPERS = re.compile(r"(^|\.)(?:_orig_mod|module)\.")
_MOST_SHOWN, _LONGEST_NAME = 4, 1_000

# Names of PyTorch's norms of weights: those of functions, and those of parametrizations since 2.0.
_OLD_AND_NEW = (
    ("weight_g", "parametrizations.weight.original0"),
    ("weight_v", "parametrizations.weight.original1"),
    ("weight_orig", "parametrizations.weight.original"),
    ("weight_u", "parametrizations.weight.0._u"),
    ("weight_v", "parametrizations.weight.0._v"),
)


@dataclass(frozen=True)
class SavedNetwork:
    """A network, or the weights of one, in what a training script saved.

    Attributes
    ----------
    place
        The keys under which it lies, such as "model.state_dict"; "" where it is all that was saved.
    content
        The network, or its tensors by name.
    """

    place: str
    content: nn.Module | dict[str, Any]


@dataclass
class _Fit:
    """How weights go into a network."""

    weights: dict[str, Any]
    lacking: list[str] = field(default_factory=list)
    excess: list[str] = field(default_factory=list)
    unlike: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        return not (self.lacking or self.excess or self.unlike)


def networks_in(held: Any) -> list[SavedNetwork]:
    """Return the networks and weights in what was saved, the likeliest first."""
    return list(_networks("", held, set(), deeper=True))


def fill(model: nn.Module, saved: list[SavedNetwork], name: str) -> None:
    """Load the first weights that fit a network into it; what was left out is told.

    Parameters
    ----------
    model
        The network.
    saved
        Weights, the likeliest first.
    name
        What people call the file.

    Raises
    ------
    NeuroscopeError
        Where none fits: it says which tensors are missing, too many, or of other shapes.
    """
    fits = [(each, _fit(model, each.content)) for each in saved if isinstance(each.content, dict)]
    whole = [(each, fit) for each, fit in fits if fit.is_whole]
    if not whole:
        raise _no_fit(model, fits[0][1], name)
    taken, fit = whole[0]
    try:
        model.load_state_dict(fit.weights, strict=False)
    except (RuntimeError, TypeError, ValueError) as error:
        # Such as tensors without data, or of a layout that the network's are not of.
        raise NeuroscopeError(
            f"The weights in “{name}” can't be copied into the network: "
            f"{shortened(' '.join(str(error).split()), 200).rstrip('.')}."
        ) from error
    if len(whole) > 1:
        others = " and ".join(quoted(each.place, 60) for each, _ in whole[1 : _MOST_SHOWN + 1])
        warnings.warn(
            f"“{name}” holds several sets of weights that fit: {quoted(taken.place, 60)} was taken, "
            f"{others} not; to open another, save it by itself.",
            NeuroscopeWarning,
            stacklevel=2,
        )
    if fit.left_out:
        shown = ", ".join(quoted(each, 60) for each in fit.left_out[:_MOST_SHOWN])
        more = (
            f" and {len(fit.left_out) - _MOST_SHOWN} more"
            if len(fit.left_out) > _MOST_SHOWN
            else ""
        )
        warnings.warn(
            f"“{name}” has tensors that the network has no place for, which were left out: {shown}"
            f"{more}.",
            NeuroscopeWarning,
            stacklevel=2,
        )


def _no_fit(model: nn.Module, fit: _Fit, name: str) -> NeuroscopeError:
    parts = []
    for words, names in (("lacks", fit.lacking), ("has in excess", fit.excess)):
        if names:
            parts.append(f"{words} {len(names)} tensors, such as {quoted(names[0])}")
    if fit.unlike:
        wrong = fit.unlike[0]
        parts.append(
            f"has {quoted(wrong)} of shape {tuple(fit.weights[wrong].shape)} where the network has "
            f"{tuple(model.state_dict()[wrong].shape)}"
        )
    return NeuroscopeError(
        f"The weights in “{name}” don't fit the network that the factory builds: the file "
        f"{'; it '.join(parts)}. Check the factory's arguments."
    )


def _networks(place: str, held: Any, seen: set[int], *, deeper: bool) -> Iterator[SavedNetwork]:
    if isinstance(held, nn.Module):
        yield SavedNetwork(place, held)
    # What lies in itself is looked at once.
    if not isinstance(held, Mapping) or id(held) in seen:
        return
    seen.add(id(held))
    tensors = {str(name): value for name, value in held.items() if isinstance(value, Tensor)}
    if tensors and all(
        isinstance(value, Tensor) or str(name).endswith("_extra_state")
        for name, value in held.items()
    ):
        yield SavedNetwork(place, tensors)
        return
    if not deeper:
        return
    usual = [key for key in _KEYS if key in held]
    more = [key for key in held if isinstance(key, str) and key not in usual]
    inner = 0
    for keys, deep in ((usual, True), (more, False)):
        for key in keys:
            if deep or not _NO_WEIGHTS.search(key.casefold()):
                for network in _networks(
                    f"{place}.{key}".lstrip("."), held[key], seen, deeper=deep
                ):
                    inner += 1
                    yield network
    if not inner and any("." in name for name in tensors):
        # Numbers of the training stand among the weights.
        yield SavedNetwork(place, tensors)


def _fit(model: nn.Module, weights: dict[str, Any]) -> _Fit:
    state = model.state_dict()
    given, apart = _by_model_names(state, weights)
    given = _with_norms_as_in(state, given)
    alike = {name: value for name, value in given.items() if name in state}
    fit = _Fit(alike, left_out=apart)
    held = {_memory(state[name]) for name in alike} - {None}
    for name, value in state.items():
        if name not in given:
            # BatchNorm doesn't need how many batches it saw; tied tensors are saved once.
            optional = name.endswith(("num_batches_tracked", "_extra_state"))
            if not optional and _memory(value) not in held:
                fit.lacking.append(name)
        elif isinstance(value, Tensor) and not is_lazy(value) and value.shape != given[name].shape:
            fit.unlike.append(name)
    modules = _modules_of(state)
    for name, value in given.items():
        if name not in state:
            (fit.left_out if _may_be_left(name, value, modules) else fit.excess).append(name)
    return fit


def _by_model_names(
    state: dict[str, Any], weights: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Return weights by the names that the network gives them, and the names of those outside."""
    wrappers = {match[0] for name in state for match in _WRAPPERS.finditer("." + name)}
    if not wrappers:
        bare = {_without_wrappers(name): value for name, value in weights.items()}
        # Two names that became one are left as they are.
        weights = bare if len(bare) == len(weights) else weights
    before, after = Counter[str](), Counter[str]()
    for name in weights:
        before.update(start for start, rest in _splits(name) if rest in state)
    for name in state:
        after.update(start for start, rest in _splits(name) if rest in weights)
    prefix, matched = _most_common(before)
    wrapped, matched_inside = _most_common(after)
    if matched_inside > matched:
        return {wrapped + name: value for name, value in weights.items()}, []
    given, apart = {}, []
    for name, value in weights.items():
        if name.startswith(prefix):
            given[name.removeprefix(prefix)] = value
        else:
            apart.append(name)
    return given, apart


def _without_wrappers(name: str) -> str:
    while (bare := _WRAPPERS.sub(r"\1", name)) != name:
        name = bare
    return name


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """Return each way to cut a name into modules around it and the rest."""
    yield "", name
    if len(name) > _LONGEST_NAME:
        # No module has such a name, of which all cuts together would be very long.
        return
    for match in re.finditer(r"\.", name):
        yield name[: match.end()], name[match.end() :]


def _most_common(counts: Counter[str]) -> tuple[str, int]:
    most = max(counts.values(), default=0)
    # The shortest: names that fit as they are stay.
    return min((key for key, count in counts.items() if count == most), key=len, default=""), most


def _with_norms_as_in(state: dict[str, Any], weights: dict[str, Any]) -> dict[str, Any]:
    """Return weights of which norms are named, or multiplied out, as the network has them."""
    out = dict(weights)
    for old, new in _OLD_AND_NEW:
        for source, wanted in ((old, new), (new, old)):
            for name in [name for name in out if name not in state and _ends_in(name, source)]:
                renamed = name.removesuffix(source) + wanted
                if renamed in state and renamed not in out:
                    out[renamed] = out.pop(name)
    for size, direction in (("weight_g", "weight_v"), (_OLD_AND_NEW[0][1], _OLD_AND_NEW[1][1])):
        for name in [name for name in out if name not in state and _ends_in(name, size)]:
            start = name.removesuffix(size)
            values = out.get(start + direction)
            if f"{start}weight" in state and f"{start}weight" not in out and values is not None:
                out[f"{start}weight"] = _multiplied(out.pop(name), values)
                del out[start + direction]
    return out


def _ends_in(name: str, part: str) -> bool:
    return name == part or name.endswith(f".{part}")


def _multiplied(sizes: Tensor, directions: Tensor) -> Tensor:
    """Return the weights that a weight norm makes of its two parts."""
    if sizes.ndim != directions.ndim:
        length: Tensor = torch.linalg.vector_norm(directions)
        return directions * (sizes / length)
    over = [axis for axis, count in enumerate(sizes.shape) if count != directions.shape[axis]]
    over = over or [axis for axis in range(directions.ndim) if sizes.shape[axis] == 1]
    length = torch.linalg.vector_norm(directions, dim=over, keepdim=True)
    return directions * (sizes / length)


def _memory(value: Any) -> tuple[Any, ...] | None:
    """Return where a tensor's values lie, by which tied ones are known."""
    if not isinstance(value, Tensor) or is_lazy(value) or value.is_meta or not value.numel():
        return None
    return value.data_ptr(), tuple(value.shape), value.stride(), value.dtype


def _modules_of(state: dict[str, Any]) -> set[str]:
    """Return the network's outermost modules, of those that tell its parts apart."""
    names = list(state)
    start = ""
    while names:
        heads = {name.removeprefix(start).partition(".")[0] for name in names}
        if len(heads) > 1 or not all("." in name.removeprefix(start) for name in names):
            return {start + head for head in heads}
        start += f"{heads.pop()}."
    return set()


def _may_be_left(name: str, value: Tensor, modules: set[str]) -> bool:
    """Whether the network may be whole without a tensor: no weight of one of its own modules."""
    parts = name.split(".")
    if any(_TRAINING_ONLY.search(part) for part in parts):
        return True
    inside = next((m for m in modules if name == m or name.startswith(f"{m}.")), None)
    if inside is not None:
        # Such as an index of positions, which newer versions of a network compute.
        return not (value.is_floating_point() or value.is_complex())
    # Of layers in a row, more of them is another network.
    rows = {m.rpartition(".")[0] for m in modules if m.rpartition(".")[2].isdigit()}
    return not any(
        part.isdigit() and ".".join(parts[:depth]) in rows for depth, part in enumerate(parts)
    )
