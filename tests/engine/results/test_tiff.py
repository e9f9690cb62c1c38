"""Explanations as OME-TIFF, as other programs read them."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile

from napari_neuroscope.engine.images.spacing import Spacing
from napari_neuroscope.engine.results import tiff
from napari_neuroscope.engine.results.save import read_result, save
from results import explanation_of, of_stack, with_regions

OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


def pixels_of(path: Path) -> ElementTree.Element:
    with tifffile.TiffFile(path) as file:
        root = ElementTree.fromstring(file.ome_metadata or "")
    found = root.find(f"{OME}Image/{OME}Pixels")
    assert found is not None
    return found


def test_others_find_floats_with_sizes_and_names(tmp_path: Path) -> None:
    made = explanation_of(("class", "layer", "y", "x"), (2, 3, 5, 4), scale=2.0)
    spacing = Spacing(("y", "x"), (0.5, 250.0), (3.0, 0.0), ("um", "nm"))
    save(made, None, tmp_path / "map.tif", spacing=spacing)
    with tifffile.TiffFile(tmp_path / "map.tif") as file:
        (series,) = file.series
        assert (series.axes, series.shape) == ("CYX", (6, 10, 8))
        assert series.dtype == np.float32
        np.testing.assert_array_equal(series.asarray(), made.on_image().reshape(6, 10, 8))
        tags = file.pages.first.tags
        # Pixels a centimetre, for programs that read no OME-XML.
        x, y = (tags[name].value for name in ("XResolution", "YResolution"))
        assert x[0] / x[1] == pytest.approx(40_000)
        assert y[0] / y[1] == pytest.approx(20_000)
    pixels = pixels_of(tmp_path / "map.tif")
    sizes = {name: pixels.get(name) for name in pixels.keys() if name.startswith("Physical")}  # noqa: SIM118
    assert sizes == {"PhysicalSizeY": "0.5", "PhysicalSizeYUnit": "µm",
                     "PhysicalSizeX": "250.0", "PhysicalSizeXUnit": "nm"}  # fmt: skip
    names = [one.get("Name") for one in pixels.findall(f"{OME}Channel")]
    assert names == [f"class {a} · layer {b}" for a in "αβ" for b in "αβγ"]


def test_times_and_planes_of_a_stack_are_others_too(tmp_path: Path) -> None:
    made, spacing = of_stack()
    save(made, None, tmp_path / "map.tif", spacing=spacing)
    with tifffile.TiffFile(tmp_path / "map.tif") as file:
        (series,) = file.series
        assert (series.axes, series.shape) == ("TCZYX", (3, 4, 4, 5, 6))
        # class, c, t, z, y, x: the class and the channel are folded, the last the fastest.
        np.testing.assert_array_equal(series.asarray()[1, 3], made.values[1, 1, 1])
    pixels = pixels_of(tmp_path / "map.tif")
    assert (pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit")) == ("2.5", "min")
    assert (pixels.get("PhysicalSizeZ"), pixels.get("PhysicalSizeZUnit")) == ("2.0", "µm")


def test_label_maps_are_further_images(tmp_path: Path) -> None:
    made = with_regions()
    save(made, None, tmp_path / "map.tif")
    with tifffile.TiffFile(tmp_path / "map.tif") as file:
        found = {series.name: series for series in file.series}
        assert list(found) == ["Kern “ä” · Grad-CAM · dec1", "prediction", "order"]
        labels = found["prediction"].asarray()
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, made.companion_on_image("prediction"))


def test_sizes_that_are_not_known_are_not_told(tmp_path: Path) -> None:
    made = explanation_of(("y", "x"), (5, 4))
    save(made, None, tmp_path / "map.tif", spacing=Spacing.of_pixels(("y", "x")))
    assert not [name for name in pixels_of(tmp_path / "map.tif").keys() if "Physical" in name]  # noqa: SIM118


def test_beyond_four_gigabytes_it_is_a_bigtiff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = explanation_of(("y", "x"), (5, 4))
    save(made, None, tmp_path / "small.tif")
    monkeypatch.setattr(tiff, "_MOST_CLASSIC", 79)
    save(made, None, tmp_path / "large.tif")
    for name, big in [("small.tif", False), ("large.tif", True)]:
        with tifffile.TiffFile(tmp_path / name) as file:
            assert file.is_bigtiff is big
        np.testing.assert_array_equal(read_result(tmp_path / name).explanation.values, made.values)


def test_a_file_that_is_cut_off_is_told(tmp_path: Path) -> None:
    from napari_neuroscope.engine.errors import NeuroscopeError

    save(explanation_of(("y", "x"), (50, 40)), None, tmp_path / "map.tif")
    whole = (tmp_path / "map.tif").read_bytes()
    (tmp_path / "map.tif").write_bytes(whole[: len(whole) - 3000])
    with pytest.raises(NeuroscopeError):
        read_result(tmp_path / "map.tif")
