"""Each kind of file that is read here: a good one, and what reads it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from torch import nn

import napari_neuroscope as ns
import packages
from napari_neuroscope.engine.files.code.trust import TrustStore
from napari_neuroscope.engine.images.formats.image_file import open_image
from napari_neuroscope.engine.images.formats.zarr_image import images_of
from napari_neuroscope.engine.images.source import Source, read_image, read_truth
from napari_neuroscope.engine.networks.load import load
from napari_neuroscope.engine.results.save import is_result, read_result
from napari_neuroscope.engine.spec.class_files import read_classes


class FileKind(NamedTuple):
    """A kind of file.

    Attributes
    ----------
    make
        Writes a good one into a folder, and returns its path.
    read
        Reads one, as the program does.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], Any]


def _net() -> nn.Module:
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 4, 3, padding=1)
    return nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


def _weights(folder: Path) -> Path:
    torch.save({"state_dict": _net().state_dict(), "epoch": 3}, folder / "m.pt")
    return folder / "m.pt"


def _legacy_weights(folder: Path) -> Path:
    path = folder / "m.pt"
    torch.save(_net().state_dict(), path, _use_new_zipfile_serialization=False)
    return path


def _pickled(folder: Path) -> Path:
    torch.save(_net(), folder / "m.pt")
    return folder / "m.pt"


def _safetensors(folder: Path) -> Path:
    from safetensors.torch import save_file

    save_file(_net().state_dict(), folder / "m.safetensors")
    return folder / "m.safetensors"


def _script(folder: Path) -> Path:
    torch.jit.script(_net()).save(folder / "m.pt")
    return folder / "m.pt"


def _exported(folder: Path) -> Path:
    program = torch.export.export(_net(), (torch.rand(1, 3, 16, 16),))
    torch.export.save(program, folder / "m.pt2")
    return folder / "m.pt2"


def _onnx(folder: Path) -> Path:
    import onnx
    from onnx import helper, numpy_helper

    weights = numpy_helper.from_array(np.ones((4, 3, 3, 3), "f4"), "W")
    nodes = [
        helper.make_node("Conv", ["x", "W"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("ReduceMean", ["r"], ["y"], axes=[2, 3], keepdims=0),
    ]
    given = helper.make_tensor_value_info("x", 1, [1, 3, 16, 16])
    answer = helper.make_tensor_value_info("y", 1, [1, 4])
    graph = helper.make_graph(nodes, "g", [given], [answer], [weights])
    opset = helper.make_opsetid("", 13)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), folder / "m.onnx")
    return folder / "m.onnx"


def _keras(ending: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        from napari_neuroscope.engine.frameworks.keras.tensorflow_import import import_tensorflow

        import_tensorflow()
        import keras

        inputs = keras.Input((16, 16, 3))
        inner = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
        pooled = keras.layers.GlobalAveragePooling2D()(inner)
        model = keras.Model(inputs, keras.layers.Dense(3)(pooled))
        model.save(folder / f"m{ending}")
        return folder / f"m{ending}"

    return make


def _package(folder: Path) -> Path:
    return packages.make(folder / "package")


def _package_zip(folder: Path) -> Path:
    inner = packages.make(folder / "package")
    with zipfile.ZipFile(folder / "package.zip", "w") as archive:
        for path in sorted(inner.rglob("*")):
            archive.write(path, path.relative_to(inner))
    return folder / "package.zip"


def _spec(folder: Path) -> Path:
    path = folder / "m.neuroscope.yaml"
    said = {
        "task": "segmentation",
        "image_axes": "yxc",
        "input": {
            "size": {"min": [16, 32], "step": 16},
            "resize": "pad",
            "channels": 3,
            "normalization": {"percentile": [1, 99], "then": {"mean": [0.5], "std": 0.5}},
        },
        "output": {"activation": "softmax"},
        "classes": ["a", {"name": "b", "colour": [1, 2, 3]}],
        "pixel_size": [0.5, 0.5],
    }
    path.write_text(yaml.safe_dump(said))
    return path


def _recipe(folder: Path) -> Path:
    path = folder / "r.neuroscope-recipe.yaml"
    said = {
        "format": 1,
        "network": {"name": "n", "source": "demo:nuclei", "digest": "0" * 64, "device": "cpu"},
        "spec": {"task": "segmentation", "classes": ["a", "b"]},
        "method": "grad_cam",
        "options": {"channels": [1, 2]},
        "targets": [{"class": "a", "region": "predicted", "score": "logit", "reduce": "sum"}],
        "layer": ["enc1", "dec1"],
        "planes": "0-3",
        "outputs": [".tif", ".png"],
        "versions": {"torch": "2.0"},
    }
    path.write_text(yaml.safe_dump(said))
    return path


def _text(name: str, text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_text(text)
        return folder / name

    return make


def _picture(ending: str, mode: str = "RGB") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        from PIL import Image

        pixels = np.random.default_rng(0).integers(0, 255, (24, 20, 3), dtype="u1")
        Image.fromarray(pixels).convert(mode).save(folder / f"i{ending}")
        return folder / f"i{ending}"

    return make


def _tiff(**how: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        import tifffile

        pixels = np.random.default_rng(0).integers(0, 60000, (3, 32, 48), dtype="u2")
        path = folder / ("i.ome.tif" if how.get("ome") else "i.tif")
        tifffile.imwrite(path, pixels, **how)
        return path

    return make


def _zarr(zarr_format: int) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        import zarr

        path = folder / "i.zarr"
        group = zarr.open_group(str(path), mode="w", zarr_format=zarr_format)
        array = group.create_array("0", shape=(32, 48), chunks=(16, 16), dtype="u2")
        array[...] = np.arange(32 * 48, dtype="u2").reshape(32, 48)
        scale = [{"type": "scale", "scale": [0.5, 0.5]}]
        image = {
            "version": "0.4",
            "axes": [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}],
            "datasets": [{"path": "0", "coordinateTransformations": scale}],
        }
        said = {"multiscales": [image]}
        group.attrs.update(said if zarr_format == 2 else {"ome": {"version": "0.5", **said}})
        return path

    return make


def _result(ending: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        from results import with_regions

        ns.save(with_regions(), None, folder / f"e{ending}")
        # A NumPy file has its record beside it; the folder is what is edited.
        return folder if ending == ".npy" else folder / f"e{ending}"

    return make


def _read_pixels(path: Path) -> Any:
    with open_image(path) as image:
        return image.spacing, image[tuple(slice(0, 8) for _ in image.shape)]


def _read_picture(path: Path) -> Any:
    return read_image(path), read_truth(path), Source.of(path).shape


def _read_zarr(path: Path) -> Any:
    return [_read_pixels(image) for image in images_of(path)[:3]]


def _read_result(path: Path) -> Any:
    path = path / "e.npy" if (path / "e.npy").is_file() else path
    is_result(path)
    result = read_result(path)
    return np.asarray(result.explanation.values), result.explanation.labels


def _read_recipe(path: Path) -> Any:
    recipe = ns.Recipe.load(path)
    return recipe.to_yaml(), recipe.as_command(), recipe.needs_ground_truth


def _read_spec(path: Path) -> Any:
    spec = ns.ModelSpec.load(path)
    return spec.to_yaml(), spec.steps, [spec.colour(n) for n in range(3)]


_CLASSES = {"classes": [{"name": "a", "color": "#ff0000"}, "b"], "id2label": {"0": "x", "1": "y"}}

KINDS: dict[str, FileKind] = {
    "weights": FileKind(_weights, load),
    "legacy_weights": FileKind(_legacy_weights, load),
    "pickled_module": FileKind(_pickled, load),
    "safetensors": FileKind(_safetensors, load),
    "torchscript": FileKind(_script, load),
    "torch_export": FileKind(_exported, load),
    "package_folder": FileKind(_package, load),
    "package_zip": FileKind(_package_zip, load),
    "spec": FileKind(_spec, _read_spec),
    "recipe": FileKind(_recipe, _read_recipe),
    "classes_text": FileKind(_text("c.txt", "sky 1 2 3\nroad\nn01440764 tench\n"), read_classes),
    "classes_yaml": FileKind(_text("c.yaml", yaml.safe_dump(_CLASSES)), read_classes),
    "classes_json": FileKind(_text("c.json", json.dumps(_CLASSES)), read_classes),
    "trust_store": FileKind(
        _text("trusted.json", json.dumps({"0" * 64: "m.pt"})), lambda path: "1" in TrustStore(path)
    ),
    "tiff": FileKind(_tiff(), _read_pixels),
    "tiff_tiles": FileKind(_tiff(tile=(16, 16), compression="zlib"), _read_pixels),
    "tiff_whole": FileKind(_tiff(compression="zlib"), _read_picture),
    "ome_tiff": FileKind(_tiff(ome=True, metadata={"axes": "CYX"}), _read_pixels),
    "imagej_tiff": FileKind(
        _tiff(imagej=True, metadata={"spacing": 2, "unit": "um"}), _read_pixels
    ),
    "png": FileKind(_picture(".png"), _read_picture),
    "png_palette": FileKind(_picture(".png", "P"), _read_picture),
    "jpeg": FileKind(_picture(".jpg"), _read_picture),
    "gif": FileKind(_picture(".gif", "P"), _read_picture),
    "bmp": FileKind(_picture(".bmp"), _read_picture),
    "webp": FileKind(_picture(".webp"), _read_picture),
    "npy": FileKind(
        lambda f: (np.save(f / "i.npy", np.zeros((8, 9))), f / "i.npy")[1], _read_pixels
    ),
    "zarr_v2": FileKind(_zarr(2), _read_zarr),
    "zarr_v3": FileKind(_zarr(3), _read_zarr),
    "result_tiff": FileKind(_result(".tif"), _read_result),
    "result_npy": FileKind(_result(".npy"), _read_result),
    "result_zarr": FileKind(_result(".zarr"), _read_result),
}
if find_spec("onnxruntime"):
    KINDS["onnx"] = FileKind(_onnx, load)
if find_spec("tensorflow"):
    KINDS["keras"] = FileKind(_keras(".keras"), load)
    KINDS["keras_h5"] = FileKind(_keras(".h5"), load)
