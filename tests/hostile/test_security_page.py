"""The page on what a file may do lists the hostile files that are opened, and the limits that hold."""

from __future__ import annotations

import importlib
import re
import sys

import pytest

from hostile.watch import cases_of
from places import ROOT

sys.path.append(str(ROOT / "scripts"))

import make_security_page as security

PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
_NEEDS = {"keras": "tensorflow", "onnx": "onnxruntime"}


def test_the_limits_are_those_that_hold() -> None:
    table = security.table(security.limits_in_words(), ("what", "at most"))
    assert security.replaced(PAGE, "limits", table) == PAGE, "run scripts/make_security_page.py"


@pytest.mark.parametrize("name", security.TITLES)
def test_each_file_is_told_with_what_comes_out(name: str) -> None:
    if name in _NEEDS:
        pytest.importorskip(_NEEDS[name])
    part = PAGE.split(f"### {security.TITLES[name]}\n")[1].split("\n### ")[0]
    told = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|", part, re.MULTILINE)[2:])
    cases = cases_of(importlib.import_module(f"hostile.{name}_cases"))
    assert [words.replace(" ", "_") for words in told] == list(cases), "run the script"
    for one, answer in zip(cases.values(), told.values(), strict=True):
        either = [security.ANSWERS["sentence"], security.ANSWERS["opens"]]
        assert answer in (either if one.ends == "either" else [security.ANSWERS[one.ends]])
