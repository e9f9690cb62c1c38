"""What can be the base of a map over regions, and its options."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import napari_neuroscope as ns
from networks import Pixelwise, as_network, settled
from region_maps import REGION_METHODS, by_base, greedy, segments


@pytest.mark.parametrize(
    ("base", "method", "target", "layer"),
    [
        ("score_map", "score_map", ns.Target(1), None),
        ("score_map", "score_map", ns.Target(1, score="log_probability"), None),
        ("probability", "score_map", ns.Target(1, score="probability"), None),
        ("grad_cam", "grad_cam", ns.Target(1, region="predicted"), "enc2"),
        ("grad_cam_plus_plus", "grad_cam_plus_plus", ns.Target(1), "bottom"),
        ("saliency", "saliency", ns.Target(1), None),
        ("guided_grad_cam", "guided_grad_cam", ns.Target(1), "dec2"),
        ("fusion_score_map", "fusion_score_map", None, None),
    ],
)
def test_any_map_can_be_the_base(
    base: str, method: str, target: Any, layer: str | None, rng: np.random.Generator
) -> None:
    network, image = by_base(rng)
    plain = ns.explain(network, image, method, target, layer)
    attribution = plain.on_image()
    # A probability is asked for by the base, whatever the target's score.
    asked = ns.Target(1) if base in ("probability", "fusion_score_map") else target
    masks = segments(image[..., None].astype(np.float64))
    values, order = greedy(attribution, masks)
    found = ns.explain(network, image, "segmented_score_map", asked, layer, base=base)
    scale = np.abs(values).max()
    np.testing.assert_allclose(found.values, values, rtol=0, atol=1e-6 * scale)
    assert found.signed == plain.signed
    assert found.unit == plain.unit
    assert found.companions["order"].max() == order.max()


@pytest.mark.parametrize("method", REGION_METHODS)
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"base": "activation", "layer": "enc1"}, "Activation can't be the base.*axis “channel”"),
        ({"base": "input"}, "Input can't be the base"),
        ({"base": "similarity_map"}, "Similarity map is itself a map over regions"),
        ({"base": "xrai"}, "XRAI is itself a map over regions"),
        ({"base": "grad_cm"}, "no method “grad_cm”; did you mean “grad_cam"),
        ({"base": 3}, "can't take base=3"),
        ({"layer": "enc1"}, "looks at no layer"),
        ({"target": None}, "needs a class"),
    ],
)
def test_what_can_be_no_base_is_refused_in_a_sentence(
    method: str, options: dict[str, Any], words: str, rng: np.random.Generator
) -> None:
    network, image = by_base(rng)
    with pytest.raises(ns.NeuroscopeError, match=words):
        ns.explain(network, image, method, **{"target": 1, **options})


@pytest.mark.parametrize(
    "options", [{"scales": []}, {"scales": [0]}, {"sigma": -1}, {"min_size": 0}, {"dilation": -1},
                {"min_new_area": -1}, {"longest_side": 0}, {"scales": 5}, {"colour": 1}],
)  # fmt: skip
def test_options_have_limits(options: dict[str, Any], rng: np.random.Generator) -> None:
    network, image = by_base(rng)
    with pytest.raises(ns.NeuroscopeError, match=next(iter(options))):
        ns.explain(network, image, "segmented_score_map", 1, **options)


def test_tables_and_several_axes() -> None:
    classifier = as_network(settled(Pixelwise(1)), "classification")
    volume = as_network(settled(Pixelwise(1, axes=3)), "segmentation", axes="bczyx")
    for method in REGION_METHODS:
        with pytest.raises(ns.NeuroscopeError, match="is for segmentation"):
            ns.explain(classifier, np.zeros((8, 8)), method)
    for method in REGION_METHODS[:2]:
        reason = volume.why_not(ns.methods[method])
        assert reason is not None
        assert "z, y, x" in reason
        with pytest.raises(ns.NeuroscopeError, match="looks along z, y, x"):
            ns.explain(volume, np.zeros((4, 8, 8)), method, 1)
