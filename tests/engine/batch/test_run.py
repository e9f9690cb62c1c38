"""A recipe over many images: what is written, what is left as it is, and what goes wrong."""

from __future__ import annotations

import errno
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import tifffile
from skimage.io import imread, imsave

import napari_neuroscope as ns
from batches import images_in, recipe_in, written
from napari_neuroscope.engine.batch.output_error import OutputError
from napari_neuroscope.engine.explain.recipe import ChangedNetworkError


def run(recipe: Path, images: Any, out: Path, **more: Any) -> ns.BatchResult:
    return ns.run_batch(recipe, images, out, device="cpu", trust=True, **more)


def test_maps_are_those_of_the_recipe(recipe: Path, images: Path, whole: Path) -> None:
    made = ns.Recipe.load(recipe)
    network = made.load_network(device="cpu", trust=True)
    for path in sorted(images.iterdir()):
        alone = made.run(network, imread(path))
        np.testing.assert_array_equal(
            tifffile.imread(whole / "maps" / f"{path.stem}.neuroscope.tif"), alone.on_image()
        )


def test_a_stopped_batch_goes_on_and_equals_one_that_was_not(
    recipe: Path, images: Path, whole: Path, tmp_path: Path
) -> None:
    cancel, seen = threading.Event(), []

    def stop_after_two(event: ns.BatchEvent) -> None:
        seen.append(event)
        if event.done == 2:
            cancel.set()

    stopped = run(recipe, images, tmp_path, progress=stop_after_two, cancel=cancel)
    assert (stopped.done, stopped.left) == (2, 3)
    assert [event.kind for event in seen] == ["started", "image", "image", "stopped"]
    assert len(list((tmp_path / "maps").iterdir())) == 2
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "maps").iterdir()}
    went_on = run(recipe, images, tmp_path)
    assert (went_on.kept, went_on.done, went_on.left) == (2, 3, 0)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert written(tmp_path) == written(whole)


def test_what_is_complete_and_current_is_left(
    recipe: Path, images: Path, whole: Path, tmp_path: Path
) -> None:
    mine, out = tmp_path / "images", tmp_path / "out"
    shutil.copytree(images, mine)
    run(recipe, mine, out)
    assert run(recipe, mine, out).kept == 5
    (out / "maps" / "cell0.neuroscope.tif").unlink()
    half = (out / "maps" / "cell1.neuroscope.tif").read_bytes()[:100]
    (out / "maps" / "cell1.neuroscope.tif").write_bytes(half)
    (out / "thumbnails" / "cell2.jpg").write_bytes(b"")
    again = run(recipe, mine, out)
    assert (again.kept, again.done) == (2, 3)
    assert written(out).keys() == written(whole).keys()
    assert written(out)["maps/cell1.neuroscope.tif"] == written(whole)["maps/cell1.neuroscope.tif"]
    imsave(mine / "cell4.png", np.full((5, 5), 9, np.uint8), check_contrast=False)
    changed = run(recipe, mine, out)
    assert (changed.kept, changed.done) == (4, 1)
    assert tifffile.imread(out / "maps" / "cell4.neuroscope.tif").shape == (5, 5)


def test_more_outputs_are_added_to_those_that_are_there(
    recipe: Path, images: Path, tmp_path: Path
) -> None:
    run(recipe, images, tmp_path)
    assert run(recipe, images, tmp_path, outputs=[".tif", ".npy"]).done == 5
    assert (tmp_path / "maps" / "cell0.neuroscope.npy").exists()
    assert run(recipe, images, tmp_path, outputs=[".npy"]).kept == 5
    assert (tmp_path / "maps" / "cell0.neuroscope.tif").exists()


def test_more_images_join_a_batch(recipe: Path, images: Path, tmp_path: Path) -> None:
    more = images_in(tmp_path / "more", 2, first=7)
    out = tmp_path / "out"
    run(recipe, images, out)
    joined = run(recipe, [images, *more], out)
    assert (joined.total, joined.kept, joined.done) == (7, 5, 2)
    assert len(pandas.read_csv(out / "summary.csv")) == 7


def test_images_that_cannot_be_done_do_not_stop_the_others(recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    images_in(folder, 3)
    (folder / "broken.png").write_bytes(b"no image at all")
    (folder / "empty.png").write_bytes(b"")
    np.save(folder / "line.npy", np.zeros(5))
    np.save(folder / "nothing.npy", np.full((12, 10), np.nan))
    half = (folder / "cell0.png").read_bytes()
    (folder / "half.png").write_bytes(half[: len(half) // 2])
    result = run(recipe, folder, tmp_path / "out")
    assert result.done == 3
    failed = {Path(one.name).name: one.reason for one in result.failed}
    assert set(failed) == {"broken.png", "line.npy", "nothing.npy", "half.png"}
    assert "can't be read" in failed["broken.png"]
    assert all(reason.endswith((".", "?")) for reason in failed.values())
    assert [one.name for one in result.skipped] == ["empty.png"]
    table = pandas.read_csv(tmp_path / "out" / "summary.csv").set_index("image")
    assert table.loc["broken.png", "problem"] == failed["broken.png"]
    report = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert report.index("broken.png") < report.index("cell0.png")
    assert "empty.png" in report
    # They are tried again, the others not.
    shutil.copy(folder / "cell1.png", folder / "broken.png")
    again = run(recipe, folder, tmp_path / "out")
    assert (again.kept, again.done, len(again.failed)) == (3, 1, 3)
    table = pandas.read_csv(tmp_path / "out" / "summary.csv").set_index("image")
    assert pandas.isna(table.loc["broken.png", "problem"])


def test_another_recipe_needs_another_folder(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(recipe_in(tmp_path / "a", layer="score"), images, out)
    other = recipe_in(tmp_path / "b", seed=1)
    with pytest.raises(ns.NeuroscopeError, match="batch of another recipe"):
        run(other, images, out)
    (out / "maps" / "mine.txt").write_text("my own notes")
    one = next(images.iterdir())
    run(other, one, out, force=True)
    assert sorted(p.name for p in (out / "maps").iterdir()) == [
        f"{one.stem}.neuroscope.tif",
        "mine.txt",
    ]


def test_a_copied_recipe_is_the_same(recipe: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(recipe, images, out)
    shutil.copytree(recipe.parent, tmp_path / "elsewhere")
    assert run(tmp_path / "elsewhere" / recipe.name, images, out).kept == 5


def test_files_of_the_user_are_not_written_over(recipe: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "summary.csv").write_text("my own")
    with pytest.raises(ns.NeuroscopeError, match=r"summary.csv is there already"):
        run(recipe, images, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["summary.csv"]
    assert (tmp_path / "summary.csv").read_text() == "my own"
    with pytest.raises(ns.NeuroscopeError, match="is a file"):
        run(recipe, images, tmp_path / "summary.csv")


def test_one_batch_at_a_time_writes_into_a_folder(
    recipe: Path, images: Path, tmp_path: Path
) -> None:
    def meet(event: ns.BatchEvent) -> None:
        if event.done == 1:
            with pytest.raises(ns.NeuroscopeError, match="Another batch is writing into"):
                run(recipe, images, tmp_path)

    assert run(recipe, images, tmp_path, progress=meet).done == 5
    assert run(recipe, images, tmp_path).kept == 5


def test_its_own_pictures_are_no_images(recipe: Path, images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    shutil.copytree(images, folder)
    pattern = str(folder / "**" / "*.*")
    assert run(recipe, pattern, folder / "out").total == 5
    again = run(recipe, pattern, folder / "out")
    assert (again.total, again.kept) == (5, 5)
    assert any("the batch's own folder" in one.reason for one in again.skipped)


def test_a_changed_network_is_refused_before_anything_is_made(images: Path, tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path / "recipe")
    kept = recipe.read_bytes()
    recipe_in(tmp_path / "recipe", seed=1)
    recipe.write_bytes(kept)
    with pytest.raises(ChangedNetworkError):
        run(recipe, images, tmp_path / "out")
    assert not (tmp_path / "out" / "maps").exists()
    with pytest.warns(ns.NeuroscopeWarning, match="weights"):
        run(recipe, images, tmp_path / "out", allow_changed=True)
    notes = pandas.read_csv(tmp_path / "out" / "summary.csv")["notes"]
    assert notes.str.contains("weights are others").all()


def test_a_full_disk_stops_the_batch_which_then_goes_on(
    recipe: Path, images: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0

    def full(file: tifffile.TiffWriter, *args: Any, **more: Any) -> None:
        nonlocal count
        count += 1
        write(file, *args, **more)
        if count == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    write = tifffile.TiffWriter.write
    with monkeypatch.context() as patched:
        patched.setattr(tifffile.TiffWriter, "write", full)
        with pytest.raises(OutputError, match="No space left"):
            run(recipe, images, tmp_path)
    assert count == 3
    assert [p.name for p in sorted((tmp_path / "maps").iterdir())] == [
        "cell0.neuroscope.tif",
        "cell1.neuroscope.tif",
    ]
    assert run(recipe, images, tmp_path).kept == 2
    assert written(tmp_path) == written(whole)


def test_the_journal_forgets_a_line_that_was_cut_off(
    recipe: Path, images: Path, whole: Path, tmp_path: Path
) -> None:
    run(recipe, images, tmp_path)
    journal = tmp_path / ".batch" / "journal.jsonl"
    lines = journal.read_bytes()
    for cut in (1, 30):
        journal.write_bytes(lines[:-cut])
        result = run(recipe, images, tmp_path)
        assert (result.kept, result.done) == (4, 1)
        assert journal.read_bytes().count(b"\n") == 5
    assert written(tmp_path) == written(whole)
