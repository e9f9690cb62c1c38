"""Recipes: explanations made again, elsewhere and of other images, and what can't be."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from skimage.io import imread
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.cli.main import main
from napari_neuroscope.engine.explain.difference import difference
from napari_neuroscope.engine.explain.recipe import (
    ChangedNetworkError,
    MissingNetworkError,
    recipe_in,
)
from napari_neuroscope.engine.explanation.recipe_document import FORMAT, SUFFIX, recorded
from napari_neuroscope.engine.files.code.trust import TrustStore, UntrustedError, digest_of

NUCLEI = Path(str(files("napari_neuroscope.samples"))) / "nuclei"
IMAGE = NUCLEI / "images" / "02903040e19d.png"
BUILT_BY = "napari_neuroscope.samples.architectures:UNet"


@pytest.fixture(scope="module")
def nuclei() -> ns.Network:
    return ns.load("demo:nuclei", device="cpu")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return imread(IMAGE)[100:164, 80:160]


@pytest.fixture(scope="module")
def truth(nuclei: ns.Network, image: np.ndarray) -> np.ndarray:
    return nuclei.predict(image).labels


@pytest.fixture
def asked(nuclei: ns.Network, image: np.ndarray) -> ns.Explanation:
    return ns.explain(nuclei, image, "grad_cam", "nucleus", "dec1")


class Halves(nn.Module):
    """A classifier of gray images: class k scores w_k times the sum of its pixels."""

    def __init__(self, weights: list[float]) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum((1, 2, 3))[:, None] * self.weights


SPEC: dict[str, Any] = {
    "task": "classification",
    "image_axes": "yx",
    "input": {"size": [2, 3], "channels": 1, "order": "gray", "value_range": [0.0, 1.0]},
    "classes": ["dark", "bright"],
}


def saved_network(path: Path, weights: list[float]) -> Path:
    torch.jit.save(torch.jit.trace(Halves(weights), torch.zeros(1, 1, 2, 3)), path)
    return path


def by_hand(folder: Path, **changes: Any) -> Path:
    """Write a recipe as a person may, beside a network of known weights."""
    saved_network(folder / "net.pt", [2.0, -3.0])
    path = folder / f"mine{SUFFIX}"
    said = {
        "network": {"source": "net.pt"},
        "spec": SPEC,
        "method": "saliency",
        "targets": [{"class": "bright"}],
    }
    path.write_text(yaml.safe_dump({**said, **changes}), "utf-8")
    return path


def assert_same(made: ns.Explanation, first: ns.Explanation) -> None:
    np.testing.assert_array_equal(made.values, first.values)
    assert made.values.dtype == first.values.dtype
    assert (made.axes, made.labels, made.grid) == (first.axes, first.labels, first.grid)
    assert made.companions.keys() == first.companions.keys()
    for name, labels in first.companions.items():
        np.testing.assert_array_equal(made.companions[name], labels)
    for part in ("options", "targets", "layers", "spec", "network", "notes"):
        assert made.provenance[part] == first.provenance[part]


# --- made again -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target", "layer", "options"),
    [
        ("grad_cam", "nucleus", "dec1", {"relu": False}),
        ("grad_cam", "nucleus", None, {}),
        ("grad_cam", ["nucleus", ns.Target(2, "predicted")], ["enc*", "dec1"], {}),
        ("layer_cam", ["border"], "dec1", {}),
        ("saliency", ns.Target(1, (30, 41.5), "probability", "mean"), None, {"channels": "sum"}),
        ("saliency", ns.Target("nucleus", "ground_truth"), None, {}),
        ("activation", None, "enc1", {"channels": 3}),
        ("rise", "nucleus", None, {"masks": 20, "seed": 3}),
        ("fusion_score_map", ["nucleus", "border"], None, {}),
        ("fusion_score_map", None, None, {}),
        ("segmented_score_map", "nucleus", None, {"scales": (50, 200)}),
        ("similarity_map", "nucleus", None, {}),
    ],
)
def test_a_recipe_makes_it_again_bit_for_bit(
    method: str,
    target: Any,
    layer: Any,
    options: dict[str, Any],
    nuclei: ns.Network,
    image: np.ndarray,
    truth: np.ndarray,
    tmp_path: Path,
) -> None:
    first = ns.explain(nuclei, image, method, target, layer, ground_truth=truth, **options)
    path = tmp_path / f"my recipe – «ä»{SUFFIX}"
    recipe = ns.Recipe.of(first)
    recipe.save(path)
    again = ns.Recipe.load(path)
    assert again == recipe
    with warnings.catch_warnings():
        warnings.simplefilter("error", ns.NeuroscopeWarning)
        assert_same(again.run(None, image, ground_truth=truth, device="cpu"), first)
        assert_same(again.run(nuclei, image, ground_truth=truth), first)


def test_a_recipe_written_by_hand(tmp_path: Path) -> None:
    recipe = ns.Recipe.load(by_hand(tmp_path))
    image = np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)
    # The score of “bright” is −3 times the sum: its gradient is −3 at each pixel.
    np.testing.assert_allclose(recipe.run(None, image, device="cpu").values, 3, rtol=1e-6)
    # Another image of the same recipe, and another class.
    dark = recipe.model_copy(update={"targets": (type(recipe.targets[0])(class_="dark"),)})
    found = dark.run(None, 1 - image, device="cpu")
    np.testing.assert_allclose(found.values, 2, rtol=1e-6)
    assert found.provenance["targets"][0]["value"] == pytest.approx(2 * (1 - image).sum())


def test_what_a_recipe_says(asked: ns.Explanation) -> None:
    plain = yaml.safe_load(ns.Recipe.of(asked).to_yaml())
    assert plain["format"] == FORMAT
    assert plain["network"]["source"] == "demo:nuclei"
    assert plain["network"]["digest"] == asked.provenance["network"]["digest"]
    assert plain["targets"] == [
        {
            "class": "nucleus",
            "region": "predicted_or_everywhere",
            "score": "logit",
            "reduce": "sum",
        }
    ]
    assert (plain["method"], plain["layer"], plain["options"]) == (
        "grad_cam",
        "dec1",
        {"relu": True},
    )
    assert ns.ModelSpec.parse(plain["spec"]) == ns.ModelSpec.parse(asked.provenance["spec"])
    assert plain["versions"]["torch"] == torch.__version__


def test_the_spec_of_a_recipe_is_that_of_its_maps(tmp_path: Path) -> None:
    # It is stated in no file, and the one beside the network says something else.
    path = saved_network(tmp_path / "net.pt", [2.0, -3.0])
    scaled = {**SPEC, "input": {**SPEC["input"], "normalization": {"std": [0.5]}}}
    ns.ModelSpec.parse(scaled).save(tmp_path / "net.neuroscope.yaml")
    image = np.random.default_rng(0).random((2, 3), np.float32)
    first = ns.explain(ns.load(path, SPEC, device="cpu"), image, "score_map", "dark")
    recipe = ns.Recipe.of(first)
    assert_same(recipe.run(None, image, device="cpu"), first)
    beside = ns.load(path, device="cpu")
    assert beside.spec != recipe.spec
    assert_same(recipe.run(beside, image), first)
    assert beside.spec.input.normalization.std == (0.5,)


def test_other_versions_and_devices_are_noted(asked: ns.Explanation, image: np.ndarray) -> None:
    recipe = ns.Recipe.of(asked)
    network = recipe.network.model_copy(update={"device": "cuda:1"})
    versions = {**recipe.versions, "torch": "1.0"}
    elsewhere = recipe.model_copy(update={"network": network, "versions": versions})
    assert elsewhere.run(None, image, device="cpu").provenance["notes"] == [
        f"made with torch {torch.__version__}, the recipe with torch 1.0",
        "made with the device cpu, the recipe with the device cuda:1",
    ]


def test_a_network_in_memory_is_given(image: np.ndarray) -> None:
    torch.manual_seed(1)
    network = ns.wrap(nn.Conv2d(3, 2, 3), {"task": "segmentation"}, device="cpu", name="mine")
    first = ns.explain(network, image, "saliency", 1)
    recipe = ns.Recipe.from_yaml(ns.Recipe.of(first).to_yaml())
    assert recipe.targets[0].class_ == 1
    assert_same(recipe.run(network, image), first)
    for fails in (lambda: recipe.run(None, image), recipe.as_python):
        with pytest.raises(ns.NeuroscopeError, match="“mine” was made in memory"):
            fails()


# --- changed networks -----------------------------------------------------------------------------


def recipe_of_file(path: Path, image: np.ndarray) -> ns.Recipe:
    return ns.Recipe.of(ns.explain(ns.load(path, SPEC, device="cpu"), image, "saliency", "dark"))


def test_a_changed_network_is_refused(tmp_path: Path) -> None:
    image = np.ones((2, 3), np.float32)
    path = saved_network(tmp_path / "net.pt", [2.0, -3.0])
    recipe = recipe_of_file(path, image)
    saved_network(path, [5.0, -3.0])
    changed = ns.load(path, SPEC, device="cpu")
    for network in (None, changed):
        with pytest.raises(ChangedNetworkError, match="its weights have changed"):
            recipe.run(network, image)
        with pytest.warns(ns.NeuroscopeWarning, match="weights are others"):
            found = recipe.run(network, image, device="cpu", allow_changed=True)
        np.testing.assert_allclose(found.values, 5, rtol=1e-6)
        assert any("weights are others" in note for note in found.provenance["notes"])


def test_the_hash_of_the_file_may_wait(tmp_path: Path) -> None:
    path = saved_network(tmp_path / "net.pt", [2.0, -3.0])
    answer = ns.explain(ns.load(path, SPEC, device="cpu"), np.ones((2, 3)), "saliency", "dark")
    whole, quick = ns.Recipe.of(answer), ns.Recipe.of(answer, hashed=False)
    assert whole.network.sha256 == digest_of(path)
    assert quick.network.sha256 is None
    assert quick.network.digest == whole.network.digest


def test_another_file_of_the_same_weights_is_told(tmp_path: Path) -> None:
    class Doubled(Halves):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(x)

    image = np.ones((2, 3), np.float32)
    path = saved_network(tmp_path / "net.pt", [2.0, -3.0])
    recipe = recipe_of_file(path, image)
    torch.jit.save(torch.jit.trace(Doubled([2.0, -3.0]), torch.zeros(1, 1, 2, 3)), path)
    with pytest.warns(ns.NeuroscopeWarning, match="file is another"):
        found = recipe.run(None, image, device="cpu")
    np.testing.assert_allclose(found.values, 4, rtol=1e-6)


def test_a_network_that_is_gone(tmp_path: Path) -> None:
    image = np.ones((2, 3), np.float32)
    recipe = recipe_of_file(saved_network(tmp_path / "net.pt", [2.0, -3.0]), image)
    (tmp_path / "net.pt").unlink()
    with pytest.raises(MissingNetworkError, match=r"net\.pt, is not there"):
        recipe.run(None, image)


def test_a_network_moves_with_the_recipe_beside_it(tmp_path: Path) -> None:
    here, there = tmp_path / "hier, Grüße", tmp_path / "東 京"
    (here / "nets").mkdir(parents=True)
    image = np.ones((2, 3), np.float32)
    recipe = recipe_of_file(saved_network(here / "nets" / "nét 1.pt", [2.0, -3.0]), image)
    recipe.save(here / f"a{SUFFIX}")
    assert yaml.safe_load((here / f"a{SUFFIX}").read_text("utf-8"))["network"]["source"] == (
        "nets/nét 1.pt"
    )
    shutil.move(here, there)
    moved = ns.Recipe.load(there / f"a{SUFFIX}")
    assert moved.network.path == there / "nets" / "nét 1.pt"
    np.testing.assert_allclose(moved.run(None, image, device="cpu").values, 2, rtol=1e-6)


# --- what can't be a recipe -----------------------------------------------------------------------


def test_what_is_of_one_image_is_refused(
    nuclei: ns.Network, image: np.ndarray, truth: np.ndarray
) -> None:
    for region in (truth == 1, ns.Instance(truth, 1)):
        drawn = ns.explain(nuclei, image, "saliency", ns.Target("nucleus", region))
        with pytest.raises(ns.NeuroscopeError, match="region is a mask or an instance"):
            ns.Recipe.of(drawn)
    over = ns.explain(nuclei, image, "occlusion", "nucleus", baseline=image // 2)
    with pytest.raises(ns.NeuroscopeError, match="option “baseline” of Occlusion is an image"):
        ns.Recipe.of(over)


def test_what_is_made_of_others_is_refused(asked: ns.Explanation) -> None:
    with pytest.raises(ns.NeuroscopeError, match="was not asked for by itself"):
        ns.Recipe.of(difference(asked, asked))


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("several", [False, True])
def test_the_recipe_of_what_is_still_to_be_explained(
    several: bool, nuclei: ns.Network, image: np.ndarray
) -> None:
    targets = [ns.Target(index, "predicted") for index in (1, 2)[: 1 + several]]
    layers = ["enc1", "dec1"][: 1 + several]
    recipe = ns.Recipe.asking(nuclei, "grad_cam", targets, layers, {"relu": False})
    asked = (targets, layers) if several else (targets[0], layers[0])
    first = ns.explain(nuclei, image, "grad_cam", *asked, relu=False)
    assert recipe == ns.Recipe.of(first)
    assert_same(recipe.run(nuclei, image), first)
    with pytest.raises(ns.NeuroscopeError, match="region is a mask"):
        ns.Recipe.asking(nuclei, "saliency", [ns.Target(1, np.ones((64, 80)))])


def test_a_record_holds_the_recipe_or_why_not(asked: ns.Explanation) -> None:
    record = json.loads(json.dumps(recorded(asked)))
    assert recipe_in(record) == ns.Recipe.of(asked)
    derived = replace(asked, request=None)
    record = json.loads(json.dumps(recorded(derived)))
    assert "recipe" not in record
    with pytest.raises(ns.NeuroscopeError, match="was not asked for by itself"):
        recipe_in(record)
    with pytest.raises(ns.NeuroscopeError, match="holds no recipe"):
        recipe_in({"method": "prediction"})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"methods": "saliency"}, "“methods”: Extra inputs"),
        ({"targets": [{"class": "bright", "region": "somewhere"}]}, "“targets.0.region"),
        ({"targets": [{"class": False}]}, "“targets.0.class"),
        ({"spec": {"input": {"size": [0]}}}, "“spec.input.size”: sizes must be at least 1"),
        ({"network": {}, "format": 0}, "“format”"),
        ({"outputs": [".gif"]}, "“outputs.0”"),
        ({"outputs": []}, "“outputs”"),
        ({"options": {"baseline": {"a": 1}}}, "the option “baseline” is neither text, number"),
        ({"format": FORMAT + 1, "spec": {"new": 1}}, "a newer napari-neuroscope may read it"),
    ],
)
@pytest.mark.filterwarnings("ignore::napari_neuroscope.NeuroscopeWarning")
def test_a_wrong_recipe_is_one_sentence(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(ns.NeuroscopeError) as refusal:
        ns.Recipe.load(by_hand(tmp_path, **changes))
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a: [", "no plain YAML"),
        (b"when: 2026-13-45", "a value that can't be"),
        (b"[" * 5000, "nest"),
        (b"!!python/object/apply:os.mkdir [ran]", "no plain YAML"),
        (b"a: 0x" + b"f" * 5000, "a number of 5,002 digits"),
        (b"a: 1" + b":1" * 5000, "a number of 10,001 digits"),
        (b"- a list", "holds no recipe"),
        (b"", "holds no recipe"),
        (b"a: \xff\xfe", "no text in UTF-8"),
        (b"network: &n {arguments: {a: *n}}\nspec: {}\nmethod: saliency", "“n” stands for itself"),
        (b"network: {}\nspec: {}\nmethod: saliency\noptions: {a: &n [*n]}", "stands for itself"),
        (b"\x89PNG\r\n\x1a\n\0", "is a PNG image, no text"),
    ],
)
def test_a_file_that_is_no_recipe(
    content: bytes, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"x{SUFFIX}"
    path.write_bytes(content)
    with pytest.raises(ns.NeuroscopeError) as refusal:
        ns.Recipe.load(path)
    assert says in str(refusal.value)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ns.NeuroscopeError, match="There is no file"):
        ns.Recipe.load(tmp_path / "missing")


def test_a_newer_format_is_noted(tmp_path: Path) -> None:
    path = by_hand(tmp_path, format=FORMAT + 1, inputs=["tif"])
    with pytest.warns(ns.NeuroscopeWarning, match=r"newer than \d.*; left out: inputs\."):
        recipe = ns.Recipe.load(path)
    assert recipe.format == FORMAT + 1
    found = recipe.run(None, np.ones((2, 3), np.float32), device="cpu")
    np.testing.assert_allclose(found.values, 3, rtol=1e-6)


def test_a_file_is_not_written_over(
    asked: ns.Explanation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, path = ns.Recipe.of(asked), tmp_path / f"a{SUFFIX}"
    with pytest.raises(ns.NeuroscopeError, match=r"ends in \.neuroscope-recipe\.yaml"):
        recipe.save(tmp_path / "a.yaml")
    path.write_text("mine")
    with pytest.raises(ns.NeuroscopeError, match="is there already"):
        recipe.save(path)
    assert path.read_text() == "mine"

    def interrupted(part: Path, *_: Any) -> None:
        part.write_bytes(b"hal")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", interrupted)
        with pytest.raises(ns.NeuroscopeError, match="No space left"):
            recipe.save(path, overwrite=True)
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]
    recipe.save(path, overwrite=True)
    assert ns.Recipe.load(path) == recipe


# --- trust ----------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrustStore:
    """Where trust is remembered, of no user's own."""
    monkeypatch.setattr("platformdirs.user_config_path", lambda *_: tmp_path / "config")
    return TrustStore()


def test_a_stranger_s_recipe_runs_nothing(tmp_path: Path, store: TrustStore) -> None:
    marker = tmp_path / "ran"
    calls = {"source": "net.pt", "factory": "os:mkdir", "arguments": {"path": str(marker)}}
    weights = saved_weights(tmp_path / "weights.pt")
    recipe = ns.Recipe.load(by_hand(tmp_path, network={**calls, "source": weights.name}))
    recipe.as_python(), recipe.as_command()
    says = r"“recipe” would run .* calls os:mkdir with the arguments \{'path'"
    with pytest.raises(UntrustedError, match=says) as refusal:
        recipe.run(None, np.ones((2, 3), np.float32))
    # A yes is remembered for this very recipe, and for no other.
    store.add(refusal.value.sha256, "recipe")
    other = recipe.network.model_copy(update={"arguments": {"path": str(tmp_path / "other")}})
    with pytest.raises(UntrustedError):
        recipe.model_copy(update={"network": other}).load_network()
    # Also where it is trusted, nothing of the standard library is called.
    for trusted in (recipe.load_network, lambda: recipe.load_network(trust=True)):
        with pytest.raises(ns.NeuroscopeError, match="standard library") as refused:
            trusted()
        assert not isinstance(refused.value, UntrustedError)
    saved_weights(weights, 2.0)
    with pytest.raises(UntrustedError):
        recipe.load_network()
    assert not marker.exists()


def saved_weights(path: Path, weight: float = 1.0) -> Path:
    torch.save({"weights": torch.tensor([weight, -1.0])}, path)
    return path


def test_code_that_a_recipe_names_is_trusted_as_it_was(
    tmp_path: Path, store: TrustStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, weights = tmp_path / "a_lab" / "of_strangers", saved_weights(tmp_path / "w.pt")
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    inner = package / "nets.py"
    inner.write_text(
        "import torch\nclass Net(torch.nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.weights = torch.nn.Parameter(torch.zeros(2))\n"
        "    def forward(self, x):\n        return x.sum((1, 2, 3))[:, None] * self.weights\n"
    )
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    named = {"source": weights.name, "factory": "of_strangers.nets:Net"}
    recipe = ns.Recipe.load(by_hand(tmp_path, network=named))
    with pytest.raises(UntrustedError, match=r"of_strangers\.nets:Net") as refusal:
        recipe.load_network(device="cpu")
    assert "of_strangers" not in sys.modules
    store.add(refusal.value.sha256, "recipe")
    try:
        network = recipe.load_network(device="cpu")
        assert network.origin["factory"] == "of_strangers.nets:Net"
    finally:
        for name in ("of_strangers", "of_strangers.nets"):
            sys.modules.pop(name, None)
    inner.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(UntrustedError):
        recipe.load_network()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("source", ["//evil.example/share/m.pt", r"\\evil.example\share\m.pt"])
def test_no_other_computer_is_asked_for_a_network(source: str, tmp_path: Path) -> None:
    recipe = ns.Recipe.load(by_hand(tmp_path, network={"source": source, "sha256": "0" * 64}))
    with pytest.raises(MissingNetworkError, match="from another computer"):
        recipe.run(None, np.ones((2, 3), np.float32))
    # What the user names is looked for wherever it is.
    given = recipe.network.with_source(Path("//evil.example/share/m.pt"))
    with pytest.raises(MissingNetworkError, match="is not there"):
        recipe.model_copy(update={"network": given}).load_network()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_network_that_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    for source in ("pipe.pt", "/dev/zero"):
        network = {"source": source, "sha256": "0" * 64, "factory": "os:mkdir"}
        with pytest.raises(MissingNetworkError, match="is not there"):
            ns.Recipe.load(by_hand(tmp_path, network=network)).run(None, np.ones((2, 3)))


def test_a_pickle_is_as_untrusted_as_ever(tmp_path: Path, image: np.ndarray) -> None:
    path = tmp_path / "net.pt"
    torch.save(nn.Conv2d(3, 2, 3), path)
    network = ns.load(path, {"task": "segmentation"}, device="cpu", trust=True)
    first = ns.explain(network, image, "saliency", 1)
    recipe = ns.Recipe.of(first)
    with pytest.raises(UntrustedError):
        recipe.run(None, image)
    assert_same(recipe.run(None, image, device="cpu", trust=True), first)


def test_a_factory_s_weights(tmp_path: Path, image: np.ndarray) -> None:
    path, arguments = tmp_path / "w.safetensors", {"in_channels": 3, "classes": 3, "width": 16}
    save_file(load_file(NUCLEI / "model.safetensors"), path)
    spec = ns.load("demo:nuclei", device="cpu").spec
    network = ns.load(path, spec, device="cpu", factory=BUILT_BY, arguments=arguments)
    first = ns.explain(network, image, "grad_cam", "nucleus", "dec1")
    recipe = ns.Recipe.of(first)
    assert (recipe.network.factory, recipe.network.arguments) == (BUILT_BY, arguments)
    # It is a class of a package of networks, with plain arguments.
    assert_same(recipe.run(None, image, device="cpu"), first)


@pytest.mark.parametrize("name", ["keep", "progress", "ground_truth", "a=1); print(1)#"])
def test_options_are_the_method_s_own(name: str, tmp_path: Path) -> None:
    recipe = ns.Recipe.load(by_hand(tmp_path, options={name: "everything"}))
    for fails in (lambda: recipe.run(None, np.ones((2, 3), np.float32)), recipe.as_python):
        with pytest.raises(ns.NeuroscopeError, match="has no option"):
            fails()


# --- as text --------------------------------------------------------------------------------------


posix = pytest.mark.skipif(os.name != "posix", reason="the commands are for a POSIX shell")


def in_a_process(command: Any, folder: Path, **more: Any) -> str:
    """Run a command as a user does, with as many threads as here."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    variables = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        command,
        cwd=folder,
        env=variables,
        check=False,
        capture_output=True,
        text=True,
        encoding="utf-8",
        **more,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@posix
def test_the_script_and_the_command_run(nuclei: ns.Network, tmp_path: Path) -> None:
    folder = tmp_path / "it's «my» folder"
    folder.mkdir()
    shutil.copy(IMAGE, folder / "-an image.png")
    wanted = [ns.Target("nucleus", "predicted", "probability"), "border"]
    first = ns.explain(nuclei, imread(IMAGE), "grad_cam", wanted, ["enc1", "dec1"], relu=False)
    recipe = ns.Recipe.of(first)

    script = (
        recipe.as_python("-an image.png")
        + "import numpy\nnumpy.save('script', explanation.values)\n"
    )
    (folder / "made again.py").write_text(script, "utf-8")
    in_a_process([sys.executable, "made again.py"], folder)
    np.testing.assert_array_equal(np.load(folder / "script.npy"), first.values)

    command = recipe.as_command("-an image.png", "-a map.npy")
    printed = in_a_process(command, folder, shell=True)
    assert "nucleus: 97.8 % on average over " in printed
    np.testing.assert_array_equal(np.load(folder / "-a map.npy"), first.values)


@posix
def test_nothing_in_a_command_ends_it_early(tmp_path: Path) -> None:
    said = {"class": "\nRECIPE\ntouch ran\n'\"$(touch ran)"}
    recipe = ns.Recipe.load(by_hand(tmp_path, targets=[said]))
    tool = tmp_path / "napari-neuroscope"
    tool.write_text('#!/bin/sh\ncat\nprintf "%s\\n" "$@"\n')
    tool.chmod(0o755)
    command = recipe.as_command("a $(touch ran).tif", "-o; touch ran")
    printed = in_a_process(f'PATH="$PWD:$PATH"\n{command}', tmp_path, shell=True)
    words = ["run", "-", "a $(touch ran).tif", "-o", "./-o; touch ran"]
    assert printed == recipe.to_yaml() + "\n".join(words) + "\n"
    assert ns.Recipe.from_yaml(recipe.to_yaml()) == recipe
    assert not (tmp_path / "ran").exists()


def test_ground_truth_in_a_script(
    nuclei: ns.Network,
    image: np.ndarray,
    truth: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What says no device takes an accelerator where there is one.
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    np.save("image.npy", image)
    np.save("truth.npy", truth)
    first = ns.explain(
        nuclei, image, "saliency", ns.Target("nucleus", "ground_truth"), ground_truth=truth
    )
    recipe = ns.Recipe.of(first)
    made: dict[str, Any] = {}
    exec(recipe.as_python("image.npy", "truth.npy"), made)
    assert_same(made["explanation"], first)
    recipe.save(f"a{SUFFIX}")
    command = recipe.as_command("image.npy", "b.npy", recipe=f"a{SUFFIX}", ground_truth="truth.npy")
    assert main(command.split()[1:]) == 0
    np.testing.assert_array_equal(np.load("b.npy"), first.values)


# --- the command line -----------------------------------------------------------------------------


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_the_command_line_saves_and_runs_recipes(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    recipe, first, again = tmp_path / f"grüße 1{SUFFIX}", tmp_path / "1.npy", tmp_path / "2.npy"
    asked = ["explain", "demo:nuclei", IMAGE, "--class", "nucleus", "--layer", "dec1",
             "--region", "predicted", "--device", "cpu", "--save-recipe"]  # fmt: skip
    assert run(*asked, recipe, "-o", first) == 0
    assert f"its recipe saved as {recipe}" in capsys.readouterr().out
    assert run("run", recipe, IMAGE, "--device", "cpu", "-o", again) == 0
    assert "nucleus: 97.8 % on average over " in capsys.readouterr().out
    np.testing.assert_array_equal(np.load(again), np.load(first))

    # A folder gets what the recipe says: the kind of file that was asked for.
    assert run("run", recipe, IMAGE, "--device", "cpu", "-o", tmp_path) == 0
    np.testing.assert_array_equal(
        np.load(tmp_path / f"{IMAGE.stem}.neuroscope.npy"), np.load(first)
    )
    text = recipe.read_text("utf-8").replace("- .npy", "- .npy\n- .png")
    several = tmp_path / f"several{SUFFIX}"
    several.write_text(text, "utf-8")
    assert run("run", several, IMAGE, "-o", tmp_path) == 1
    assert f"{IMAGE.stem}.neuroscope.npy exists already" in capsys.readouterr().err
    (tmp_path / "both").mkdir()
    assert run("run", several, IMAGE, "--device", "cpu", "-o", tmp_path / "both") == 0
    names = {path.name for path in (tmp_path / "both").iterdir()}
    assert names == {
        f"{IMAGE.stem}{kind}" for kind in (".neuroscope.npy", ".neuroscope.json", ".png")
    }
    assert (
        f"{IMAGE.stem}.neuroscope.npy, {tmp_path / 'both' / IMAGE.stem}.png"
        in capsys.readouterr().out
    )

    assert run("run", recipe, IMAGE, "-o", again) == 1
    assert "--force" in capsys.readouterr().err
    # What can't be saved is said before anything is computed.
    for name in (recipe, tmp_path / "recipe.txt"):
        assert run(*asked, name, "-o", tmp_path / "3.npy") == 1
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "3.npy").exists()


def test_the_command_line_refuses_a_changed_network(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    known = {"source": "net.pt", "digest": "0" * 64}
    recipe, image, out = by_hand(tmp_path, network=known), tmp_path / "a.npy", tmp_path / "b.npy"
    np.save(image, np.ones((2, 3), np.float32))
    assert run("run", recipe, image, "-o", out) == 1
    assert "weights have changed" in capsys.readouterr().err
    assert not out.exists()
    assert run("run", recipe, image, "-o", out, "--allow-changed") == 0
    assert "weights are others" in capsys.readouterr().err
    np.testing.assert_allclose(np.load(out), 3, rtol=1e-6)
