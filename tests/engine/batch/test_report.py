"""The page of a batch: what was made of each image, with names of strangers as plain text."""

from __future__ import annotations

import shutil
from pathlib import Path

import napari_neuroscope as ns


def test_the_page_links_pictures_and_files_and_tells_what_all_have(whole: Path) -> None:
    page = (whole / "report.html").read_text("utf-8")
    assert "<b>5</b> done" in page
    assert "Grad-CAM of “net”" in page
    for n in range(5):
        assert f'src="thumbnails/cell{n}.jpg"' in page
        assert f'href="maps/cell{n}.neuroscope.tif"' in page
    # The numbers of all images together, then a column of each.
    assert page.index("All images") < page.index("<h2>Images")
    assert page.count("logit") >= 2
    assert "Problems" not in page


def test_a_name_is_text_and_a_problem_comes_first(
    recipe: Path, images: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    shutil.copy(images / "cell0.png", folder / "a & <b>.png")
    (folder / "z.png").write_bytes(b"no image at all")
    out = tmp_path / "out"
    ns.run_batch(recipe, folder, out, device="cpu", trust=True)
    page = (out / "report.html").read_text("utf-8")
    assert "a &amp; &lt;b&gt;.png" in page
    assert "<b>.png" not in page
    assert page.index("<th>z.png") < page.index("a &amp; &lt;b&gt;.png")
