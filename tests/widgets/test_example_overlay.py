"""A kind of overlay of another package is shown, follows the sliders, is saved and read again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Points
from npe2 import PluginManager

from installed_packages import install
from napari_neuroscope.engine.explanation.overlays.registry import kind_of, overlay_kinds
from napari_neuroscope.viewer.io.readers import read
from napari_neuroscope.viewer.io.writers import write_npy
from places import TESTS


@pytest.fixture
def _peaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install the kind of overlay of ``tests/example_overlay`` for one test."""
    site = tmp_path / "site-packages"
    install(TESTS / "example_overlay", site)
    monkeypatch.syspath_prepend(site)
    overlay_kinds.cache_clear()
    yield
    monkeypatch.undo()
    overlay_kinds.cache_clear()


def points_in(viewer) -> list[Points]:
    return [layer for layer in viewer.layers if isinstance(layer, Points)]


@pytest.mark.usefixtures("_peaks")
def test_an_overlay_of_another_package_costs_its_own_file(
    viewer, opened, explained, tmp_path: Path
) -> None:
    inspector = opened()
    inspector.choose_layers(("enc3", "dec1"))
    explained(inspector)
    (peaks,) = points_in(viewer)
    (stack,) = [layer for layer in viewer.layers if layer.metadata.get("neuroscope")
                and layer is not peaks]  # fmt: skip
    assert peaks.name == f"Peaks · {stack.name}"
    assert kind_of(peaks.metadata).name == "peaks"
    # The points lie where each of the maps is largest.
    for number, point in enumerate(peaks.data):
        assert point[0] == number
        assert stack.data[tuple(point.astype(int))] == stack.data[number].max()
    np.testing.assert_allclose(peaks.scale, stack.scale)
    # It follows the slider of the layers.
    for step in (0, 1):
        viewer.dims.set_current_step(0, step)
        assert set(peaks.selected_data) == {step}
    # It is shown anew in its place, as the user has it.
    peaks.opacity = 0.3
    explained(inspector)
    (peaks,) = points_in(viewer)
    assert peaks.opacity == 0.3
    # It is saved with its map and made of that again, with its look; alone the map comes alone.
    peaks.name = "The strongest"
    together = [stack.as_layer_data_tuple(), peaks.as_layer_data_tuple()]
    (file,) = write_npy(str(tmp_path / "both.neuroscope.npy"), together)
    (points, attributes, layer_type), (values, _, _) = read(file)
    assert (layer_type, attributes["name"], attributes["opacity"]) == (
        "points",
        "The strongest",
        0.3,
    )
    np.testing.assert_array_equal(points, peaks.data)
    np.testing.assert_array_equal(values, stack.data)
    (file,) = write_npy(str(tmp_path / "alone.neuroscope.npy"), together[:1])
    assert len(read(file)) == 1


@pytest.mark.usefixtures("viewer")
def test_the_writers_take_a_map_with_layers_of_any_type() -> None:
    for other_type in ("labels", "points", "shapes", "vectors"):
        writers = PluginManager.instance().iter_compatible_writers(["image", other_type])
        assert "napari-neuroscope.write_npy" in [writer.command for writer in writers]
