"""Explanations saved from layers, and opened as the overlays that they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

import napari_neuroscope as ns
from napari_neuroscope.engine.explain.recipe import recipe_in
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.results.save import read_result, save
from napari_neuroscope.viewer.io import saved_layers
from napari_neuroscope.viewer.io.readers import result_reader
from napari_neuroscope.viewer.io.writers import write_npy, write_zarr
from results import explanation_of, of_stack, with_regions
from saved_layer_files import WRITERS, assert_alike, layers_over, opened, tuples


@pytest.mark.parametrize("ending", WRITERS)
def test_a_map_on_a_turned_plane_comes_back(ending: str, tmp_path: Path) -> None:
    made = explanation_of(("class", "layer", "y", "x"), (2, 3, 5, 4))
    source = Image(
        np.zeros((7, 5, 4)), scale=(3, 0.5, 0.25), translate=(1, -2, 9), rotate=20,
        shear=(0.1, 0, 0.2), units=("um",) * 3, axis_labels=("depth", "y", "x"),
    )  # fmt: skip
    source.affine = np.diag([2.0, 1.0, 1.0, 1.0])
    (layer,) = layers_over(made, source, (4,))
    layer.name, layer.opacity, layer.blending = "mein Käse", 0.4, "additive"
    layer.contrast_limits, layer.colormap, layer.gamma = (-3, 2), "viridis", 0.7
    (path,) = WRITERS[ending](str(tmp_path / f"größe 1{ending}"), tuples([layer]))
    (found,) = opened(Path(path))
    assert_alike(layer, found)
    np.testing.assert_array_equal(found.data, layer.data)
    assert found.contrast_limits == [-3, 2]
    assert found.gamma == 0.7
    np.testing.assert_allclose(found.colormap.colors, layer.colormap.colors)
    assert found.metadata[KEY]["labels"] == layer.metadata[KEY]["labels"]


@pytest.mark.parametrize("ending", [".ome.zarr", ".neuroscope.npy"])
def test_a_coarse_map_stays_coarse(ending: str, tmp_path: Path) -> None:
    made = explanation_of(("y", "x"), (5, 4), scale=8.0, offset=3.5)
    (layer,) = layers_over(made, {"scale": (2.0, 3.0), "translate": (1.0, 5.0)})
    (path,) = WRITERS[ending](str(tmp_path / f"map{ending}"), tuples([layer]))
    (found,) = opened(Path(path))
    assert_alike(layer, found)
    np.testing.assert_array_equal(found.data, made.values)
    np.testing.assert_allclose(found.scale, (16, 24))
    np.testing.assert_allclose(found.translate, (1 + 3.5 * 2, 5 + 3.5 * 3))


@pytest.mark.parametrize("ending", WRITERS)
def test_label_maps_that_are_selected_come_back(ending: str, tmp_path: Path) -> None:
    layers = layers_over(with_regions())
    order = next(one for one in layers if one.metadata[KEY].get("companion") == "order")
    order.visible, order.opacity = True, 0.9
    (path,) = WRITERS[ending](str(tmp_path / f"map{ending}"), tuples(layers))
    found = opened(Path(path))
    assert [one.name for one in found] == [one.name for one in layers]
    for one, other in zip(layers, found, strict=True):
        if ending != ".neuroscope.tif":
            assert_alike(one, other)
            np.testing.assert_array_equal(other.data, one.data)
        assert [one.opacity, one.visible] == [other.opacity, other.visible]
    classes = found[1].features["class"].tolist()
    assert classes == [name for name, _ in with_regions().classes]
    # The file has the classes' numbers, by whichever labels the layer shows them.
    saved = read_result(path).explanation.companions["prediction"]
    predicted = with_regions().companions["prediction"]
    np.testing.assert_array_equal(np.unique(saved), np.unique(predicted))
    if ending != ".neuroscope.tif":
        np.testing.assert_array_equal(saved, predicted)
    (alone,) = WRITERS[ending](str(tmp_path / f"alone{ending}"), tuples(layers[:1]))
    assert len(opened(Path(alone))) == 1


def test_a_stack_comes_back(tmp_path: Path) -> None:
    made, spacing = of_stack()
    save(made, None, tmp_path / "map.zarr", spacing=spacing)
    (found,) = opened(tmp_path / "map.zarr")
    np.testing.assert_array_equal(found.data, made.values)
    np.testing.assert_allclose(found.scale, (1, *spacing.steps))
    np.testing.assert_allclose(found.translate, (0, *spacing.origin))
    assert found.axis_labels == made.axes
    assert [str(unit) for unit in found.units] == ["pixel", *spacing.units]
    write_npy(str(tmp_path / "map.npy"), tuples([found]))
    assert read_result(tmp_path / "map.npy").spacing == spacing


def test_what_the_network_sees_comes_back(tmp_path: Path) -> None:
    network = ns.load("demo:blood-cells", device="cpu")
    image = np.random.default_rng(0).integers(0, 255, (60, 70, 3), np.uint8)
    (layer,) = layers_over(ns.explain(network, image, "input"))
    (path,) = write_npy(str(tmp_path / "input.neuroscope.npy"), tuples([layer]))
    (found,) = opened(Path(path))
    assert found.rgb
    assert_alike(layer, found)
    recipe = recipe_in(found.metadata[KEY])
    assert recipe.method == "input"


def test_an_unfinished_map_stays_marked(tmp_path: Path) -> None:
    made = explanation_of(("y", "x"), (5, 4))
    made = made.so_far(312, 2000)
    (layer,) = layers_over(made)
    write_zarr(str(tmp_path / "map.ome.zarr"), tuples([layer]))
    (found,) = opened(tmp_path / "map.ome.zarr")
    assert found.name.endswith("(312 of 2,000)")
    assert read_result(tmp_path / "map.ome.zarr").explanation.unfinished


def test_a_large_map_is_read_as_it_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = explanation_of(("class", "y", "x"), (2, 2100, 30))
    save(made, None, tmp_path / "map.zarr")
    monkeypatch.setattr(saved_layers, "_IN_MEMORY_BYTES", 1000)
    viewer = ViewerModel()
    ((levels, attributes, _),) = result_reader(str(tmp_path / "map.zarr"))(  # type: ignore[misc]
        str(tmp_path / "map.zarr")
    )
    assert not any(isinstance(one, np.ndarray) for one in levels)
    layer = viewer.add_image(levels, **attributes)
    assert layer.multiscale
    assert [one.shape for one in levels] == [(2, 2100, 30), (2, 1050, 15), (2, 525, 8), (2, 263, 4)]
    most = float(np.abs(made.values).max())
    assert layer.contrast_limits == [-most, most]
    np.testing.assert_array_equal(np.asarray(levels[0]), made.values)
    # It is saved again without its being read as a whole.
    write_zarr(str(tmp_path / "again.zarr"), tuples([layer]))
    again = read_result(tmp_path / "again.zarr")
    np.testing.assert_array_equal(np.asarray(again.explanation.values), made.values)
