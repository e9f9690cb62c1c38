"""The page on files says what the program really answers."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from places import ROOT

sys.path.append(str(ROOT / "scripts"))

import make_files_page as page

PAGE = (ROOT / "docs" / "files.md").read_text("utf-8")
_NEEDS = {"Keras": "tensorflow", "TensorFlow": "tensorflow", "ONNX": "onnxruntime"}


@pytest.mark.parametrize("name", page.TABLES)
def test_each_row_is_what_comes_out_today(name: str) -> None:
    answer, titles = page.TABLES[name]
    part = PAGE.split(f"<!-- {name} -->\n")[1].split("<!-- /")[0].splitlines()
    told = dict(zip(titles, part[2:], strict=True))
    for title, line in told.items():
        package = _NEEDS.get(title.partition(",")[0].split()[0])
        if package is not None and importlib.util.find_spec(package) is None:
            continue
        if "imagecodecs" in line and importlib.util.find_spec("imagecodecs") is not None:
            # It opens then.
            continue
        (row,) = page.rows(answer, [title])
        assert page.table([row], page.HEADER).splitlines()[2] == line, "run make_files_page.py"
