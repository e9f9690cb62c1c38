"""Packages are found without running them, and known to be installed by where they lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from named_factories import named
from napari_neuroscope.engine.files.code.factory import build
from napari_neuroscope.engine.files.code.python_package import PythonPackage
from napari_neuroscope.engine.files.code.trust import UntrustedError


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
