"""What builds a network: named by its user, or by a stranger's file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import napari_neuroscope as ns
from named_factories import UNET, named
from napari_neuroscope.engine.files.code.factory import FileFactory, build
from napari_neuroscope.engine.files.code.trust import TrustStore, UntrustedError


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


def test_arguments_that_do_not_fit_are_one_sentence() -> None:
    with pytest.raises(ns.NeuroscopeError, match="colours") as refusal:
        build(named(UNET), {"colours": 3}, trust=False)
    assert not isinstance(refusal.value, UntrustedError)
    with pytest.raises(ns.NeuroscopeError, match="not installed"):
        build(named("no_such_package:f"), {}, trust=False)


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


def test_a_factory_that_ends_the_program_is_one_sentence(here: Path) -> None:
    (here / "lab.py").write_text("import sys\nsys.exit(3)")
    with pytest.raises(ns.NeuroscopeError, match="module of the factory “lab:net” failed"):
        build("lab:net", None, trust=True)
    with pytest.raises(ns.NeuroscopeError, match="failed with SystemExit"):
        build(sys.exit, None, trust=True)
