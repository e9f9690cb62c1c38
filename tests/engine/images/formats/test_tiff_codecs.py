"""TIFF files packed in any way are read to the same values, or what is missing is named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.images.formats import tiff_codecs
from napari_neuroscope.engine.images.formats.image_file import open_image
from napari_neuroscope.engine.images.source import read_image

_NUMBERS = np.random.default_rng(0).integers(0, 256, (12, 16, 3)).astype(np.uint8)


COLOURS = np.asarray(Image.fromarray(_NUMBERS).resize((96, 72), Image.Resampling.BICUBIC))


IMAGES = {
    "rgb": COLOURS,
    "gray": COLOURS[..., 0].copy(),
    "16 bits": COLOURS[..., 0].astype(np.uint16) * 257,
    "float": COLOURS[..., 0].astype(np.float32) / 255,
}


LOSSLESS = [
    *((name, way) for name in IMAGES for way in ("lzw", "zstd", "deflate", "packbits", "lerc")),
    *((name, "jpeg2000") for name in ("rgb", "gray", "16 bits")),
    *((name, "png") for name in ("rgb", "gray", "16 bits")),
    ("rgb", "webp"),
]


@pytest.mark.parametrize(("name", "way"), LOSSLESS)
def test_with_imagecodecs_the_values_are_those_that_were_stored(
    name: str, way: str, tmp_path: Path
) -> None:
    pytest.importorskip("imagecodecs")
    image = IMAGES[name]
    stored: dict[str, Any] = {
        "photometric": "rgb" if image.ndim == 3 else "minisblack",
        "compression": way,
    }
    tifffile.imwrite(tmp_path / "strips.tif", image, **stored)
    tifffile.imwrite(tmp_path / "tiles.tif", image, tile=(32, 32), **stored)
    if way in ("lzw", "zstd", "deflate"):
        tifffile.imwrite(tmp_path / "differences.tif", image, predictor=True, **stored)
    for path in tmp_path.iterdir():
        np.testing.assert_array_equal(read_image(path), image)
        np.testing.assert_array_equal(np.asarray(open_image(path)), image)


@pytest.mark.parametrize("way", ["jpeg", "zstd", "tiff_lzw"])
def test_with_imagecodecs_pillows_files_are_read_as_pillow_reads_them(
    way: str, tmp_path: Path
) -> None:
    pytest.importorskip("imagecodecs")
    Image.fromarray(COLOURS).save(tmp_path / "a.tif", compression=way)
    seen = np.asarray(Image.open(tmp_path / "a.tif"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), seen)


@pytest.mark.parametrize("way", ["jpeg", "jpeg2000", "webp", "png", "lerc"])
def test_a_tile_that_is_a_much_larger_picture_is_refused(way: str, tmp_path: Path) -> None:
    codecs = pytest.importorskip("imagecodecs")
    path = tmp_path / "a.tif"
    encode = getattr(codecs, f"{way.replace('jpeg2000', 'jpeg2k')}_encode")
    large = encode(np.zeros((1500, 1500, 3), np.uint8))
    tifffile.imwrite(path, COLOURS[:64, :64], photometric="rgb", compression=way, tile=(64, 64))
    with tifffile.TiffFile(path, mode="r+") as file:
        end = os.path.getsize(path)
        file.filehandle.seek(end)
        file.filehandle.write(large)
        tags = file.pages.first.tags
        tags["TileOffsets"].overwrite(end)
        tags["TileByteCounts"].overwrite(len(large))
    for opens in (read_image, lambda path: np.asarray(open_image(path))):
        with pytest.raises(NeuroscopeError, match="unpacks to more than it may"):
            opens(path)


def test_without_imagecodecs_one_sentence_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def patched(name: str, image: np.ndarray, changes: dict[str, int], **how: Any) -> str:
        tifffile.imwrite(tmp_path / name, image, **how)
        with tifffile.TiffFile(tmp_path / name, mode="r+") as file:
            for tag, value in changes.items():
                file.pages.first.tags[tag].overwrite(value)
        return name

    plain = IMAGES["16 bits"]
    names = {
        patched("j.tif", COLOURS, {"Compression": 34712}, photometric="rgb"): "as JPEG2000",
        patched("l.tif", plain, {"Compression": 5}): "as LZW",
        patched("e.tif", plain, {"Compression": 34887}): "as LERC",
        patched("b.tif", plain, {"BitsPerSample": 12}): "in 12 bits a value",
        patched("f.tif", plain, {"Predictor": 3}, compression="zlib", predictor=True):
            "with the predictor FLOATINGPOINT",
    }  # fmt: skip
    for way in ("zstd", "jpeg", "tiff_lzw"):
        Image.fromarray(COLOURS).save(tmp_path / f"{way}.tif", compression=way)
        names[f"{way}.tif"] = f"as {way.removeprefix('tiff_').upper()}"
    _hide_imagecodecs(monkeypatch)
    for name, said in names.items():
        for opens in (read_image, open_image):
            with pytest.raises(NeuroscopeError) as refusal:
                opens(tmp_path / name)
            words = str(refusal.value)
            assert f"{said}, which needs the package imagecodecs; install it with" in words
            assert words.count(". ") == 0
            assert 'pip install "napari-neuroscope[tiff]"' in words


def _hide_imagecodecs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make tifffile find no decoder but those that it brings itself."""
    from tifffile import TIFF, _imagecodecs

    monkeypatch.setattr(tiff_codecs, "_has", lambda package: False)
    brought = {1: lambda data, **_: data, 8: _imagecodecs.zlib_decode}
    monkeypatch.setattr(TIFF, "DECOMPRESSORS", brought)
    monkeypatch.setattr(TIFF, "UNPREDICTORS", {1: None, 2: _imagecodecs.delta_decode})


@pytest.mark.parametrize("which", [50002, 34934])
def test_what_tells_no_size_is_not_read(which: int, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", COLOURS, photometric="rgb")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        file.pages.first.tags["Compression"].overwrite(which)
    with pytest.raises(
        NeuroscopeError, match="which is not read here; save the image with deflate"
    ):
        read_image(tmp_path / "a.tif")


PHOTO_VALUES = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)


PHOTO = Image.fromarray(PHOTO_VALUES)


def test_a_compression_that_needs_a_package_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PHOTO_VALUES, compression="zlib", photometric="rgb")
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
