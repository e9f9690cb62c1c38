"""Zarr folders whose chunks, metadata or links are not what they should be."""

from __future__ import annotations

import bz2
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zarr

from hostile.images import GZIP, MB, ZLIB, corner, deflated, lowered, secret, whole
from hostile.watch import Opener, case, marker
from napari_neuroscope.engine.images.pairing.find_pairs import pairs_of


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
