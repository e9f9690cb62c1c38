"""Which of several outputs is explained, and that it is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import napari_neuroscope as ns
from napari_neuroscope.cli.main import main
from napari_neuroscope.engine.frameworks.output_choice import OfferedOutput, choose
from napari_neuroscope.engine.spec.model_spec import ModelSpec
from networks import as_network, settled


class Two(nn.Module):
    """Features, then what they are classed as; by `named`, by name."""

    def __init__(self, names: tuple[str, str] | None = None, *, last_first: bool = False) -> None:
        super().__init__()
        self.body, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, 3)
        self.names, self.last_first = names, last_first

    def forward(self, x: Tensor) -> Any:
        features = self.body(x).relu().mean((2, 3))
        both = (features, self.fc(features))
        if self.names is not None:
            return dict(zip(self.names, both, strict=True))
        return both[::-1] if self.last_first else both


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((24, 28, 3)).astype(np.float32)


NETWORKS: dict[str, tuple[Any, Any]] = {
    "features first": (Two(), 1),
    "logits first": (Two(last_first=True), 0),
    "named": (Two(("hidden", "scores")), "scores"),
    "names that say nothing": (Two(("a", "b")), "b"),
}


@pytest.mark.parametrize(("model", "index"), NETWORKS.values(), ids=NETWORKS)
def test_the_scores_are_found_and_told(model: nn.Module, index: Any, image: np.ndarray) -> None:
    network = as_network(settled(model))
    with torch.no_grad():
        answer = model(torch.from_numpy(image.transpose(2, 0, 1))[None])
    right = answer[index][0].numpy()
    found = network.predict(image)
    np.testing.assert_allclose(found.scores, right, atol=1e-5)
    assert f"“{index}” is explained" in found.notes[0]
    e = ns.explain(network, image, "saliency", 1)
    assert e.provenance["output"]["index"] == index
    assert f"“{index}” is explained" in e.provenance["notes"][0]
    assert e.provenance["spec"]["output"]["index"] == index
    # What is stated is not told again.
    stated = ns.explain(as_network(model, output={"index": index}), image, "saliency", 1)
    assert "output" not in stated.provenance
    np.testing.assert_array_equal(stated.values, e.values)


def test_scores_beside_nothing_are_found(image: np.ndarray) -> None:
    class Untrained(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Any:
            return None, self.c(x).mean((2, 3))

    network = as_network(settled(Untrained()))
    assert network.predict(image).scores.shape == (4,)
    assert ns.explain(network, image, "saliency", 2).provenance["spec"]["output"]["index"] == 1


def test_of_onnx_and_functions(image: np.ndarray, tmp_path: Any, capsys: Any) -> None:
    import io
    import warnings

    model, file = settled(Two()), tmp_path / "two.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = io.BytesIO()
        torch.onnx.export(model, (torch.zeros(1, 3, 24, 28),), content, dynamo=False,
                          input_names=["image"], output_names=["a", "b"])  # fmt: skip
    file.write_bytes(content.getvalue())
    with torch.no_grad():
        right = model(torch.from_numpy(image.transpose(2, 0, 1))[None])[1][0].numpy()
    network = ns.load(file, {"input": {"value_range": (0, 1)}})
    np.testing.assert_allclose(network.predict(image).scores, right, atol=1e-4)
    main(["check", str(file)])
    assert "“a” (8), “b” (3), “b” is explained" in capsys.readouterr().out

    def segments(x: np.ndarray) -> Any:
        return x.mean((2, 3)), x[:, :2]

    found = as_network(segments, "segmentation").predict(image)
    np.testing.assert_allclose(found.scores, image[..., :2].transpose(2, 0, 1))
    assert "“1” is explained" in found.notes[0]


def test_of_keras(image: np.ndarray) -> None:
    keras = pytest.importorskip("keras")
    from keras_networks import layers, settled

    given = keras.Input((24, 28, 3))
    x = layers.GlobalAveragePooling2D(name="a")(layers.Conv2D(8, 3)(given))
    model = settled(keras.Model(given, [x, layers.Dense(3, name="b")(x)]))
    network = as_network(model)
    right = model(image[None])[1].numpy()[0]
    np.testing.assert_allclose(network.predict(image).scores, right, atol=1e-5)
    assert network.output_choice is not None
    assert network.output_choice.key == "b"


def test_what_fits_comes_first() -> None:
    def key(*offered: OfferedOutput, **stated: Any) -> tuple[Any, tuple[Any, ...]]:
        found = choose(offered, ModelSpec.parse(stated), (32, 32))
        assert found is not None
        return found.key, found.alike

    scores, maps = OfferedOutput("list", (1, 4)), OfferedOutput("map", (1, 4, 32, 32))
    assert key(scores, maps, task="segmentation")[0] == "map"
    assert key(maps, scores, task="classification")[0] == "list"
    # The number of classes, then names, then the finer one, and then the order.
    more = OfferedOutput("z", (1, 7, 32, 32))
    assert key(maps, more, task="segmentation", classes=list("abcdefg"))[0] == "z"
    coarse = OfferedOutput("w", (1, 4, 16, 16))
    assert key(coarse, maps, task="segmentation") == ("map", ())
    aux = OfferedOutput("aux_head", (1, 4, 32, 32))
    assert key(aux, maps, task="segmentation") == ("map", ())
    assert key(maps, more, task="segmentation") == ("map", ("z",))
    labels = OfferedOutput("out", (1, 32, 32), holds_numbers=False)
    assert key(labels, more, task="segmentation")[0] == "z"
    assert choose([labels], ModelSpec(), (32, 32)) is None
