"""Checkpoints of weights open without a question, whatever they hold beside; all else is asked."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.code.trust import TrustStore, UntrustedError
from napari_neuroscope.engine.frameworks.torch.files.load import load_torch
from napari_neuroscope.engine.frameworks.torch.files.pickles import imports_of, load_checkpoint


def _state() -> dict[str, Any]:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    optimizer = torch.optim.Adam(net.parameters())
    net[2](torch.rand(1, 4)).sum().backward()
    optimizer.step()
    shared = torch.arange(12.0)
    kinds = [torch.half, torch.bfloat16, torch.double, torch.complex64, torch.int8, torch.bool]
    return {
        "state_dict": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "of each kind": [torch.ones(3).to(kind) for kind in kinds],
        "views": [shared, shared[3:], shared.reshape(3, 4).T, shared[:0]],
        "quantised": torch.quantize_per_tensor(torch.rand(4), 0.1, 2, torch.qint8),
        "sparse": torch.eye(3).to_sparse(),
        "parameter": nn.Parameter(torch.ones(2)),
        "values": [None, True, 1.5, 10**18, "text", b"bytes", 2 + 1j, bytearray(b"ab")],
        "containers": [(1, 2), {1, 2}, OrderedDict(a=1), Counter("aab"), {("a", 1): 2}],
        "of PyTorch": [torch.Size([1, 2]), torch.device("cpu"), torch.float32],
    }


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        plain = [one.dequantize() if one.is_quantized else one.to_dense() for one in (left, right)]
        return left.dtype == right.dtype and torch.equal(*plain)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(_same, left, right))
    return type(left) is type(right) and left == right


@pytest.mark.parametrize("zipped", [True, False])
def test_what_training_saves_opens_without_a_question(zipped: bool, tmp_path: Path) -> None:
    state = _state()
    torch.save(state, tmp_path / "m.ckpt", _use_new_zipfile_serialization=zipped)
    assert _same(state, load_checkpoint(tmp_path / "m.ckpt", trust=False))


def test_what_python_2_saved_opens(tmp_path: Path) -> None:
    # An OrderedDict was the call of its class with a list of pairs, its strings were bytes.
    pickled = b"\x80\x02ccollections\nOrderedDict\n(](" + b"](U\x01aK\x01e](U\x01bK\x02ee" + b"tR."
    torch.save({}, tmp_path / "empty.pt")
    with (
        zipfile.ZipFile(tmp_path / "empty.pt") as old,
        zipfile.ZipFile(tmp_path / "m.pt", "w") as new,
    ):
        for name in old.namelist():
            new.writestr(name, pickled if name.endswith("data.pkl") else old.read(name))
    assert load_checkpoint(tmp_path / "m.pt", trust=False) == OrderedDict(a=1, b=2)


def test_what_the_user_lets_pytorch_load_is_not_asked_about(tmp_path: Path) -> None:
    torch.save({"x": Path("a")}, tmp_path / "m.pt")
    with pytest.raises(UntrustedError, match="pathlib"):
        load_checkpoint(tmp_path / "m.pt", trust=False)
    with torch.serialization.safe_globals([type(Path("a")), Path]):
        assert load_checkpoint(tmp_path / "m.pt", trust=False) == {"x": Path("a")}


class _Folder:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_trusted_pickle_runs_only_as_it_was_trusted(tmp_path: Path) -> None:
    path, marker = tmp_path / "m.pt", tmp_path / "ran"
    torch.save(_Folder(marker), path)
    with pytest.raises(UntrustedError, match="mkdir") as refusal:
        load_checkpoint(path, trust=False)
    assert not marker.exists()
    TrustStore().add(refusal.value.sha256, path.name)
    load_checkpoint(path, trust=False)
    assert marker.exists()
    torch.save(_Folder(tmp_path / "other"), path)
    with pytest.raises(UntrustedError):
        load_checkpoint(path, trust=False)


def test_imports_are_named_with_the_worst_first() -> None:
    held = [nn.Conv2d(1, 1, 1), OrderedDict(a=torch.zeros(1)), _Folder(Path("x"))]
    file = io.BytesIO()
    torch.save(held, file)
    with zipfile.ZipFile(file) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
        imports = imports_of(archive.read(name))
    assert imports == [f"{os.mkdir.__module__}.mkdir", "torch.nn.modules.conv.Conv2d"]


def test_too_long_to_be_looked_through_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for zipped in (True, False):
        path = tmp_path / f"{zipped}.pt"
        torch.save({str(i): i for i in range(2000)}, path, _use_new_zipfile_serialization=zipped)
        assert len(load_checkpoint(path, trust=False)) == 2000
        monkeypatch.setattr(limits, "MOST_PICKLE_OPERATIONS", 3000)
        with pytest.raises(UntrustedError, match="more than 3,000 operations"):
            load_checkpoint(path, trust=False)
        assert len(load_checkpoint(path, trust=True)) == 2000
        monkeypatch.undo()


def test_a_pickle_that_nothing_is_known_of_is_told(tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_bytes(pickle.dumps([1], 2))
    with pytest.raises(NeuroscopeError, match="broken torch checkpoint"):
        load_torch(tmp_path / "m.pt", "torch checkpoint", factory=None, arguments=None, trust=False)
