"""Explanations saved and opened in napari's window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from qtpy.QtWidgets import QFileDialog

import napari_neuroscope as ns
from napari_neuroscope.engine.explain.recipe import recipe_in
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.results.save import is_result, read_result, save
from napari_neuroscope.widgets.app.open_saved import open_saved
from results import explanation_of


@pytest.mark.parametrize("ending", [".neuroscope.tif", ".ome.zarr", ".neuroscope.npy"])
def test_a_layer_is_saved_and_opened(viewer, tmp_path: Path, ending: str) -> None:
    made = explanation_of(("class", "y", "x"), (2, 5, 4))
    ((data, attributes, _),) = made.to_layer_data({"scale": (2.0, 3.0), "units": ("um", "um")})
    layer = viewer.add_image(data, **attributes)
    path = tmp_path / f"größe 1{ending}"
    assert viewer.layers.save(str(path), selected=True) == [str(path)]
    viewer.layers.clear()
    (found,) = viewer.open(str(path), plugin="napari-neuroscope")
    np.testing.assert_array_equal(found.data, made.values)
    np.testing.assert_array_equal(found.scale, layer.scale)
    assert (found.name, found.units) == (layer.name, layer.units)
    assert found.colormap.name == "neuroscope signed"
    assert found.contrast_limits == layer.contrast_limits


def test_other_images_are_saved_and_opened_by_napari_itself(viewer, tmp_path: Path) -> None:
    layer = viewer.add_image(np.arange(20, dtype=np.float32).reshape(4, 5))
    viewer.layers.save(str(tmp_path / "cells.tif"))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "cells.tif"), layer.data)
    assert not is_result(tmp_path / "cells.tif")
    # Nothing is asked: no other reader wants it.
    (found,) = viewer.open(str(tmp_path / "cells.tif"))
    np.testing.assert_array_equal(found.data, layer.data)


def test_a_map_of_the_dock_is_saved_with_its_recipe_and_over_its_image(
    opened, explained, viewer, tmp_path: Path
) -> None:
    inspector = opened()
    explained(inspector)
    layer = next(one for one in viewer.layers if "recipe" in one.metadata.get(KEY, {}))
    viewer.layers.selection = {layer}
    viewer.layers.save(str(tmp_path / "map.neuroscope.npy"), selected=True)
    result = read_result(tmp_path / "map.neuroscope.npy")
    network = inspector.session.network
    image = viewer.layers[0].data
    again = recipe_in(result.explanation.provenance).run(network, np.asarray(image))
    np.testing.assert_array_equal(np.squeeze(result.explanation.values), again.values)
    viewer.layers.save(str(tmp_path / "map.neuroscope.png"), selected=True)
    # The nuclei are white, as nothing of a map is.
    with Image.open(tmp_path / "map.neuroscope.png") as file:
        picture = np.asarray(file.convert("RGB")).astype(int)
    gray = np.ptp(picture, axis=-1) < 12
    between = (picture > 100).all(-1) & (picture < 200).all(-1)
    assert (gray & between)[60:-60, 30:-30].sum() > 1000


def test_saved_files_of_any_name_are_opened_from_the_menu(
    viewer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = explanation_of(("y", "x"), (5, 4))
    save(made, None, tmp_path / "a.tif")
    np.save(tmp_path / "b.npy", made.values)
    chosen = [str(tmp_path / "a.tif")]
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: (chosen, ""))
    open_saved()
    assert [layer.name for layer in viewer.layers] == ["Kern “ä” · Grad-CAM · dec1"]
    np.testing.assert_array_equal(viewer.layers[0].data, made.values)
    chosen[:] = [str(tmp_path / "b.npy")]
    with pytest.raises(ns.NeuroscopeError, match="holds no explanation"):
        open_saved()
    assert len(viewer.layers) == 1
