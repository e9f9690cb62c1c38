"""ONNX's files: what opens, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import napari_neuroscope as ns
from napari_neuroscope.cli.main import main
from napari_neuroscope.engine.files.file_kind import kind_of
from networks import UNet, Vgg, settled

pytest.importorskip("onnx", reason="needs the extra “onnx”")

pytest.importorskip("onnxruntime", reason="needs the extra “onnx”")

import onnx
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from onnx_networks import by_hand, exported, model, node, value


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "networks"
    folder.mkdir()
    return folder / "net.onnx"


def refusal_of(path: Path) -> str:
    with pytest.raises(ns.NeuroscopeError) as refusal:
        ns.load(path, device="cpu")
    text = str(refusal.value)
    assert len(text.splitlines()) == 1
    return text


def test_a_file_is_what_it_was_in_memory(path: Path, rng: np.random.Generator) -> None:
    network = exported(settled(UNet()), (1, 3, 16, 16))
    path.write_bytes(network.SerializeToString())
    loaded = ns.load(path, device="cpu")
    assert (loaded.name, loaded.framework, loaded.spec.task) == ("net", "onnx", "segmentation")
    assert loaded.spec.input.size.step == 4
    wrapped = ns.wrap(network, loaded.spec, device="cpu")
    assert loaded.digest() == wrapped.digest()
    image = rng.random((21, 30, 3), dtype=np.float32)
    np.testing.assert_array_equal(loaded.predict(image).scores, wrapped.predict(image).scores)
    assert loaded.predict(image).labels.shape == (21, 30)


def test_the_spec_beside_a_file_is_used(path: Path) -> None:
    path.write_bytes(exported(settled(Vgg()), (1, 3, 16, 16), fixed=True).SerializeToString())
    ns.ModelSpec.parse({"classes": ["a", "b", "c", "d"]}).save(
        path.with_name("net.neuroscope.yaml")
    )
    network = ns.load(path, device="cpu")
    assert network.class_names == ["a", "b", "c", "d"]
    assert network.spec.input.size == (16, 16)


FIELDS = {
    "ir_version": b"\x08\x08",
    "producer_name": b"\x12\x02tf",
    "domain": b"\x22\x00",
    "model_version": b"\x28\x00",
    "doc_string": b"\x32\x03doc",
    "opset_import": b"\x42\x02\x10\x11",
    "metadata_props": b"\x72\x06\x0a\x01a\x12\x01b",
}


@given(st.permutations(list(FIELDS)), st.integers(0, len(FIELDS)))
def test_fields_in_any_order_are_an_onnx_file(order: list[str], where: int) -> None:
    import tempfile

    graph = b"\x3a\x04\x12\x02g1"
    parts = [FIELDS[name] for name in order]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net"
        path.write_bytes(b"".join([*parts[:where], graph, *parts[where:]]))
        assert onnx.ModelProto.FromString(path.read_bytes()).graph.name == "g1"
        assert kind_of(path) == "onnx"
        path.write_bytes(b"".join(parts))
        with pytest.raises(ns.NeuroscopeError, match="no network of a kind that is known"):
            kind_of(path)


def test_a_file_that_is_cut_off(path: Path) -> None:
    content = exported(settled(Vgg()), (1, 3, 16, 16), fixed=True).SerializeToString()
    parts = [content[: len(content) // 2], content[:-10], content[:40]]
    for part in [*parts, b"\x08\x08\x3a" + b"\xff" * 8 + b"\x7f"]:
        path.write_bytes(part)
        assert "“net.onnx” is an ONNX file that was cut off" in refusal_of(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\x08\x08", "a binary file, no network"),
        (bytes(range(256)) * 4, "a binary file, no network"),
        (b"\x08\x01\x12\x04abcd", "a binary file, no network"),
        (b"hello", "a text file"),
        (b"\x08\x08\x3a\x04\xff\xff\xff\xff", "is a broken ONNX file"),
        (b"\x08\x08\x3a\x00\x42\x02\x10\x11", "has no output"),
        (b"\x08\x08\x3a\x05\x62\x03\x0a\x01y\x42\x02\x10\x11", "takes 0 inputs"),
    ],
)
def test_a_file_that_is_no_network_says_what_it_is(path: Path, content: bytes, says: str) -> None:
    path.write_bytes(content)
    assert says in refusal_of(path)


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_byte_that_is_changed_is_a_sentence_at_most(place: int, byte: int) -> None:
    import tempfile

    content = bytearray(by_hand().SerializeToString())
    content[place % len(content)] = byte
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        path.write_bytes(content)
        try:
            ns.load(path, {"input": {"size": [8, 8]}}, device="cpu").predict(np.eye(8))
        except ns.NeuroscopeError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017


@pytest.mark.parametrize(
    ("operation", "domains", "says"),
    [
        ("Mine", {"my.domain": 1}, "the operator “Mine” of “my.domain”"),
        ("Mine", {}, "the operator “Mine” of “my.domain”"),
        ("NoSuch", None, "the operator “NoSuch”, which"),
    ],
)
def test_operators_that_are_not_known(path: Path, operation: str, domains: Any, says: str) -> None:
    domain = "" if domains is None else "my.domain"
    network = model(
        [node(operation, "image", "answer", domain=domain)],
        [value("image", [1, 3, 8, 8])],
        [value("answer")],
        domains=domains,
    )
    path.write_bytes(network.SerializeToString())
    text = refusal_of(path)
    assert says in text
    assert "shared libraries are not loaded" in text


def test_functions_that_call_themselves(path: Path) -> None:
    opsets = [helper.make_opsetid("own", 1)]
    block = helper.make_function(
        "own", "F", ["x"], ["y"], [node("F", "x", "y", domain="own")], opsets
    )
    network = model(
        [node("F", "image", "answer", domain="own")], [value("image", [1, 3, 8, 8])],
        [value("answer")], domains={"own": 1}, functions=[block],
    )  # fmt: skip
    path.write_bytes(network.SerializeToString())
    assert "functions are broken: “F” calls itself" in refusal_of(path)


def test_a_format_that_is_newer(path: Path) -> None:
    network = by_hand()
    network.opset_import[0].version = 999
    path.write_bytes(network.SerializeToString())
    assert "needs opset 999, which is newer" in refusal_of(path)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_the_extra_is_named_where_it_is_missing(
    path: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(by_hand().SerializeToString())
    monkeypatch.delitem(
        sys.modules, "napari_neuroscope.engine.frameworks.onnx.framework", raising=False
    )
    found = __import__("importlib.util").util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *a: None if name == package else found(name, *a)
    )
    assert 'pip install "napari-neuroscope[onnx]"' in refusal_of(path)


def test_the_command_line(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path.write_bytes(exported(settled(UNet()), (1, 3, 16, 16)).SerializeToString())
    image, out = tmp_path / "image.npy", tmp_path / "map.npy"
    np.save(image, np.random.default_rng(0).random((24, 20, 3), dtype=np.float32))
    assert main(["check", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "onnx on cpu" in printed
    assert "Grad-CAM needs gradients, and ONNX networks have none" in printed
    assert main(["layers", str(path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["kind"] for row in rows} >= {"convolution", "concatenate", "upsampling"}
    layer = rows[3]["name"]
    assert main(["explain", str(path), str(image), "--method", "activation", "--layer", layer,
                 "-o", str(out)]) == 0  # fmt: skip
    expected = ns.explain(ns.load(path, device="cpu"), np.load(image), "activation", layer=layer)
    np.testing.assert_array_equal(np.load(out), expected.values)
    capsys.readouterr()
    assert main(["explain", str(path), str(image), "--class", "1", "-o", str(tmp_path / "x.npy")]) == 1  # fmt: skip
    assert "open the PyTorch or Keras network" in capsys.readouterr().err
