"""Networks that take no image, and networks of volumes, with nothing stated."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from closeness import assert_close
from napari_neuroscope.engine.frameworks.input_shape import refuse_without_image


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((None, 43844, 1), "byx"), ((1, 1, 16000), "byx"), ((None, 64, 500), "bcx"),
     ((None, 13), "yx"), ((1, 16000), "yx"), ((1, None), "yx"), ((None, 13), "byxc")],
)  # fmt: skip
def test_rows_and_tables_hold_no_image(shape: tuple[int | None, ...], axes: str) -> None:
    with pytest.raises(ns.NeuroscopeError, match="hold no image"):
        refuse_without_image(shape, axes)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [(None, "bcyx"), ((None, None), "yx"), ((64, 64), "yx"), ((1, 64, 48), "byx"),
     ((None, None, None), "byx"), ((1, 1, 64, 48), "bcyx"), ((1, 8, 8, 8, 1), "bzyxc")],
)  # fmt: skip
def test_what_may_hold_an_image_passes(shape: tuple[int | None, ...] | None, axes: str) -> None:
    refuse_without_image(shape, axes)


@pytest.mark.parametrize("as_script", [False, True])
def test_a_network_of_volumes_is_found_out(as_script: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 2, 1)).eval()
    network = ns.wrap(torch.jit.script(model) if as_script else model, device="cpu")
    volume = np.random.default_rng(0).random((6, 20, 24)).astype(np.float32)
    with torch.no_grad():
        expected = model(torch.tensor(volume)[None, None])[0].numpy()

    assert (network.spec.input.axes, network.spec.task) == ("bczyx", "segmentation")
    assert_close(network.predict(volume).scores, expected)


def test_a_network_of_signals_says_so() -> None:
    with pytest.raises(ns.NeuroscopeError, match=re.escape("signals of one axis, and no image")):
        ns.wrap(nn.Conv1d(1, 2, 3), device="cpu").predict(np.zeros((32, 32), np.float32))
