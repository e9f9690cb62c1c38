"""A recipe, images and a whole batch of them, which tests only read."""

from __future__ import annotations

from pathlib import Path

import pytest

import napari_neuroscope as ns
from batches import images_in, recipe_in


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recipe_in(tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    images_in(folder, 5)
    return folder


@pytest.fixture(scope="session")
def whole(recipe: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a batch that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "out"
    result = ns.run_batch(recipe, images, out, device="cpu", trust=True)
    assert (result.total, result.done, result.kept, result.left) == (5, 5, 0, 0)
    return out
