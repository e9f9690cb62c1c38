"""Pictures and NumPy files that unpack to too much, never end, or run code."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hostile.images import MB, ZLIB, corner, deflated, lowered, whole
from hostile.watch import Opener, case, marker
from napari_neuroscope.engine.images.source import Source, read_truth

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
