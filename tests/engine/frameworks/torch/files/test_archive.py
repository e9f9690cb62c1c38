"""Archives are read as PyTorch reads them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch

from napari_neuroscope.engine.frameworks.torch.files.archive import open_torch_archive
from napari_neuroscope.engine.frameworks.torch.files.pickles import load_checkpoint


def test_archives_of_pytorch_and_of_zip_programs_are_read(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(5)}, tmp_path / "m.pt")
    with zipfile.ZipFile(tmp_path / "m.pt") as old:
        with zipfile.ZipFile(tmp_path / "again.pt", "w", zipfile.ZIP_DEFLATED) as new:
            for name in old.namelist():
                new.writestr(name, old.read(name))
        # With sizes of 64 bits, as very large files have them.
        with zipfile.ZipFile(tmp_path / "long.pt", "w") as long:
            for name in old.namelist():
                with long.open(name, "w", force_zip64=True) as entry:
                    entry.write(old.read(name))
    for name in ("m.pt", "again.pt", "long.pt"):
        assert torch.equal(load_checkpoint(tmp_path / name, trust=False)["a"], torch.arange(5))
        with open_torch_archive(tmp_path / name) as archive:
            archive.write_copy(tmp_path / f"copy-of-{name}", lambda record: record != "version")
        with (
            zipfile.ZipFile(tmp_path / name) as old,
            zipfile.ZipFile(tmp_path / f"copy-of-{name}") as new,
        ):
            assert set(old.namelist()) - set(new.namelist()) == {"m/version"}
            assert all(old.read(entry) == new.read(entry) for entry in new.namelist())
