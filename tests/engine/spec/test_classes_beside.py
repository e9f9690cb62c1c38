"""Names of classes in files beside a network's are its own where they are as many."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.engine.spec.class_files import read_classes

NAMES = ["cat", "dog", "owl"]


def loaded(folder: Path, **files: str) -> ns.Network:
    for name, text in files.items():
        (folder / name).write_text(text)
    model = nn.Sequential(nn.Conv2d(3, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    torch.save(model.state_dict(), folder / "net.pt")
    return ns.load(folder / "net.pt", factory=lambda: model)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("class_indices.json", '{"dog": 1, "cat": 0, "owl": 2}'),
        ("config.json", '{"model_type": "vit", "id2label": {"0": "cat", "1": "dog", "2": "owl"}}'),
        ("labels.txt", "cat\ndog\nowl\n"),
        ("labels.txt", "0 cat\n1 dog\n2 owl\n"),
        ("net_labels.txt", "0: cat\n1: dog\n2: owl"),
        ("class_names.json", '["cat", "dog", "owl"]'),
    ],
)
def test_they_are_taken(name: str, text: str, tmp_path: Path) -> None:
    network = loaded(tmp_path, **{name: text, "classes.txt": "one\ntwo"})
    assert network.class_names == NAMES
    assert network.classes_from == tmp_path / name


def test_of_another_number_or_no_names_they_are_not(tmp_path: Path) -> None:
    files = {
        "labels.txt": "cat\ndog\n",
        "class_indices.json": '{"cat": 0, "dog": 0, "owl": 2}',
        "config.json": '{"id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}}',
    }
    network = loaded(tmp_path, **files)
    assert network.class_names == ["0", "1", "2"]
    assert network.classes_from is None
    # What is stated counts.
    (tmp_path / "classes.txt").write_text("cat\ndog\nowl\n")
    (tmp_path / "net.neuroscope.yaml").write_text("classes: [a, b, c]\n")
    assert loaded(tmp_path).class_names == ["a", "b", "c"]


def test_numbers_before_colours_are_colours(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    path.write_text("0 0 0 sky\n1 2 3 tree\n")
    assert [(one.name, one.colour) for one in read_classes(path)] == [
        ("sky", (0, 0, 0)),
        ("tree", (1, 2, 3)),
    ]
