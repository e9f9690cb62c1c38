"""TIFF files whose tiles, pages or sets are not what they say, or lead elsewhere."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

from hostile.images import MB, ZLIB, corner, deflated, lowered, secret, whole
from hostile.watch import Opener, case


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
