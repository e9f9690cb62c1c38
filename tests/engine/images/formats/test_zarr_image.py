"""OME-Zarr images, plates and plain arrays, read chunk by chunk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import napari_neuroscope as ns
from napari_neuroscope.engine.images.formats.image_file import open_image
from napari_neuroscope.engine.images.formats.zarr_image import images_of
from napari_neuroscope.engine.images.source import Source, read_image
from napari_neuroscope.engine.images.spacing import Spacing
from zarr_files import AXES, FILM, damaged, multiscales, put_ome_zarr


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


def test_images_that_were_written_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "set.zarr"
    zarr.open_group(path, mode="w", zarr_format=2).attrs["bioformats2raw.layout"] = 3
    for name in ("0", "1", "10"):
        put_ome_zarr(path / name, "0.4")
    assert [one.name for one in images_of(path)] == ["0", "1", "10"]
    group = zarr.open_group(path / "OME", mode="w", zarr_format=2)
    group.attrs["series"] = ["1"]
    assert images_of(path) == [path / "1"]
