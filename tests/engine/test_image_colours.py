"""Images of any colours, and turned ones, are seen as Pillow and scikit-image see them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps
from skimage.color import rgb2lab

import napari_neuroscope as ns
from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.images.formats import tiff_codecs
from napari_neuroscope.engine.images.formats.image_file import open_image
from napari_neuroscope.engine.images.source import PaletteImage, Source, read_image, read_truth

COLOURS = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
PHOTO = Image.fromarray(COLOURS)


def seen(path: Path) -> np.ndarray:
    """Return an image as all ways of reading give it."""
    whole = read_image(path)
    with open_image(path) as image:
        np.testing.assert_array_equal(image[...], whole)
        assert image.spacing.axes[:2] == ("y", "x")
    assert Source.of(path).shape == whole.shape
    return whole


@pytest.mark.parametrize("name", ["a.jpg", "a.tif", "a.png"])
@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LA", "RGBA", "P", "1"])
def test_colours_are_as_pillow_converts_them(name: str, mode: str, tmp_path: Path) -> None:
    path, picture = tmp_path / name, PHOTO.convert(mode)
    try:
        picture.save(path)
    except OSError:
        pytest.skip("no file of this kind has such colours")
    wanted = np.asarray(
        Image.open(path).convert(
            {"LA": "L", "RGBA": "RGBA", "1": "1" if name != "a.jpg" else "L"}.get(mode, "RGB")
        )
    )
    np.testing.assert_allclose(seen(path).astype(int), wanted.astype(int), atol=2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_exif_says_is_turned_is_turned(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("a.jpg", "a.png", "a.webp"):
        PHOTO.save(tmp_path / name, exif=exif)
        wanted = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / name)))
        np.testing.assert_array_equal(seen(tmp_path / name), wanted)
    # Behind the pixels, where others write it.
    content = (tmp_path / "a.png").read_bytes()
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    last = len(content) - 12
    late = content[:start] + content[end:last] + content[start:end] + content[last:]
    (tmp_path / "late.png").write_bytes(late)
    np.testing.assert_array_equal(seen(tmp_path / "late.png"), seen(tmp_path / "a.png"))
    PHOTO.save(tmp_path / "a.tif", tiffinfo={0x0112: orientation})
    np.testing.assert_array_equal(seen(tmp_path / "a.tif"), seen(tmp_path / "a.png"))


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_lab_and_inverted_tiffs(dtype: str, tmp_path: Path) -> None:
    most, step = np.iinfo(dtype).max, 1 << (8 * np.dtype(dtype).itemsize - 8)
    light, *hues = np.moveaxis(rgb2lab(COLOURS), -1, 0)
    signed = [np.rint(hue * step).astype(dtype.replace("u", "i")).view(dtype) for hue in hues]
    stored = np.stack([np.rint(light / 100 * most).astype(dtype), *signed], -1)
    tifffile.imwrite(tmp_path / "lab.tif", stored, photometric="cielab")
    found = seen(tmp_path / "lab.tif") / most
    np.testing.assert_allclose(found, COLOURS / 255, atol=0.05)
    gray = COLOURS[..., 0].astype(dtype)
    tifffile.imwrite(tmp_path / "white.tif", most - gray, photometric="miniswhite")
    np.testing.assert_array_equal(seen(tmp_path / "white.tif"), gray)


def test_measured_values_stay_and_numbers_of_a_truth(tmp_path: Path) -> None:
    numbers = (COLOURS[..., 0] % 5).astype(np.uint8)
    table = np.random.default_rng(1).integers(0, 256, (3, 256)).astype(np.uint16)
    stored: dict[str, Any] = {"photometric": "palette", "colormap": table * 257}
    tifffile.imwrite(tmp_path / "a.tif", numbers, **stored)
    np.testing.assert_array_equal(seen(tmp_path / "a.tif"), table.T[numbers])
    for truth in (read_truth(tmp_path / "a.tif"), Source.of(tmp_path / "a.tif").read_truth()):
        assert isinstance(truth, PaletteImage)
        np.testing.assert_array_equal(truth.indices, numbers)
        np.testing.assert_array_equal(truth.colours, table.T[numbers])
    # ImageJ's tables of colours are for the eye.
    tifffile.imwrite(tmp_path / "j.tif", numbers, imagej=True, **stored)
    np.testing.assert_array_equal(seen(tmp_path / "j.tif"), numbers)


def test_one_frame_is_a_picture(tmp_path: Path) -> None:
    few = PHOTO.quantize(16)
    few.save(tmp_path / "a.gif")
    np.testing.assert_array_equal(seen(tmp_path / "a.gif"), np.asarray(few.convert("RGB")))


def test_a_compression_that_needs_a_package_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, COLOURS, compression="zlib", photometric="rgb")
    PHOTO.save(tmp_path / "zstd.tif", compression="zstd")
    monkeypatch.setattr(tiff_codecs, "_has", lambda package: False)
    with pytest.raises(NeuroscopeError, match="compressed as ZSTD, which needs"):
        read_image(tmp_path / "zstd.tif")

    class Lacking:
        def __getitem__(self, which: int) -> Any:
            raise KeyError("requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TIFF, "DECOMPRESSORS", Lacking())
    for opens in (read_image, open_image):
        with pytest.raises(NeuroscopeError, match=r"imagecodecs; install it with: pip install"):
            opens(path)


def test_axes_that_a_file_names_are_no_channels(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 255, (4, 40, 50)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "z.tif", values, imagej=True, metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "c.ome.tif", values, metadata={"axes": "CYX"})
    spec = {"task": "segmentation", "input": {"channels": 4}}
    network = ns.wrap(lambda x: x[:, :2], spec)
    with open_image(tmp_path / "z.tif") as image:
        for ask in (network.predict, lambda given: ns.explain(network, given, "occlusion", 1)):
            with pytest.raises(NeuroscopeError, match="axes are z, y, x"):
                ask(image)
    with open_image(tmp_path / "c.ome.tif") as image:
        np.testing.assert_allclose(network.predict(image).scores, values[:2] / 255, atol=1e-6)
