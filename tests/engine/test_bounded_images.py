"""Images within bounds: ordinary files open as before, and what is large is known before it is read."""

from __future__ import annotations

import bz2
import gzip
import lzma
import pickle
import zlib
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

import napari_neuroscope as ns
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.reading import decoded_size
from napari_neuroscope.engine.files.reading.plain_data import PlainDataError
from napari_neuroscope.engine.files.reading.plain_xml import parse_xml
from napari_neuroscope.engine.files.reading.unpacked_size import exceeds
from napari_neuroscope.engine.images.formats import picture as pictures
from napari_neuroscope.engine.images.formats.image_file import open_image
from napari_neuroscope.engine.images.formats.lazy_image import LazyImage
from napari_neuroscope.engine.images.ground_truth.kind import VOID, as_truth
from napari_neuroscope.engine.images.preprocessing import as_array, prepare
from napari_neuroscope.engine.images.source import Source, read_image, read_truth
from napari_neuroscope.engine.images.spacing import Spacing
from napari_neuroscope.engine.spec.model_spec import ModelSpec

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 255, (20, 30, 3), np.uint8)
GRAY = COLOURS[..., 0]
DEEP = RNG.integers(0, 60_000, (70, 90)).astype(np.uint16)


# --- pictures: scikit-image reads the same ---------------------------------------------------------


def moving(path: Path, frames: list[np.ndarray]) -> None:
    first, *more = map(Image.fromarray, frames)
    first.save(path, save_all=True, append_images=more)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    colours, gray = Image.fromarray(COLOURS), Image.fromarray(GRAY)
    few = colours.quantize(20)
    for name, picture in {
        "a.png": colours, "gray.png": gray, "alpha.png": Image.fromarray(np.dstack([COLOURS, GRAY])),
        "deep.png": Image.fromarray(GRAY.astype(np.uint16) * 257), "few.png": few, "few.gif": few,
        "one.png": Image.fromarray(GRAY > 128), "two.png": colours.convert("LA"), "a.jpg": colours,
        "inks.jpg": colours.convert("CMYK"), "a.bmp": colours, "few.bmp": few, "a.webp": colours,
        "a.ppm": colours, "a.tga": colours, "a.jp2": colours,
    }.items():  # fmt: skip
        picture.save(tmp_path / name)
    few.save(tmp_path / "clear.png", transparency=3)
    frames = [RNG.integers(0, 255, (20, 30, 3), np.uint8) for _ in range(3)]
    for name in ("film.gif", "film.png", "film.webp"):
        moving(tmp_path / name, frames)
    moving(tmp_path / "gray.gif", [frame[..., 0] for frame in frames])
    return tmp_path


@pytest.mark.parametrize("piece", [1 << 20, 100])
def test_pictures_are_read_as_scikit_image_reads_them(
    album: Path, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skimage.io import imread

    monkeypatch.setattr(pictures, "_PIECE", piece)
    for path in album.iterdir():
        found, wanted = read_image(path), imread(path)
        # scikit-image leaves other colours as they are, and makes a stack of one frame.
        if path.name == "two.png":
            wanted = wanted[..., 0]
        elif path.name in {"inks.jpg", "few.gif"}:
            wanted = np.asarray(Image.open(path).convert("RGB"))
        assert found.dtype == wanted.dtype, path
        np.testing.assert_array_equal(found, wanted, err_msg=path.name)
        assert found.flags.writeable
        if path.suffix != ".gif" and not path.name.startswith("film"):
            assert Source.of(path).shape == found.shape, path


def test_a_tiff_of_another_name_is_a_tiff(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.png", DEEP, tile=(32, 32), compression="zlib")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), DEEP)
    np.testing.assert_array_equal(read_truth(tmp_path / "a.png"), DEEP)
    assert Source.of(tmp_path / "a.png").shape == DEEP.shape


# --- TIFF: tifffile reads the same -----------------------------------------------------------------


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


def test_a_set_of_one_folder_is_one_image(tmp_path: Path) -> None:
    names = ["a_t0.ome.tif", "a_t1.ome.tif"]
    data = "".join(
        f'<TiffData IFD="0" FirstT="{n}" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{n}</UUID>'
        f"</TiffData>"
        for n, name in enumerate(names)
    )
    for n, name in enumerate(names):
        xml = (
            f'<?xml version="1.0"?><OME UUID="urn:uuid:{n}" xmlns="http://www.openmicroscopy.org/'
            f'Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" '
            f'Type="uint16" SizeX="90" SizeY="70" SizeZ="1" SizeC="1" SizeT="2">{data}</Pixels>'
            f"</Image></OME>"
        )
        plane = DEEP[:: 1 - 2 * n]
        tifffile.imwrite(tmp_path / name, plane, description=xml, metadata=None, compression="zlib")
    for name in names:
        wanted = tifffile.imread(tmp_path / name)
        np.testing.assert_array_equal(wanted, [DEEP, DEEP[::-1]])
        np.testing.assert_array_equal(read_image(tmp_path / name), wanted)
        with open_image(tmp_path / name) as image:
            np.testing.assert_array_equal(image[1, 5:9], wanted[1, 5:9])


def test_a_kind_of_a_microscope_is_tried_first(tmp_path: Path) -> None:
    described = "Aperio Image Library v1\r\n90x70 |AppMag = 20"
    tifffile.imwrite(tmp_path / "a.tif", DEEP, description=described, metadata=None, tile=(32, 32))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), DEEP)


# --- Zarr ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shards", [None, (40, 60)])
@pytest.mark.parametrize(
    "packing", [None, ZstdCodec(), GzipCodec(), BloscCodec(), [GzipCodec(), ZstdCodec()]]
)
def test_zarrs_of_version_3_are_read(tmp_path: Path, packing: Any, shards: Any) -> None:
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=DEEP.shape, dtype=DEEP.dtype, chunks=(20, 30), shards=shards,
        compressors=packing,
    )  # fmt: skip
    array[...] = DEEP
    image = open_image(tmp_path / "a.zarr")
    np.testing.assert_array_equal(image[...], DEEP)
    np.testing.assert_array_equal(image[3:50, 7], DEEP[3:50, 7])


@pytest.mark.parametrize("filters", [None, [numcodecs.Delta("<u2")], [numcodecs.Shuffle(2)]])
@pytest.mark.parametrize(
    "packing",
    [None, numcodecs.Blosc("zstd", shuffle=2), numcodecs.Zstd(), numcodecs.GZip(), numcodecs.Zlib(),
     numcodecs.BZ2(), numcodecs.LZ4(), numcodecs.LZMA()],
)  # fmt: skip
def test_zarrs_of_version_2_are_read(tmp_path: Path, packing: Any, filters: Any) -> None:
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=DEEP.shape, dtype=DEEP.dtype, chunks=(20, 30), zarr_format=2,
        compressors=packing, filters=filters,
    )  # fmt: skip
    array[...] = DEEP
    image = open_image(tmp_path / "a.zarr")
    np.testing.assert_array_equal(image[...], DEEP)
    # Workers of dask get it in another process.
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(image.data))[5:9], DEEP[5:9])


# --- sizes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [b"", bytes(300_000), RNG.bytes(300_000)])
@pytest.mark.parametrize(
    ("kind", "pack"),
    [
        ("zlib", zlib.compress), ("gzip", gzip.compress), ("bz2", bz2.compress),
        ("lzma", lzma.compress), ("zstd", numcodecs.Zstd().encode), ("lz4", numcodecs.LZ4().encode),
        ("blosc", numcodecs.Blosc().encode),
    ],
)  # fmt: skip
def test_what_bytes_unpack_to_is_known(kind: str, pack: Any, held: bytes) -> None:
    if not held and kind in ("lz4", "blosc"):
        return
    packed = pack(held)
    assert not exceeds(kind, packed, len(held))
    if held:
        assert exceeds(kind, packed, len(held) - 1)
        # Cut off anywhere, it still ends.
        for end in range(0, len(packed), max(1, len(packed) // 20)):
            exceeds(kind, packed[:end], 1000)


def test_zstd_without_a_told_size_is_counted_by_its_blocks() -> None:
    block = ((1000 << 3) | 1 << 1).to_bytes(3, "little") + b"\0"
    last = ((1000 << 3) | 1 << 1 | 1).to_bytes(3, "little") + b"\0"
    frame = b"\x28\xb5\x2f\xfd\x00\x58" + block * 9 + last
    assert len(numcodecs.Zstd().decode(frame)) == 10_000
    assert not exceeds("zstd", frame, 10_000)
    assert exceeds("zstd", frame, 9_999)
    assert exceeds("zstd", frame * 2, 19_999)


def test_an_honest_file_is_read_however_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ALWAYS_IMAGE", 1000)
    monkeypatch.setattr(limits, "MOST_IMAGE", 1000)
    np.save(tmp_path / "a.npy", DEEP)
    np.testing.assert_array_equal(read_image(tmp_path / "a.npy"), DEEP)
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((320, 320), np.uint8), compression="zlib", tile=(16, 16)
    )
    with pytest.raises(ns.NeuroscopeError, match="would decode to 102,400 bytes"):
        read_image(tmp_path / "a.tif")
    with open_image(tmp_path / "a.tif") as image:
        assert image[3, 4] == 0


def test_no_more_is_read_than_memory_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded_size, "_ALWAYS_FREE", 1000)
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("M", (), {"available": 5000}))
    np.save(tmp_path / "a.npy", DEEP)
    image = open_image(tmp_path / "a.npy")
    np.testing.assert_array_equal(image[:3, ::2], DEEP[:3, ::2])
    for read in (lambda: image[...], lambda: image[0:60], lambda: read_image(tmp_path / "a.npy")):
        with pytest.raises(ns.NeuroscopeError, match="of memory, of which 5,000 are free"):
            read()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<a><b/></a>", ""), ("<a>", "no XML"), ("", "no XML"), ("<a>\x01</a>", "no XML"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "document type"),
        ("<!DOCTYPE a SYSTEM 'http://127.0.0.1/a.dtd'><a/>", "document type"),
        ("<a>" * 101 + "</a>" * 101, "nested more than"), ("<a>" + "<b/>" * 60 + "</a>", "more than 50"),
    ],
)  # fmt: skip
def test_xml_is_plain(text: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_NODES", 50 if "50" in why else 1000)
    if not why:
        assert parse_xml(text).tag == "a"
        return
    with pytest.raises(PlainDataError, match=why):
        parse_xml(text)


# --- arrays ----------------------------------------------------------------------------------------


def test_masked_values_are_no_numbers() -> None:
    masked = np.ma.masked_greater(GRAY.astype(np.float32), 200)
    prepared = prepare(masked, ModelSpec.model_validate({"task": "classification"}), 1)
    count = np.count_nonzero(GRAY > 200)
    assert any(note.startswith(f"{count} values that are not finite") for note in prepared.notes)
    with pytest.raises(ns.NeuroscopeError, match=r"masked values.*image\.filled"):
        as_array(np.ma.masked_greater(GRAY, 200))
    np.testing.assert_array_equal(as_array(np.ma.masked_array(GRAY)), GRAY)
    truth = as_truth(np.ma.masked_equal(np.arange(6, dtype=np.uint8), 4))
    assert truth.tolist() == [0, 1, 2, 3, VOID, 5]


def test_arrays_that_are_none_are_one_sentence() -> None:
    import dask.array as da

    class Broken:
        def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
            raise RuntimeError("no\nno")

    with pytest.raises(ns.NeuroscopeError, match=r"is no array: no\.$"):
        as_array(Broken())
    rows = da.from_array(DEEP)
    image = LazyImage("rows", (rows[rows[:, 0] > 9],), Spacing.of_pixels("yx"))
    with pytest.raises(ns.NeuroscopeError, match="compute_chunk_sizes"):
        _ = image.shape
