"""What the workers of a batch may run: what was let run when it began, and nothing else."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import napari_neuroscope as ns
from batches import SPEC, Bright, recipe_in
from napari_neuroscope.engine.batch.work import Work
from napari_neuroscope.engine.explain.recipe import Recipe
from napari_neuroscope.engine.explanation.recipe_document import SUFFIX
from napari_neuroscope.engine.files.code.granted import granting
from napari_neuroscope.engine.files.code.trust import TrustStore, UntrustedError, digest_of


class Touches:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """A batch with a pickled network, which the user trusts."""
    torch.save(Bright(), tmp_path / "net.pt")
    network = ns.load(tmp_path / "net.pt", SPEC, device="cpu", trust=True)
    image = np.zeros((12, 10), np.uint8)
    Recipe.of(ns.explain(network, image, "saliency", 1)).save(tmp_path / f"mine{SUFFIX}")
    recipe = Recipe.load(tmp_path / f"mine{SUFFIX}")
    return Work(recipe, tmp_path / "out", (".tif",), device="cpu", trust=True, allow_changed=True)


def in_a_worker(work: Work) -> ns.Network:
    there = pickle.loads(pickle.dumps(work))
    with granting(there.let_run):
        return there.fitted()[0]


def test_a_file_that_is_exchanged_does_not_run_in_a_worker(work: Work, tmp_path: Path) -> None:
    network, there = work.for_others()
    assert in_a_worker(there).digest() == network.digest()
    torch.save(Touches(tmp_path / "ran"), tmp_path / "net.pt")
    with pytest.raises(UntrustedError):
        in_a_worker(there)
    assert not (tmp_path / "ran").exists()
    # Without the user's word not even the first one runs.
    with pytest.raises(UntrustedError):
        Work(work.recipe, work.out, work.kinds, device="cpu").for_others()


def test_what_was_trusted_before_is_trusted_where_nobody_was_asked(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker of a cluster has another trust store."""
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: tmp_path / "here")
    TrustStore().add(digest_of(tmp_path / "net.pt"), "net.pt")
    network, there = Work(work.recipe, work.out, work.kinds, device="cpu").for_others()
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: tmp_path / "there")
    assert in_a_worker(there).digest() == network.digest()
    torch.save(Touches(tmp_path / "ran"), tmp_path / "net.pt")
    with pytest.raises(UntrustedError):
        in_a_worker(there)
    assert not (tmp_path / "ran").exists()


def test_other_weights_are_another_network(tmp_path: Path) -> None:
    recipe = Recipe.load(recipe_in(tmp_path))
    work = Work(recipe, tmp_path, (".tif",), device="cpu", trust=True, allow_changed=True)
    _, there = work.for_others()
    assert in_a_worker(there).class_names == ["dark", "bright"]
    with pytest.raises(ns.NeuroscopeError, match="was exchanged while the batch ran"):
        in_a_worker(replace(there, digest="another"))
    save_file(
        {name: value + 1 for name, value in Bright().state_dict().items()},
        tmp_path / "net.safetensors",
    )
    # Whom it was let to build with them, it was for those weights alone.
    with pytest.raises(UntrustedError):
        in_a_worker(there)
