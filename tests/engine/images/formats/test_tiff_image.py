"""TIFF files tell their axes and pixel sizes, and are read by parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import napari_neuroscope as ns
from napari_neuroscope.engine.images.formats.image_file import open_image
from napari_neuroscope.engine.images.source import Source, read_image
from napari_neuroscope.engine.images.spacing import Spacing
from zarr_files import FILM

RNG = np.random.default_rng(0)


DEEP = RNG.integers(0, 60_000, (70, 90)).astype(np.uint16)


@pytest.mark.parametrize(
    "how",
    [
        {}, {"tile": (32, 32)}, {"compression": "zlib"}, {"compression": "zlib", "tile": (32, 48)},
        {"compression": "zlib", "predictor": True}, {"compression": "lzma"}, {"bigtiff": True},
        {"byteorder": ">"}, {"rowsperstrip": 7},
        {"compression": "zlib", "byteorder": ">", "bigtiff": True, "rowsperstrip": 7},
    ],
)  # fmt: skip
def test_tiffs_of_many_kinds_are_read(tmp_path: Path, how: dict[str, Any]) -> None:
    path = tmp_path / "a.tif"
    stack = np.stack([DEEP, DEEP[::-1]])
    tifffile.imwrite(path, stack, photometric="minisblack", **how)
    np.testing.assert_array_equal(read_image(path), stack)
    with open_image(path) as image:
        np.testing.assert_array_equal(image[...], stack)
        np.testing.assert_array_equal(image[1, 3:50, 7], stack[1, 3:50, 7])


def test_a_kind_of_a_microscope_is_tried_first(tmp_path: Path) -> None:
    described = "Aperio Image Library v1\r\n90x70 |AppMag = 20"
    tifffile.imwrite(tmp_path / "a.tif", DEEP, description=described, metadata=None, tile=(32, 32))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), DEEP)


@pytest.mark.parametrize("how", [{}, {"compression": "zlib"}])
def test_an_ome_tiff_tells_its_axes_and_pixel_sizes(tmp_path: Path, how: dict[str, str]) -> None:
    said = {"axes": "TZYX", "PhysicalSizeX": 0.2, "PhysicalSizeY": 200, "PhysicalSizeYUnit": "nm",
            "PhysicalSizeZ": 1.5, "TimeIncrement": 3.0, "TimeIncrementUnit": "min"}  # fmt: skip
    tifffile.imwrite(tmp_path / "a.ome.tif", FILM, metadata=said, **how)  # type: ignore[arg-type]
    with open_image(tmp_path / "a.ome.tif") as image:
        assert image.shape == FILM.shape
        assert image.dtype == np.uint16
        assert image.spacing == Spacing.of(
            "tzyx", (3, 1.5, 200, 0.2), ("minute", "micrometer", "nanometer", "micrometer")
        )
        np.testing.assert_array_equal(image[2, 3], FILM[2, 3])
        np.testing.assert_array_equal(np.asarray(image), FILM)


def test_a_file_of_imagej(tmp_path: Path) -> None:
    said = {"axes": "TZYX", "spacing": 1.5, "unit": "um", "finterval": 3}
    tifffile.imwrite(tmp_path / "a.tif", FILM, imagej=True, resolution=(5, 4), metadata=said)
    with open_image(tmp_path / "a.tif") as image:
        units = ("second", "micrometer", "micrometer", "micrometer")
        assert image.spacing == Spacing.of("tzyx", (3, 1.5, 0.25, 0.2), units)


def test_what_a_tiff_does_not_tell_is_of_pixels(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "bad.ome.tif", FILM[0], metadata={"axes": "ZYX", "PhysicalSizeX": 0.0}
    )
    tifffile.imwrite(tmp_path / "plain.tif", FILM[0], photometric="minisblack", resolution=(72, 72))
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((8, 9, 3), np.uint8), photometric="rgb")
    found = {path.name: open_image(path).spacing for path in tmp_path.iterdir()}
    assert found["bad.ome.tif"] == Spacing.of_pixels("zyx")
    assert found["plain.tif"] == Spacing.of_pixels(("axis 0", "y", "x"))
    assert found["rgb.tif"] == Spacing.of_pixels("yxc")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "said",
    [
        'PhysicalSizeX="abc"', 'PhysicalSizeX="-1"', 'PhysicalSizeX="1e999"', 'PhysicalSizeX="nan"',
        'PhysicalSizeX="2" PhysicalSizeXUnit="furlong"', 'PhysicalSizeX="2" PhysicalSizeX="3"', "<",
    ],
)  # fmt: skip
def test_pixel_sizes_that_mean_nothing_are_not_known(tmp_path: Path, said: str) -> None:
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10 if n else "x"}">' for n in range(12))
    for head in ("", f"<!DOCTYPE OME [{entities}]>"):
        xml = (
            f'<?xml version="1.0"?>{head}<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/'
            f'2016-06"><Image ID="Image:0"><Pixels DimensionOrder="XYCZT" ID="Pixels:0" SizeC="1" '
            f'SizeT="1" SizeX="20" SizeY="24" SizeZ="1" Type="uint16" {said}><TiffData/></Pixels>'
            f"</Image>{'&a11;' if head else ''}</OME>"
        )
        tifffile.imwrite(tmp_path / "a.ome.tif", FILM[0, 0], description=xml, metadata=None)
        with open_image(tmp_path / "a.ome.tif") as image:
            assert image.spacing == Spacing.of_pixels("yx")
            np.testing.assert_array_equal(image[...], FILM[0, 0])


def test_a_plane_of_a_compressed_tiff_is_decoded_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "film.tif"
    tifffile.imwrite(path, FILM[0], photometric="minisblack", compression="zlib")
    with tifffile.TiffFile(path) as file:
        places = [page.dataoffsets for page in file.pages]
    assert all(len(place) == 1 for place in places)
    at: list[int] = []
    seek = tifffile.FileHandle.seek

    def told(self: tifffile.FileHandle, offset: int, whence: int = 0, /) -> int:
        at.append(offset)
        return seek(self, offset, whence)

    monkeypatch.setattr(tifffile.FileHandle, "seek", told)
    np.testing.assert_array_equal(Source("film", path, (2,)).read(), FILM[0, 2])
    read = [number for number, (place,) in enumerate(places) if place in at]
    assert read == [2]


def test_a_pyramid_has_levels(tmp_path: Path) -> None:
    whole = np.arange(128 * 128, dtype=np.uint16).reshape(128, 128)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        file.write(whole, subifds=1, tile=(32, 32), metadata={"axes": "YX"})
        file.write(whole[::2, ::2], subfiletype=1, tile=(32, 32))
    with open_image(tmp_path / "a.ome.tif") as image:
        assert [level.shape for level in image.levels] == [(128, 128), (64, 64)]
        np.testing.assert_array_equal(image[40:50, 7], whole[40:50, 7])


@pytest.mark.filterwarnings("ignore")
def test_a_damaged_tiff_is_one_sentence(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "whole.tif", FILM, compression="zlib", photometric="minisblack")
    whole = (tmp_path / "whole.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 3])
    (tmp_path / "none.tif").write_bytes(b"II*\0")
    for name, words in (("cut.tif", "it is cut off"), ("none.tif", "can't be read")):
        for read in (open_image, read_image):
            with pytest.raises(ns.NeuroscopeError, match=words):
                read(tmp_path / name)
