"""Networks of other frameworks in the inspector: ONNX, and one of another package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy_networks import PixelNetwork
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

import napari_neuroscope as ns
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.session.network_catalog import DEMO_TITLES
from napari_neuroscope.widgets.inspector.inspector import Inspector
from networks import UNet, settled


def offered(inspector: Inspector) -> dict[str, tuple[bool, str]]:
    """Return whether each method can be chosen, and its tooltip."""
    box = inspector.form.method.box
    rows = [row for row in range(box.count()) if box.itemData(row)]
    tips = {row: box.itemData(row, Qt.ItemDataRole.ToolTipRole) for row in rows}
    return {box.itemData(n): (box.model().item(n).isEnabled(), tips[n]) for n in rows}


def test_an_onnx_network_shows_activations_and_says_what_it_can_not(
    viewer, opened, explained, qtbot, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra “onnx”")
    from onnx_networks import exported

    path = tmp_path / "unet.onnx"
    path.write_bytes(exported(settled(UNet()), (1, 3, 16, 16)).SerializeToString())
    inspector = opened(network=None)
    assert all(enabled for enabled, _ in offered(inspector).values())
    inspector.open_file(path)
    why = "Grad-CAM needs gradients, and ONNX networks have none"
    qtbot.waitUntil(lambda: why in inspector.form.reason.text(), timeout=30_000)
    methods = offered(inspector)
    usable = {name for name, (enabled, _) in methods.items() if enabled}
    of_regions = {"segmented_score_map", "guided_segmented_score_map", "similarity_map"}
    without_gradients = {"eigen_cam", "score_cam", "occlusion", "rise"}
    of_scores = {"input", "activation", "score_map", "fusion_score_map"}
    assert usable == of_scores | of_regions | without_gradients
    assert why in methods["grad_cam"][1]
    assert "Saliency needs gradients" in methods["saliency"][1]

    inspector.choose_method("activation")
    layer = "/bottom/bottom.4/Relu_output_0"
    inspector.choose_layers([layer])
    qtbot.waitUntil(inspector.ready, timeout=30_000)
    explained(inspector)
    maps = [m for m in viewer.layers if m.metadata.get(KEY, {}).get("method") == "activation"]
    expected = ns.explain(
        inspector.session.network, viewer.layers["Nuclei"].data, "activation", layer=layer
    )
    np.testing.assert_allclose(maps[0].data, expected.values, rtol=1e-5, atol=1e-6)

    inspector.choose_network(DEMO_TITLES["nuclei"])
    qtbot.waitUntil(lambda: offered(inspector)["grad_cam"][0], timeout=30_000)
    assert "gradients, and" not in offered(inspector)["grad_cam"][1]


def test_a_network_of_another_package_is_opened_and_explained(
    viewer, opened, explained, qtbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(0)
    path = tmp_path / "pixels.npnet"
    model = PixelNetwork(
        generator.standard_normal((4, 3, 3, 3)), np.zeros(4), generator.standard_normal((3, 4)),
        np.zeros(3), softmax=True,
    )  # fmt: skip
    model.save(path)
    patterns: list[str] = []

    def ask(*arguments: object) -> tuple[str, str]:
        patterns.append(str(arguments[3]))
        return str(path), ""

    monkeypatch.setattr(QFileDialog, "getOpenFileName", ask)
    inspector = opened(network=None)
    inspector.form.networks.open_button.click()
    qtbot.waitUntil(inspector.ready, timeout=30_000)
    assert "*.npnet" in patterns[0]
    assert inspector.session.network.framework == "numpy"
    inspector.choose_layers(["relu"])
    inspector.choose_classes([1])
    explained(inspector)
    (shown,) = [m for m in viewer.layers if m.metadata.get(KEY, {}).get("method") == "grad_cam"]
    image = viewer.layers["Nuclei"].data
    expected = ns.explain(
        ns.wrap(model, inspector.session.network.spec), image, "grad_cam", 1, "relu"
    )
    np.testing.assert_allclose(shown.data, expected.values, rtol=1e-5, atol=1e-6)
