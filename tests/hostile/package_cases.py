"""Packages of bioimage.io, and what builds a network: files that call, unpack, or lead elsewhere."""

from __future__ import annotations

import importlib.util
import io
import marshal
import os
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

from hostile.watch import Opener, case, marker
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.networks.check_published import check_published
from napari_neuroscope.engine.networks.load import load
from napari_neuroscope.samples.architectures import CellClassifier

MB = 1 << 20
NETWORK = {
    "callable": "CellClassifier",
    "import_from": "napari_neuroscope.samples.architectures",
    "kwargs": {},
}
SPACE = [{"type": "space", "id": axis, "size": 32} for axis in "yx"]
RGB = {"type": "channel", "channel_names": ["r", "g", "b"]}


def prepare(base: Path) -> None:
    """Write weights that packages may hold."""
    torch.manual_seed(0)
    torch.save(CellClassifier().state_dict(), base / "weights.pt")


def weights(folder: Path) -> bytes:
    return (folder.parent / "base" / "weights.pt").read_bytes()


def described(
    architecture: Any = NETWORK, *, source: str = "weights.pt", **changes: Any
) -> dict[str, Any]:
    """Return a description that is right but for changes."""
    scores = {"type": "channel", "size": 8}
    return {
        "format_version": "0.5.3",
        "type": "model",
        "name": "Cells",
        "inputs": [{"id": "x", "axes": [{"type": "batch"}, RGB, *SPACE]}],
        "outputs": [{"id": "y", "axes": [{"type": "batch"}, scores]}],
        "weights": {"pytorch_state_dict": {"source": source, "architecture": architecture}},
        **changes,
    }


def calling(folder: Path, module: str, function: str, **arguments: Any) -> dict[str, Any]:
    """Return a description whose network is built by a function of a stranger's choice."""
    return described({"import_from": module, "callable": function, "kwargs": arguments})


def zipped(folder: Path, description: Any, files: dict[str, bytes] | None = None) -> Path:
    """Write a package as a zip."""
    path = folder / "cells.zip"
    text = description if isinstance(description, str | bytes) else yaml.safe_dump(description)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rdf.yaml", text)
        for name, content in {"weights.pt": weights(folder), **(files or {})}.items():
            archive.writestr(name, content)
    return path


def unzipped(folder: Path, description: Any) -> Path:
    """Write a package as a folder."""
    (folder / "weights.pt").write_bytes(weights(folder))
    (folder / "rdf.yaml").write_text(yaml.safe_dump(description))
    return folder


def opening(path: Path, **more: Any) -> Opener:
    return lambda: load(path, device="cpu", **more)


# --- what is called -------------------------------------------------------------------------------


@case("trust", seconds=5)
def zip_that_calls_the_system(folder: Path) -> Opener:
    command = f"mkdir {marker(folder)}"
    return opening(zipped(folder, calling(folder, "os", "system", command=command)))


@case("trust", seconds=5)
def folder_that_calls_the_system(folder: Path) -> Opener:
    command = f"mkdir {marker(folder)}"
    return opening(unzipped(folder, calling(folder, "posix", "system", command=command)))


@case("trust", seconds=5)
def description_that_calls_the_system(folder: Path) -> Opener:
    command = ["mkdir", str(marker(folder))]
    unzipped(folder, calling(folder, "subprocess", "run", args=command))
    return opening(folder / "rdf.yaml")


@case("trust", seconds=5)
def old_package_that_calls_the_system(folder: Path) -> Opener:
    entry = {"source": "weights.pt", "architecture": "os.mkdir",
             "kwargs": {"path": str(marker(folder))}}  # fmt: skip
    tensors = {"inputs": [{"name": "x", "axes": "bcyx", "shape": [1, 3, 32, 32]}],
               "outputs": [{"name": "y", "axes": "bc", "shape": [1, 8]}]}  # fmt: skip
    raw = described(format_version="0.4.10", weights={"pytorch_state_dict": entry}, **tensors)
    return opening(zipped(folder, raw))


@case("trust", seconds=5)
def package_that_unpickles(folder: Path) -> Opener:
    evil = folder / "evil.pt"
    evil.write_bytes(pickle.dumps(_Calls(marker(folder))))
    return opening(
        zipped(folder, calling(folder, "torch", "load", f=str(evil), weights_only=False))
    )


class _Calls:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


@case("trust", seconds=5)
def package_that_evaluates(folder: Path) -> Opener:
    source = f"__import__('os').mkdir({str(marker(folder))!r})"
    return opening(zipped(folder, calling(folder, "builtins", "exec", source=source)))


@case("trust", seconds=5)
def package_that_saves(folder: Path) -> Opener:
    return opening(
        zipped(folder, calling(folder, "numpy", "save", file=str(marker(folder)), arr=1))
    )


@case("trust", seconds=5)
def package_that_deletes(folder: Path) -> Opener:
    (folder / "thesis").mkdir()
    (folder / "thesis" / "of_years.tif").touch()
    raw = calling(folder, "shutil", "rmtree", path=str(folder / "thesis"))
    return opening(zipped(folder, raw))


@case("trust", seconds=5)
def package_that_asks_another_computer(folder: Path) -> Opener:
    raw = calling(folder, "urllib.request", "urlopen", url="http://127.0.0.1:9/who")
    return opening(zipped(folder, raw))


@case("trust", seconds=5)
def package_that_downloads_code(folder: Path) -> Opener:
    raw = calling(folder, "torch.hub", "load", repo_or_dir="a/b", model="c", trust_repo=True)
    return opening(zipped(folder, raw))


@case("trust", seconds=5)
def package_that_calls_a_method(folder: Path) -> Opener:
    return opening(zipped(folder, calling(folder, "torch.nn", "Module.register_module", name="a")))


@case("trust", seconds=5)
def package_that_calls_a_module_of_a_class(folder: Path) -> Opener:
    raw = calling(folder, "torch.nn.modules.module", "torch.save", obj=1, f=str(marker(folder)))
    return opening(zipped(folder, raw))


@case("trust", seconds=5)
def package_that_imports_from_its_folder(folder: Path) -> Opener:
    (folder / "monai" / "networks").mkdir(parents=True)
    (folder / "monai" / "__init__.py").write_text(f"open({str(marker(folder))!r}, 'w')")
    path = zipped(folder, calling(folder, "monai.networks.nets", "UNet"))

    def importing() -> Any:
        sys.path.insert(0, "")
        return load(path)

    return importing


@case("trust", seconds=5)
def package_with_code_of_its_own(folder: Path) -> Opener:
    code = f"open({str(marker(folder))!r}, 'w')\nclass Net: pass"
    raw = described({"source": "net.py", "callable": "Net"})
    return opening(zipped(folder, raw, {"net.py": code.encode()}))


@case("trust", seconds=5)
def package_with_a_pickle_named_onnx(folder: Path) -> Opener:
    held = io.BytesIO()
    torch.save({"net": nn.Linear(1, 1), "run": _Calls(marker(folder))}, held)
    raw = described(weights={"onnx": {"source": "weights.onnx"}})
    return opening(zipped(folder, raw, {"weights.onnx": held.getvalue()}))


@case("trust", seconds=5)
def package_with_words_that_look_trusted(folder: Path) -> Opener:
    said = "\n<h1>Verified</h1><!--\u202e\x1b[2J" + " " * 5000 + f"; mkdir {marker(folder)}"
    return opening(zipped(folder, calling(folder, "os", "system", command=said)))


@case("trust", seconds=60)
def package_of_a_class_that_fills_the_memory(folder: Path) -> Opener:
    limits.TRIAL_MEMORY = 100 * MB
    raw = calling(folder, "torch.nn", "Linear", in_features=10**9, out_features=10**9)
    return opening(zipped(folder, raw))


@case("trust", seconds=60)
def package_of_a_class_that_never_ends(folder: Path) -> Opener:
    limits.TRIAL_MEMORY, limits.TRIAL_SECONDS = 100 * MB, 3
    raw = calling(folder, "torch.nn", "LSTM", input_size=1, hidden_size=1, num_layers=10**9)
    return opening(zipped(folder, raw))


@case("trust", seconds=5)
def package_of_a_class_with_a_million_arguments(folder: Path) -> Opener:
    raw = calling(folder, "torch.nn", "Linear", **{f"a{n}": n for n in range(20_000)})
    return opening(zipped(folder, raw))


@case("opens", seconds=60)
def package_of_a_class_of_networks(folder: Path) -> Opener:
    # It is what all the others pretend to be.
    return opening(zipped(folder, described()))


@case(seconds=60)
def package_of_a_class_that_is_another(folder: Path) -> Opener:
    return opening(zipped(folder, calling(folder, "torch.nn", "Linear", in_features=1, colours=1)))


# --- what a description says ----------------------------------------------------------------------


def _unfolding(inner: str) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    return "\n".join(lines) + "\n" + inner


@case(seconds=5)
def description_that_unfolds_in_arguments(folder: Path) -> Opener:
    raw = calling(folder, "torch.nn", "Linear", in_features="HERE")
    return opening(zipped(folder, _unfolding(yaml.safe_dump(raw).replace("HERE", "*a8"))))


@case(seconds=5)
def description_that_unfolds_in_tags(folder: Path) -> Opener:
    return opening(zipped(folder, _unfolding(yaml.safe_dump(described()) + "tags: *a8\n")))


@case(seconds=5)
def description_that_unpacks(folder: Path) -> Opener:
    limits.MOST_TEXT = MB
    path = folder / "cells.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rdf.yaml", "format_version: 0.5.3\n" + "#" * (8 * MB))
    return opening(path)


@case(seconds=5)
def description_of_many_values(folder: Path) -> Opener:
    limits.MOST_NODES = 20_000
    return opening(zipped(folder, "format_version: 0.5.3\ntags: [" + "a," * 200_000 + "a]"))


@case(seconds=5)
def description_that_is_deep(folder: Path) -> Opener:
    return opening(zipped(folder, "format_version: 0.5.3\ntags: " + "[" * 900 + "]" * 900))


@case(seconds=5)
def description_that_calls(folder: Path) -> Opener:
    return opening(zipped(folder, f"!!python/object/apply:os.mkdir ['{marker(folder)}']"))


@case(seconds=5)
def description_with_a_day_that_is_none(folder: Path) -> Opener:
    return opening(zipped(folder, "format_version: 0.5.3\ntimestamp: 2001-99-99\n"))


@case(seconds=5)
def description_of_a_thousand_axes(folder: Path) -> Opener:
    inputs = [{"id": "x", "axes": [{"type": "batch"}, RGB, *SPACE * 500]}]
    return opening(zipped(folder, described(inputs=inputs)))


@case(seconds=5)
def description_of_a_thousand_steps(folder: Path) -> Opener:
    steps = [{"id": "zero_mean_unit_variance"}] * 90
    inputs = [{"id": "x", "axes": [{"type": "batch"}, RGB, *SPACE], "preprocessing": steps}]
    return opening(zipped(folder, described(inputs=inputs)))


@case(seconds=5)
def description_of_sizes_beyond_all(folder: Path) -> Opener:
    axes = [{"type": "batch"}, RGB, *({"type": "space", "id": a, "size": 10**30} for a in "yx")]
    return opening(zipped(folder, described(inputs=[{"id": "x", "axes": axes}])))


@case(seconds=5)
def description_in_another_encoding(folder: Path) -> Opener:
    return opening(zipped(folder, yaml.safe_dump(described()).encode("utf-16")))


@case(seconds=5)
def description_that_is_a_pipe(folder: Path) -> Opener:
    os.mkfifo(folder / "rdf.yaml")
    return opening(folder / "rdf.yaml")


@case(seconds=5)
def description_that_never_ends(folder: Path) -> Opener:
    (folder / "rdf.yaml").symlink_to("/dev/zero")
    return opening(folder)


@case(seconds=5)
def description_that_is_a_link_elsewhere(folder: Path) -> Opener:
    secret = folder.parent / "base" / "secret.yaml"
    secret.write_text(yaml.safe_dump(described()))
    (folder / "rdf.yaml").symlink_to(secret)
    return opening(folder)


# --- what it refers to ----------------------------------------------------------------------------


def _referring(source: str) -> Callable[[Path], Opener]:
    return lambda folder: opening(zipped(folder, described(source=source)))


source_above = case(seconds=5)(_referring("../base/weights.pt"))
source_at_the_top = case(seconds=5)(_referring("/etc/passwd"))
source_of_windows = case(seconds=5)(_referring("C:\\Windows\\win.ini"))
source_on_a_share = case(seconds=5)(_referring("\\\\evil.example\\share\\weights.pt"))
source_on_the_internet = case(seconds=5)(_referring("https://127.0.0.1:9/weights.pt"))
source_of_a_scheme = case(seconds=5)(_referring("file:/etc/passwd"))
source_that_can_not_be = case(seconds=5)(_referring("a\0b"))
source_of_an_endless_name = case(seconds=5)(_referring("a" * 900))


@case(seconds=5)
def weights_that_are_a_pipe(folder: Path) -> Opener:
    (folder / "rdf.yaml").write_text(yaml.safe_dump(described()))
    os.mkfifo(folder / "weights.pt")
    return opening(folder)


@case(seconds=5)
def weights_that_are_a_link_elsewhere(folder: Path) -> Opener:
    (folder / "rdf.yaml").write_text(yaml.safe_dump(described()))
    (folder / "weights.pt").symlink_to(folder.parent / "base" / "weights.pt")
    return opening(folder)


@case(seconds=5)
def weights_in_a_folder_that_is_a_link(folder: Path) -> Opener:
    (folder / "rdf.yaml").write_text(yaml.safe_dump(described(source="inner/weights.pt")))
    (folder / "inner").symlink_to(folder.parent / "base")
    return opening(folder)


@case(seconds=5)
def weights_with_values_elsewhere(folder: Path) -> Opener:
    entry = {"source": "weights.onnx", "external_data": {"source": "../base/weights.pt"}}
    return opening(
        zipped(folder, described(weights={"onnx": entry}), {"weights.onnx": b"\x08\x08"})
    )


@case(seconds=5)
def weights_of_another_hash(folder: Path) -> Opener:
    entry = {"source": "weights.pt", "sha256": "0" * 64, "architecture": NETWORK}
    return opening(zipped(folder, described(weights={"pytorch_state_dict": entry})))


@case(seconds=5)
def weights_that_unpack(folder: Path) -> Opener:
    limits.ALWAYS_UNPACKED = MB
    path = zipped(folder, described())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights.onnx", bytes(64 * MB))
    return opening(path)


@case(seconds=5)
def bundle_that_unpacks(folder: Path) -> Opener:
    limits.ALWAYS_UNPACKED = MB
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("saved_model.pb", bytes(32 * MB))
    entry = {"tensorflow_saved_model_bundle": {"source": "bundle.zip"}}
    return opening(zipped(folder, described(weights=entry), {"bundle.zip": inner.getvalue()}))


@case(seconds=5)
def bundle_that_unpacks_elsewhere(folder: Path) -> Opener:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr(f"../../{marker(folder).name}", b"x")
    entry = {"tensorflow_saved_model_bundle": {"source": "bundle.zip"}}
    return opening(zipped(folder, described(weights=entry), {"bundle.zip": inner.getvalue()}))


# --- the archive ----------------------------------------------------------------------------------


def _added(name: str, content: bytes = b"x", mode: int = 0o100644) -> Callable[[Path], Opener]:
    def build(folder: Path) -> Opener:
        path = zipped(folder, described())
        entry = zipfile.ZipInfo(name.replace("MARKER", str(marker(folder))))
        entry.external_attr = mode << 16
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(entry, content)
        return opening(path)

    return build


zip_that_climbs = case(seconds=5)(_added("../../climbed"))
zip_of_absolute_paths = case(seconds=5)(_added("MARKER"))
zip_of_windows_paths = case(seconds=5)(_added("..\\..\\climbed"))
zip_with_a_link = case(seconds=5)(_added("inner", b"/etc", 0o120777))
zip_with_two_of_a_name = case(seconds=5)(_added("weights.pt"))


@case(seconds=5)
def zip_of_many_files(folder: Path) -> Opener:
    limits.MOST_ENTRIES = 100
    return opening(zipped(folder, described(), {f"{n}": b"" for n in range(200)}))


@case(seconds=5)
def zip_of_shared_bytes(folder: Path) -> Opener:
    path = zipped(folder, described(), {"a": b"x" * 100, "b": b"x" * 100})
    with zipfile.ZipFile(path) as archive:
        first, second = archive.getinfo("a"), archive.getinfo("b")
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02", 0, content.rindex(b"b"))
    assert struct.unpack_from("<I", content, place + 42)[0] == second.header_offset
    struct.pack_into("<I", content, place + 42, first.header_offset)
    path.write_bytes(content)
    return opening(path)


@case(seconds=5)
def zip_that_is_cut_off(folder: Path) -> Opener:
    path = zipped(folder, described())
    path.write_bytes(path.read_bytes()[:-30])
    return opening(path)


@case(seconds=5)
def zip_with_a_password(folder: Path) -> Opener:
    path = zipped(folder, described())
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    return opening(path)


# --- what it publishes ----------------------------------------------------------------------------


def _publishing(folder: Path, content: bytes) -> Opener:
    """Write a package with a test tensor, and compare with it."""
    folder = unzipped(folder, described())
    raw = yaml.safe_load((folder / "rdf.yaml").read_text())
    raw["inputs"][0]["test_tensor"] = raw["outputs"][0]["test_tensor"] = {"source": "in.npy"}
    (folder / "rdf.yaml").write_text(yaml.safe_dump(raw))
    (folder / "in.npy").write_bytes(content)
    return lambda: check_published(load(folder, factory=CellClassifier, device="cpu"))


def _npy(header: str, values: bytes = b"") -> bytes:
    head = header.encode() + b"\n"
    return b"\x93NUMPY\x02\0" + struct.pack("<I", len(head)) + head + values


@case()
def test_tensor_of_objects(folder: Path) -> Opener:
    held = io.BytesIO()
    np.save(held, np.array([_Calls(marker(folder))], object), allow_pickle=True)
    return _publishing(folder, held.getvalue())


@case()
def test_tensor_of_terabytes(folder: Path) -> Opener:
    said = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000)}"
    return _publishing(folder, _npy(said, bytes(64)))


@case()
def test_tensor_whose_header_calls(folder: Path) -> Opener:
    return _publishing(folder, _npy(f"__import__('os').mkdir({str(marker(folder))!r})"))


@case()
def test_tensor_whose_header_never_ends(folder: Path) -> Opener:
    return _publishing(folder, _npy("(" * 300_000))


@case()
def test_tensor_that_is_an_archive(folder: Path) -> Opener:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(64 * MB))
    return _publishing(folder, held.getvalue())


@case()
def test_tensor_of_other_axes(folder: Path) -> Opener:
    held = io.BytesIO()
    np.save(held, np.zeros((0, 3, 0), np.float32))
    return _publishing(folder, held.getvalue())


# --- what a user names ----------------------------------------------------------------------------


def _named(folder: Path, factory: str, **arguments: Any) -> Opener:
    path = folder / "weights.pt"
    path.write_bytes(weights(folder))

    def naming() -> Any:
        # As where Python is started without a script.
        sys.path.insert(0, "")
        return load(path, factory=factory, arguments=arguments)

    return naming


def _code(folder: Path, name: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"open({str(marker(folder))!r}, 'w')")


@case(seconds=5)
def factory_of_the_standard_library(folder: Path) -> Opener:
    return _named(folder, "os:mkdir", path=str(marker(folder)))


@case("trust", seconds=5)
def factory_named_as_a_module_of_windows(folder: Path) -> Opener:
    _code(folder, "winreg.py")
    return _named(folder, "winreg:Net")


@case("trust", seconds=5)
def factory_that_shadows_what_is_installed(folder: Path) -> Opener:
    _code(folder, "captum/__init__.py")
    return _named(folder, "captum:Net")


@case("trust", seconds=5)
def factory_in_a_part_of_what_is_installed(folder: Path) -> Opener:
    _code(folder, "google/nets.py")
    return _named(folder, "google.nets:Net")


@case("trust", seconds=5)
def factory_of_a_package_with_pipes_and_rings(folder: Path) -> Opener:
    _code(folder, "lab/nets.py")
    os.mkfifo(folder / "lab" / "pipe.py")
    (folder / "lab" / "ring").symlink_to(folder / "lab")
    return _named(folder, "lab.nets:Net")


@case(seconds=5)
def factory_of_a_package_without_end(folder: Path) -> Opener:
    limits.MOST_CODE = MB
    _code(folder, "lab/__init__.py")
    with (folder / "lab" / "holes.bin").open("wb") as file:
        file.truncate(1 << 40)
    return _named(folder, "lab:Net")


@case("trust", seconds=5)
def factory_with_what_python_has_cached(folder: Path) -> Opener:
    """A module whose cached form is another than its source."""
    _code(folder, "lab.py")
    source = folder / "lab.py"
    (folder / "__pycache__").mkdir()
    code = compile("", str(source), "exec")
    state = source.stat()
    cached = Path(importlib.util.cache_from_source(str(source)))
    head = importlib.util.MAGIC_NUMBER + struct.pack("<III", 0, int(state.st_mtime), state.st_size)
    cached.write_bytes(head + marshal.dumps(code))
    return _named(folder, "lab:Net")
