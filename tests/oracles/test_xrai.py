"""The greedy choice beside PAIR's XRAI, given the same segments and attribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from saliency.core import base, xrai
from scipy.ndimage import gaussian_filter
from skimage import data
from skimage.transform import resize

import napari_neuroscope as ns
from closeness import assert_close
from napari_neuroscope.engine.images.segments import Candidates, Segmentation, paint
from networks import Vgg, as_network, settled


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


def test_the_method_is_that_of_pair() -> None:
    """From the image to the map: of one channel, since PAIR joins several by the largest.

    Its baselines are the least and the greatest value, here 0 and 1, and its integral is a plain
    sum, so it is given many steps.
    """
    image = resize(data.camera(), (16, 16), anti_aliasing=True).astype(np.float32)
    image = (image - image.min()) / (image.max() - image.min())
    model = settled(Vgg(channels=1))

    def ask(x: np.ndarray, call_model_args: None, expected_keys: list[str]) -> dict:
        given = torch.from_numpy(np.asarray(x, np.float32)).permute(0, 3, 1, 2).requires_grad_()
        (gradient,) = torch.autograd.grad(model(given)[:, 2].sum(), given)
        return {base.INPUT_OUTPUT_GRADIENTS: gradient.permute(0, 2, 3, 1).numpy()}

    how = Segmentation((10, 30, 100), min_size=4, dilation=1)
    segments = Candidates.of_image(torch.from_numpy(image)[None], how)
    masks = [
        np.isin(segments.atoms, segments.atoms_of.items[segments.atoms_of.places(np.array([n]))])
        for n in range(len(segments))
    ]
    parameters = xrai.XRAIParameters(steps=2000)
    parameters.experimental_params["min_pixel_diff"] = 4
    theirs = xrai.XRAI().GetMask(
        image[..., None], ask, segments=masks, extra_parameters=parameters, batch_size=200
    )
    network = as_network(model, size=(16, 16))
    ours = ns.explain(
        network, image, "xrai", 2, steps=300, scales=how.scales, min_size=4, dilation=1,
        min_new_area=4,
    )  # fmt: skip
    assert len(np.unique(ours.values)) > 5
    assert_close(ours.values, theirs, 0.01)
