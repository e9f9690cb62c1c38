"""A part of an image, explained as an image of its own, lies where it was cut out."""

from __future__ import annotations

import numpy as np
import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.explain.crop import explain_crop, is_large, middle, why_not_tiled
from napari_neuroscope.engine.passes.target import Mask
from networks import UNet, Vgg, as_network, settled

WINDOW = ((20, 84), (40, 88))
INSIDE = (slice(20, 84), slice(40, 88))


def image() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (120, 130, 3), np.uint8)


def mask() -> np.ndarray:
    found = np.zeros((120, 130), bool)
    found[30:60, 50:140] = True
    return found


def regions() -> list:
    labels = 7 * mask().astype(int)
    return [
        (ns.Target("cell"), ns.Target("cell")),
        (ns.Target("cell", mask()), ns.Target("cell", mask()[INSIDE])),
        (ns.Target("cell", Mask(mask(), "drawn")), ns.Target("cell", Mask(mask()[INSIDE], "drawn"))),
        (ns.Target("cell", ns.Instance(labels, 7)), ns.Target("cell", ns.Instance(labels[INSIDE], 7))),
        (ns.Target("cell", (40.0, 60.0)), ns.Target("cell", (20.0, 20.0))),
    ]  # fmt: skip


@pytest.mark.parametrize("number", range(5))
def test_a_crop_is_explained_as_an_image_of_its_own(number: int) -> None:
    network = as_network(settled(UNet()), "segmentation", ["background", "cell", "edge"])
    whole, own = regions()[number]
    found = explain_crop(network, image(), WINDOW, "grad_cam_plus_plus", whole, "enc2")
    alone = ns.explain(network, image()[INSIDE], "grad_cam_plus_plus", own, "enc2")
    np.testing.assert_array_equal(found.values, alone.values)
    assert found.image.shape == (120, 130)
    np.testing.assert_allclose(np.subtract(found.grid.offset, alone.grid.offset), (20, 40))
    assert found.provenance["crop"] == [[20, 84], [40, 88]]
    assert (
        "the pixels 20 to 84 × 40 to 88 were explained as an image of their own"
        in (found.provenance["notes"])
    )
    on_image = found.on_image()
    assert np.isfinite(on_image[INSIDE]).all()
    assert np.isnan(on_image).sum() == 120 * 130 - 64 * 48


def test_a_classifier_says_what_the_part_shows() -> None:
    network = as_network(settled(Vgg()), "classification", list("abcd"), size=[16, 16])
    found = explain_crop(network, image(), WINDOW, "saliency", [0, 2])
    alone = ns.explain(network, image()[INSIDE], "saliency", [0, 2])
    assert found.axes == ("class", "y", "x")
    np.testing.assert_array_equal(found.values, alone.values)


def test_what_is_large_is_so_for_segmenters_alone() -> None:
    names = list("abcd")
    segmenter = as_network(settled(UNet()), "segmentation", names[:3])
    assert is_large(segmenter, (2049, 2048))
    assert not is_large(segmenter, (2048, 2048))
    assert not is_large(as_network(settled(Vgg()), "classification", names), (9000, 9000))
    assert middle((4000, 100)) == ((1488, 2512), (0, 100))


def test_why_an_image_is_not_run_tile_by_tile_is_said() -> None:
    names = ["background", "cell", "edge"]

    def why(method: str = "saliency", shape: tuple[int, int] = (4000, 4000), **of_input) -> str:
        network = as_network(settled(UNet()), "segmentation", names, **of_input)
        network.discover(image()[:64, :64])
        return why_not_tiled(network, method, shape)

    assert why() == ""
    assert why("rise") == "RISE looks at an image as a whole"
    brought = "the network brings an image to another size before it looks at it"
    assert why(size=[64, 64], resize="stretch") == brought
    rule = {"min": 16, "step": 4}
    assert why(shape=(4001, 4000), size=rule, resize="stretch") == brought
    assert why(shape=(4001, 4000), size=rule, resize="pad") == ""
    one_size = as_network(settled(UNet()), "segmentation", names, size=[64, 64], resize="stretch")
    assert not is_large(one_size, (9000, 9000)), "it sees 64 × 64 of them"
