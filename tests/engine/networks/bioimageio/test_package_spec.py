"""Packages of bioimage.io: read, opened, held to what they publish, and never run unasked."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

import napari_neuroscope as ns
import packages
from napari_neuroscope.cli.main import main
from napari_neuroscope.engine.files.code.trust import TrustStore, UntrustedError, digest_of
from napari_neuroscope.engine.networks.bioimageio.description import Description
from napari_neuroscope.engine.networks.bioimageio.package import Package
from napari_neuroscope.engine.networks.bioimageio.package_spec import spec_of
from napari_neuroscope.engine.networks.bioimageio.read_description import read
from napari_neuroscope.engine.networks.check_published import check_published
from napari_neuroscope.engine.networks.load import spec_path


@pytest.fixture(autouse=True)
def _own_trust(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("config")
    monkeypatch.setattr("platformdirs.user_config_path", lambda *_: folder)


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    """Raw values of two channels that differ by far."""
    values = rng.random((2, 16, 24)) * [[[150]], [[3000]]] + [[[20]], [[400]]]
    return values.astype(np.float32)


# --- preprocessing, against plain NumPy ---

EPS = 1e-6


def whitened(x: np.ndarray, axes: Any = None, eps: float = EPS) -> np.ndarray:
    return (x - x.mean(axes, keepdims=True)) / (x.std(axes, keepdims=True) + eps)


def ranged(x: np.ndarray, low: float, high: float, axes: Any = None) -> np.ndarray:
    bottom, top = np.percentile(x, [low, high], axis=axes, keepdims=True)
    return (x - bottom) / (top - bottom + EPS)


def column(*numbers: float) -> np.ndarray:
    return np.reshape(numbers, (-1, 1, 1))


def step(name: str, /, **arguments: Any) -> dict[str, Any]:
    return {"id": name, "kwargs": arguments}


CHAINS: dict[str, tuple[list[Any], Any]] = {
    "nothing": ([], lambda x: x),
    "float": ([step("ensure_dtype", dtype="float32")], lambda x: x),
    "whole image": ([step("zero_mean_unit_variance")], whitened),
    "each channel": (
        [step("zero_mean_unit_variance", axes=["y", "x"], eps=0.01)],
        lambda x: whitened(x, (1, 2), 0.01),
    ),
    "percentiles of each channel": (
        [
            step("scale_range", axes=["y", "x"], min_percentile=1, max_percentile=99.8),
            step("clip", min=0, max=1),
        ],
        lambda x: ranged(x, 1, 99.8, (1, 2)).clip(0, 1),
    ),
    "range": (
        [step("scale_range", axes=["channel", "y", "x"])],
        lambda x: ranged(x, 0, 100),
    ),
    "fixed, folded": (
        [
            step("scale_linear", gain=1 / 255, offset=0.5),
            step("fixed_zero_mean_unit_variance", mean=[1, 2], std=[0.1, 3], axis="channel"),
        ],
        lambda x: (x / 255 + 0.5 - column(1, 2)) / (column(0.1, 3) + EPS),
    ),
    "factors of channels, then all together": (
        [
            step("scale_linear", gain=[2, 0.5], offset=[0, 10], axis="channel"),
            step("zero_mean_unit_variance", axes=["channel", "y", "x"]),
        ],
        lambda x: whitened(x * column(2, 0.5) + column(0, 10)),
    ),
    "a factor, and eps": (
        [step("scale_linear", gain=1e-4), step("zero_mean_unit_variance", eps=0.1)],
        lambda x: whitened(x * 1e-4, eps=0.1),
    ),
    "limits first": (
        [step("clip", max=100), step("zero_mean_unit_variance", axes=["y", "x"])],
        lambda x: whitened(x.clip(None, 100), (1, 2)),
    ),
    "to -1..1": (
        [
            step("scale_range", axes=["y", "x"], min_percentile=2),
            step("clip", min=0, max=1),
            step("scale_linear", gain=2, offset=-1),
        ],
        lambda x: ranged(x, 2, 100, (1, 2)).clip(0, 1) * 2 - 1,
    ),
}


@pytest.mark.parametrize("chain", CHAINS)
def test_preprocessing_is_of_raw_values(chain: str, image: np.ndarray, tmp_path: Path) -> None:
    steps, by_hand = CHAINS[chain]
    normalised = by_hand(image.astype(np.float64))
    folder = packages.make(
        tmp_path / "net", channels=2, preprocessing=steps, image=image, normalised=normalised
    )
    network = ns.load(folder)
    found = network.prepare(image).input
    np.testing.assert_allclose(found, normalised, rtol=1e-5, atol=1e-5)
    agreement = check_published(network)
    assert agreement.passed
    assert agreement.max_abs < 1e-3 * max(1, abs(normalised).max())


@pytest.mark.parametrize("type_", ["uint8", "uint16"])
@pytest.mark.parametrize("chain", CHAINS)
def test_whole_numbers_are_taken_as_they_are(
    chain: str, type_: str, image: np.ndarray, tmp_path: Path
) -> None:
    steps, by_hand = CHAINS[chain]
    image = (image / image.max((1, 2), keepdims=True) * 250).astype(type_)
    folder = packages.make(tmp_path / "net", channels=2, preprocessing=steps)
    description = packages.read(folder)
    description["inputs"][0]["data"] = {"type": type_}
    packages.write(folder, description)
    found = ns.load(folder).prepare(image).input
    np.testing.assert_allclose(found, by_hand(image.astype(np.float64)), rtol=1e-5, atol=2e-5)


OLD_CHAINS: dict[str, tuple[list[Any], Any]] = {
    "each image": (
        [{"name": "zero_mean_unit_variance", "kwargs": {"mode": "per_sample", "axes": "cyx"}}],
        whitened,
    ),
    "each channel": (
        [{"name": "zero_mean_unit_variance", "kwargs": {"mode": "per_sample", "axes": "yx"}}],
        lambda x: whitened(x, (1, 2)),
    ),
    "fixed": (
        [
            {
                "name": "zero_mean_unit_variance",
                "kwargs": {"mode": "fixed", "axes": "yx", "mean": [9, 8], "std": [2, 40]},
            }
        ],
        lambda x: (x - column(9, 8)) / (column(2, 40) + EPS),
    ),
    "percentiles": (
        [
            {
                "name": "scale_range",
                "kwargs": {
                    "mode": "per_sample",
                    "axes": "yx",
                    "min_percentile": 1,
                    "max_percentile": 99.8,
                },
            }
        ],
        lambda x: ranged(x, 1, 99.8, (1, 2)),
    ),
    "factors": (
        [{"name": "scale_linear", "kwargs": {"axes": "yx", "gain": [2, 3], "offset": 1}}],
        lambda x: x * column(2, 3) + 1,
    ),
}


@pytest.mark.parametrize("chain", OLD_CHAINS)
def test_format_0_4(chain: str, image: np.ndarray, tmp_path: Path) -> None:
    steps, by_hand = OLD_CHAINS[chain]
    normalised = by_hand(image.astype(np.float64))
    folder = packages.make_old(
        tmp_path / "net",
        formats=("pytorch_state_dict",),
        channels=2,
        preprocessing=steps,
        image=image,
        normalised=normalised,
    )
    network = ns.load(folder / "rdf.yaml", trust=True)
    np.testing.assert_allclose(network.prepare(image).input, normalised, rtol=1e-5, atol=1e-5)
    assert check_published(network).passed
    assert network.spec.input.size == ns.ModelSpec.parse(
        {"input": {"size": {"min": 16, "step": 8}}}
    ).input.size  # fmt: skip
    assert (network.spec.task, network.spec.input.resize) == ("segmentation", "pad")
    assert network.spec.input.halo == 4


def test_statistics_of_a_data_set_are_said_to_be_missing(tmp_path: Path) -> None:
    steps = [{"name": "zero_mean_unit_variance", "kwargs": {"mode": "per_dataset", "axes": "yx"}}]
    folder = packages.make_old(tmp_path / "net", preprocessing=steps)
    with pytest.warns(ns.NeuroscopeWarning, match="each image's own statistics stand in"):
        ns.load(folder)


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([step("sigmoid")], "sigmoid"),
        ([step("binarize", threshold=3)], "binarize"),
        ([step("denoise_by_magic", strength=3)], "denoise_by_magic"),
        ([step("flush")], "flush"),
        ([step("scale_linear", gain=-1)], "upside down"),
        ([step("scale_linear", gain=1e200), step("scale_linear", gain=1e200)], "beyond all numb"),
        ([step("scale_linear", gain=[1, 2, 3])], "3 numbers along another axis"),
        ([step("scale_linear", gain=[1, 2], axis="y")], "2 numbers along another axis"),
        ([step("scale_range", reference_tensor="other")], "another tensor"),
        ([step("zero_mean_unit_variance", axes=["x"])], "each plane, row or column alone"),
        ([step("fixed_zero_mean_unit_variance", mean=1)], "as many positive std"),
        ([step("scale_linear", gain=3), step("ensure_dtype", dtype="uint8")], "rounds values"),
        ([step("scale_range", min_percentile=90, max_percentile=10)], "low < high"),
        ([step("clip")], "clip needs a number"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(steps: Any, says: str, tmp_path: Path) -> None:
    folder = packages.make(tmp_path / "net", channels=2, preprocessing=steps)
    with pytest.raises(ns.NeuroscopeError, match=says):
        ns.load(folder)


# --- what it implies ---


def test_the_spec_of_a_package(tmp_path: Path) -> None:
    folder = packages.make(tmp_path / "cells", classes=3)
    network = ns.load(packages.zipped(folder))
    spec = network.spec
    assert spec.task == "segmentation"
    assert spec.class_names == ["ground", "cell", "border"]
    assert spec.input.value_range == (0, 1)
    assert spec.input.size is not None
    assert spec.input.size.each(2) == [(16, 2), (8, 4)]  # type: ignore[union-attr]
    assert network.path == tmp_path / "cells.zip"
    assert network.name == "A small U-Net"
    assert network.predict(np.zeros((17, 9))).labels.shape == (17, 9)


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ({"y": {"unit": "micrometer", "scale": 0.5}, "x": {"unit": "nanometer", "scale": 250}},
         (0.5, 0.25)),
        ({"y": {"unit": "micrometer", "scale": 0.5}, "x": {}}, None),
        ({"y": {"unit": "micrometer", "scale": 0}, "x": {"unit": "micrometer"}}, None),
    ],
)  # fmt: skip
def test_the_size_of_pixels(axes: Any, expected: Any, tmp_path: Path) -> None:
    raw = yaml.safe_load((packages.make(tmp_path / "cells") / "rdf.yaml").read_text("utf-8"))
    for axis in raw["inputs"][0]["axes"]:
        axis.update(axes.get(axis.get("id"), {}))
    found = spec_of(read(raw, "It"), "It")[0].pixel_size
    assert found == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("names", "order"),
    [(["R", "G", "B"], "rgb"), (["blue", "green", "red"], "bgr"), (["DAPI", "GFP", "Cy5"], "n"),
     (["channel0", "channel1", "channel2"], None)],
)  # fmt: skip
def test_the_order_of_channels(names: list[str], order: str | None, tmp_path: Path) -> None:
    folder = packages.make(tmp_path / "net", channels=3)
    description = packages.read(folder)
    description["inputs"][0]["axes"][1]["channel_names"] = names
    packages.write(folder, description)
    network = ns.load(folder)
    assert network.spec.input.order == order
    assert check_published(network).passed


def test_names_that_are_numbers_are_no_names(tmp_path: Path) -> None:
    folder = packages.make(tmp_path / "net")
    description = packages.read(folder)
    description["outputs"][0]["axes"][1]["channel_names"] = ["channel0", "channel1"]
    packages.write(folder, description)
    assert ns.load(folder).class_names == ["0", "1"]


def test_a_sigmoid_after_the_network(tmp_path: Path) -> None:
    folder = packages.make(
        tmp_path / "net", classes=1, postprocessing=[step("sigmoid")], answer=torch.sigmoid
    )
    network = ns.load(folder)
    image = np.load(folder / "in.npy")[0]
    assert network.class_names == ["background", "ground"]
    published = np.load(folder / "out.npy")[0, 0]
    np.testing.assert_allclose(network.predict(image).probabilities[1], published, atol=1e-5)
    assert check_published(network).passed


def test_a_softmax_after_the_network(tmp_path: Path) -> None:
    folder = packages.make(
        tmp_path / "net",
        classes=3,
        postprocessing=[step("softmax", axis="channel")],
        answer=lambda scores: scores.softmax(1),
    )
    network = ns.load(folder)
    published = np.load(folder / "out.npy")[0]
    image = np.load(folder / "in.npy")[0]
    np.testing.assert_allclose(network.predict(image).probabilities, published, atol=1e-5)
    assert check_published(network).passed


def test_what_comes_after_the_scores_is_said_to_be_left_out(tmp_path: Path) -> None:
    folder = packages.make(
        tmp_path / "net",
        postprocessing=[
            step("sigmoid"),
            step("scale_linear", gain=[2, 4], offset=1, axis="channel"),
            step("binarize", threshold=2),
        ],
        answer=lambda s: (torch.sigmoid(s) * torch.tensor([[[2.0]], [[4.0]]]) + 1 > 2).float(),
    )
    with pytest.warns(ns.NeuroscopeWarning, match=r"\(scale_linear, binarize\) is left out"):
        network = ns.load(folder)
    assert check_published(network).passed


def test_a_denoiser_is_said_to_be_none_of_ours(tmp_path: Path) -> None:
    folder = packages.make(tmp_path / "net", tags=["Denoising", "2d"])
    with pytest.warns(ns.NeuroscopeWarning, match="denoising.*its channels are taken for classes"):
        ns.load(folder)


class Classifier(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = torch.nn.Conv2d(3, 8, 3)
        self.head = torch.nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).relu().mean((2, 3)))


@pytest.mark.parametrize("output", ["channel", "index"])
def test_a_classifier(output: str, rng: np.random.Generator, tmp_path: Path) -> None:
    folder = packages.make(tmp_path / "net", channels=3)
    model = Classifier().eval()
    torch.jit.save(torch.jit.script(model), folder / "weights.torchscript.pt")
    image = rng.random((1, 3, 20, 22)).astype(np.float32)
    np.save(folder / "in.npy", image)
    np.save(folder / "out.npy", model(torch.from_numpy(image)).detach().numpy())
    description = packages.read(folder)
    scores: dict[str, Any] = {"type": output}
    scores |= {"channel_names": list("abcd")} if output == "channel" else {"size": 4}
    description["outputs"][0] |= {
        "axes": [{"type": "batch"}, scores],
        "test_tensor": {"source": "out.npy"},
    }
    description["inputs"][0]["test_tensor"] = "in.npy"
    for axis, size in zip(description["inputs"][0]["axes"][2:], (20, 22), strict=True):
        axis["size"] = size
    description["weights"] = {"torchscript": {"source": "weights.torchscript.pt"}}
    packages.write(folder, description)
    network = ns.load(folder)
    assert network.spec.task == "classification"
    assert (network.spec.input.size, network.spec.input.resize) == ((20, 22), "stretch")
    assert network.class_names == (list("abcd") if output == "channel" else list("0123"))
    assert check_published(network).passed


def test_what_published_descriptions_leave_to_defaults() -> None:
    """The axis x without its id; numbers that YAML takes for texts; tolerances in 0.4."""
    text = """%YAML 1.2
---
name: Nuclei
format_version: 0.5.11
type: model
inputs:
  - id: raw
    axes:
      - {type: batch, size: 1}
      - {type: channel, channel_names: [intensity]}
      - {size: 512, id: y, type: space}
      - {size: 512, type: space}
    preprocessing:
      - {id: scale_linear, kwargs: {gain: 1e-3, offset: null}}
      - {id: ensure_dtype, kwargs: null}
    sample_tensor: null
outputs:
  - id: probability
    axes:
      - {type: batch}
      - {type: channel, channel_names: [probability]}
      - {size: {tensor_id: raw, axis_id: y}, id: y, type: space, halo: 32}
      - {size: {tensor_id: raw, axis_id: x}, type: space, halo: 32}
    postprocessing: [{id: sigmoid}, {id: ensure_dtype, kwargs: {dtype: float32}}]
weights: {torchscript: {source: weights.pt, pytorch_version: 2.5.1}}
config:
  bioimageio:
    reproducibility_tolerance: [{absolute_tolerance: 1e-2, relative_tolerance: 0.02}]
"""
    description = read(yaml.safe_load(text), "It")
    spec, notes = spec_of(description, "It")
    assert (spec.input.size, spec.input.resize, spec.input.axes) == ((512, 512), "fit", "bcyx")
    assert spec.input.halo == 32
    assert spec.input.normalization.std == (1000.0,)
    assert (spec.output.activation, spec.output.multi_label) == ("none", True)
    assert description.tolerance("probability", "torchscript").absolute_tolerance == 0.01
    assert notes == []


OLD = """
name: Bacteria
format_version: 0.4.8
inputs:
  - axes: bxyc
    data_range: [-.inf, .inf]
    data_type: float32
    name: input
    preprocessing:
      - kwargs: {axes: xyc, max_percentile: 99.8, min_percentile: 1.0, mode: per_sample}
        name: scale_range
    shape: {min: [1, 64, 32, 1], step: [0, 16, 8, 0]}
outputs:
  - axes: bxyc
    name: output
    shape: {offset: [0.0, 0.0, 0.0, 0.0], reference_tensor: input, scale: [1.0, 1.0, 1.0, 3.0]}
weights: {keras_hdf5: {source: weights.hdf5}}
config:
  bioimageio:
    reproducibility_tolerance: [{relative_tolerance: 0.01, absolute_tolerance: 1e-2}]
"""


def test_x_before_y() -> None:
    description = read(yaml.safe_load(OLD), "It")
    spec, notes = spec_of(description, "It")
    assert (spec.input.axes, spec.output.axes) == ("byxc", "byxc")
    assert spec.input.size is not None
    assert spec.input.size.each(2) == [(64, 16), (32, 8)]  # type: ignore[union-attr]
    assert "the first axis first" in notes[0]
    assert description.tolerance("output", "keras_hdf5").relative_tolerance == 0.01
    turned = yaml.safe_load(OLD.replace("outputs:\n  - axes: bxyc", "outputs:\n  - axes: byxc"))
    assert spec_of(read(turned, "It"), "It")[0].output.axes == "bxyc"


# --- the spec that a user states ---


@pytest.mark.parametrize("given", ["argument", "beside"])
def test_what_a_user_states_stands_in_place_of_the_packages(given: str, tmp_path: Path) -> None:
    folder = packages.make(tmp_path / "my.net-1.0", preprocessing=[step("scale_linear", gain=2)])
    stated: Any = {"classes": ["a", "b"]}
    if given == "beside":
        spec_path(folder).write_text(yaml.safe_dump(stated))
        stated = None
    network = ns.load(folder, spec=stated)
    assert network.class_names == ["a", "b"]
    assert network.spec.input.normalization.std == (0.5,), "what isn't stated is the package's"


def test_a_spec_is_saved_beside_the_package(tmp_path: Path) -> None:
    folder = packages.make(tmp_path / "my.net-1.0")
    for path in (folder, folder / "rdf.yaml"):
        network = ns.load(path)
        assert network.path is not None
        assert spec_path(network.path) == tmp_path / "my.net-1.0.neuroscope.yaml"


def test_the_folder_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(packages.make(tmp_path / "net"))
    for path in (".", "rdf.yaml"):
        network = ns.load(path)
        assert network.path is not None
        assert spec_path(network.path) == tmp_path / "net.neuroscope.yaml"


# --- weights and trust ---


def test_weights_that_run_nothing_come_first_without_trust(tmp_path: Path) -> None:
    folder = packages.make(tmp_path / "net", formats=("pytorch_state_dict", "torchscript"))
    with pytest.warns(ns.NeuroscopeWarning, match=r"torchscript, not by .*net\.py.* trust=True"):
        network = ns.load(folder)
    assert network.published is not None
    assert network.published.weights == "torchscript"
    trusted = ns.load(folder, trust=True)
    assert trusted.published is not None
    assert trusted.published.weights == "pytorch_state_dict"
    assert {"down", "inner", "up", "head"} <= set(trusted.layers)


@pytest.mark.parametrize("make", [packages.make, packages.make_old])
def test_code_of_a_package_needs_trust(make: Any, tmp_path: Path) -> None:
    folder = make(tmp_path / "net", formats=("pytorch_state_dict",))
    ran = tmp_path / "ran"
    source = folder / "net.py"
    source.write_text(f"open({str(ran)!r}, 'w').close()\n{source.read_text()}")
    description = packages.read(folder)
    entry = description["weights"]["pytorch_state_dict"]
    if "architecture_sha256" in entry:
        entry["architecture_sha256"] = packages.sha256(source)
    else:
        entry["architecture"]["sha256"] = packages.sha256(source)
    packages.write(folder, description)
    path, packages_before = packages.zipped(folder), set(sys.path)
    for package in (path, folder):
        with pytest.raises(UntrustedError, match=r"net\.py") as refusal:
            ns.load(package)
        assert refusal.value.path == package
        assert not ran.exists()
        # A yes is remembered by the hash of what would run.
        TrustStore().add(refusal.value.sha256, package.name)
        network = ns.load(package)
        assert check_published(network).passed
        ran.unlink()
    assert set(sys.path) == packages_before
    assert "net" not in sys.modules
    # What else lies in the folder changes nothing; what would run does.
    (folder / "map.tif").write_bytes(b"II*")
    ns.load(folder)
    source.write_text(source.read_text() + "\n")
    with pytest.raises(ns.NeuroscopeError, match="SHA-256 is another"):
        ns.load(folder)


def test_a_network_of_an_installed_package(tmp_path: Path) -> None:
    from napari_neuroscope.samples.architectures import UNet

    folder = packages.make(tmp_path / "net", formats=("pytorch_state_dict",), channels=3)
    torch.manual_seed(0)
    torch.save(UNet(classes=2).state_dict(), folder / "weights.pytorch_state_dict.pt")
    description = packages.read(folder)
    description["weights"] = {
        "pytorch_state_dict": {
            "source": "weights.pytorch_state_dict.pt",
            "architecture": {
                "callable": "UNet",
                "import_from": "napari_neuroscope.samples.architectures",
                "kwargs": {"classes": 2},
            },
        }
    }
    packages.write(folder, description)
    assert "enc1" in " ".join(ns.load(folder).layers)
    description["weights"]["pytorch_state_dict"] |= {
        "architecture": "napari_neuroscope.samples.architectures.UNet",
        "kwargs": {"classes": 2},
    }
    packages.write(folder, description)
    assert "enc1" in " ".join(ns.load(folder).layers)


def test_a_factory_in_place_of_the_packages_code(tmp_path: Path) -> None:
    folder = packages.make(tmp_path / "net", formats=("pytorch_state_dict",))
    network = ns.load(folder, factory=packages.net, arguments={"channels": 1, "classes": 2})
    assert check_published(network).passed


def test_code_that_fails_is_said_in_one_sentence(tmp_path: Path) -> None:
    folder = packages.make(tmp_path / "net", formats=("pytorch_state_dict",))
    description = packages.read(folder)
    del description["weights"]["pytorch_state_dict"]["architecture"]["sha256"]
    packages.write(folder, description)
    (folder / "net.py").write_text("import no_such_package")
    with pytest.raises(ns.NeuroscopeError, match=r"net\.py failed with ModuleNotFoundError"):
        ns.load(folder, trust=True)
    (folder / "net.py").write_text("Network = 3")
    with pytest.raises(ns.NeuroscopeError, match="no function or class “Net”"):
        ns.load(folder, trust=True)


@pytest.mark.parametrize(
    ("name", "head", "extra"),
    [("keras_hdf5", b"\x89HDF\r\n\x1a\n", "tensorflow"), ("onnx", b"\x08\x08\x3a\x01\0", "onnx")],
)
def test_weights_whose_framework_is_not_installed(
    name: str, head: bytes, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_neuroscope.engine.frameworks.torch.framework import TorchFramework

    for module in ("networks.load", "frameworks.registry"):
        monkeypatch.setattr(
            f"napari_neuroscope.engine.{module}.frameworks", lambda: [TorchFramework]
        )
    folder = packages.make(tmp_path / "net")
    (folder / "weights").write_bytes(head)
    description = packages.read(folder)
    description["weights"][name] = {"source": "weights"}
    packages.write(folder, description)
    needs = rf'pip install "napari-neuroscope\[{extra}\]"'
    with pytest.warns(ns.NeuroscopeWarning, match=f"opened by torchscript, not by {name}.*{needs}"):
        ns.load(folder)
    del description["weights"]["torchscript"]
    packages.write(folder, description)
    with pytest.raises(ns.NeuroscopeError, match=needs):
        ns.load(folder)


def test_weights_that_are_all_broken(tmp_path: Path) -> None:
    folder = packages.make(tmp_path / "net", formats=("pytorch_state_dict", "torchscript"))
    description = packages.read(folder)
    for entry in description["weights"].values():
        entry["sha256"] = "0" * 64
    packages.write(folder, description)
    with pytest.raises(ns.NeuroscopeError, match=r"None of the weights.*state_dict.*torchscript"):
        ns.load(folder, trust=True)


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packages.zipped(packages.make(tmp_path / "net"))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    assert check_published(ns.load(path)).passed
    assert list(temporary.iterdir()) == []


def test_a_zip_with_its_files_in_a_folder(tmp_path: Path) -> None:
    path = packages.zipped(packages.make(tmp_path / "net"), "inner/")
    assert check_published(ns.load(path)).passed


# --- what it publishes ---


def test_the_command_says_whether_a_network_answers_as_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = packages.make(tmp_path / "net")
    assert main(["check", str(folder), "--device", "cpu"]) == 0
    assert "agrees" in capsys.readouterr().out
    wrong = np.load(folder / "out.npy")
    wrong[0, 1, 3, 4] += 0.5
    np.save(folder / "out.npy", wrong)
    description = packages.read(folder)
    description["outputs"][0]["test_tensor"] = {"source": "out.npy"}
    packages.write(folder, description)
    assert main(["check", str(folder), "--device", "cpu"]) == 1
    said = capsys.readouterr()
    assert "differs by 0.5 at most" in said.out
    assert "doesn't answer as its package says" in said.err
    description["config"] = {
        "bioimageio": {
            "reproducibility_tolerance": [
                {"absolute_tolerance": 0.0, "weights_formats": ["onnx"]},
                {"absolute_tolerance": 0.6, "output_ids": ["masks"]},
            ]
        }
    }
    packages.write(folder, description)
    assert main(["check", str(folder), "--device", "cpu"]) == 0


def test_an_answer_of_nan_does_not_agree(tmp_path: Path) -> None:
    folder = packages.make(tmp_path / "net", answer=lambda scores: scores * torch.nan)
    assert not check_published(ns.load(folder)).passed


def test_what_cannot_be_compared_says_why(tmp_path: Path) -> None:
    with pytest.raises(ns.NeuroscopeError, match="comes from no package"):
        check_published(ns.wrap(packages.net(), {"task": "segmentation"}, device="cpu"))
    folder = packages.make(tmp_path / "net")
    description = packages.read(folder)
    for tensor, says in ((None, "no test tensor"), ("net.txt", "no array file")):
        (folder / "net.txt").write_text("text")
        description["outputs"][0]["test_tensor"] = tensor
        packages.write(folder, description)
        with pytest.raises(ns.NeuroscopeError, match=says):
            check_published(ns.load(folder))


# --- what is refused ---


def broken(folder: Path, *changes: tuple[str, Any]) -> Path:
    """Change a package's description at dotted places; “gone” takes away."""
    description = packages.read(folder)
    for place, value in changes:
        at: Any = description
        *parents, last = [int(p) if p.isdigit() else p for p in place.split(".")]
        for part in parents:
            at = at[part]
        if value == "gone":
            del at[last]
        else:
            at[last] = value
    packages.write(folder, description)
    return folder


SCRIPT = "weights.torchscript.source"


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        ("format_version", "gone", "no format_version"),
        ("format_version", "0.3.6", "format 0.3.6, and 0.4 and 0.5 are read"),
        ("format_version", "0.6.0", "format 0.6.0"),
        ("type", "dataset", "describes a dataset, no model"),
        ("inputs", "gone", "wrong at “inputs”"),
        ("inputs", [], "wrong at “inputs”"),
        ("outputs.0.axes", "gone", "wrong at “outputs.0.axes”"),
        ("weights", {}, "no weights of a format that is known"),
        ("weights", {"tensorflow_js": {"source": "x"}}, "but: tensorflow_js"),
        (SCRIPT, "https://example.org/weights.pt", "download the whole package"),
        (SCRIPT, "missing.pt", "lacks the file missing.pt"),
        (SCRIPT, "../outside.pt", "outside of it"),
        (SCRIPT, "/etc/passwd", "outside of it"),
        (SCRIPT, "C:\\secret", "outside of it"),
        (SCRIPT, "..\\outside.pt", "outside of it"),
        ("weights.torchscript.sha256", "0" * 64, "SHA-256 is another"),
        ("inputs.0.axes.0", {"type": "time", "size": 1}, "time axis “time”"),
        ("inputs.0.axes.0", {"type": "index", "size": 2}, "index axis “index”"),
        ("inputs.0.axes.2.id", "width", "space axis “width”"),
        ("inputs.0.axes.2.id", "x", "one axis twice"),
        ("inputs.0.axes.2.size", 10**12, "less than or equal to"),
        ("inputs.0.axes.2.size", "gone", "no size for its axis “y”"),
        ("inputs.0.axes.2.size", {"tensor_id": "raw", "axis_id": "x"}, "ties the size"),
        ("inputs.0.axes.1.channel_names", "gone", "how many channels"),
        ("outputs.0.axes.2.id", "z", "answers along x, z, but takes images along y, x"),
        ("inputs.0.preprocessing", [{"kwargs": {}}], "wrong at “inputs.0.preprocessing.0.id”"),
    ],
)
def test_bad_packages(place: str, value: Any, says: str, tmp_path: Path) -> None:
    folder = broken(packages.make(tmp_path / "net"), (place, value))
    for path in (folder, packages.zipped(folder)):
        with pytest.raises(ns.NeuroscopeError) as refusal:
            ns.load(path)
        assert says in str(refusal.value)
        assert "\n" not in str(refusal.value)


def test_several_inputs_are_refused(tmp_path: Path) -> None:
    folder = packages.make(tmp_path / "net")
    description = packages.read(folder)
    description["inputs"] *= 2
    packages.write(folder, description)
    with pytest.raises(ns.NeuroscopeError, match="takes 2 inputs"):
        ns.load(folder)


def test_of_several_outputs_the_first_is_explained(tmp_path: Path) -> None:
    folder = packages.make(tmp_path / "net")
    description = packages.read(folder)
    description["outputs"].append({**description["outputs"][0], "id": "other"})
    packages.write(folder, description)
    with pytest.warns(ns.NeuroscopeWarning, match="of its 2 outputs the first, “masks”"):
        network = ns.load(folder)
    assert network.spec.output.index == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("!!python/object/apply:os.system ['touch {ran}']", "no plain YAML"),
        ("a: [", "no plain YAML"),
        ("just words", "it is no mapping"),
        ("<!DOCTYPE html><html></html>", "it is no mapping"),
        ("[" * 3000, "no plain YAML"),
    ],
)
def test_descriptions_that_are_none(text: str, says: str, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (tmp_path / "rdf.yaml").write_text(text.replace("{ran}", str(ran)))
    with pytest.raises(ns.NeuroscopeError, match=says):
        ns.load(tmp_path / "rdf.yaml")
    assert not ran.exists()


def test_links_out_of_a_package_are_refused(tmp_path: Path) -> None:
    folder = packages.make(tmp_path / "net")
    file = folder / "weights.torchscript.pt"
    outside = tmp_path / "outside.pt"
    file.rename(outside)
    try:
        file.symlink_to(outside)
    except OSError:
        pytest.skip("links need a right that this user has not")
    with pytest.raises(ns.NeuroscopeError, match="a link out of the package"):
        ns.load(folder)


@pytest.mark.parametrize("name", ["../escaped.txt", "/escaped.txt", "a/../../escaped.txt"])
def test_a_zip_that_writes_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    path = packages.zipped(packages.make(tmp_path / "net"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, "x")
    with pytest.raises(ns.NeuroscopeError, match="a place outside of it"):
        ns.load(path)


def test_a_zip_with_a_link_is_refused(tmp_path: Path) -> None:
    path = packages.zipped(packages.make(tmp_path / "net"))
    link = zipfile.ZipInfo("weights.pt")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ns.NeuroscopeError, match="has a link"):
        ns.load(path)


def test_a_zip_that_would_fill_the_disk_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packages.zipped(packages.make(tmp_path / "net"))
    monkeypatch.setattr("napari_neuroscope.engine.files.limits.ALWAYS_UNPACKED", 1 << 20)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(10 << 20))
    with pytest.raises(ns.NeuroscopeError, match="such an archive is not read"):
        ns.load(path)


def test_a_zip_whose_content_is_damaged(tmp_path: Path) -> None:
    path = packages.zipped(packages.make(tmp_path / "net"))
    with zipfile.ZipFile(path) as archive:
        place = archive.getinfo("weights.torchscript.pt").header_offset
    content = bytearray(path.read_bytes())
    content[place + 200 : place + 260] = b"\xff" * 60
    path.write_bytes(content)
    with pytest.raises(ns.NeuroscopeError, match="download the package again"):
        ns.load(path)


# --- anything at all ---

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 70) | st.floats() | st.text(max_size=6)
    | st.sampled_from(["bcyx", "channel", "space", "x", "0.5.3", "scale_range", "raw"]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["axes", "id", "name", "type", "size", "min", "step", "source", "kwargs", "shape",
             "preprocessing", "gain", "axis", "channel_names", "tensor_id", "axis_id"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip


def understood(raw: Any) -> Description | None:
    refusal = ""
    try:
        description = read(raw, "The package “p”")
        spec_of(description, "The package “p”")
    except ns.NeuroscopeError as error:
        refusal = str(error)
    assert "\n" not in refusal
    return None if refusal else description


@given(raw=plain, version=st.sampled_from(["0.4.9", "0.5.3", 0.5, None]))
def test_any_yaml_is_read_or_refused(raw: Any, version: Any) -> None:
    understood(raw)
    tensors = {"inputs": raw, "outputs": raw, "weights": raw, "name": "n"}
    understood({"format_version": version, **tensors})


def places(node: Any, at: tuple[Any, ...] = ()) -> Any:
    yield at
    if isinstance(node, dict | list):
        inner = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in inner:
            yield from places(value, (*at, key))


@pytest.fixture(scope="module", params=["0.5", "0.4"])
def valid(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    make = packages.make if request.param == "0.5" else packages.make_old
    steps = [
        {"id": "scale_range", "name": "scale_range", "kwargs": {"axes": "yx", "eps": 1e-6}},
        {"id": "scale_linear", "name": "scale_linear", "kwargs": {"gain": [2.0], "offset": 1}},
    ]
    description = packages.read(
        make(
            tmp_path_factory.mktemp("valid") / "net",
            formats=("pytorch_state_dict", "torchscript"),
            preprocessing=steps,
        )
    )
    assert understood(description) is not None
    return description


@given(data=st.data())
def test_a_description_with_anything_at_one_place(valid: Any, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from([p for p in places(valid) if p]))
    changed = yaml.safe_load(yaml.safe_dump(valid))
    at = changed
    for part in place[:-1]:
        at = at[part]
    at[place[-1]] = data.draw(plain)
    found = understood(changed)
    if found is not None:
        assert all(isinstance(source, str) for source in found.sources())


# --- what changes while it is opened ---


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrustStore:
    """Where trust is remembered, of no user's own."""
    monkeypatch.setattr("platformdirs.user_config_path", lambda *_: tmp_path / "config")
    return TrustStore()


def test_what_was_trusted_is_what_is_opened(tmp_path: Path, store: TrustStore) -> None:
    folder = packages.make(tmp_path / "net", formats=("pytorch_state_dict",))
    path, code = packages.zipped(folder), (folder / "net.py").read_bytes()
    sources = {"net.py", "weights.pytorch_state_dict.pt"}
    for package_path in (path, folder):
        with Package(package_path) as package:
            package.description()
            assert package.seal(sources) == package.digest(sources)
            # What is written now is not what was trusted, and nothing of it is taken.
            if package_path == path:
                path.write_bytes(b"PK\x03\x04 something else")
            else:
                (folder / "net.py").write_text("raise SystemExit")
            assert package.content("net.py") == code
            assert package.file("net.py") != folder / "net.py"
    (folder / "net.py").write_bytes(code)


@pytest.mark.skipif(sys.platform == "win32", reason="an open file can't be exchanged there")
def test_a_package_that_is_exchanged_while_it_is_opened(
    tmp_path: Path, store: TrustStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trusted one takes its place between the look at what it says and the look at its hash."""
    folder = packages.make(tmp_path / "net", formats=("pytorch_state_dict",))
    trusted = packages.zipped(folder).rename(tmp_path / "trusted.zip")
    store.add(digest_of(trusted), "trusted.zip")
    description = packages.read(folder)
    ran = tmp_path / "ran"
    description["weights"]["pytorch_state_dict"]["architecture"] = {
        "import_from": "numpy",
        "callable": "save",
        "kwargs": {"file": str(ran), "arr": 1},
    }
    packages.write(folder, description)
    path = packages.zipped(folder)
    digest = Package.digest

    def exchanged(package: Package, sources: Any) -> str:
        path.unlink(missing_ok=True)
        path.hardlink_to(trusted)
        return digest(package, sources)

    monkeypatch.setattr(Package, "digest", exchanged)
    with pytest.raises(ns.NeuroscopeError, match="was changed while it was opened"):
        ns.load(path)
    assert not list(tmp_path.glob("ran*"))


@pytest.mark.parametrize(
    "architecture",
    [
        {"import_from": "os", "callable": "mkdir", "kwargs": {"path": "ran"}},
        {"import_from": "torch", "callable": "save", "kwargs": {"obj": 1, "f": "ran"}},
        {"import_from": "torch.nn", "callable": "Module.train", "kwargs": {}},
    ],
)
def test_what_a_package_names_is_a_strangers_choice(
    architecture: dict[str, Any], tmp_path: Path, store: TrustStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = packages.make(tmp_path / "net", formats=("pytorch_state_dict",))
    description = packages.read(folder)
    description["weights"]["pytorch_state_dict"]["architecture"] = architecture
    packages.write(folder, description)
    name = f"{architecture['import_from']}:{architecture['callable']}"
    for path in (folder, packages.zipped(folder)):
        with pytest.raises(UntrustedError, match=f"it calls {name} with") as refusal:
            ns.load(path)
        assert refusal.value.path == path
        # A yes is for this package, and for what it called then.
        store.add(refusal.value.sha256, path.name)
        if architecture["import_from"] == "os":
            with pytest.raises(ns.NeuroscopeError, match="standard library"):
                ns.load(path)
    assert not (tmp_path / "ran").exists() or architecture["import_from"] == "torch"
