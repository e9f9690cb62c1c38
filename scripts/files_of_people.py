"""Files as people have them, made small: networks, and images of all kinds of colours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Make = Callable[[Path], Path]
NETWORKS: dict[str, tuple[Make, dict[str, Any]]] = {}
"""Of each title what makes the file, and what `load` is told."""
IMAGES: dict[str, Make] = {}


def network(title: str, **told: Any) -> Callable[[Make], Make]:
    """Take what makes a file of a network."""

    def add(make: Make) -> Make:
        NETWORKS[title] = make, told
        return make

    return add


def image(title: str) -> Callable[[Make], Make]:
    """Take what makes a file of an image."""

    def add(make: Make) -> Make:
        IMAGES[title] = make
        return make

    return add


def segmenter(*more: nn.Module) -> nn.Sequential:
    """Return a network of 3 channels and 3 classes."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1), *more).eval()


def classifier(*more: nn.Module) -> nn.Sequential:
    """Return a network of 3 channels and 3 classes of images."""
    torch.manual_seed(0)
    body = (nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    return nn.Sequential(*body, *more).eval()


_SCRIPT = """from torch import nn
def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1))
"""


# --- PyTorch ---


@network("PyTorch, a pickled network (torch.save(net))")
def pickled(folder: Path) -> Path:
    torch.save(segmenter(), folder / "net.pt")
    return folder / "net.pt"


@network("PyTorch, the same, trusted", trust=True)
def pickled_trusted(folder: Path) -> Path:
    return pickled(folder)


@network("PyTorch, weights alone (a state dict)")
def weights(folder: Path) -> Path:
    torch.save(segmenter().state_dict(), folder / "net.pth")
    return folder / "net.pth"


@network(
    "PyTorch, weights and a script beside them, trusted", trust=True, factory="{folder}/net.py:net"
)
def weights_and_script(folder: Path) -> Path:
    (folder / "net.py").write_text(_SCRIPT)
    return weights(folder)


@network("PyTorch, weights and a script beside them", factory="{folder}/net.py:net")
def weights_and_unknown_script(folder: Path) -> Path:
    return weights_and_script(folder)


@network(
    "PyTorch, a checkpoint of Lightning: state_dict, names with model.", trust=True,
    factory="{folder}/net.py:net",
)  # fmt: skip
def lightning(folder: Path) -> Path:
    (folder / "net.py").write_text(_SCRIPT)
    state = {f"model.{name}": value for name, value in segmenter().state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, folder / "net.ckpt")
    return folder / "net.ckpt"


@network("PyTorch, safetensors")
def safetensors(folder: Path) -> Path:
    from safetensors.torch import save_file

    save_file(segmenter().state_dict(), folder / "net.safetensors")
    return folder / "net.safetensors"


@network("PyTorch, TorchScript")
def scripted(folder: Path) -> Path:
    torch.jit.script(segmenter(nn.Sigmoid())).save(folder / "net.pt")
    return folder / "net.pt"


@network("PyTorch, an exported program (.pt2)")
def exported(folder: Path) -> Path:
    program = torch.export.export(segmenter(), (torch.zeros(1, 3, 32, 32),))
    torch.export.save(program, folder / "net.pt2")
    return folder / "net.pt2"


@network("PyTorch, TorchScript that divides by 255 itself")
def of_bytes(folder: Path) -> Path:
    class Divided(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = segmenter()

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x / 255.0)

    torch.jit.script(Divided().eval()).save(folder / "net.pt")
    return folder / "net.pt"


@network("PyTorch, TorchScript of volumes")
def of_volumes(folder: Path) -> Path:
    volumes = nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv3d(2, 2, 1)).eval()
    torch.jit.script(volumes).save(folder / "net.pt")
    return folder / "net.pt"


@network("PyTorch, TorchScript whose positions are in a row, (b, c, h·w)")
def in_a_row(folder: Path) -> Path:
    torch.jit.trace(segmenter(nn.Flatten(2)), torch.zeros(1, 3, 32, 48)).save(folder / "net.pt")
    return folder / "net.pt"


@network("PyTorch, TorchScript without padding (the image's middle is answered)")
def without_padding(folder: Path) -> Path:
    torch.jit.script(nn.Sequential(nn.Conv2d(3, 3, 9)).eval()).save(folder / "net.pt")
    return folder / "net.pt"


@network("PyTorch, names of classes in labels.txt beside TorchScript")
def with_names(folder: Path) -> Path:
    (folder / "labels.txt").write_text("cat\ndog\nowl\n")
    torch.jit.script(classifier()).save(folder / "net.pt")
    return folder / "net.pt"


# --- Keras ---


def _keras(end: str | None = "sigmoid", size: int | None = None, kind: str = "float32") -> Any:
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((size, size, 3), dtype=kind)
    x = keras.layers.Rescaling(1 / 255)(inputs) if kind == "uint8" else inputs
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    return keras.Model(inputs, keras.layers.Conv2D(3, 1, activation=end)(x))


@network("Keras 3, .keras")
def keras_file(folder: Path) -> Path:
    _keras().save(folder / "net.keras")
    return folder / "net.keras"


@network("Keras, HDF5 under another ending")
def keras_hdf5(folder: Path) -> Path:
    _keras("softmax", 32).save(folder / "net.h5")
    return (folder / "net.h5").rename(folder / "net.model")


@network("Keras, an input of whole numbers and Rescaling inside")
def keras_bytes(folder: Path) -> Path:
    _keras("softmax", 32, "uint8").save(folder / "net.keras")
    return folder / "net.keras"


@network("Keras, layers of one's own")
def keras_layer(folder: Path) -> Path:
    import keras

    class Twice(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return 2 * x

    inputs = keras.Input((32, 32, 3))
    keras.Model(inputs, Twice()(keras.layers.Conv2D(3, 3)(inputs))).save(folder / "net.keras")
    return folder / "net.keras"


@network("TensorFlow, a SavedModel")
def saved_model(folder: Path) -> Path:
    _keras().export(folder / "net", verbose=False)
    return folder / "net"


@network("TensorFlow, the same, trusted", trust=True)
def saved_model_trusted(folder: Path) -> Path:
    return saved_model(folder)


# --- ONNX ---


def _onnx(folder: Path, nodes: list[tuple[str, str, str]], shape: list[Any], kind: str = "FLOAT",
          answer: list[Any] | None = None) -> Path:  # fmt: skip
    import onnx
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(3, 3, 1, 1)).astype("f4"), "v": np.float32([0.5])}
    graph = helper.make_graph(
        [
            helper.make_node(operation, given.split(), made.split())
            for operation, given, made in nodes
        ],
        "graph",
        [helper.make_tensor_value_info("x", getattr(onnx.TensorProto, kind), shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, answer)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "net.onnx")
    return folder / "net.onnx"


_ANY = ["n", 3, "h", "w"]


@network("ONNX, a segmenter that ends in a sigmoid")
def onnx_file(folder: Path) -> Path:
    return _onnx(folder, [("Conv", "x w", "c"), ("Sigmoid", "c", "y")], _ANY, answer=_ANY)


@network("ONNX, nodes out of order")
def onnx_unsorted(folder: Path) -> Path:
    return _onnx(folder, [("Sigmoid", "c", "y"), ("Conv", "x w", "c")], _ANY, answer=_ANY)


@network("ONNX, of one size")
def onnx_of_one_size(folder: Path) -> Path:
    shape = [1, 3, 64, 64]
    return _onnx(folder, [("Conv", "x w", "c"), ("Sigmoid", "c", "y")], shape, answer=shape)


@network("ONNX, a detector's table of boxes")
def onnx_boxes(folder: Path) -> Path:
    import onnx
    from onnx import helper

    model = onnx.load(
        _onnx(folder, [("Conv", "x w", "c"), ("Concat", "c c c c c c c", "d"), ("Reshape", "d s", "r"), ("Slice", "r a b i", "y")],
              [1, 3, 64, 64], answer=[1, 21, 1344])
    )  # fmt: skip
    model.graph.node[1].attribute.append(helper.make_attribute("axis", 1))
    sizes = {"s": [1, 21, 4096], "a": [0], "b": [1344], "i": [2]}
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.int64(numbers), name) for name, numbers in sizes.items()
    )
    onnx.save(model, folder / "net.onnx")
    return folder / "net.onnx"


@network("ONNX, of sound")
def onnx_sound(folder: Path) -> Path:
    return _onnx(folder, [("Mul", "x v", "y")], ["n", 16000, 1], answer=["n", 16000, 1])


@network("ONNX, of text (whole numbers)")
def onnx_text(folder: Path) -> Path:
    import onnx
    from onnx import helper

    model = onnx.load(_onnx(folder, [("Cast", "x", "y")], ["n", 128], "INT64", ["n", 128]))
    model.graph.node[0].attribute.append(helper.make_attribute("to", onnx.TensorProto.FLOAT))
    onnx.save(model, folder / "net.onnx")
    return folder / "net.onnx"


# --- images ---


_RGB = np.full((24, 32, 3), (200, 40, 30), np.uint8)


def _pillow(folder: Path, name: str, mode: str, **how: Any) -> Path:
    from PIL import Image

    Image.fromarray(_RGB).convert(mode).save(folder / name, **how)
    return folder / name


for _title, _name, _mode in (
    ("PNG, colours", "i.png", "RGB"), ("PNG, gray", "i.png", "L"), ("PNG, gray and alpha", "i.png", "LA"),
    ("PNG, a palette", "i.png", "P"), ("PNG, colours and alpha", "i.png", "RGBA"), ("JPEG", "i.jpg", "RGB"),
    ("JPEG, CMYK", "i.jpg", "CMYK"), ("TIFF, CMYK", "i.tif", "CMYK"), ("TIFF, a palette", "i.tif", "P"),
    ("TIFF, Lab", "i.tif", "LAB"), ("GIF", "i.gif", "RGB"), ("WebP", "i.webp", "RGB"),
):  # fmt: skip
    IMAGES[_title] = lambda folder, name=_name, mode=_mode: _pillow(folder, name, mode)


@image("JPEG that a camera turned (EXIF)")
def turned(folder: Path) -> Path:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    return _pillow(folder, "i.jpg", "RGB", exif=exif)


@image("PNG, 16 bits")
def png_of_16_bits(folder: Path) -> Path:
    from PIL import Image

    Image.fromarray(np.full((24, 32), 4000, np.uint16)).save(folder / "i.png")
    return folder / "i.png"


@image("GIF of three frames")
def frames(folder: Path) -> Path:
    from PIL import Image

    each = [Image.fromarray(_RGB // (n + 1)) for n in range(3)]
    each[0].save(folder / "i.gif", save_all=True, append_images=each[1:])
    return folder / "i.gif"


@image("TIFF, a stack with named axes")
def tiff_stack(folder: Path) -> Path:
    import tifffile

    tifffile.imwrite(
        folder / "i.tif",
        np.zeros((5, 2, 24, 32), np.uint16),
        imagej=True,
        metadata={"axes": "ZCYX"},
    )
    return folder / "i.tif"


@image("TIFF, deflate")
def tiff_deflate(folder: Path) -> Path:
    import tifffile

    tifffile.imwrite(folder / "i.tif", _RGB, compression="deflate", photometric="rgb")
    return folder / "i.tif"


@image("TIFF, LZW")
def tiff_lzw(folder: Path) -> Path:
    return _pillow(folder, "i.tif", "RGB", compression="tiff_lzw")


@image("TIFF, JPEG")
def tiff_jpeg(folder: Path) -> Path:
    return _pillow(folder, "i.tif", "RGB", compression="jpeg")


@image("TIFF, zstd")
def tiff_zstd(folder: Path) -> Path:
    return _pillow(folder, "i.tif", "RGB", compression="zstd")


@image("Zarr")
def zarr_array(folder: Path) -> Path:
    import zarr

    zarr.save(str(folder / "i.zarr"), np.zeros((24, 32), np.uint8))
    return folder / "i.zarr"


@image("NumPy")
def npy(folder: Path) -> Path:
    np.save(folder / "i.npy", np.zeros((24, 32, 3), np.float32))
    return folder / "i.npy"


@image("no image (JSON)")
def no_image(folder: Path) -> Path:
    (folder / "i.json").write_text(json.dumps({"a": 1}))
    return folder / "i.json"
