"""A package that says in which range its network answers is believed as far as the network agrees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import napari_neuroscope as ns
import packages
from closeness import assert_close
from napari_neuroscope.cli.main import main
from napari_neuroscope.engine.passes.output.measured_end import CONTRADICTED, MEASURED, TOLD


class Ended(nn.Module):
    """Ends in a sigmoid, a softmax or scores; `far` leaves 0..1 where no image is."""

    def __init__(self, end: str, classes: int, *, far: bool) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.convolution, self.end, self.far = nn.Conv2d(1, classes, 3, padding=1), end, far
        nn.init.normal_(self.convolution.weight, std=1.5)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.convolution(x)
        if self.end == "softmax":
            return scores.softmax(1)
        if self.end == "scores":
            return scores
        beyond = (x.abs().amax((1, 2, 3), keepdim=True) - 60).relu() if self.far else 0.0
        return scores.sigmoid() + beyond


def package(folder: Path, model: nn.Module, classes: int, data: Any, steps: Any = ()) -> Path:
    """Write a package of TorchScript; of format 0.4 where `data` is a list of two numbers."""
    old = isinstance(data, tuple)
    (packages.make_old if old else packages.make)(folder, classes=classes)
    path = folder / "weights.torchscript.pt"
    torch.jit.trace(model, torch.zeros(1, 1, 16, 16)).save(str(path))
    description = packages.read(folder)
    description["weights"]["torchscript"]["sha256"] = packages.sha256(path)
    (output,) = description["outputs"]
    output["postprocessing"] = list(steps)
    if old:
        output["data_range"] = list(data)
    elif data is not None:
        output["data"] = data
    packages.write(folder, description)
    return folder


INTERVAL = {"type": "float32", "range": [0, 1]}
CLIP = {"id": "clip", "kwargs": {"min": 0, "max": 1}}
CASES = [
    # What leaves 0..1 far from all images is not measured, and told.
    ("sigmoid, far", 1, INTERVAL, (), TOLD),
    ("sigmoid, far", 2, [INTERVAL, INTERVAL], (), TOLD),
    ("sigmoid, far", 1, (0.0, 1.0), (), TOLD),
    ("sigmoid", 1, (0.0, 1.0), (), TOLD),
    ("softmax", 2, INTERVAL, (), TOLD),
    ("scores", 1, INTERVAL, (), CONTRADICTED),
    ("scores", 2, (0.0, 1.0), (), CONTRADICTED),
    # Nothing is said of the network's own answers.
    ("sigmoid", 1, None, (), MEASURED),
    ("sigmoid", 1, (float("-inf"), float("inf")), (), MEASURED),
    ("sigmoid", 2, [INTERVAL, {"type": "float32", "range": [0, None]}], (), MEASURED),
    ("sigmoid", 1, {"values": [0, 1]}, (), MEASURED),
    ("scores", 1, INTERVAL, (CLIP,), None),
    ("scores", 1, {"type": "uint8", "range": [0, 1]}, (), None),
]


@pytest.mark.filterwarnings("ignore::napari_neuroscope.engine.errors.NeuroscopeWarning")
@pytest.mark.parametrize(("end", "classes", "data", "steps", "words"), CASES)
def test_where_the_end_is_known_from(
    end: str, classes: int, data: Any, steps: Any, words: str | None,
    rng: np.random.Generator, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    kind, _, far = end.partition(", ")
    model = Ended(kind, classes, far=bool(far)).eval()
    folder = package(tmp_path / "net", model, classes, data, steps)
    image = rng.random((16, 24), dtype=np.float32)
    answer = model(torch.from_numpy(image)[None, None])[0].detach()

    network = ns.load(folder, trust=True, device="cpu")
    predicted = network.predict(image)
    explanation = ns.explain(network, image, "occlusion", 1)

    if kind == "scores":
        wanted = answer.sigmoid() if classes == 1 else answer.softmax(0)
    else:
        wanted = answer
    assert_close(predicted.probabilities[-classes:], wanted.numpy())
    known = [note for note in (TOLD, CONTRADICTED, MEASURED) if note in predicted.notes]
    assert known == ([] if words is None else [words])
    assert all(note in explanation.provenance["notes"] for note in known)
    if words in (TOLD, CONTRADICTED):
        # The package's published answer is that of another network: it is no matter here.
        main(["check", str(folder), "--trust", "--device", "cpu"])
        said = capsys.readouterr().out
        assert words in said
        assert ("values of 0..1, as the package says" in said) == (words == TOLD)
