"""More files of PyTorch as people have them: checkpoints, packages, answers of other shapes, names."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from files_of_people import Make, classifier, network, segmenter

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "fixtures"))

_SCRIPT = """from torch import nn


class Net(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.conv = nn.Conv2d(3, classes, 3, padding=1)

    def forward(self, x):
        return self.conv(self.norm(x))
"""
_TRUSTED: dict[str, Any] = {"trust": True, "factory": "{folder}/net.py:Net"}
_SIZE = (1, 3, 32, 48)
State = dict[str, Any]


def _state() -> State:
    place: dict[str, Any] = {"__name__": "made_for_a_page"}
    exec(_SCRIPT, place)
    torch.manual_seed(0)
    return place["Net"]().state_dict()


def _beside_script(folder: Path, content: Any) -> Path:
    (folder / "net.py").write_text(_SCRIPT)
    torch.save(content, folder / "net.pt")
    return folder / "net.pt"


def _prefixed(prefix: str) -> Callable[[State], State]:
    return lambda state: {f"{prefix}{name}": value for name, value in state.items()}


def _add_checkpoint(title: str, changed: Callable[[State], Any]) -> None:
    @network(f"PyTorch, a checkpoint and its script: {title}", **_TRUSTED)
    def checkpoint(folder: Path) -> Path:
        return _beside_script(folder, changed(_state()))


for _key in ("model_state", "network_weights", "state_dict_ema", "params"):
    _add_checkpoint(_key, lambda state, key=_key: {key: state, "epoch": 3})
for _prefix in ("_orig_mod.module.", "model.module.", "net."):
    _add_checkpoint(f"names with {_prefix}", _prefixed(_prefix))
_add_checkpoint(
    "weights of a loss and total_ops beside it",
    lambda state: {**state, "criterion.weight": torch.ones(2), "total_ops": torch.zeros(1)},
)
_add_checkpoint(
    "no num_batches_tracked",
    lambda state: {name: value for name, value in state.items() if "tracked" not in name},
)
_add_checkpoint("of another network", lambda _: classifier().state_dict())


@network("PyTorch, a checkpoint with an argparse.Namespace")
def with_settings(folder: Path) -> Path:
    return _beside_script(folder, {"args": argparse.Namespace(rate=0.1), "state_dict": _state()})


@network("PyTorch, safetensors and a script beside them, trusted",
         trust=True, factory="{folder}/net.py:Net")  # fmt: skip
def safetensors_and_script(folder: Path) -> Path:
    from safetensors.torch import save_file

    (folder / "net.py").write_text(_SCRIPT)
    save_file(_state(), folder / "net.safetensors")
    return folder / "net.safetensors"


@network("PyTorch, weights of an installed package's network",
         factory="napari_neuroscope.samples.architectures:CellClassifier")  # fmt: skip
def of_installed_package(folder: Path) -> Path:
    from napari_neuroscope.samples.architectures import CellClassifier

    torch.save(CellClassifier().state_dict(), folder / "net.pt")
    return folder / "net.pt"


@network("PyTorch, weights whose factory net.neuroscope.yaml names, trusted", trust=True)
def with_remembered_factory(folder: Path) -> Path:
    (folder / "net.neuroscope.yaml").write_text("task: segmentation\nfactory: ./net.py:Net\n")
    return _beside_script(folder, _state())


@network("PyTorch, an exported program (.pt2), trusted", trust=True)
def trusted_program(folder: Path) -> Path:
    program = torch.export.export(segmenter(), (torch.zeros(1, 3, 32, 32),))
    torch.export.save(program, folder / "net.pt2")
    return folder / "net.pt2"


class _Halving(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        while bool(x.abs().max() > 1):
            x = x / 2
        return x


@network("PyTorch, TorchScript with a while loop")
def with_loop(folder: Path) -> Path:
    torch.jit.script(_Halving()).save(str(folder / "net.pt"))
    return folder / "net.pt"


@network("an ending that is not known (.tflite)")
def of_unknown_ending(folder: Path) -> Path:
    (folder / "net.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(64))
    return folder / "net.tflite"


@network("PyTorch, a file that was cut off")
def cut_off(folder: Path) -> Path:
    path = _beside_script(folder, _state())
    path.write_bytes(path.read_bytes()[:300])
    return path


# --- answers of other shapes ---


class Answering(nn.Module):
    """Scores of pixels, given as `form` makes them."""

    def __init__(self, form: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.net, self.form = segmenter(), form

    def forward(self, x: Tensor) -> Any:
        return self.form(self.net(x))


def _traced(form: Callable[[Tensor], Any]) -> Make:
    def make(folder: Path) -> Path:
        torch.jit.trace(Answering(form).eval(), torch.zeros(_SIZE)).save(str(folder / "net.pt"))
        return folder / "net.pt"

    return make


_SCRIPTED = "PyTorch, TorchScript that answers"
network(f"{_SCRIPTED} (b, h·w, c)")(_traced(lambda y: y.flatten(2).transpose(1, 2)))
network(
    f"{_SCRIPTED} (b, w·h, c), as the spec says",
    spec={"task": "segmentation", "output": {"axes": "b(xy)c"}, "input": {"size": _SIZE[2:]}},
)(_traced(lambda y: y.transpose(2, 3).flatten(2).transpose(1, 2)))
network(f"{_SCRIPTED} channels last")(_traced(lambda y: y.permute(0, 2, 3, 1)))
network(f"{_SCRIPTED} two things")(_traced(lambda y: (y, y.mean((2, 3)))))
network(
    f"{_SCRIPTED} two things, of which the spec says one",
    spec={"task": "classification", "output": {"index": 1}},
)(_traced(lambda y: (y, y.mean((2, 3)))))
network(f"{_SCRIPTED} numbers of classes (argmax)")(_traced(lambda y: y.argmax(1)))
network(f"{_SCRIPTED} a softmax")(_traced(lambda y: y.softmax(1)))


# --- names of classes ---

for _title, _file, _text in (
    ("class_indices.json", "class_indices.json", json.dumps({"cat": 0, "dog": 1, "owl": 2})),
    ("config.json (id2label)", "config.json", json.dumps({"id2label": {"0": "cat", "1": "dog", "2": "owl"}})),
    ("labels.txt of another number", "labels.txt", "cat\ndog\n"),
):  # fmt: skip

    @network(f"PyTorch, TorchScript beside {_title}")
    def _named(folder: Path, file: str = _file, text: str = _text) -> Path:
        (folder / file).write_text(text)
        torch.jit.script(classifier()).save(str(folder / "net.pt"))
        return folder / "net.pt"


# --- packages of bioimage.io ---


def _package(title: str, change: Callable[[Any], None] | None = None, old: bool = False,
             told: dict[str, Any] | None = None, **how: Any) -> None:  # fmt: skip
    @network(f"bioimage.io, {title}", **(told or {}))
    def package(folder: Path) -> Path:
        import packages

        path = (packages.make_old if old else packages.make)(folder / "net", **how)
        description = packages.read(path)
        if change is not None:
            change(description)
        packages.write(path, description)
        return path


def _says_probabilities(description: Any) -> None:
    description["outputs"][0]["data"] = {"type": "float32", "range": [0, 1]}


_package("a package of TorchScript")
_package("a package of format 0.4", old=True)
_package("a package of weights and a Python file", formats=("pytorch_state_dict",))
_package(
    "a package of weights and a Python file, trusted",
    formats=("pytorch_state_dict",), told={"trust": True},
)  # fmt: skip
_package("a package whose network ends in a sigmoid after it", postprocessing=[{"id": "sigmoid"}])
_package("a package that says 0..1 of scores", _says_probabilities)
_package("a package of two inputs", lambda d: d["inputs"].append({**d["inputs"][0], "id": "b"}))
_package("a data set, no model", lambda d: d.update(type="dataset"))
