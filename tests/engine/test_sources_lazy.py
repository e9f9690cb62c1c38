"""Image files that are opened without being read: TIFF, Zarr and plates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from zarr.storage import LocalStore

import napari_neuroscope as ns
from napari_neuroscope.engine.images.formats.image_file import open_image
from napari_neuroscope.engine.images.formats.zarr_image import images_of
from napari_neuroscope.engine.images.pairing.find_pairs import pairs_of
from napari_neuroscope.engine.images.source import Source, read_image
from napari_neuroscope.engine.images.spacing import Spacing

FILM = np.arange(5 * 4 * 24 * 20, dtype=np.uint16).reshape(5, 4, 24, 20)
AXES = [
    {"name": "t", "type": "time", "unit": "second"},
    {"name": "z", "type": "space", "unit": "micrometer"},
    {"name": "y", "type": "space", "unit": "micrometer"},
    {"name": "x", "type": "space", "unit": "micrometer"},
]


def multiscales(levels: int = 1, **more: Any) -> list[dict[str, Any]]:
    datasets = [
        {
            "path": str(n),
            "coordinateTransformations": [
                {"type": "scale", "scale": [3.0, 1.5, 0.2 * 2**n, 0.2 * 2**n]},
                {"type": "translation", "translation": [0.0, 10.0, 0.1 * n, 0.1 * n]},
            ],
        }
        for n in range(levels)
    ]
    return [{"axes": AXES, "datasets": datasets, **more}]


def put_ome_zarr(path: Path, version: str = "0.5", values: np.ndarray = FILM) -> Path:
    """Write an OME-Zarr of two levels, a chunk a plane."""
    group = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    for number, level in enumerate((values, values[..., ::2, ::2])):
        group.create_array(str(number), data=level, chunks=(1, 1, *level.shape[-2:]))
    said = {"multiscales": multiscales(2)}
    group.attrs.update({"ome": {"version": version, **said}} if version == "0.5" else said)
    return path


def damaged(path: Path, **said: Any) -> Path:
    put_ome_zarr(path, "0.4")
    zarr.open_group(path).attrs.update(said)
    return path


@pytest.fixture
def chunks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the chunks that are read of stores on the disk."""
    read: list[str] = []
    get = LocalStore.get

    async def counted(self: LocalStore, key: str, *args: Any, **kwargs: Any) -> Any:
        if not key.endswith((".json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")):
            read.append(key)
        return await get(self, key, *args, **kwargs)

    monkeypatch.setattr(LocalStore, "get", counted)
    return read


# --- TIFF -----------------------------------------------------------------------------------------


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


# --- arrays ---------------------------------------------------------------------------------------


def test_numpy_files_are_mapped(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", FILM)
    image = open_image(tmp_path / "a.npy")
    assert isinstance(image.data, np.memmap)
    assert image.spacing.axes == ("axis 0", "axis 1", "y", "x")
    # What was read is no part of the file.
    assert not isinstance(image[1], np.memmap)
    np.save(tmp_path / "b.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ns.NeuroscopeError, match="can't be read"):
        open_image(tmp_path / "b.npy")


@pytest.mark.parametrize("version", [2, 3])
def test_plain_zarr_arrays(tmp_path: Path, version: Any, chunks: list[str]) -> None:
    path = tmp_path / "a.zarr"
    names = {"dimension_names": list("tzyx")} if version == 3 else {}
    array = zarr.create_array(
        path, shape=FILM.shape, dtype=FILM.dtype, chunks=(1, 1, 24, 20), zarr_format=version,
        **names,  # type: ignore[arg-type]
    )  # fmt: skip
    array[:] = FILM
    if version == 2:
        array.attrs["_ARRAY_DIMENSIONS"] = list("tzyx")
    chunks.clear()
    image = open_image(path)
    assert image.spacing == Spacing.of_pixels("tzyx")
    assert chunks == []
    np.testing.assert_array_equal(image[4, 1], FILM[4, 1])
    assert len(chunks) == 1


# --- OME-Zarr -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_ome_zarr_is_read_chunk_by_chunk(
    tmp_path: Path, version: str, chunks: list[str]
) -> None:
    path = put_ome_zarr(tmp_path / "a b é.zarr", version)
    chunks.clear()
    image = open_image(path)
    units = ("second", "micrometer", "micrometer", "micrometer")
    assert image.spacing == Spacing(tuple("tzyx"), (3, 1.5, 0.2, 0.2), (0, 10, 0, 0), units)
    assert [level.shape for level in image.levels] == [(5, 4, 24, 20), (5, 4, 12, 10)]
    source = Source("a", path, (3, 2))
    assert source.shape == (24, 20)
    assert source.spacing == image.spacing.along("yx")
    assert chunks == []
    np.testing.assert_array_equal(source.read(), FILM[3, 2])
    assert len(chunks) == 1
    np.testing.assert_array_equal(read_image(path), FILM)


def test_scales_of_a_whole_image_come_after_those_of_its_levels(tmp_path: Path) -> None:
    more = [{"type": "scale", "scale": [2.0] * 4}]
    path = damaged(tmp_path / "a.zarr", multiscales=multiscales(coordinateTransformations=more))
    assert open_image(path).spacing.steps == (6, 3, 0.4, 0.4)
    assert open_image(path).spacing.origin == (0, 20, 0, 0)


def test_the_oldest_images_name_no_axes(tmp_path: Path) -> None:
    path = damaged(tmp_path / "a.zarr", multiscales=[{"datasets": [{"path": "0"}]}])
    assert open_image(path).spacing.axes == ("c", "z", "y", "x")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"multiscales": 3}, "“multiscales” is no list"),
        ({"multiscales": []}, "“multiscales” is no list, or an empty one"),
        ({"multiscales": [{"axes": AXES}]}, "“datasets” is missing"),
        ({"multiscales": [{"axes": AXES, "datasets": [{"path": "../../x"}]}]}, "no folder in it"),
        ({"multiscales": [{"axes": AXES, "datasets": [{"path": "7"}]}]}, "“7”, which is not there"),
        ({"multiscales": multiscales(axes=AXES[1:])}, "the axes z, y, x of an image of 4"),
        ({"multiscales": multiscales(axes=[{"name": 3}] * 4)}, "an axis is named 3"),
        (
            {"multiscales": multiscales(coordinateTransformations=[{"type": "scale", "scale": [0] * 4}])},
            "its scale is not above zero",
        ),
        (
            {"multiscales": multiscales(coordinateTransformations=[{"type": "scale", "scale": ["x"]}])},
            "its scale has not 4 numbers",
        ),
        ({"multiscales": multiscales(coordinateTransformations=7)}, "can't be read"),
    ],
)  # fmt: skip
def test_damaged_metadata_is_one_sentence(tmp_path: Path, said: dict[str, Any], words: str) -> None:
    with pytest.raises(ns.NeuroscopeError, match=words):
        open_image(damaged(tmp_path / "a.zarr", **said))


def test_a_damaged_chunk_and_what_is_no_image(tmp_path: Path) -> None:
    path = put_ome_zarr(tmp_path / "a.zarr")
    chunk = path / "0" / "c" / "1" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:20])
    image = open_image(path)
    np.testing.assert_array_equal(image[0], FILM[0])
    with pytest.raises(ns.NeuroscopeError, match=r"“?a.zarr”? can't be read"):
        image[1, 0]
    (path / "zarr.json").write_text("[" * 100_000)
    with pytest.raises(ns.NeuroscopeError, match="can't be read"):
        open_image(path)
    zarr.open_group(tmp_path / "group.zarr", mode="w").create_array("own", data=FILM)
    with pytest.raises(
        ns.NeuroscopeError, match="no OME-Zarr image; choose one of its arrays, own"
    ):
        open_image(tmp_path / "group.zarr")
    assert open_image(tmp_path / "group.zarr" / "own").shape == FILM.shape
    (tmp_path / "folder.zarr").mkdir()
    with pytest.raises(ns.NeuroscopeError, match="a folder, and no Zarr"):
        open_image(tmp_path / "folder.zarr")
    zarr.save(tmp_path / "complex.zarr", np.zeros((3, 4), complex))
    with pytest.raises(ns.NeuroscopeError, match="real numbers are needed"):
        open_image(tmp_path / "complex.zarr")


def test_pickles_in_a_zarr_are_not_run(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    zarr.create_array(path, shape=(4, 5), dtype="u1", zarr_format=2, compressors=None)[:] = 1
    described = json.loads((path / ".zarray").read_text())
    ran = tmp_path / "ran"
    for place, codecs in (("filters", [{"id": "pickle"}]), ("compressor", {"id": "pickle"})):
        (path / ".zarray").write_text(
            json.dumps({**described, "filters": None, "compressor": None, place: codecs})
        )
        (path / "0.0").write_bytes(f"cpathlib\nPath\n(V{ran}\ntRctouch\n.".encode())
        # Newer Zarrs know by themselves that numbers are no pickles.
        with pytest.raises(ns.NeuroscopeError, match=r"stored as pickles|can't be read"):
            open_image(path)[0]
    assert not ran.exists()


# --- plates and sets ------------------------------------------------------------------------------


def put_plate(path: Path) -> Path:
    plate = zarr.open_group(path, mode="w")
    wells = ("A/1", "B/12")
    plate.attrs["ome"] = {"version": "0.5", "plate": {"wells": [{"path": well} for well in wells]}}
    for well in wells:
        images = [{"path": "0"}, {"path": "1"}]
        group = plate.create_group(well)
        group.attrs["ome"] = {"version": "0.5", "well": {"images": images}}
        for image in images:
            put_ome_zarr(path / well / image["path"])
    return path


def test_a_plate_is_an_image_a_field(tmp_path: Path) -> None:
    path = put_plate(tmp_path / "scans" / "plate.zarr")
    put_ome_zarr(tmp_path / "scans" / "other.zarr")
    pairs = pairs_of(tmp_path / "scans")
    assert [pair.name for pair in pairs] == [
        "other.zarr", "plate.zarr/A/1/0", "plate.zarr/A/1/1", "plate.zarr/B/12/0",
        "plate.zarr/B/12/1",
    ]  # fmt: skip
    assert pairs.skipped == ()
    np.testing.assert_array_equal(pairs[3].image.read(), FILM)
    assert [pair.name for pair in pairs_of(path)] == [pair.name for pair in pairs][1:]
    with pytest.raises(ns.NeuroscopeError, match="several images; choose one, such as A/1/0"):
        open_image(path)
    assert Source.of(path / "A" / "1" / "0").name == "plate.zarr/A/1/0"
    assert Source.of(path / "A" / "1" / "0").shape == FILM.shape


def test_ground_truth_of_plates_and_zarrs(tmp_path: Path) -> None:
    path = put_plate(tmp_path / "plate.zarr")
    truth = put_plate(tmp_path / "truth" / "plate_gt.zarr")
    put_ome_zarr(tmp_path / "a.ome.zarr")
    np.save(tmp_path / "truth" / "a_mask.npy", FILM)
    pairs = pairs_of([path, tmp_path / "a.ome.zarr"], tmp_path / "truth")
    found = {pair.name: pair.truth for pair in pairs}
    assert isinstance(found["plate.zarr/B/12/1"], Source)
    assert found["plate.zarr/B/12/1"].path == truth / "B" / "12" / "1"
    assert isinstance(found["a.ome.zarr"], Source)
    assert found["a.ome.zarr"].path == tmp_path / "truth" / "a_mask.npy"


def test_a_damaged_plate_is_left_out(tmp_path: Path) -> None:
    path = put_plate(tmp_path / "plate.zarr")
    np.save(tmp_path / "a.npy", FILM)
    for well in ("C/3", "../a"):
        zarr.open_group(path).attrs["ome"] = {"plate": {"wells": [{"path": well}]}}
        pairs = pairs_of(tmp_path)
        assert [pair.name for pair in pairs] == ["a.npy"]
        assert "is damaged" in pairs.skipped[0].reason


def test_images_that_were_written_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "set.zarr"
    zarr.open_group(path, mode="w", zarr_format=2).attrs["bioformats2raw.layout"] = 3
    for name in ("0", "1", "10"):
        put_ome_zarr(path / name, "0.4")
    assert [one.name for one in images_of(path)] == ["0", "1", "10"]
    group = zarr.open_group(path / "OME", mode="w", zarr_format=2)
    group.attrs["series"] = ["1"]
    assert images_of(path) == [path / "1"]


def test_planes_of_files_are_read_one_by_one(tmp_path: Path, chunks: list[str]) -> None:
    import torch

    network = ns.wrap(torch.nn.Conv2d(1, 2, 1), {"task": "segmentation"}, device="cpu")
    image, truth = put_ome_zarr(tmp_path / "a.zarr"), put_ome_zarr(tmp_path / "t" / "a.zarr")
    chunks.clear()
    planes = list(pairs_of(image, truth)[0].planes(network))
    assert len(planes) == 20
    assert planes[6].name == "a.zarr [1, 2]"
    assert chunks == []
    np.testing.assert_array_equal(planes[6].image.read(), FILM[1, 2])
    assert isinstance(planes[6].truth, Source)
    np.testing.assert_array_equal(planes[6].truth.read_truth(), FILM[1, 2])
    assert len(chunks) == 2
