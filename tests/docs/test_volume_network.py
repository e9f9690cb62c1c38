"""The script of the worked example of volumes: what it makes, and what it keeps."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

import napari_neuroscope as ns
from places import ROOT

SCRIPTS = ROOT / "scripts"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import volume_network

    yield volume_network
    sys.modules.pop("volume_network", None)


def test_cells_are_round_and_discs_are_flat(script) -> None:
    volume, classes = script.make_volume(3)
    np.testing.assert_array_equal(volume, script.make_volume(3)[0])
    assert set(np.unique(classes)) == {0, 1, 2}
    for name, most in (("cell", 7), ("disc", 1)):
        labels, count = ndimage.label(classes == script.CLASSES.index(name))
        deep = [box[0].stop - box[0].start for box in ndimage.find_objects(labels)]
        assert count > 1
        assert max(deep) <= most
        if name == "cell":
            assert max(deep) >= 4
    # In its plane a disc is as bright as a cell: brightness alone does not tell them apart.
    bright = [volume[classes == number].mean() for number in (1, 2)]
    assert abs(bright[0] - bright[1]) < 0.25 * bright[0]


def test_training_is_kept_and_found_again(script, tmp_path: Path) -> None:
    path = tmp_path / "kept" / "network.pt"
    lines: list[str] = []
    trained = script.train(path, volumes=4, report=lines.append)
    assert [one.name for one in path.parent.iterdir()] == ["network.pt"]
    again = script.train(path, volumes=4, report=lines.append)
    x = torch.randn(1, 1, 4, 16, 16)
    torch.testing.assert_close(trained(x), again(x), rtol=0, atol=0)
    network = ns.wrap(again, script.SPEC, device="cpu")
    assert network.spec.steps == (4, 1, 1)
    # Of a size that the poolings don't divide.
    volume = script.make_volume(1, (5, 18, 21))[0]
    found = ns.explain(network, volume, "grad_cam", "cell", "up1")
    assert found.on_image().shape == volume.shape
