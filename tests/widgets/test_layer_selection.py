"""Layers are chosen alike in the inspector, the diagram and the session, and stacked as they run."""

from __future__ import annotations

import pytest

from napari_neuroscope.widgets.architecture.dock import Architecture


def test_one_choice_and_one_order_in_all_docks(opened, explained, viewer, qtbot) -> None:
    inspector = opened()
    _, made = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Architecture")
    dock: Architecture = getattr(made, "__wrapped__", made)
    qtbot.waitUntil(lambda: "enc1" in dock.scene.nodes, timeout=30_000)
    graph = list(inspector.session.network.layers)
    # From the inspector, in another order than they run in.
    inspector.choose_layers(["dec1", "enc2", "head", "enc1"])
    assert dock.scene.marks.chosen == {"dec1", "enc2", "head", "enc1"}
    # From the diagram: one away, one more.
    dock.pick("head", True)
    dock.pick("pool2", True)
    wanted = ("enc1", "enc2", "pool2", "dec1")
    assert sorted(wanted, key=graph.index) == list(wanted)
    assert inspector.session.layers == inspector.form.layers.chosen() == wanted
    # From the session, as another dock does it.
    inspector.session.layers = ("enc2", "dec1")
    assert dock.scene.marks.chosen == set(inspector.form.layers.chosen()) == {"enc2", "dec1"}
    inspector.session.layers = wanted
    explained(inspector)
    # The steps of the slider are the layers, as they run.
    stack = viewer.layers[-1]
    assert stack.data.shape[0] == len(wanted)
    assert set(dock.scene.pictures) == set(wanted)
    for step, name in enumerate(wanted):
        viewer.dims.set_current_step(0, step)
        assert f" · {name} · " in viewer.text_overlay.text
    dock.close_work()


@pytest.mark.parametrize("name", ["enc3.conv1", "enc3.relu2"])
def test_what_is_chosen_inside_a_folded_block_marks_the_block(opened, viewer, qtbot, name) -> None:
    inspector = opened()
    _, made = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Architecture")
    dock: Architecture = getattr(made, "__wrapped__", made)
    qtbot.waitUntil(lambda: "enc3" in dock.scene.nodes, timeout=30_000)
    inspector.choose_layers([name])
    assert dock.scene.marks.holding == {"enc3"}
    dock.toggle("enc3")
    qtbot.waitUntil(lambda: name in dock.scene.nodes, timeout=30_000)
    assert dock.scene.marks.chosen == {name}
    assert dock.scene.marks.holding == frozenset()
    dock.close_work()
