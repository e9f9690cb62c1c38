"""What the tests of images share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from zarr.storage import LocalStore


@pytest.fixture
def chunks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the chunks that are read of stores on the disk."""
    read: list[str] = []
    get = LocalStore.get

    async def counted(self: LocalStore, key: str, *args: Any, **kwargs: Any) -> Any:
        if not key.endswith((".json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")):
            read.append(key)
        return await get(self, key, *args, **kwargs)

    monkeypatch.setattr(LocalStore, "get", counted)
    return read


@pytest.fixture
def rgb(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)
