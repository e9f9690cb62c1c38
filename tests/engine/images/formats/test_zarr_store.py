"""Zarr folders packed in all ways that are read, and pickles, which are not."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

import napari_neuroscope as ns
from napari_neuroscope.engine.images.formats.image_file import open_image

RNG = np.random.default_rng(0)


DEEP = RNG.integers(0, 60_000, (70, 90)).astype(np.uint16)


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
