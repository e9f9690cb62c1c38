"""The greedy choice beside PAIR's XRAI, given the same segments and attribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from saliency.core import xrai
from scipy.ndimage import gaussian_filter
from skimage import data
from skimage.transform import resize

from napari_neuroscope.engine.regions import Candidates, Segmentation, paint


@pytest.mark.parametrize("least", [1, 50])
def test_maps_are_those_of_pair(least: int, rng: np.random.Generator) -> None:
    image = resize(data.astronaut(), (60, 80), anti_aliasing=True)
    attribution = gaussian_filter(rng.normal(size=(60, 80)), 4)
    masks = xrai._get_segments_felzenszwalb(image)
    parameters = xrai.XRAIParameters()
    parameters.experimental_params["min_pixel_diff"] = least
    theirs = xrai.XRAI().GetMask(
        image,
        call_model_function=None,
        segments=masks,
        base_attribution=np.repeat(attribution[..., None], 3, -1),
        extra_parameters=parameters,
    )
    ours = paint(torch.from_numpy(attribution), Candidates.of_masks(masks), least)
    assert ours.order.max() > 5
    np.testing.assert_allclose(ours.values, theirs, rtol=0, atol=1e-6)


def test_segments_are_those_of_pair() -> None:
    """At 224 × 224 neither resizes the image."""
    image = resize(data.astronaut(), (224, 224), anti_aliasing=True).astype(np.float32)
    masks = np.array(xrai._get_segments_felzenszwalb(image.astype(float)))
    found = Candidates.of_image(torch.from_numpy(image).permute(2, 0, 1), Segmentation())
    ours = np.zeros((len(found), 224 * 224), bool)
    for number, segment in enumerate(ours):
        segment[:] = np.isin(
            found.atoms.ravel(), found.atoms_of.items[found.atoms_of.places(np.array([number]))]
        )
    np.testing.assert_array_equal(ours.reshape(-1, 224, 224), masks)
