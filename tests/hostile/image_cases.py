"""Images: pictures, TIFF, Zarr and NumPy files that unpack to too much, never end, or lead elsewhere."""

from __future__ import annotations

import bz2
import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from PIL import Image

from hostile.watch import Opener, case, marker
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.images import pairs_of
from napari_neuroscope.engine.lazy_images import open_image
from napari_neuroscope.engine.sources import Source, read_image, read_truth

MB = 1 << 20


def whole(path: Path) -> Opener:
    return lambda: read_image(path).shape


def corner(path: Path) -> Opener:
    """Open an image and read the first pixels of it."""

    def read() -> Any:
        with open_image(path) as image:
            return image[tuple(slice(0, 4) for _ in image.shape)].tolist()

    return read


def lowered(read: Opener, **lower: int) -> Opener:
    """Read under limits as low as the file is small."""

    def reading() -> Any:
        for name, value in lower.items():
            setattr(limits, name, value)
        return read()

    return reading


def deflated(size: int, head: bytes) -> bytes:
    """Return zeros as deflate packs them, made of one block that stands there many times."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(b"\0" * MB) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + block * (size // MB) + b"\x03\0" + bytes(8)


ZLIB, GZIP = b"\x78\x9c", b"\x1f\x8b\x08" + bytes(7)


# --- pictures -------------------------------------------------------------------------------------


def chunk(name: bytes, held: bytes) -> bytes:
    return struct.pack(">I", len(held)) + name + held + struct.pack(">I", zlib.crc32(name + held))


def put_png(path: Path, width: int, height: int, rows: bytes) -> Path:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    return path


@case()
def png_of_more_pixels_than_pillow_takes(folder: Path) -> Opener:
    return whole(put_png(folder / "i.png", 60_000, 60_000, b"\0" * 60_001 * 16))


@case()
def png_larger_than_its_bytes(folder: Path) -> Opener:
    path = put_png(folder / "i.png", 3000, 3000, b"\0" * 3001 * 3000)
    return lowered(whole(path), ALWAYS_IMAGE=MB)


@case()
def png_larger_than_its_bytes_as_truth(folder: Path) -> Opener:
    Image.new("P", (3000, 3000)).save(folder / "i.png")
    return lowered(lambda: read_truth(folder / "i.png"), ALWAYS_IMAGE=MB)


@case()
def png_cut_off(folder: Path) -> Opener:
    Image.effect_noise((64, 64), 9).save(folder / "i.png")
    (folder / "i.png").write_bytes((folder / "i.png").read_bytes()[:900])
    return whole(folder / "i.png")


@case()
def png_with_a_text_that_unpacks(folder: Path) -> Opener:
    path = put_png(folder / "i.png", 4, 4, b"\0" * 20)
    held = path.read_bytes()
    bomb = chunk(b"zTXt", b"Comment\0\0" + deflated(70 * MB, ZLIB))
    path.write_bytes(held[:33] + bomb + held[33:])
    return whole(path)


@case()
def jpeg_of_noise(folder: Path) -> Opener:
    (folder / "i.jpg").write_bytes(b"\xff\xd8\xff" + bytes(range(256)) * 3)
    return whole(folder / "i.jpg")


@case()
def gif_of_many_frames(folder: Path) -> Opener:
    frames = [Image.new("L", (8, 8), shade) for shade in range(60)]
    frames[0].save(folder / "i.gif", save_all=True, append_images=frames[1:])
    return lowered(whole(folder / "i.gif"), MOST_FRAMES=50)


@case()
def gif_of_large_frames(folder: Path) -> Opener:
    frames = [Image.new("L", (500, 500), shade) for shade in range(20)]
    frames[0].save(folder / "i.gif", save_all=True, append_images=frames[1:])
    return lowered(whole(folder / "i.gif"), ALWAYS_IMAGE=2 * MB)


@case()
def postscript_named_as_png(folder: Path) -> Opener:
    run = (
        f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({marker(folder)}) (w) file closefile\n"
    )
    (folder / "i.png").write_text(run)
    return whole(folder / "i.png")


@case()
def bmp_of_negative_size(folder: Path) -> Opener:
    head = struct.pack("<IiiHHIIiiII", 40, -4, 1 << 30, 1, 24, 0, 0, 0, 0, 0, 0)
    (folder / "i.bmp").write_bytes(b"BM" + struct.pack("<IHHI", 1000, 0, 0, 54) + head)
    return whole(folder / "i.bmp")


@case(seconds=5)
def pipe_as_picture(folder: Path) -> Opener:
    os.mkfifo(folder / "i.png")
    return whole(folder / "i.png")


@case(seconds=5)
def device_as_picture(folder: Path) -> Opener:
    (folder / "i.png").symlink_to("/dev/zero")
    return lambda: Source.of(folder / "i.png").shape


# --- NumPy ----------------------------------------------------------------------------------------


class Ran:
    """What a pickle runs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def put_npy(path: Path, head: str) -> Path:
    text = head.encode()
    path.write_bytes(b"\x93NUMPY\x02\0" + struct.pack("<I", len(text)) + text + bytes(64))
    return path


@case()
def npy_of_objects(folder: Path) -> Opener:
    np.save(folder / "i.npy", np.array([Ran(marker(folder))], object), allow_pickle=True)
    return whole(folder / "i.npy")


@case()
def npy_of_objects_within_fields(folder: Path) -> Opener:
    kind = [("a", "<f4"), ("b", "O")]
    values = np.array([(1, Ran(marker(folder)))], kind)
    np.save(folder / "i.npy", values, allow_pickle=True)
    return corner(folder / "i.npy")


@case()
def npy_that_claims_terabytes(folder: Path) -> Opener:
    said = "{'descr':'<f4','fortran_order':False,'shape':(1000000,1000000)}\n"
    return whole(put_npy(folder / "i.npy", said))


@case()
def npy_of_a_shape_that_overflows(folder: Path) -> Opener:
    said = "{'descr':'|u1','fortran_order':False,'shape':(4294967296,4294967296)}\n"
    return corner(put_npy(folder / "i.npy", said))


@case()
def npy_of_a_negative_shape(folder: Path) -> Opener:
    return whole(
        put_npy(folder / "i.npy", "{'descr':'|u1','fortran_order':False,'shape':(-4,-4)}\n")
    )


@case()
def npy_whose_header_is_code(folder: Path) -> Opener:
    said = f"__import__('pathlib').Path({str(marker(folder))!r}).touch()\n"
    return corner(put_npy(folder / "i.npy", said))


@case()
def npy_whose_header_never_ends(folder: Path) -> Opener:
    return whole(put_npy(folder / "i.npy", "[" * 9000))


@case()
def npy_with_holes(folder: Path) -> Opener:
    with (folder / "i.npy").open("wb") as file:
        said = {"descr": "|u1", "fortran_order": False, "shape": (40_000, 50_000)}
        np.lib.format.write_array_header_2_0(file, said)
        file.truncate(file.tell() + 40_000 * 50_000)
    return whole(folder / "i.npy")


# --- TIFF -----------------------------------------------------------------------------------------


@case()
def tiff_of_empty_tiles(folder: Path) -> Opener:
    tile = np.zeros((512, 512), np.uint8)
    with tifffile.TiffWriter(folder / "i.tif") as file:
        file.write((tile for _ in range(64)), shape=(4096, 4096), dtype="u1", tile=(512, 512),
                   compression="zlib")  # fmt: skip
    return lowered(whole(folder / "i.tif"), ALWAYS_IMAGE=MB)


@case("opens")
def tiff_of_empty_tiles_by_parts(folder: Path) -> Opener:
    tiff_of_empty_tiles.build(folder)
    return lowered(corner(folder / "i.tif"), ALWAYS_IMAGE=MB, ALWAYS_CHUNK=MB)


@case()
def tiff_of_one_large_strip(folder: Path) -> Opener:
    values = np.zeros((4096, 4096), np.uint8)
    tifffile.imwrite(folder / "i.tif", values, compression="zlib", rowsperstrip=4096)
    return lowered(corner(folder / "i.tif"), ALWAYS_CHUNK=MB)


def patched(path: Path, **values: int) -> Path:
    """Write over the values of tags."""
    held = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        for name, value in values.items():
            tag = file.pages.first.tags[name]
            struct.pack_into("<H" if tag.dtype == 3 else "<I", held, tag.valueoffset, value)
    path.write_bytes(held)
    return path


@case()
def tiff_that_claims_gigabytes(folder: Path) -> Opener:
    tifffile.imwrite(folder / "i.tif", np.zeros((16, 16), np.uint8))
    return whole(patched(folder / "i.tif", ImageWidth=60_000, ImageLength=60_000))


@case()
def tiff_that_claims_gigabytes_by_parts(folder: Path) -> Opener:
    tifffile.imwrite(folder / "i.tif", np.zeros((16, 16), np.uint8), compression="zlib")
    return corner(
        patched(folder / "i.tif", ImageWidth=60_000, ImageLength=60_000, RowsPerStrip=60_000)
    )


@case()
def tiff_of_tiles_that_are_not_there(folder: Path) -> Opener:
    tifffile.imwrite(
        folder / "i.tif", np.zeros((16, 16), np.uint8), tile=(16, 16), compression="zlib"
    )
    return corner(patched(folder / "i.tif", ImageWidth=65_535, ImageLength=65_535))


@case()
def tiff_whose_tile_unpacks_to_more(folder: Path) -> Opener:
    noise = np.random.default_rng(0).integers(0, 255, (1024, 1024), np.uint8)
    tifffile.imwrite(folder / "i.tif", noise, compression="zlib", tile=(1024, 1024))
    with tifffile.TiffFile(folder / "i.tif") as file:
        at, size = file.pages.first.dataoffsets[0], file.pages.first.databytecounts[0]
    bomb = deflated(700 * MB, ZLIB)[:size]
    held = bytearray((folder / "i.tif").read_bytes())
    held[at : at + len(bomb)] = bomb
    (folder / "i.tif").write_bytes(held)
    return whole(folder / "i.tif")


def chained(path: Path, count: int, back_to: int | None) -> Path:
    """Write a file of pages that say next to nothing, the last of which may lead back."""
    tifffile.imwrite(path, np.zeros((16, 16), np.uint8))
    held = bytearray(path.read_bytes())
    first = struct.unpack_from("<I", held, 4)[0]
    tags = struct.unpack_from("<H", held, first)[0]
    page = bytes(held[first : first + 2 + 12 * tags])
    struct.pack_into("<I", held, first + len(page), len(held))
    for number in range(count):
        last = number == count - 1
        after = (first if back_to is None else back_to) if last else len(held) + len(page) + 4
        held += page + struct.pack("<I", after)
    path.write_bytes(held)
    return path


@case()
def tiff_whose_pages_go_round(folder: Path) -> Opener:
    return whole(chained(folder / "i.tif", 150, None))


@case()
def tiff_of_too_many_pages(folder: Path) -> Opener:
    return lowered(corner(chained(folder / "i.tif", 600, 0)), MOST_PAGES=500)


@case()
def tiff_of_too_many_inner_pages(folder: Path) -> Opener:
    tag = (65000, 4, 3000, tuple(range(8, 3008)), True)
    tifffile.imwrite(folder / "i.tif", np.zeros((16, 16), np.uint8), extratags=[tag])
    held = (folder / "i.tif").read_bytes()
    # tifffile writes no such list by itself.
    (folder / "i.tif").write_bytes(
        held.replace(struct.pack("<HH", 65000, 4), struct.pack("<HH", 330, 4))
    )
    return lowered(whole(folder / "i.tif"), MOST_PAGES=1000)


@case()
def tiff_described_at_length(folder: Path) -> Opener:
    tifffile.imwrite(
        folder / "i.tif", np.zeros((4, 4), np.uint8), description="a" * 9000, metadata=None
    )
    return lowered(corner(folder / "i.tif"), MOST_OME_XML=5000)


def put_ome(path: Path, pixels: str, *, head: str = "", more: str = "") -> Path:
    xml = (
        f'<?xml version="1.0"?>{head}<OME UUID="urn:uuid:1" xmlns="http://www.openmicroscopy.org/'
        f'Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" '
        f'Type="uint8" SizeX="16" SizeY="16" {pixels}</Pixels></Image>{more}</OME>'
    )
    tifffile.imwrite(path, np.zeros((16, 16), np.uint8), description=xml, metadata=None)
    return path


def of_two(name: str) -> str:
    """Return the pixels of two files, the second of which is named."""
    files = "".join(
        f'<TiffData IFD="0" FirstT="{n}" PlaneCount="1"><UUID FileName="{one}">urn:uuid:{n + 1}'
        f"</UUID></TiffData>"
        for n, one in enumerate(("i.ome.tif", name))
    )
    return f'SizeZ="1" SizeC="1" SizeT="2">{files}'


def secret(folder: Path) -> Path:
    path = folder.parent / f"{folder.name}-secret.tif"
    tifffile.imwrite(path, np.full((16, 16), 77, np.uint8))
    return path


def _ome_set(name: Callable[[Path], str]) -> Callable[[Path], Opener]:
    def build(folder: Path) -> Opener:
        return whole(put_ome(folder / "i.ome.tif", of_two(name(secret(folder)))))

    return build


ome_set_of_the_folder_above = case()(_ome_set(lambda path: f"../{path.name}"))
ome_set_of_an_absolute_path = case()(_ome_set(str))
ome_set_of_a_windows_path = case()(_ome_set(lambda path: f"..\\{path.name}"))


@case()
def ome_set_of_a_link_that_leads_out(folder: Path) -> Opener:
    (folder / "other.tif").symlink_to(secret(folder))
    return whole(put_ome(folder / "i.ome.tif", of_two("other.tif")))


@case(seconds=5)
def ome_set_of_a_pipe(folder: Path) -> Opener:
    os.mkfifo(folder / "other.tif")
    return corner(put_ome(folder / "i.ome.tif", of_two("other.tif")))


@case("opens")
def ome_that_expands_without_end(folder: Path) -> Opener:
    words = '<!ENTITY a0 "ha">' + "".join(
        f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10)
    )
    path = put_ome(
        folder / "i.ome.tif", 'SizeZ="1" SizeC="1" SizeT="1"><TiffData/>',
        head=f"<!DOCTYPE OME [{words}]>", more="<a>&a9;</a>",
    )  # fmt: skip
    return corner(path)


@case("opens")
def ome_that_includes_a_file(folder: Path) -> Opener:
    path = put_ome(
        folder / "i.ome.tif", 'SizeZ="1" SizeC="1" SizeT="1" PhysicalSizeX="&e;"><TiffData/>',
        head=f'<!DOCTYPE OME [<!ENTITY e SYSTEM "file://{secret(folder)}">]>',
    )  # fmt: skip
    return corner(path)


@case()
def ome_of_a_billion_planes(folder: Path) -> Opener:
    pixels = 'SizeZ="1000" SizeC="1000" SizeT="1000"><TiffData IFD="0" PlaneCount="1000000000"/>'
    return corner(put_ome(folder / "i.ome.tif", pixels))


@case()
def ome_of_a_trillion_steps(folder: Path) -> Opener:
    more = (
        '<StructuredAnnotations><XMLAnnotation ID="Annotation:0" Namespace="openmicroscopy.org/omero'
        '/dimension/modulo"><Value><Modulo><ModuloAlongT Type="lifetime" Start="0" End="1e12" '
        'Step="1"/></Modulo></Value></XMLAnnotation></StructuredAnnotations>'
    )
    return corner(
        put_ome(folder / "i.ome.tif", 'SizeZ="1" SizeC="1" SizeT="1"><TiffData/>', more=more)
    )


@case("either")
def imagej_of_a_billion_frames(folder: Path) -> Opener:
    said = "ImageJ=1.11a\nimages=1000000000\nframes=1000000000\nslices=99999\nunit=\\u00B5m\n"
    tifffile.imwrite(
        folder / "i.tif", np.zeros((16, 16), np.uint8), description=said, metadata=None
    )
    return corner(folder / "i.tif")


# --- Zarr -----------------------------------------------------------------------------------------


def _packed_chunk(**about: Any) -> Callable[[Path], Opener]:
    def build(folder: Path) -> Opener:
        with zarr.config.set({"array.write_empty_chunks": True}):
            path = folder / "i.zarr"
            array = zarr.create_array(
                path, shape=(2000, 2000), dtype="u1", **{"chunks": (2000, 2000), **about}
            )
            array[...] = 0
        return lowered(corner(path), ALWAYS_CHUNK=MB)

    return build


zarr_of_one_large_chunk = case()(_packed_chunk())
zarr_of_one_large_chunk_in_a_shard = case()(_packed_chunk(shards=(4000, 4000)))
zarr_2_of_one_large_chunk = case()(_packed_chunk(zarr_format=2))


def _bomb(packed: Callable[[], bytes], **about: Any) -> Callable[[Path], Opener]:
    """Return a case of a small chunk whose bytes unpack to hundreds of megabytes."""

    def build(folder: Path) -> Opener:
        path = folder / "i.zarr"
        array = zarr.create_array(path, shape=(8, 8), chunks=(8, 8), dtype="u1", **about)
        array[...] = 1
        at = path / ("0.0" if about.get("zarr_format") == 2 else "c/0/0")
        assert at.is_file()
        at.write_bytes(packed())
        return corner(path)

    return build


def zstd() -> bytes:
    """Return 600 MB of zeros as zstd packs them: blocks of one byte each, counted nowhere."""
    block = ((128 << 10) << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    last = ((1 << 3) | 1 << 1 | 1).to_bytes(3, "little") + b"\0"
    return b"\x28\xb5\x2f\xfd\x00\x58" + block * 4800 + last


def blosc() -> bytes:
    return struct.pack("<BBBBIII", 2, 1, 1, 1, 2**31 - 1, 1 << 20, 300) + bytes(284)


def _two(codec: str, **how: Any) -> dict[str, Any]:
    return {"zarr_format": 2, "compressors": {"id": codec, **how}}


zarr_bomb_of_gzip = case()(
    _bomb(lambda: deflated(600 * MB, GZIP), compressors=zarr.codecs.GzipCodec())
)
zarr_bomb_of_zstd = case()(_bomb(zstd, compressors=zarr.codecs.ZstdCodec()))
zarr_2_bomb_of_zlib = case()(_bomb(lambda: deflated(600 * MB, ZLIB), **_two("zlib", level=1)))
zarr_2_bomb_of_bz2 = case()(_bomb(lambda: bz2.compress(bytes(9 * MB)) * 60, **_two("bz2", level=1)))
zarr_2_bomb_of_blosc = case()(
    _bomb(blosc, **_two("blosc", cname="lz4", clevel=1, shuffle=0, blocksize=0))
)


@case()
def zarr_larger_than_its_bytes(folder: Path) -> Opener:
    zarr.create_array(
        folder / "i.zarr", shape=(9000, 9000), chunks=(900, 900), dtype="u1", fill_value=9
    )
    return lowered(whole(folder / "i.zarr"), ALWAYS_IMAGE=MB)


@case()
def zarr_of_millions_of_chunks(folder: Path) -> Opener:
    zarr.create_array(
        folder / "i.zarr", shape=(4000, 4000), chunks=(1, 1), dtype="u1", fill_value=9
    )
    return whole(folder / "i.zarr")


@case("opens")
def zarr_of_tera_pixels_by_parts(folder: Path) -> Opener:
    zarr.create_array(
        folder / "i.zarr", shape=(10**7, 10**7), chunks=(999, 999), dtype="u1", fill_value=9
    )
    return corner(folder / "i.zarr")


@case()
def zarr_2_of_pickles(folder: Path) -> Opener:
    path = folder / "i.zarr"
    zarr.create_array(path, shape=(4, 5), dtype="u1", zarr_format=2, compressors=None)[:] = 1
    described = json.loads((path / ".zarray").read_text())
    described |= {"filters": None, "compressor": {"id": "pickle", "protocol": 2}}
    (path / ".zarray").write_text(json.dumps(described))
    (path / "0.0").write_bytes(f"cpathlib\nPath\n(V{marker(folder)}\ntRctouch\n.".encode())
    return corner(path)


def edited(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    described = json.loads((path / "zarr.json").read_text())
    change(described)
    (path / "zarr.json").write_text(json.dumps(described))
    return path


@case()
def zarr_packed_by_a_strange_codec(folder: Path) -> Opener:
    zarr.create_array(folder / "i.zarr", shape=(4, 4), dtype="u1")
    return corner(
        edited(folder / "i.zarr", lambda d: d["codecs"].append({"name": "numcodecs.pickle"}))
    )


@case()
def zarr_described_too_deeply(folder: Path) -> Opener:
    (folder / "i.zarr").mkdir()
    deep = "[" * 100_000 + "]" * 100_000
    (folder / "i.zarr" / "zarr.json").write_text(
        f'{{"zarr_format":3,"node_type":"group","attributes":{deep}}}'
    )
    return corner(folder / "i.zarr")


@case()
def zarr_described_at_length(folder: Path) -> Opener:
    zarr.create_array(folder / "i.zarr", shape=(4, 4), dtype="u1", attributes={"a": "b" * 9000})
    return lowered(corner(folder / "i.zarr"), MOST_TEXT=5000)


@case()
def zarr_with_a_chunk_of_elsewhere(folder: Path) -> Opener:
    zarr.create_array(folder / "i.zarr", shape=(4, 4), dtype="u1", compressors=None)[:] = 1
    at = folder / "i.zarr" / "c" / "0" / "0"
    at.unlink()
    at.symlink_to(secret(folder))
    return corner(folder / "i.zarr")


@case(seconds=5)
def zarr_with_a_pipe_as_chunk(folder: Path) -> Opener:
    zarr.create_array(folder / "i.zarr", shape=(4, 4), dtype="u1")[:] = 1
    at = folder / "i.zarr" / "c" / "0" / "0"
    at.unlink()
    os.mkfifo(at)
    return corner(folder / "i.zarr")


@case(seconds=5)
def zarr_with_a_chunk_of_holes(folder: Path) -> Opener:
    zarr.create_array(folder / "i.zarr", shape=(4, 4), dtype="u1", compressors=None)[:] = 1
    with (folder / "i.zarr" / "c" / "0" / "0").open("r+b") as file:
        file.truncate(6 << 30)
    return corner(folder / "i.zarr")


def put_multiscales(folder: Path, path: str) -> Path:
    group = zarr.open_group(folder / "i.zarr", mode="w")
    axes = [{"name": "y"}, {"name": "x"}]
    group.attrs["ome"] = {
        "version": "0.5", "multiscales": [{"axes": axes, "datasets": [{"path": path}]}]
    }  # fmt: skip
    return folder / "i.zarr"


@case()
def ome_zarr_of_the_folder_above(folder: Path) -> Opener:
    zarr.create_array(folder.parent / f"{folder.name}-secret.zarr", shape=(4, 4), dtype="u1")
    return corner(put_multiscales(folder, f"../../{folder.name}-secret.zarr"))


@case()
def ome_zarr_of_a_link_that_leads_out(folder: Path) -> Opener:
    outside = folder.parent / f"{folder.name}-secret.zarr"
    zarr.create_array(outside, shape=(4, 4), dtype="u1")
    path = put_multiscales(folder, "0")
    (path / "0").symlink_to(outside)
    return corner(path)


@case()
def ome_zarr_of_a_million_levels(folder: Path) -> Opener:
    path = put_multiscales(folder, "0")
    zarr.create_array(path / "0", shape=(4, 4), dtype="u1")

    def change(described: dict[str, Any]) -> None:
        image = described["attributes"]["ome"]["multiscales"][0]
        image["datasets"] = [{"path": "0"}] * 100_000

    return corner(edited(path, change))


@case("either")
def plate_of_a_hundred_thousand_wells(folder: Path) -> Opener:
    group = zarr.open_group(folder / "i.zarr", mode="w")
    group.attrs["ome"] = {"version": "0.5", "plate": {"wells": [{"path": "A/1"}] * 100_000}}
    return lambda: [one.reason for one in pairs_of(folder / "i.zarr").skipped]
