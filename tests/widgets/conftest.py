"""A viewer with the inspector and other docks, and ways to wait for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from skimage.io import imread, imsave

from napari_neuroscope.session.network_catalog import DEMO_TITLES
from napari_neuroscope.widgets.images.dock import Images
from napari_neuroscope.widgets.inspector.inspector import Inspector

NUCLEI = Path(str(files("napari_neuroscope.samples"))) / "nuclei"


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


@pytest.fixture
def opened(viewer, qtbot) -> Iterator[Callable[..., Inspector]]:
    """Open the dock as the menu does, on a sample and a network; no method leaves the default."""
    made: list[Inspector] = []

    def open_dock(
        sample: str | None = "nuclei",
        network: str | None = "nuclei",
        method: str | None = "grad_cam",
    ) -> Inspector:
        if sample:
            viewer.open_sample("napari-neuroscope", sample)
        _, inspector = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Neuroscope")
        made.append(inspector)
        if method:
            inspector.choose_method(method)
        if network:
            inspector.choose_network(DEMO_TITLES[network])
            qtbot.waitUntil(inspector.ready, timeout=30_000)
        return inspector

    yield open_dock
    for inspector in made:
        inspector.close_work()
    # One that was left behind ends when its job does.
    qtbot.waitUntil(
        lambda: not [t for t in threading.enumerate() if t.name == "neuroscope compute"],
        timeout=30_000,
    )


@pytest.fixture
def explained(qtbot) -> Callable[[Inspector], None]:
    """Explain, and wait until the answer is shown."""

    def explain(inspector: Inspector) -> None:
        inspector.explain()
        qtbot.waitUntil(lambda: not inspector.jobs.busy, timeout=30_000)

    return explain


@pytest.fixture
def open_dock(viewer, opened) -> Iterator[Callable[[str], Any]]:
    """Open a dock of the plugin by its title, as the menu does."""
    made: list[Any] = []

    def open_by_title(title: str) -> Any:
        _, dock = viewer.window.add_plugin_dock_widget("napari-neuroscope", title)
        made.append(getattr(dock, "__wrapped__", dock))
        return made[-1]

    yield open_by_title
    for dock in made:
        dock.close_work()


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Three small images with instances, of which one is named otherwise, and what is no image."""
    for name in ("images", "truth"):
        (tmp_path / name).mkdir()
    for number, path in enumerate(sorted((NUCLEI / "images").iterdir())[:3]):
        cut = np.s_[:96, : 80 + 16 * number]
        imsave(tmp_path / "images" / f"cell{number}.png", imread(path)[cut], check_contrast=False)
        truth = imread(NUCLEI / "instances" / path.name)[cut].astype(np.uint16)
        ending = "tif" if number else "png"
        name = tmp_path / "truth" / f"cell{number}_labels.{ending}"
        if number:
            tifffile.imwrite(name, truth)
        else:
            imsave(name, truth, check_contrast=False)
    (tmp_path / "images" / "notes.txt").write_text("no image")
    return tmp_path


@pytest.fixture
def images_dock(opened, open_dock, qtbot) -> Callable[..., Images]:
    """Open the dock “Images” beside the inspector, with a network of the demo."""

    def open_images(network: str | None = "nuclei") -> Images:
        inspector = opened(None, None)
        if network:
            inspector.choose_network(DEMO_TITLES[network])
            qtbot.waitUntil(lambda: inspector.session.network_summary is not None, timeout=30_000)
        dock = open_dock("Images")
        dock.inspector = inspector
        return dock

    return open_images


@pytest.fixture
def images_idle(qtbot) -> Callable[[Images], None]:
    """Wait until the dock “Images” and the inspector have done what they were asked."""

    def wait(dock: Images) -> None:
        qtbot.waitUntil(
            lambda: not (dock.busy or dock.thumbnails.busy or dock.inspector.jobs.busy),
            timeout=60_000,
        )

    return wait
