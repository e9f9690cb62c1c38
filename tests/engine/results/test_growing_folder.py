"""Maps that grow in an OME-Zarr folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr

import napari_neuroscope as ns
from napari_neuroscope.engine.images import pyramid
from napari_neuroscope.engine.images.spacing import Spacing
from napari_neuroscope.engine.results.growing_folder import chunk_side
from napari_neuroscope.engine.results.save import read_result
from networks import UNet, as_network, settled

CLASSES = ["background", "cell", "edge"]


def network() -> ns.Network:
    rule = {"size": {"min": 16, "step": 4}, "resize": "pad"}
    return as_network(settled(UNet()), "segmentation", CLASSES, **rule)


def image() -> np.ndarray:
    return np.random.default_rng(1).random((301, 360, 3), np.float32)


@pytest.fixture(autouse=True)
def small_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyramid, "_ALONE", {2: 64, 3: 16})
    monkeypatch.setattr(pyramid, "_COARSEST", 64)


def halved(values: np.ndarray) -> np.ndarray:
    """Return means of two by two cells, of fewer at an odd border."""
    rows, columns = (-(-n // 2) for n in values.shape[-2:])
    made = np.empty((*values.shape[:-2], rows, columns), np.float32)
    for i in range(rows):
        for j in range(columns):
            made[..., i, j] = values[..., 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((-2, -1))
    return made


def test_the_folder_holds_the_map_and_its_levels(tmp_path: Path) -> None:
    folder, parts = tmp_path / "ä map.ome.zarr", []
    spacing = Spacing.of("yx", (0.5, 0.25), "micrometer")

    def written(part: tuple[slice, ...]) -> None:
        parts.append(part)
        record = json.loads((folder / "zarr.json").read_text())["attributes"]["neuroscope"]
        assert record["growing"]
        # What was written can be seen, and nothing else.
        seen = np.isfinite(zarr.open_array(folder / "0", mode="r")[:])
        assert seen.sum() == sum(np.prod([s.stop - s.start for s in part]) for part in parts)
        assert seen[part].all()

    targets = ["cell", "edge"]
    found = ns.explain_tiled(
        network(), image(), "grad_cam", targets, "enc1", tile=200, out=folder, written=written,
        spacing=spacing,
    )  # fmt: skip
    whole = ns.explain(network(), image(), "grad_cam", targets, "enc1")
    assert len(parts) > 5
    np.testing.assert_allclose(np.asarray(found.values), whole.values, rtol=0, atol=1e-5)
    result = read_result(folder)
    assert result.explanation.unfinished == ""
    assert result.spacing == spacing
    assert result.explanation.labels["class"] == ("cell", "edge")
    wanted = whole.values
    for level in result.levels:
        np.testing.assert_allclose(np.asarray(level), wanted, rtol=0, atol=1e-5)
        wanted = halved(wanted)
    assert len(result.levels) == 4


def test_chunks_are_written_once_by_the_tiles(tmp_path: Path) -> None:
    shape = (500, 400, 3)
    parts: list[tuple[slice, ...]] = []
    x = np.random.default_rng(1).random(shape, np.float32)
    ns.explain_tiled(
        network(), x, "score_map", "cell", tile=240, out=tmp_path / "a.zarr", written=parts.append
    )
    chunks = zarr.open_array(tmp_path / "a.zarr" / "0", mode="r").chunks
    for part in parts:
        assert all(s.start % n == 0 for s, n in zip(part, chunks, strict=True))
    assert [chunk_side(n) for n in (930, 200, 64, 1024, 521)] == [465, 200, 64, 512, 512]


def test_what_is_broken_off_says_so(tmp_path: Path) -> None:
    folder, calls = tmp_path / "a.ome.zarr", []

    def stop(part: tuple[slice, ...]) -> None:
        calls.append(part)
        if len(calls) == 2:
            raise ns.Cancelled

    with pytest.raises(ns.Cancelled):
        ns.explain_tiled(
            network(), image(), "score_map", "cell", tile=200, out=folder, written=stop
        )
    attributes = json.loads((folder / "zarr.json").read_text())["attributes"]
    assert attributes["neuroscope"]["growing"] is True
    values = np.asarray(zarr.open_array(folder / "0", mode="r")[:])
    assert np.isfinite(values).any()
    assert np.isnan(values).any()
    with pytest.raises(ns.NeuroscopeError, match="is there already"):
        ns.explain_tiled(network(), image(), "score_map", "cell", tile=200, out=folder)


def test_a_smaller_tile_goes_on_in_the_same_folder(tmp_path: Path) -> None:
    class Short(UNet):
        def forward(self, x):  # type: ignore[no-untyped-def]
            if x.shape[2:].numel() > 130 * 130 and len(calls) > 1:
                raise MemoryError("out of memory")
            return super().forward(x)

    calls: list[tuple[slice, ...]] = []
    rule = {"size": {"min": 16, "step": 4}, "resize": "pad"}
    short = as_network(settled(Short()), "segmentation", CLASSES, **rule)
    found = ns.explain_tiled(
        short, image(), "score_map", "cell", tile=200, out=tmp_path / "a.zarr", written=calls.append
    )
    assert any("memory" in note for note in found.provenance["notes"])
    whole = ns.explain(network(), image(), "score_map", "cell")
    levels = read_result(tmp_path / "a.zarr").levels
    np.testing.assert_allclose(np.asarray(levels[0]), whole.values, rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.asarray(levels[1]), halved(whole.values), rtol=0, atol=1e-5)


def test_label_maps_are_left_out_and_it_says_so(tmp_path: Path) -> None:
    found = ns.explain_tiled(
        network(), image(), "fusion_score_map", tile=200, out=tmp_path / "a.zarr"
    )
    assert found.companions == {}
    assert any("“prediction” is left out" in note for note in found.provenance["notes"])
    assert read_result(tmp_path / "a.zarr").explanation.companions == {}


@pytest.mark.parametrize(
    ("name", "words"), [("a.tif", "ends in .ome.zarr"), ("no/a.zarr", "can't be written")]
)
def test_mistakes_are_said(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "no").touch()
    with pytest.raises(ns.NeuroscopeError, match=words):
        ns.explain_tiled(network(), image(), "score_map", "cell", tile=200, out=tmp_path / name)
