"""The package costs nothing to import, and has all names that it says it has."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import napari_neuroscope as ns

_HEAVY = ("torch", "tensorflow", "napari", "qtpy", "PyQt5", "PyQt6", "PySide2", "PySide6",
          "magicgui", "skimage", "dask", "pydantic")  # fmt: skip


def loaded_after(code: str) -> set[str]:
    """Return the heavy packages that a fresh interpreter has after some code."""
    script = f"{code}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    modules = json.loads(answer.stdout.splitlines()[-1])
    return {name.partition(".")[0] for name in modules} & set(_HEAVY)


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_after("import napari_neuroscope; dir(napari_neuroscope)") == set()


def test_the_engine_loads_neither_napari_nor_qt() -> None:
    code = """
import numpy as np, torch
import napari_neuroscope as ns
names = [getattr(ns, name) for name in ns.__all__]
network = ns.wrap(torch.nn.Conv2d(1, 2, 1), {"task": "segmentation"}, device="cpu")
for method in ns.methods:
    layer = "" if ns.Needs.LAYER in ns.methods[method].needs else None
found = ns.explain(network, np.ones((4, 4)), "saliency", 1)
found.on_image(), network.predict(np.ones((4, 4))).labels
"""
    loaded = loaded_after(code)
    assert "torch" in loaded
    assert not loaded & {"napari", "qtpy", "PyQt5", "PyQt6", "PySide2", "PySide6", "magicgui"}


@pytest.mark.parametrize("name", ns.__all__)
def test_each_name_is_there(name: str) -> None:
    assert getattr(ns, name) is not None
    assert name in dir(ns)


def test_the_names_that_are_promised() -> None:
    promised = {"load", "wrap", "explain", "methods", "Target", "ModelSpec", "Network",
                "Explanation", "NeuroscopeError", "Cancelled"}  # fmt: skip
    assert promised <= set(ns.__all__)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'explane'"):
        ns.explane


def test_errors_and_warnings_are_of_their_kinds() -> None:
    assert issubclass(ns.NeuroscopeError, Exception)
    assert issubclass(ns.NeuroscopeWarning, UserWarning)
    assert not issubclass(ns.Cancelled, ns.NeuroscopeError)
