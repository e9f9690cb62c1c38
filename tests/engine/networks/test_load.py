"""Files to networks: what opens, what is refused, and that nothing runs unasked."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.engine.files.code.trust import TrustStore, UntrustedError, digest_of
from napari_neuroscope.engine.files.file_kind import kind_of
from napari_neuroscope.engine.passes.spec_inference import complete_spec
from networks import UNet, Vgg, settled

FACTORY = "napari_neuroscope.samples.architectures:UNet"


@pytest.fixture(autouse=True)
def _own_trust(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own word is neither asked nor changed by tests."""
    folder = tmp_path_factory.mktemp("config")
    monkeypatch.setattr("platformdirs.user_config_path", lambda *_: folder)


@pytest.fixture
def unet() -> nn.Module:
    from napari_neuroscope.samples.architectures import UNet as Shipped

    return settled(Shipped(classes=4)).eval()


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((24, 32, 3), dtype=np.float32)


def same(network: ns.Network, model: nn.Module, image: np.ndarray) -> None:
    spec = {"task": "segmentation", "input": {"size": {"min": 16, "step": 8}, "resize": "pad"}}
    expected = ns.explain(ns.wrap(model, spec, device="cpu"), image, "saliency", 1).values
    found = ns.explain(network, image, "saliency", 1).values
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


# --- what opens ---


@pytest.mark.parametrize("nested", [None, "state_dict", "model_state_dict", "model"])
def test_weights_with_a_factory(
    nested: str | None, unet: nn.Module, image: np.ndarray, tmp_path: Path
) -> None:
    weights: Any = unet.state_dict()
    torch.save(weights if nested is None else {nested: weights, "epoch": 3}, tmp_path / "w.pt")
    network = ns.load(tmp_path / "w.pt", factory=FACTORY, arguments={"classes": 4}, device="cpu")
    same(network, unet, image)
    assert network.name == "w"


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_weights_of_wrapped_networks(prefix: str, unet: nn.Module, tmp_path: Path) -> None:
    weights = OrderedDict((prefix + name, value) for name, value in unet.state_dict().items())
    torch.save(weights, tmp_path / "w.pth")
    network = ns.load(tmp_path / "w.pth", factory=FACTORY, arguments={"classes": 4}, device="cpu")
    assert len(network.class_names) == 4


def test_safetensors(unet: nn.Module, image: np.ndarray, tmp_path: Path) -> None:
    save_file(unet.state_dict(), tmp_path / "w.safetensors")
    network = ns.load(
        tmp_path / "w.safetensors", factory=FACTORY, arguments={"classes": 4}, device="cpu"
    )
    same(network, unet, image)


def test_a_pickled_network_that_is_trusted(
    unet: nn.Module, image: np.ndarray, tmp_path: Path
) -> None:
    torch.save(unet, tmp_path / "whole.pt")
    same(ns.load(tmp_path / "whole.pt", trust=True, device="cpu"), unet, image)


def test_torchscript(unet: nn.Module, image: np.ndarray, tmp_path: Path) -> None:
    torch.jit.script(unet).save(str(tmp_path / "s.pt"))
    network = ns.load(tmp_path / "s.pt", device="cpu")
    assert network.spec.task == "segmentation"
    same(network, unet, image)
    with pytest.raises(ns.NeuroscopeError, match="scripted"):
        ns.explain(network, image, "guided_backprop", 1)


def test_exported_networks_have_layers(unet: nn.Module, image: np.ndarray, tmp_path: Path) -> None:
    torch.export.save(torch.export.export(unet, (torch.zeros(1, 3, 24, 32),)), tmp_path / "e.pt2")
    with pytest.raises(UntrustedError, match="a PyTorch program"):
        ns.load(tmp_path / "e.pt2", device="cpu")
    network = ns.load(tmp_path / "e.pt2", device="cpu", trust=True)
    assert network.spec.input.size == (24, 32)
    same(network, unet, image)
    convolutions = network.layers.of_kind("convolution")
    assert len(convolutions) == sum(isinstance(m, nn.Conv2d) for m in unet.modules())
    assert ns.explain(network, image, "grad_cam", 1, convolutions[3], relu=False).values.any()


def test_the_spec_beside_a_file_is_used(unet: nn.Module, tmp_path: Path) -> None:
    save_file(unet.state_dict(), tmp_path / "cells.safetensors")
    spec = ns.ModelSpec.model_validate({"task": "segmentation", "classes": ["a", "b", "c", "d"]})
    spec.save(tmp_path / "cells.neuroscope.yaml")
    network = ns.load(
        tmp_path / "cells.safetensors", factory=FACTORY, arguments={"classes": 4}, device="cpu"
    )
    assert network.class_names == ["a", "b", "c", "d"]


def test_what_can_be_found_out_is_found_out() -> None:
    segmenter = ns.wrap(settled(UNet()), device="cpu")
    complete_spec(segmenter)
    assert segmenter.spec.task == "segmentation"
    rule = segmenter.spec.input.size
    assert rule.step > 1
    ns.explain(segmenter, np.random.default_rng(0).random((37, 41, 3)), "saliency", 0)
    fixed = ns.wrap(nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2 * 62 * 62, 3)))
    complete_spec(fixed)
    assert (fixed.spec.task, fixed.spec.input.size) == ("classification", (64, 64))
    classifier = ns.wrap(settled(Vgg()), {"input": {"size": [16, 16]}}, device="cpu")
    complete_spec(classifier)
    assert classifier.spec.input.size == (16, 16), "what is stated is left as it is"


# --- what would run ---


class Marker:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def malicious(place: Path, marker: Path, how: str) -> Path:
    thing = Marker(marker)
    path = place / f"{how}.pt"
    if how == "new":
        torch.save(thing, path)
    elif how == "old":
        torch.save(thing, path, _use_new_zipfile_serialization=False)
    elif how == "plain pickle":
        path.write_bytes(pickle.dumps(thing, protocol=4))
    elif how == "beside weights":
        torch.save({"state_dict": nn.Conv2d(1, 1, 1).state_dict(), "hook": thing}, path)
    return path


@pytest.mark.parametrize("how", ["new", "old", "plain pickle", "beside weights"])
def test_a_malicious_pickle_leaves_no_trace(how: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    path = malicious(tmp_path, marker, how)
    with pytest.raises(UntrustedError) as refusal:
        ns.load(path, factory=FACTORY)
    assert not marker.exists()
    text = str(refusal.value)
    assert "mkdir" in text
    assert digest_of(path) in text
    assert len(text.splitlines()) == 1


def test_a_factory_outside_of_installed_packages(
    unet: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "marker"
    (tmp_path / "stranger_net.py").write_text(
        f"from pathlib import Path\nPath({str(marker)!r}).write_text('ran')\n"
        "from napari_neuroscope.samples.architectures import UNet\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    save_file(unet.state_dict(), tmp_path / "w.safetensors")
    more: Any = {"factory": "stranger_net:UNet", "arguments": {"classes": 4}, "device": "cpu"}
    with pytest.raises(UntrustedError, match="in no installed package"):
        ns.load(tmp_path / "w.safetensors", **more)
    assert not marker.exists()
    assert len(ns.load(tmp_path / "w.safetensors", trust=True, **more).class_names) == 4
    assert marker.exists()


def test_trust_is_remembered_by_content(unet: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "whole.pt"
    torch.save(unet, path)
    with pytest.raises(UntrustedError) as refusal:
        ns.load(path)
    TrustStore().add(refusal.value.sha256, path.name)
    assert refusal.value.sha256 in TrustStore()
    ns.load(path, device="cpu")
    torch.save(settled(UNet()), path)
    with pytest.raises(UntrustedError):
        ns.load(path)


# --- what is no network ---


def write(path: Path, how: str) -> None:
    model = nn.Conv2d(1, 1, 1)
    if how == "empty":
        path.write_bytes(b"")
    elif how == "cut":
        torch.save(model.state_dict(), path)
        path.write_bytes(path.read_bytes()[:300])
    elif how == "cut safetensors":
        save_file({"w": torch.zeros(500)}, path)
        path.write_bytes(path.read_bytes()[:200])
    elif how == "cut pickle":
        torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False)
        path.write_bytes(path.read_bytes()[:60])
    elif how == "text":
        path.write_text("hello")
    elif how == "html":
        path.write_text("<!DOCTYPE html><html>404</html>")
    elif how == "lfs":
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    elif how == "png":
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    elif how == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("photo.jpg", b"x")
    elif how == "list":
        torch.save([1, 2, 3], path)
    elif how == "weights":
        torch.save(model.state_dict(), path)


def test_a_link_is_trusted_by_what_it_leads_to(tmp_path: Path) -> None:
    first, second, link = (tmp_path / name for name in ("first.pt", "second.pt", "link.pt"))
    for number, path in enumerate((first, second)):
        marker = tmp_path / f"marker{number}"
        torch.save({"net": nn.Conv2d(1, 1, 1), "hook": Marker(marker)}, path)
    link.symlink_to(first)
    with pytest.raises(UntrustedError, match="mkdir") as refusal:
        ns.load(link)
    TrustStore().add(refusal.value.sha256, "link.pt")
    link.unlink()
    link.symlink_to(second)
    with pytest.raises(UntrustedError):
        ns.load(link)
    assert not list(tmp_path.glob("marker*"))


@pytest.mark.parametrize(
    ("name", "how", "says"),
    [
        ("x.pt", "empty", "is empty"),
        ("x.pt", "cut", "broken zip archive"),
        ("x.safetensors", "cut safetensors", "cut off"),
        ("x.pt", "cut pickle", "broken torch checkpoint"),
        ("x.pt", "text", "a text file"),
        ("x.pt", "html", "a web page"),
        ("x.pt", "lfs", "Git LFS pointer"),
        ("x.onnx", "png", "a PNG image"),
        ("x.h5", "zip", "zip archive"),
        ("x.pt", "list", "holds a list"),
        ("x.pt", "weights", 'factory="package.module:function"'),
    ],
)
def test_a_file_that_is_no_network_says_what_it_is(
    name: str, how: str, says: str, tmp_path: Path
) -> None:
    write(tmp_path / name, how)
    with pytest.raises(ns.NeuroscopeError) as refusal:
        ns.load(tmp_path / name)
    assert says in str(refusal.value)
    assert name in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


def test_folders_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(ns.NeuroscopeError, match="no SavedModel"):
        ns.load(tmp_path)
    with pytest.raises(ns.NeuroscopeError, match="There is no file"):
        ns.load(tmp_path / "missing.pt")


@pytest.mark.parametrize(
    ("factory", "arguments", "says"),
    [
        ("no colon", {}, "package.module:function"),
        ("no_such_package:f", {}, "not installed"),
        ("napari_neuroscope.samples.architectures:VNet", {}, "There is no factory"),
        (FACTORY, {"colours": 3}, "colours"),
        (FACTORY, {"classes": 7}, "of shape"),
        ("napari_neuroscope.samples.architectures:CellClassifier", {}, "lacks"),
        ("numpy:array", {"object": 1}, "no torch.nn.Module"),
        ("collections:OrderedDict", {}, "standard library"),
        ("numpy:pi", {}, "no function or class"),
    ],
)
def test_factories_that_do_not_fit(
    factory: str, arguments: dict, says: str, unet: nn.Module, tmp_path: Path
) -> None:
    save_file(unet.state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(ns.NeuroscopeError) as refusal:
        ns.load(tmp_path / "w.safetensors", factory=factory, arguments=arguments)
    assert says in str(refusal.value)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "thing.pt"
        path.write_bytes(content)
        try:
            kind_of(path)
        except ns.NeuroscopeError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["task", "input", "output", "classes", "x"]), json_values))
def test_no_spec_breaks_its_reader(raw: dict[str, Any]) -> None:
    try:
        ns.ModelSpec.parse(json.loads(json.dumps(raw)))
    except ns.NeuroscopeError as error:
        assert str(error).startswith("The spec")  # noqa: PT017


def test_a_spec_file_runs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    path = tmp_path / "evil.yaml"
    path.write_text(f'task: !!python/object/apply:pathlib.Path.touch [{{path: "{marker}"}}]')
    with pytest.raises(ns.NeuroscopeError, match="no plain YAML"):
        ns.ModelSpec.load(path)
    assert not marker.exists()
