"""What builds a network: named by its user, or by a stranger's file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.engine.files.code.factory import FileFactory, build
from napari_neuroscope.engine.files.code.model_class import (
    NotTriedError,
    build_on_trial,
    tried_class,
)
from napari_neuroscope.engine.files.code.python_package import PythonPackage
from napari_neuroscope.engine.files.code.trust import TrustStore, UntrustedError

UNET = "napari_neuroscope.samples.architectures:UNet"


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrustStore:
    """Where trust is remembered, of no user's own."""
    monkeypatch.setattr("platformdirs.user_config_path", lambda *_: tmp_path / "config")
    return TrustStore()


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """What strangers' code would write."""
    return tmp_path / "ran"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, of which modules are imported first."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend("")
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        del sys.modules[name]


def named(name: str, digest: str = "of the file", **more: Any) -> FileFactory:
    return FileFactory(name, Path("net.zip"), lambda: digest, lambda: digest, **more)


@pytest.mark.parametrize(
    ("name", "arguments", "kind"),
    [
        ("torch.nn:Linear", {"in_features": 2, "out_features": 3}, nn.Linear),
        ("torch.nn.modules.conv:Conv2d", {"in_channels": 1, "out_channels": 2, "kernel_size": [3, 3]},
         nn.Conv2d),
        (UNET, {"classes": 3}, nn.Module),
    ],
)  # fmt: skip
def test_a_class_of_networks_is_built(name: str, arguments: Any, kind: type) -> None:
    assert isinstance(build(named(name), arguments, trust=False), kind)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("os:system", {"command": "touch ran"}),
        ("subprocess:run", {"args": "touch ran", "shell": True}),
        ("torch:load", {"f": "evil.pt", "weights_only": False}),
        ("torch.hub:load", {"repo_or_dir": "evil/evil", "model": "x"}),
        ("torch.utils.cpp_extension:load", {"name": "x"}),
        # Of torch.nn, but functions, values, classes of no network, and of elsewhere.
        ("torch.nn.functional:relu", {}),
        ("torch.nn.init:uniform_", {}),
        ("torch.nn.modules.module:register_module_forward_hook", {}),
        ("torch.nn:Parameter", {"data": 1}),
        ("torch.nn.modules.linear:torch", {}),
        ("torch.nn.modules.module:Any", {}),
        ("torch.nn:_reduction", {}),
        ("napari_neuroscope.samples.architectures:nn", {}),
        ("napari_neuroscope.samples.architectures:annotations", {}),
        ("napari_neuroscope.engine.networks.load:load", {"source": "demo:nuclei"}),
        # Nested names could lead anywhere.
        ("torch.nn:Module.load_state_dict", {}),
        ("torch.nn:modules.linear.Linear", {"in_features": 1, "out_features": 1}),
        ("torch.nnx:Linear", {}),
        # Not plain.
        ("torch.nn:Linear", {"in_features": 2, "out_features": 3, "dtype": object()}),
        ("torch.nn:Linear", {"in_features": float("inf"), "out_features": 3}),
        ("torch.nn:Linear", {"in_features": 1 << 70, "out_features": 3}),
        ("torch.nn:Linear", {"in_features": [0] * 2000, "out_features": 3}),
        ("torch.nn:Linear", {"in_features": "x" * 2000, "out_features": 3}),
        ("torch.nn:Linear", {"in_features": {1: 2}, "out_features": 3}),
    ],
)
def test_all_else_that_a_file_names_is_asked(
    name: str, arguments: Any, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    monkeypatch.setattr("napari_neuroscope.engine.files.code.factory._called", called.append)
    with pytest.raises(UntrustedError, match=f"it calls {name} with") as refusal:
        # That the user trusts code of the file's own says nothing of this.
        build(named(name), arguments, trust=True)
    assert (refusal.value.path, refusal.value.sha256) == (Path("net.zip"), "of the file")
    assert len(refusal.value.would_run) <= 500
    assert not called
    assert not list(here.iterdir())


def test_what_is_asked_is_not_imported() -> None:
    for name in ("antigravity", "this"):
        with pytest.raises(UntrustedError):
            build(named(f"{name}:f"), {}, trust=False)
        assert name not in sys.modules


def test_both_ends_of_long_arguments_are_shown() -> None:
    command = f"echo harmless {' ' * 5000}; rm -rf ~"
    with pytest.raises(UntrustedError) as refusal:
        build(named("os:system"), {"command": command}, trust=False)
    assert "echo harmless" in refusal.value.would_run
    assert "rm -rf" in refusal.value.would_run
    # One does not hide behind others.
    many = {f"a{n}": "harmless" * 999 for n in range(9)} | {"command": command}
    for arguments, last in ((many, "-rf ~'}"), ({**many, "more": 1}, ", and 1 more}")):
        with pytest.raises(UntrustedError) as refusal:
            build(named("os:system"), arguments, trust=False)
        assert refusal.value.would_run.endswith(last)


def test_trust_of_the_file_lets_it_call(store: TrustStore) -> None:
    made = {"obj": [["a", 1]]}
    store.add("of the file", "net.zip")
    with pytest.raises(ns.NeuroscopeError, match="failed with"):
        build(named("numpy:array"), made, trust=False)
    assert build(named("numpy:array"), {"object": [1]}, trust=False).tolist() == [1]
    assert build(named("numpy:array", "other", trusted=True), {"object": [1]}, trust=False).size
    # What changed between the look at it and its sealing is not trusted.
    swapped = FileFactory("numpy:array", Path("a"), lambda: "of the file", lambda: "another")
    with pytest.raises(UntrustedError):
        build(swapped, {"object": [1]}, trust=False)


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("torch.nn:Linear", {"in_features": 10**9, "out_features": 10**9}, "it needs more memory"),
        ("torch.nn:Transformer", {"num_encoder_layers": 10**7, "d_model": 8}, "it (took|ran)"),
    ],
)
def test_a_class_that_would_fill_the_machine_is_asked(
    name: str, arguments: Any, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_neuroscope.engine.files.limits.TRIAL_SECONDS", 3.0)
    monkeypatch.setattr("napari_neuroscope.engine.files.limits.TRIAL_MEMORY", 200 << 20)
    with pytest.raises(UntrustedError, match=f"when it was tried, {says}"):
        build(named(name), arguments, trust=False)


def test_a_class_that_reaches_out_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one that downloads weights, or opens a file that its arguments name."""
    from napari_neuroscope.samples import architectures

    def reaching(*, way: str, **_: Any) -> None:
        if way == "file":
            open("/etc/hostname").close()
        elif way == "net":
            import socket

            socket.create_connection(("127.0.0.1", 9), timeout=1)
        elif way == "write":
            Path("made").write_text("x")
        elif way == "program":
            import os

            os.system("touch made")

    monkeypatch.setattr(architectures.UNet, "__init__", lambda self, **more: reaching(**more))
    for way in ("file", "net", "write", "program"):
        told = build_on_trial({"name": UNET, "arguments": {"way": way}})
        assert told["reached"], way
    assert build_on_trial({"name": UNET, "arguments": {"way": "none"}})["reached"] == ""
    assert not Path("made").exists()
    monkeypatch.setattr(
        "napari_neuroscope.engine.files.code.model_class.try_in_process",
        lambda _, job, **__: build_on_trial(job),
    )
    with pytest.raises(NotTriedError, match="reached for the file /etc/hostname"):
        tried_class(UNET, {"way": "file"})


def test_arguments_that_do_not_fit_are_one_sentence() -> None:
    with pytest.raises(ns.NeuroscopeError, match="colours") as refusal:
        build(named(UNET), {"colours": 3}, trust=False)
    assert not isinstance(refusal.value, UntrustedError)
    with pytest.raises(ns.NeuroscopeError, match="not installed"):
        build(named("no_such_package:f"), {}, trust=False)


@pytest.mark.parametrize("package", ["torchvision", "monai"])
def test_a_folder_of_a_known_name_is_no_installed_package(
    package: str, here: Path, marker: Path
) -> None:
    if PythonPackage.find(package) is not None:
        pytest.skip("it is installed, and imported from there")
    folder = here / package / ("models" if package == "torchvision" else "networks")
    folder.mkdir(parents=True)
    (here / package / "__init__.py").write_text(f"open({str(marker)!r}, 'w')")
    name = {"torchvision": "torchvision.models:Net", "monai": "monai.networks.nets:Net"}[package]
    with pytest.raises(UntrustedError):
        build(named(name), {}, trust=False)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["os:system", "math:sqrt", "collections:OrderedDict", "sys:exit",
                                  "importlib.util:find_spec"])  # fmt: skip
def test_the_standard_library_builds_no_network(name: str) -> None:
    with pytest.raises(ns.NeuroscopeError, match="standard library, in which nothing builds"):
        build(name, {"x": 1}, trust=True)


@pytest.mark.parametrize("name", ["winreg", "captum", "google.inner", "lab", "msilib.schema"])
def test_what_lies_in_the_current_folder_is_asked(
    name: str, here: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is named: as a module of another system, an installed package, part of one."""
    # What another test imported already would be what is meant.
    for imported in [one for one in sys.modules if one.partition(".")[0] == name.partition(".")[0]]:
        if name == "captum":
            monkeypatch.delitem(sys.modules, imported)
    *parents, module = name.split(".")
    folder = here.joinpath(*parents)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(f"open({str(marker)!r}, 'w')\ndef net(): return 3")
    with pytest.raises(UntrustedError, match="in no installed package") as refusal:
        build(f"{name}:net", None, trust=False)
    assert str(here) in refusal.value.would_run
    assert not marker.exists()


def test_trust_in_a_package_is_in_all_of_its_files(
    here: Path, store: TrustStore, marker: Path
) -> None:
    package = here / "lab"
    package.mkdir()
    (package / "__init__.py").touch()
    net, weights = package / "net.py", package / "weights.bin"
    net.write_text("def net(): return 'as it was'")
    weights.write_bytes(b"1")

    def asked(name: str = "lab.net:net") -> str:
        with pytest.raises(UntrustedError) as refusal:
            build(name, None, trust=False)
        return refusal.value.sha256

    first = asked()
    # Another empty package is another package.
    (here / "other").mkdir()
    (here / "other" / "__init__.py").touch()
    assert len({first, asked("other:net")}) == 2
    weights.write_bytes(b"2")
    second = asked()
    net.write_text("def net(): return 'as trusted'")
    third = asked()
    (package / "more.py").touch()
    fourth = asked()
    assert len({first, second, third, fourth}) == 4
    store.add(fourth, "lab")
    # What Python caches beside it runs never, and changes nothing.
    (package / "__pycache__").mkdir()
    assert build("lab.net:net", None, trust=False) == "as trusted"
    # Of what is written since, nothing runs.
    (package / "more.py").write_text(f"open({str(marker)!r}, 'w')")
    (package / "late.py").write_text(f"open({str(marker)!r}, 'w')")
    import lab.more  # type: ignore[import-not-found]

    assert lab.more.__file__ == str(package / "more.py")
    with pytest.raises(ImportError, match="has changed"):
        import lab.late  # type: ignore[import-not-found]
    assert not marker.exists()
    asked()


def test_a_package_that_is_too_large_to_look_through(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "lab").mkdir()
    for number in range(4):
        (here / "lab" / f"m{number}.py").write_text("x = 1")
    for limit, most in (("MOST_ENTRIES", 3), ("MOST_CODE", 12)):
        with monkeypatch.context() as patch:
            patch.setattr(f"napari_neuroscope.engine.files.limits.{limit}", most)
            with pytest.raises(ns.NeuroscopeError, match=r"look(ed)? through"):
                build("lab.m1:x", None, trust=False)


def test_a_factory_that_ends_the_program_is_one_sentence(here: Path) -> None:
    (here / "lab.py").write_text("import sys\nsys.exit(3)")
    with pytest.raises(ns.NeuroscopeError, match="module of the factory “lab:net” failed"):
        build("lab:net", None, trust=True)
    with pytest.raises(ns.NeuroscopeError, match="failed with SystemExit"):
        build(sys.exit, None, trust=True)
