"""The evaluation dock: measured as in code, marked, scrubbed, doubted, joined, saved and stopped."""

from __future__ import annotations

import csv
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.passes.baselines import baseline_of
from napari_neuroscope.viewer.layers.maps.stack_follower import text_overlay
from napari_neuroscope.viewer.state.layer_origin import explained_by
from napari_neuroscope.viewer.state.randomisation_warnings import MARK
from napari_neuroscope.widgets.evaluation.dock import EvaluationDock
from napari_neuroscope.widgets.evaluation.metric_table import titles_of
from plots import click

SMALL = {"steps": 6, "stages": 3}
CELL = 4


@pytest.fixture
def open_evaluation(opened, explained, open_dock, viewer) -> Callable[..., EvaluationDock]:
    """Open the dock on a blood cell that was explained by some methods."""

    def open_after(*methods: str) -> EvaluationDock:
        inspector = opened("blood_cells", "blood-cells")
        viewer.dims.set_current_step(0, CELL)
        inspector.choose_layers(["stage4"])
        for method in methods:
            inspector.choose_method(method)
            explained(inspector)
            if method != methods[-1]:
                # The next map would take its place.
                inspector.form.keep_button.click()
        dock = open_dock("Evaluation")
        dock.inspector = inspector
        dock.choice.steps.setValue(SMALL["steps"])
        dock.choice.stages.setValue(SMALL["stages"])
        return dock

    return open_after


def choose(dock: EvaluationDock, *, layers: bool = True, methods=(), metrics=()) -> None:
    dock.choice.layer_list.choose(dock.choice.layer_list.values() if layers else [])
    dock.choice.method_list.choose(methods)
    for name, box in dock.choice.boxes.items():
        box.setChecked(name in metrics)


def measured(dock: EvaluationDock, qtbot) -> None:
    dock.measure()
    qtbot.waitUntil(lambda: not dock.busy, timeout=60_000)


def map_of(viewer, title: str):
    """Return the layer of a method's map; one that is not kept where there are several."""
    layers = [one for one in viewer.layers if one.metadata.get(KEY, {}).get("title") == title]
    return min(layers, key=lambda layer: "(kept)" in layer.name)


def edges(layer) -> np.ndarray:
    """Return where an image begins and ends, its pixels whole."""
    half = np.asarray(layer.scale[-2:]) / 2
    return layer.extent.world[:, -2:] + np.stack([-half, half])


def own(dock: EvaluationDock, methods) -> tuple[ns.Network, np.ndarray, list[ns.Explanation]]:
    """Return the network, the cell, and what code says of it."""
    session = dock.session
    network, image = session.network, np.asarray(session.image.data[CELL])
    layer = {True: "stage4", False: None}
    found = [
        ns.explain(network, image, name, ns.Target(session.classes[0]),
                   layer[ns.Needs.LAYER in ns.methods[name].needs])
        for name in methods
    ]  # fmt: skip
    return network, image, found


def test_layers_are_measured_as_in_code_and_the_best_are_marked(open_evaluation, qtbot) -> None:
    methods, metrics = ("grad_cam", "saliency"), ("deletion", "insertion", "sanity_check")
    dock = open_evaluation(*methods)
    choose(dock, metrics=metrics)
    assert "2 explanations: about " in dock.estimate.text()
    measured(dock, qtbot)
    network, image, explanations = own(dock, methods[::-1])
    expected = ns.evaluate(network, image, explanations, metrics, **SMALL)
    table = dock.results.table
    assert [table.cell(row, 0).text() for row in (0, 1)] == ["Saliency", "Grad-CAM"]
    for number, row in enumerate(expected.rows):
        for column, metric in enumerate(metrics, 1):
            figure = row.values[metric]
            assert dock.evaluation.rows[number].values[metric] == pytest.approx(figure, abs=1e-4)
            cell = table.cell(number, column)
            assert float(cell.text().removeprefix("⚠ ")) == pytest.approx(figure, abs=1e-3)
            best = number in expected.best(metric)
            assert cell.font().bold() == best
            assert ("The best of these" in cell.toolTip()) == best
    assert "lower is better" in table.cell(0, 1).toolTip()
    assert "higher is better" in table.cell(0, 2).toolTip()
    # The curves are those of the figures, the chosen one thick.
    for part in ("deletion", "insertion"):
        lines = dock.results.axes[part].lines[:2]
        for line, row in zip(lines, expected.rows, strict=True):
            np.testing.assert_allclose(line.get_ydata(), row.curves[part].relative, atol=1e-4)
    assert [line.get_linewidth() for line in lines] == [3, 1.3]
    table.choose(1)
    assert [line.get_linewidth() for line in dock.results.axes["insertion"].lines[:2]] == [1.3, 3]
    assert [text.get_text() for text in dock.results.figure.legends[0].get_texts()] == [
        "Saliency", "Grad-CAM",
    ]  # fmt: skip


def test_methods_are_compared_with_the_target_of_the_session(
    open_evaluation, viewer, qtbot
) -> None:
    dock = open_evaluation()
    assert "Choose maps in the viewer, or methods" in dock.estimate.text()
    assert not dock.measure_button.isEnabled()
    choose(dock, methods=["saliency", "grad_cam", "score_map"], metrics=["deletion"])
    before = list(viewer.layers)
    measured(dock, qtbot)
    methods = ["saliency", "grad_cam"]
    network, image, explanations = own(dock, methods)
    expected = ns.evaluate(network, image, explanations, ["deletion"], steps=SMALL["steps"])
    rows = dock.evaluation.rows[:2]
    assert [row.class_map.explanation.method for row in rows] == methods
    for row, other in zip(rows, expected.rows, strict=True):
        assert row.values == pytest.approx(other.values, abs=1e-4)
    # Nothing is shown until that is asked for.
    assert list(viewer.layers) == before
    dock.results.table.opened.emit(1)
    layer = map_of(viewer, "Grad-CAM")
    np.testing.assert_allclose(np.squeeze(layer.data), explanations[1].values, rtol=1e-4)
    dock.results.table.opened.emit(1)
    assert len(viewer.layers) == len(before) + 1
    # What is shown can be open_evaluation again.
    qtbot.waitUntil(lambda: len(dock.choice.layer_list.values()) == 1, timeout=5_000)


def test_the_image_and_the_maps_are_scrubbed_along_their_curves(
    open_evaluation, viewer, qtbot
) -> None:
    dock = open_evaluation("grad_cam")
    choose(dock, metrics=["deletion", "insertion", "sanity_check"])
    measured(dock, qtbot)
    (row,) = dock.evaluation.rows
    dock.results.buttons["deletion"].click()
    qtbot.waitUntil(lambda: not dock.busy, timeout=30_000)
    stack = viewer.layers[-1]
    assert stack.axis_labels[0] == "removed"
    assert stack.data.shape == (SMALL["steps"] + 1, 1, 80, 80, 3)
    trace = dock.session.network.trace(np.asarray(dock.session.image.data[CELL]))
    blank = trace.variant(trace.prepared)
    first = (trace.prepared.displayable().clamp(0, 1) * 255).movedim(0, -1).numpy()
    np.testing.assert_allclose(stack.data[0, 0], first, atol=0.51)
    nothing = SimpleNamespace(**vars(blank.prepared))
    shape = (-1, 1, 1)
    shown = (
        baseline_of(trace, "blur").cpu() - nothing.shift.reshape(shape)
    ) / nothing.gain.reshape(shape)
    np.testing.assert_allclose(
        stack.data[-1, 0], (shown.clamp(0, 1) * 255).movedim(0, -1).numpy(), atol=0.51
    )
    image = viewer.layers["Blood cells"]
    np.testing.assert_allclose(edges(stack), edges(image), atol=1e-9)
    axis = viewer.dims.ndim - stack.ndim
    viewer.dims.set_current_step(axis, 2)
    share, score = row.curves["deletion"].share[2], row.curves["deletion"].score[2]
    assert f"{share:.0%} removed: score {score:.4g}" in text_overlay(viewer).text
    assert list(dock.results.markers["deletion"].get_xdata()) == [share, share]
    assert "insertion" not in dock.results.markers
    axes = dock.results.axes["deletion"]
    click(axes, 0.52, 0)
    assert viewer.dims.current_step[axis] == 3
    stack.visible = False
    dock.results.buttons["sanity_check"].click()
    maps = viewer.layers[-1]
    assert maps.axis_labels[0] == "randomised"
    np.testing.assert_array_equal(maps.data[:, 0], row.sanity.maps)
    viewer.dims.set_current_step(axis, 1)
    assert f"down to {row.sanity.stages[0]}" in text_overlay(viewer).text
    assert list(dock.results.markers["sanity_check"].get_xdata()) == [1, 1]


def test_what_fails_the_randomisation_check_is_marked_where_it_is_met(
    open_evaluation, explained, viewer, qtbot
) -> None:
    dock = open_evaluation("guided_backprop", "saliency")
    inspector = dock.inspector
    assert explained_by(map_of(viewer, "Saliency")) is not None
    choose(dock, metrics=["sanity_check"])
    dock.choice.stages.setValue(8)
    measured(dock, qtbot)
    failed = {row.class_map.explanation.method: row.sanity.passed for row in dock.evaluation.rows}
    assert failed == {"guided_backprop": False, "saliency": True}
    layer = map_of(viewer, "Guided backpropagation")
    assert layer.name == f"{MARK}white cell · Guided backpropagation (kept)"
    assert "Fails the randomisation check" in layer.metadata[KEY]["warning"]
    assert "⚠" not in text_overlay(viewer).text, "it is hidden"
    layer.visible = True
    assert "⚠ Guided backpropagation fails" in text_overlay(viewer).text
    assert not map_of(viewer, "Saliency").name.startswith(MARK)
    assert "⚠" in dock.results.table.cell(1, 1).text()
    box = inspector.form.method.box
    marked = [box.itemData(row) for row in range(box.count()) if "⚠" in box.itemText(row)]
    assert marked == ["guided_backprop"]
    from qtpy.QtCore import Qt

    tip = box.itemData(box.findData("guided_backprop"), Qt.ItemDataRole.ToolTipRole)
    assert "Fails the randomisation check" in tip
    # Explained anew it is known; of another cell nothing is.
    inspector.choose_method("guided_backprop")
    assert "Fails the randomisation check" in box.toolTip()
    explained(inspector)
    assert map_of(viewer, "Guided backpropagation").name.startswith(MARK)
    viewer.dims.set_current_step(0, CELL + 1)
    explained(inspector)
    layer = map_of(viewer, "Guided backpropagation")
    assert not layer.name.startswith(MARK)
    assert "warning" not in layer.metadata[KEY]
    assert not any("⚠" in box.itemText(row) for row in range(box.count()))
    assert "⚠" not in text_overlay(viewer).text


def test_the_consensus_is_that_of_code(open_evaluation, viewer, qtbot) -> None:
    dock = open_evaluation("grad_cam")
    choose(dock, metrics=["deletion"])
    assert not dock.join_button.isEnabled()
    choose(dock, methods=["saliency"])
    assert not dock.measure_button.isEnabled()
    dock.join_button.click()
    qtbot.waitUntil(lambda: not dock.busy, timeout=30_000)
    _, _, explanations = own(dock, ["grad_cam", "saliency"])
    expected = ns.consensus(explanations)
    image = viewer.layers["Blood cells"]
    for title, made in (("Consensus", expected.mean), ("Disagreement", expected.disagreement)):
        layer = map_of(viewer, title)
        np.testing.assert_allclose(np.squeeze(layer.data), made.values, atol=1e-3)
        np.testing.assert_allclose(edges(layer), edges(image), atol=1e-9)
        members = [member["method"] for member in layer.metadata[KEY]["of"]]
        assert members == ["grad_cam", "saliency"]
    assert "Consensus of Grad-CAM, Saliency" in dock.message.text()


def test_table_curves_and_figure_are_saved_and_nothing_is_overwritten(
    open_evaluation, tmp_path, qtbot
) -> None:
    dock = open_evaluation("grad_cam", "saliency")
    choose(dock, metrics=["deletion", "energy_in_mask"])
    measured(dock, qtbot)
    dock.results.save_table(tmp_path / "table.csv")
    dock.results.save_curves(tmp_path / "curves.csv")
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        header, *lines = list(csv.reader(file))
    assert header == ["method", "class", "layer", "deletion", "energy_in_mask"]
    for line, row in zip(lines, dock.evaluation.rows, strict=True):
        assert line[0] == row.class_map.explanation.method
        assert float(line[3]) == row.values["deletion"]
        assert line[4] == ""
    with (tmp_path / "curves.csv").open(encoding="utf-8", newline="") as file:
        steps = list(csv.DictReader(file))
    assert len(steps) == 2 * (SMALL["steps"] + 1)
    scores = [float(step["score"]) for step in steps if step["method"] == "saliency"]
    assert scores == dock.evaluation.rows[0].curves["deletion"].score.tolist()
    for name in ("figure.png", "figure.svg", "figure.pdf"):
        dock.results.save_figure(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000
        with pytest.raises(ns.NeuroscopeError, match="there already"):
            dock.results.save_figure(tmp_path / name)
    before = (tmp_path / "table.csv").read_bytes()
    with pytest.raises(ns.NeuroscopeError, match="there already"):
        dock.results.save_table(tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_bytes() == before
    with pytest.raises(ns.NeuroscopeError, match=r"ends in none of \.png"):
        dock.results.save_figure(tmp_path / "figure.xyz")


def test_what_is_found_stays_when_the_rest_is_stopped(open_evaluation, qtbot) -> None:
    dock = open_evaluation("grad_cam")
    choose(dock, metrics=["deletion", "infidelity"])
    dock.metric_jobs.changed.connect(
        lambda: dock.cancel() if "deletion" in dock.evaluation.rows[0].values else None
    )
    dock.measure()
    qtbot.waitUntil(lambda: not dock.busy, timeout=30_000)
    assert (
        dock.results.table.cell(0, 1).text() == f"{dock.evaluation.rows[0].values['deletion']:.3f}"
    )
    assert dock.results.table.cell(0, 2).text() == "…"
    assert "Stopped" in dock.message.text()
    assert not dock.progress.stop_button.isEnabled()
    assert dock.measure_button.isEnabled()


def test_without_ground_truth_the_reason_is_told_and_with_a_region_there_is_a_figure(
    open_evaluation, viewer, qtbot
) -> None:
    metrics = ("pointing_game", "energy_in_mask")
    dock = open_evaluation("grad_cam")
    choose(dock, metrics=metrics)
    measured(dock, qtbot)
    for column in (1, 2):
        cell = dock.results.table.cell(0, column)
        assert cell.text() == "n/a"
        assert "choose the ground truth" in cell.toolTip()
    corners = [[CELL, 20, 30], [CELL, 20, 150], [CELL, 200, 150], [CELL, 200, 30]]
    viewer.add_shapes([corners], shape_type="rectangle", name="Cell")
    box = dock.choice.truth_box
    qtbot.waitUntil(lambda: box.findText("Cell: all shapes") >= 0, timeout=5_000)
    box.setCurrentText("Cell: all shapes")
    measured(dock, qtbot)
    network, image, explanations = own(dock, ["grad_cam"])
    inside = np.zeros(image.shape[:2], bool)
    inside[20:201, 30:151] = True
    expected = ns.evaluate(network, image, explanations, metrics, ground_truth=inside)
    assert dock.evaluation.rows[0].values == pytest.approx(expected.rows[0].values, abs=1e-5)


def test_what_can_not_be_compared_is_said(open_evaluation, explained, viewer, qtbot) -> None:
    dock = open_evaluation("grad_cam")
    inspector = dock.inspector
    inspector.form.keep_button.click()
    inspector.choose_classes([next(i for i in range(3) if i not in dock.session.classes)])
    inspector.choose_method("saliency")
    explained(inspector)
    qtbot.waitUntil(lambda: len(dock.choice.layer_list.values()) == 2, timeout=5_000)
    choose(dock, metrics=["deletion"])
    assert "is of another class, region or score" in dock.estimate.text()
    assert not dock.measure_button.isEnabled()
    viewer.layers.remove("Blood cells")
    choose(dock, metrics=["deletion"])
    assert not dock.measure_button.isEnabled()


def test_rows_of_one_method_are_told_apart(open_evaluation) -> None:
    dock = open_evaluation()
    network, image, _ = own(dock, [])
    made = ns.explain(network, image, "grad_cam", [0, 1], ["stage3", "stage4"])
    rows = ns.evaluate(network, image, made, ["deletion"], steps=2).rows
    names = network.class_names
    assert titles_of(rows) == [
        f"Grad-CAM · {names[index]} · {layer}" for index in (0, 1) for layer in ("stage3", "stage4")
    ]


def test_a_metric_of_another_package_is_offered_and_has_its_column(
    sparseness, open_evaluation, qtbot
) -> None:
    dock = open_evaluation("grad_cam")
    choose(dock, metrics=[sparseness])
    measured(dock, qtbot)
    network, image, explanations = own(dock, ["grad_cam"])
    expected = ns.evaluate(network, image, explanations, [sparseness]).rows[0].values[sparseness]
    cell = dock.results.table.cell(0, 1)
    assert float(cell.text()) == pytest.approx(expected, abs=1e-3)
    assert "Sparseness" in cell.toolTip()
    assert "higher is better" in cell.toolTip()
