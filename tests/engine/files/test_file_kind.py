"""What a file is, told by its content."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.files.file_kind import kind_of


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["rdf.yaml", "weights.pt"], "bioimage.io"),
        (["config.json", "metadata.json"], "keras"),
        (["net/archive_format", "net/data.pkl"], "torch.export"),
        (["net/constants.pkl", "net/code/__torch__.py"], "TorchScript"),
        (["net/data.pkl"], "torch checkpoint"),
    ],
)
def test_archives_are_known_by_what_they_hold(names: list[str], kind: str, tmp_path: Path) -> None:
    path = tmp_path / "net"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    assert kind_of(path) == kind


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x89HDF\r\n\x1a\n", "h5"),
        (b"\x80\x02}q\x00.", "torch checkpoint"),
        (b"\x08\x07\x3a\x02\x12\x00", "onnx"),
    ],
)
def test_files_are_known_by_their_first_bytes(content: bytes, kind: str, tmp_path: Path) -> None:
    (tmp_path / "net").write_bytes(content)
    assert kind_of(tmp_path / "net") == kind


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n", "is a PNG image, no network"),
        (b"<!DOCTYPE html>", "is a web page"),
        (b"version https://git-lfs", "git lfs pull"),
    ],
)
def test_what_is_no_network_is_named(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(content)
    with pytest.raises(ns.NeuroscopeError, match=says):
        kind_of(tmp_path / "net.pt")


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(ns.NeuroscopeError, match="no SavedModel"):
        kind_of(tmp_path)
    (tmp_path / "rdf.yaml").touch()
    assert kind_of(tmp_path) == "bioimage.io"
    (tmp_path / "saved_model.pb").touch()
    assert kind_of(tmp_path) == "SavedModel"
