"""Segmented score maps are those of their definition, written out plainly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import napari_neuroscope as ns
from napari_neuroscope.cli.main import main
from networks import Pixelwise, as_network, settled
from region_maps import by_base, expected_map, greedy, picture, regions_of, segments

CASES: dict[str, dict[str, Any]] = {
    "gray": {"shape": (70, 90)},
    "rgb": {"shape": (64, 48, 3), "channels": 3},
    "seven channels": {"shape": (40, 52, 7), "channels": 7, "order": "n"},
    "larger than 224": {"shape": (37, 301, 3), "channels": 3},
    "16 bit": {"shape": (50, 60), "type": np.uint16},
    "constant": {"shape": (20, 30), "type": "constant"},
    "one pixel": {"shape": (1, 1)},
    "one row": {"shape": (1, 9)},
    "three by five": {"shape": (3, 5)},
    "one sigmoid channel": {"shape": (60, 70), "classes": 1},
    "150 classes": {"shape": (60, 70), "classes": 150},
}


@pytest.mark.parametrize(
    ("method", "how"),
    [
        ("segmented_score_map", {}),
        ("segmented_score_map", {"scales": (30.0, 200.0), "sigma": 0.4, "min_size": 20,
                                 "dilation": 2, "min_new_area": 0}),
        ("guided_segmented_score_map", {}),
        ("guided_segmented_score_map", {"candidates": "intersection", "min_new_area": 5}),
        ("similarity_map", {}),
    ],
    ids=["SSM", "SSM of other options", "GSSM", "GSSM cut", "SM"],
)  # fmt: skip
@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:Got image with third dimension")
def test_maps_are_those_of_the_definition(
    name: str, method: str, how: dict[str, Any], rng: np.random.Generator
) -> None:
    case = CASES[name]
    channels, count = case.get("channels", 1), case.get("classes", 3)
    model = settled(Pixelwise(channels, classes=count))
    network = as_network(model, "segmentation", order=case.get("order"))
    image = picture(rng, case["shape"])
    unit: np.ndarray = image
    if case.get("type") == "constant":
        image = unit = np.full(case["shape"], 0.3, np.float32)
    elif case.get("type") is np.uint16:
        image = (image * 65535).astype(np.uint16)
        unit = (image.astype(np.float64) / 65535).astype(np.float32)
        network = as_network(model, "segmentation", value_range="auto")
    seen = unit.reshape(*unit.shape[:2], channels)
    with torch.no_grad():
        scores = model(torch.from_numpy(seen).permute(2, 0, 1)[None])[0].numpy()
    if count == 1:
        scores = np.concatenate([-scores, scores])
    asked = [0, len(scores) - 1]
    found = ns.explain(network, image, method, asked, **how)
    assert found.axes == ("class", "y", "x")
    assert found.signed
    for number, index in enumerate(asked):
        values, order = expected_map(method, seen.astype(np.float64), scores, index, **how)
        np.testing.assert_allclose(found.values[number], values, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(found.companions["order"][number], order)


@pytest.mark.parametrize("resize", ["pad", "fit", "crop", "stretch"])
def test_regions_lie_on_the_image_alone(resize: str, rng: np.random.Generator) -> None:
    """What pads the image has no region, and the map lies where the network's pixels lie."""
    model = settled(nn.Sequential(nn.AvgPool2d(2), Pixelwise(1)))
    size: Any = {"min": 16, "step": 8} if resize == "pad" else (64, 48)
    network = as_network(model, "segmentation", size=size, resize=resize)
    image = picture(rng, (45, 61))
    plain = ns.explain(network, image, "input")
    rows, columns = (
        (scale * np.arange(n) + offset + 0.5 <= limit).sum()
        for n, scale, offset, limit in zip(
            plain.values.shape[1:], plain.grid.scale, plain.grid.offset, image.shape, strict=True
        )
    )
    assert (resize in ("pad", "fit")) == ((rows, columns) != plain.values.shape[1:])
    with torch.no_grad():
        coarse = model(torch.from_numpy(plain.values)[None])
        fine = functional.interpolate(coarse, plain.values.shape[1:], mode="bilinear")[0].numpy()
    predicted = coarse[0].argmax(0).numpy().repeat(2, 0).repeat(2, 1)[:rows, :columns]
    attribution = fine[1][:rows, :columns]
    masks = segments(plain.values[0, :rows, :columns, None].astype(np.float64))
    for method, among in {
        "segmented_score_map": masks,
        "guided_segmented_score_map": [*masks, *regions_of(predicted)],
        "similarity_map": regions_of(predicted),
    }.items():
        found = ns.explain(network, image, method, 1)
        values, order = greedy(attribution, among, 0 if method == "similarity_map" else 50)
        np.testing.assert_allclose(found.values, values, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(found.companions["order"], order)
        assert found.grid.scale == plain.grid.scale
        assert found.grid.offset == plain.grid.offset
        unseen = np.isnan(ns.explain(network, image, "score_map", 1).on_image())
        np.testing.assert_array_equal(np.isnan(found.on_image()), unseen)


def test_several_layers_and_classes_each_have_their_order(rng: np.random.Generator) -> None:
    network, image = by_base(rng)
    layers = ["enc1", "bottom", "dec2"]
    ask: dict[str, Any] = {"method": "segmented_score_map", "base": "grad_cam", "min_new_area": 0}
    found = ns.explain(network, image, target=[0, 2], layer=layers, **ask)
    assert found.axes == ("class", "layer", "y", "x")
    order = found.companions["order"]
    assert order.shape == found.values.shape == (2, 3, 48, 64)
    for row, index in enumerate((0, 2)):
        for column, layer in enumerate(layers):
            one = ns.explain(network, image, target=index, layer=layer, **ask)
            np.testing.assert_allclose(found.values[row, column], one.values, atol=1e-7)
            np.testing.assert_array_equal(order[row, column], one.companions["order"])
    assert len({order[row, column].tobytes() for row in (0, 1) for column in (0, 1, 2)}) > 1


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = tmp_path / "image.npy"
    np.save(image, picture(np.random.default_rng(1), (64, 80)))
    out = tmp_path / "map.npy"
    done = main(["explain", "demo:nuclei", str(image), "--method", "guided_segmented_score_map",
                 "--class", "nucleus", "--option", "candidates=intersection",
                 "--option", "scales=[50, 300]", "-o", str(out)])  # fmt: skip
    assert done == 0
    values = np.load(out)
    assert values.shape == (64, 80)
    assert 1 < len(np.unique(values)) < 64 * 80
    done = main(["explain", "demo:nuclei", str(image), "--method", "similarity_map",
                 "--class", "nucleus", "-o", str(tmp_path / "similar.tif")])  # fmt: skip
    assert done == 0
    assert "is predicted: " in capsys.readouterr().out
    done = main(["explain", "demo:nuclei", str(image), "--method", "segmented_score_map",
                 "--class", "nucleus", "--option", "base=activation",
                 "-o", str(tmp_path / "none.npy")])  # fmt: skip
    assert done == 1
    assert "can't be the base" in capsys.readouterr().err
