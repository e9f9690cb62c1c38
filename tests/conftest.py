"""What all tests share: the same random numbers each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave Keras's tests to a run of their own, which names them.

    TensorFlow and Mesa's graphics both bring LLVM, and crash in one process.
    """
    named = any("keras" in str(argument) for argument in config.invocation_params.args)
    return True if "test_keras" in collection_path.name and not named else None


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
