"""A trust store of its own, a file that says whether code ran, and a folder to be in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from napari_neuroscope.engine.files.code.trust import TrustStore


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
