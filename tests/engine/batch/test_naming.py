"""Outputs are named as their images, and no two alike."""

from __future__ import annotations

from pathlib import Path

from napari_neuroscope.engine.batch.naming import common_folder, output_names


def test_no_two_images_share_a_name() -> None:
    paths = [Path(f"/data/{name}") for name in
             ("a/x.png", "a/x.tif", "A/X.png", "b/x.png", "x.png", "a/x_png.png", "nul.tif",
              ".hidden/x.png")]  # fmt: skip
    root = common_folder(paths)
    names = output_names(paths, root)
    assert root == Path("/data")
    assert names == [
        "a/x_png",
        "a/x_tif",
        "A/X_png-2",
        "b/x",
        "x",
        "a/x_png-3",
        "_nul",
        "_.hidden/x",
    ]
    assert len({name.casefold() for name in names}) == len(names)
    # They keep theirs, whatever comes later or is left out.
    known = dict(zip(map(str, paths), names, strict=True))
    more = [Path("/data/a/y.png"), Path("/elsewhere/x.png"), paths[1], Path("/data/x.gif")]
    assert output_names(more, root, known) == ["a/y", "elsewhere/elsewhere/x", "a/x_tif", "x-2"]


def test_long_names_fit_a_file_system() -> None:
    paths = [Path("/d") / f"{'細' * 80}{n}.png" for n in range(2)]
    names = output_names(paths, Path("/d"))
    assert names[0] != names[1]
    assert max(len(name.encode()) for name in names) <= 180
