"""What all tests share: the same random numbers each time."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from installed_packages import install
from napari_neuroscope.engine.evaluation.metric_registry import metrics
from napari_neuroscope.engine.frameworks.keras.tensorflow_import import keep_symbols_private
from napari_neuroscope.engine.methods.interface import Method
from napari_neuroscope.engine.methods.registry import methods
from places import TESTS

# Where tests run in the background, a shell has them and all that they start ignore ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Before any test imports TensorFlow: windows come later, and with them a graphics driver's LLVM.
keep_symbols_private()

# Drawn cases are the same each time, and a busy machine is no failure.
settings.register_profile("same", deadline=None, derandomize=True, max_examples=50, database=None)
settings.load_profile("same")

# These networks are too small to share: threads that wait for each other take most of the time.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    torch.manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def sparseness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Install the metric of ``tests/example_metric`` for one test; return its name."""
    site = tmp_path / "site-packages"
    install(TESTS / "example_metric", site)
    monkeypatch.syspath_prepend(site)
    metrics.refresh()
    yield "sparseness"
    monkeypatch.undo()
    metrics.refresh()


@pytest.fixture
def offer_method() -> Iterator[Callable[[Method], None]]:
    """Offer a method of a test among those that are installed, for this test."""
    yield methods.add
    methods.refresh()


@pytest.fixture
def sensitivity_cam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Install the method of ``tests/example_method`` for one test; return its name."""
    site = tmp_path / "site-packages"
    install(TESTS / "example_method", site)
    monkeypatch.syspath_prepend(site)
    methods.refresh()
    yield "sensitivity_cam"
    monkeypatch.undo()
    methods.refresh()
