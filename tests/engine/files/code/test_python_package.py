"""Packages are found without running them, and known to be installed by where they lie."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from napari_neuroscope.engine.files.code.factory import FileFactory, build
from napari_neuroscope.engine.files.code.python_package import PythonPackage
from napari_neuroscope.engine.files.code.trust import TrustStore, UntrustedError


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrustStore:
    """Where trust is remembered, of no user's own."""
    monkeypatch.setattr("platformdirs.user_config_path", lambda *_: tmp_path / "config")
    return TrustStore()


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """What strangers' code would write."""
    return tmp_path / "ran"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, of which modules are imported first."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend("")
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        del sys.modules[name]


def named(name: str, digest: str = "of the file", **more: Any) -> FileFactory:
    return FileFactory(name, Path("net.zip"), lambda: digest, lambda: digest, **more)


@pytest.mark.parametrize("package", ["torchvision", "monai"])
def test_a_folder_of_a_known_name_is_no_installed_package(
    package: str, here: Path, marker: Path
) -> None:
    if PythonPackage.find(package) is not None:
        pytest.skip("it is installed, and imported from there")
    folder = here / package / ("models" if package == "torchvision" else "networks")
    folder.mkdir(parents=True)
    (here / package / "__init__.py").write_text(f"open({str(marker)!r}, 'w')")
    name = {"torchvision": "torchvision.models:Net", "monai": "monai.networks.nets:Net"}[package]
    with pytest.raises(UntrustedError):
        build(named(name), {}, trust=False)
    assert not marker.exists()
