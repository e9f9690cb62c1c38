"""The similarity map: regions, and the table of all classes."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from networks import Pixelwise, as_network, pointwise, settled
from region_maps import by_base, greedy, picture, regions_of


def test_similarity_of_a_volume(rng: np.random.Generator) -> None:
    model = settled(Pixelwise(1, axes=3))
    network = as_network(model, "segmentation", axes="bczyx")
    image = rng.random((4, 7, 9), dtype=np.float32)
    with torch.no_grad():
        scores = model(torch.from_numpy(image)[None, None])[0].numpy()
    found = ns.explain(network, image, "similarity_map", 2)
    values, order = greedy(scores[2], regions_of(scores.argmax(0)), 0)
    np.testing.assert_allclose(found.values, values, atol=1e-6)
    np.testing.assert_array_equal(found.companions["order"], order)


def test_similarity_table_by_hand() -> None:
    # Scores x, 0 and -2: of x = 1, 3, -1 the classes are a, a, b, and c is nowhere.
    network = as_network(
        pointwise([[1.0], [0.0], [0.0]], [0.0, 0.0, -2.0]), "segmentation", ["a", "b", "c"]
    )
    image = np.array([[1.0, 3.0, -1.0]])
    found = ns.explain(network, image, "similarity_map", "a")
    np.testing.assert_allclose(found.values, [[2, 2, -1]], atol=1e-6)
    assert found.companions["order"].tolist() == [[1, 1, 2]]
    assert found.companions["prediction"].tolist() == [[0, 0, 1]]
    table = found.provenance["table"]
    assert table["class"] == ["a", "b", "c"]
    assert table["similarity"] == [[2, -1, None], [0, 0, None], [-2, -2, None]]
    assert json.loads(json.dumps(found.provenance))["table"] == table
    assert found.table_in_words() == [
        "mean logit where a is predicted: a 2, b 0, c -2",
        "mean logit where b is predicted: b 0, a -1, c -2",
    ]
    (_, attributes, _), *others = found.to_layer_data()
    assert attributes["metadata"]["neuroscope"]["table"] == table
    assert [data[1]["name"] for data in others] == [
        "Order of a · Similarity map",
        "Prediction of a · Similarity map",
    ]


@pytest.mark.parametrize("base", ["score_map", "probability"])
def test_the_table_and_the_maps_agree(base: str, rng: np.random.Generator) -> None:
    model = nn.Sequential(nn.AvgPool2d(2), settled(Pixelwise(1, classes=5)))
    network = as_network(model, "segmentation")
    image = picture(rng, (40, 52))
    found = ns.explain(network, image, "similarity_map", list(range(5)), base=base)
    rows = found.provenance["table"]["similarity"]
    predicted = found.companions["prediction"]
    assert len(np.unique(predicted)) > 1
    for index, region in itertools.product(range(5), range(5)):
        inside = found.values[index][predicted == region]
        mean = rows[index][region]
        if not inside.size:
            assert mean is None
        else:
            np.testing.assert_allclose(inside, mean, atol=1e-6)


def test_other_bases_have_no_table(rng: np.random.Generator) -> None:
    network, image = by_base(rng)
    found = ns.explain(network, image, "similarity_map", 1, "enc1", base="grad_cam")
    assert "table" not in found.provenance
    assert found.table_in_words() == []
