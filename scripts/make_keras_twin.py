"""Write the Keras twin of the demo U-Net: the same layers, names and weights, as a .keras file.

Run from the repository root, for instance::

    python scripts/make_keras_twin.py nuclei.keras

The spec is written beside it, so that the file opens in napari like its PyTorch twin.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import torch
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.engine.frameworks.keras.tensorflow_import import import_tensorflow
from napari_neuroscope.engine.networks.load import load, spec_path

import_tensorflow()
import keras  # noqa: E402  it would import TensorFlow its own way
from keras import layers  # noqa: E402


def block(name: str, channels: int, inputs: int) -> Any:
    """Return two times 3x3 convolution, batch norm and ReLU, as the PyTorch block of this name."""
    parts: list[Any] = [keras.Input((None, None, inputs))]
    for number in (1, 2):
        parts += [
            layers.Conv2D(channels, 3, padding="same", use_bias=False, name=f"conv{number}"),
            layers.BatchNormalization(epsilon=1e-5, name=f"norm{number}"),
            layers.ReLU(name=f"relu{number}"),
        ]
    return keras.Sequential(parts, name=name)


def unet(channels: int = 3, classes: int = 3, width: int = 16) -> Any:
    """Return a U-Net of the layers of the demo network, channels last."""
    x = inputs = keras.Input((None, None, channels), name="image")
    skips = []
    before = channels
    for level in (1, 2, 3):
        x = block(f"enc{level}", wide := width * 2 ** (level - 1), before)(x)
        skips.append(x)
        x = layers.MaxPooling2D(2, name=f"pool{level}")(x)
        before = wide
    x = block("enc4", 8 * width, before)(x)
    for level in (3, 2, 1):
        wide = width * 2 ** (level - 1)
        x = layers.Conv2DTranspose(wide, 2, strides=2, name=f"up{level}")(x)
        x = layers.Concatenate(name=f"cat{level}")([x, skips.pop()])
        x = block(f"dec{level}", wide, 2 * wide)(x)
    return keras.Model(inputs, layers.Conv2D(classes, 1, name="head")(x), name="unet")


def copy_weights(source: nn.Module, target: Any) -> None:
    """Copy the weights of layers to those of the same names."""
    for name, module in source.named_modules():
        if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
            continue
        layer = target
        for part in name.split("."):
            layer = layer.get_layer(part)
        if isinstance(module, nn.BatchNorm2d):
            given = [module.weight, module.bias, module.running_mean, module.running_var]
        else:
            # (out, in, y, x) or, transposed, (in, out, y, x) become (y, x, ., .).
            given = [module.weight.permute(2, 3, 1, 0), module.bias]
        layer.set_weights([w.detach().numpy() for w in given if w is not None])


def make_twin(path: Path) -> None:
    """Write the twin and its spec, after checking that both networks answer the same."""
    demo = load("demo:nuclei", device="cpu")
    source = demo.adapter.model
    model = unet()
    copy_weights(source, model)
    image = torch.rand(1, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = source(image)
    answer = torch.from_numpy(model(image.permute(0, 2, 3, 1).numpy()).numpy().copy())
    difference = (answer.permute(0, 3, 1, 2) - expected).abs().max() / expected.abs().max()
    if difference > 1e-4:
        raise ns.NeuroscopeError(f"The twins' answers differ by {difference:.1e} of the largest.")
    model.save(path)
    spec = demo.spec
    spec.model_copy(update={"input": spec.input.model_copy(update={"axes": "byxc"})}).save(
        spec_path(path)
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="the file to write, such as nuclei.keras")
    out = parser.parse_args().out
    make_twin(out)
    print(f"Wrote {out} and {spec_path(out)}.")
