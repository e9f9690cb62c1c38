"""Class activation maps against pytorch-grad-cam, where that is installed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import napari_neuroscope as ns
from closeness import assert_close
from networks import Vgg, as_network, settled

peers = pytest.importorskip("pytorch_grad_cam", reason="pytorch-grad-cam is not installed")


@pytest.mark.parametrize(
    ("method", "name", "layer"),
    [("hires_cam", "HiResCAM", "features.4"), ("layer_cam", "LayerCAM", "features.4"),
     ("x_grad_cam", "XGradCAM", "features.4"), ("ablation_cam", "AblationCAM", "features.4"),
     # On the input's own grid: the peer resamples with the corners aligned.
     ("score_cam", "ScoreCAM", "features.1")],
)  # fmt: skip
def test_maps_are_equal(method: str, name: str, layer: str, rng: np.random.Generator) -> None:
    from pytorch_grad_cam.utils.image import scale_cam_image
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model = settled(Vgg())
    image = rng.standard_normal((16, 16, 3)).astype(np.float32)
    x = torch.from_numpy(image).permute(2, 0, 1)[None]
    best = int(model(x).argmax())
    ours = ns.explain(as_network(model, size=(16, 16)), image, method, best, layer).values
    with getattr(peers, name)(model, [model.get_submodule(layer)]) as cam:
        theirs = cam(input_tensor=x, targets=[ClassifierOutputTarget(best)])[0]
    assert_close(scale_cam_image(scale_cam_image(ours[None], (16, 16)))[0], theirs, 1e-4)
