"""Nothing of a stranger's file runs, writes, reads elsewhere, hangs or fills the memory."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hostile.watch import MOST_MB, Case, cases_of
from places import FIXTURES, TESTS

_MODULES = sorted(path.stem for path in Path(__file__).parent.glob("*_cases.py"))
_NEEDS = {"keras_cases": "tensorflow", "onnx_cases": "onnxruntime"}
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="watched by way of Linux's /proc"),
    pytest.mark.timeout(900),
]


def _available(module: str) -> bool:
    return module not in _NEEDS or importlib.util.find_spec(_NEEDS[module]) is not None


def _all_cases() -> list[Any]:
    return [
        pytest.param(module, name, one, id=f"{module.removesuffix('_cases')}-{name}")
        for module in _MODULES
        if _available(module)
        for name, one in cases_of(importlib.import_module(f"hostile.{module}")).items()
    ]


@pytest.fixture(scope="module")
def said_of(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What was seen of each case of a module of cases, which is watched once."""
    seen: dict[str, dict[str, Any]] = {}

    def of(module: str) -> dict[str, Any]:
        if module not in seen:
            root = tmp_path_factory.mktemp(module)
            config = tmp_path_factory.mktemp("config")
            command = [sys.executable, "-m", "hostile.watch", str(root), f"hostile.{module}"]
            # Nobody's own trust counts here.
            own = {"PYTHONPATH": f"{TESTS}{os.pathsep}{FIXTURES}", "XDG_CONFIG_HOME": str(config)}
            done = subprocess.run(
                command, env={**os.environ, **own}, capture_output=True, text=True, check=False
            )
            lines = [json.loads(line) for line in done.stdout.splitlines()]
            assert lines, done.stderr[-2000:]
            seen[module] = {line["case"]: line for line in lines}
        return seen[module]

    return of


@pytest.mark.parametrize(("module", "name", "one"), _all_cases())
def test_a_hostile_file_does_no_harm(module: str, name: str, one: Case, said_of: Any) -> None:
    said = said_of(module)[name]
    assert not said["ran"], said
    expected = ("sentence", "opens") if one.ends == "either" else (one.ends,)
    assert said["outcome"] in expected, said
    assert not said["did"], said
    assert said["seconds"] < one.seconds, said
    assert said["mb"] < MOST_MB, said
    if said["outcome"] == "sentence":
        # One sentence, with the name of the file or the folder.
        assert "“" in said["message"] or "/" in said["message"], said
        assert "\n" not in said["message"], said
        assert len(said["message"]) < 1000, said
        assert said["message"].rstrip("”").endswith((".", "?")), said
